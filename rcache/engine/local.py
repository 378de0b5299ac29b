"""What one process has counted and done, where it alone uses the cache: an embedded one.

There is no thread: each second is closed by whoever counts something after it, or looks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from rcache.core.history import MINUTES_LAST, NOTHING, SECONDS_LAST, Counted, minute_of, series, together
from rcache.core.inspection import entry_name
from rcache.core.keys import Key
from rcache.core.reports import EVENTS, WINDOW
from rcache.core.views import Event, Hot, NodeRow, Sample
from rcache.engine.telemetry import Telemetry

PAUSE: Final = 0.25  # seconds between two looks for what has happened

Hits = dict[tuple[Key, bytes], int]


class LocalFleet:
    """`rcache.ports.Fleet` of this process alone, and `Popularity`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._clock = telemetry.clock
        self._begin()
        telemetry.heard = self._close_second
        telemetry.heirs.append(self._begin)  # what was there is the parent's

    def _begin(self) -> None:
        self._at: float | None = None  # when the second began that is open now
        self._seconds: dict[int, Counted] = {}
        self._minutes: dict[int, Counted] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._happened = 0
        self._window = 0.0
        self._hits: Hits = {}
        self._former: Hits = {}

    @property
    def popularity(self) -> LocalFleet:
        """What is asked for often."""
        return self

    def _close_second(self, monotonic: float) -> None:
        now = self._clock.time()
        at, self._at = int(now if self._at is None else self._at), now
        counted = self._telemetry.counted()
        if counted != NOTHING:
            self._seconds[at] = together(self._seconds.get(at, NOTHING), counted)
            minute = minute_of(at)
            self._minutes[minute] = together(self._minutes.get(minute, NOTHING), counted)
            _forget(self._seconds, now - SECONDS_LAST)
            _forget(self._minutes, now - MINUTES_LAST)
        for _, event in self._telemetry.events():
            self._events.append(event)
            self._happened += 1
        if now >= self._window + WINDOW:
            is_next = now < self._window + 2 * WINDOW
            self._window, self._former, self._hits = now, self._hits if is_next else {}, {}
        for name, hits in self._telemetry.hits().items():
            self._hits[name] = self._hits.get(name, 0) + hits

    def _look(self) -> None:
        self._telemetry.due = float("-inf")
        self._telemetry.tick(self._clock.monotonic())

    async def nodes(self) -> list[NodeRow]:
        """This process."""
        return [self._telemetry.row]

    async def history(self, seconds: float = 3600.0) -> list[Sample]:
        """What was counted, oldest first: each second of the last two minutes, each minute before that."""
        self._look()
        return series(self._minutes, self._seconds, self._clock.time(), seconds)

    async def events(self, *, before: int | None = None, count: int = 100) -> list[Event]:
        """What happened last, newest first."""
        self._look()
        return [event for event in reversed(self._events) if before is None or event.number < before][:count]

    async def follow(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        self._look()
        seen = self._happened
        while True:
            self._look()
            new, seen = self._happened - seen, self._happened
            for event in list(self._events)[-new:] if new else ():
                yield event
            await asyncio.sleep(PAUSE)

    @property
    def hits(self) -> dict[tuple[Key, bytes], float]:
        """Hits by entry in the last window: what the one before it counts fades out while this one grows."""
        self._look()
        left = max(0.0, 1.0 - (self._clock.time() - self._window) / WINDOW)
        found: dict[tuple[Key, bytes], float] = dict(self._hits)
        for name, hits in self._former.items():
            found[name] = found.get(name, 0.0) + left * hits
        return found

    async def top(self, count: int = 50) -> list[Hot]:
        """The hottest, hottest first."""
        ranked = sorted(self.hits.items(), key=lambda item: -item[1])[:count]
        return [
            Hot(entry_name(key.material, variant), "" if key.identity is not None else key.shown, hits)
            for (key, variant), hits in ranked
            if hits
        ]


def _forget(known: dict[int, Counted], before: float) -> None:
    for at in [at for at in known if at < before]:
        del known[at]
