"""What one cache does in this process, gathered for people and tools: never on the way of a request, and never its trouble."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, NamedTuple

from rcache.clock import Clock
from rcache.core.changes import Change
from rcache.core.inspection import entry_name
from rcache.core.keys import Key
from rcache.core.reports import MOST_LISTED, Report, busiest, popular
from rcache.core.views import Counters, Event, NodeRow, RouteRow
from rcache.engine.stats import Stats

INTERVAL: Final = 1.0  # seconds between two reports
MOST_NOTED: Final = 2000  # entries whose hits are noted between two reports
MOST_TOLD: Final = 300  # of them: the hottest, in one report
MOST_WAITING: Final = 1000  # events that wait to be told; the oldest give way

Kind = Literal["purge", "soft-purge", "hold", "release", "flush"]


class Standing(NamedTuple):
    """How a node stands at this moment."""

    near: str | None
    tail: int | None
    lease: float | None
    is_down: bool
    pending: int
    settings: tuple[tuple[str, str], ...] = ()


class Telemetry:
    """Counters, hits by entry, and events of one cache in this process. `due` and `tick` are for whoever counts."""

    def __init__(self, clock: Clock, standing: Callable[[], Standing]) -> None:
        self.clock = clock
        self.stats = Stats(clock, self)
        self.role: Literal["web", "worker"] = "web"
        self.due = float("-inf")
        self.heard: Callable[[float], None] = _nothing
        """What is to be done at a tick."""
        self.heirs: list[Callable[[], None]] = []
        """Who has to begin anew as well, in a forked child."""
        self._standing = standing
        self._begin()

    def _begin(self) -> None:
        self.node = secrets.token_hex(8)
        self.began = self.clock.time()
        self.due = float("-inf")
        self._hits: dict[tuple[Key, bytes], int] = {}
        self._events: deque[tuple[float, Event]] = deque(maxlen=MOST_WAITING)
        self._told: dict[str, Counters] = {}  # by route
        self._purges_told = 0
        self._counted = Counters()  # all that was told
        self._busiest: tuple[RouteRow, ...] = ()
        self._lock = threading.Lock()

    def forget_parent(self) -> None:
        """In a forked child: another node, which has counted nothing yet."""
        self.stats.reset()
        self._begin()
        for begin in self.heirs:
            begin()

    # What is told by those who count

    def note(self, key: Key, variant: bytes, hits: int) -> None:
        """An entry was hit so often."""
        noted = self._hits
        known = noted.get((key, variant))
        if known is not None or len(noted) < MOST_NOTED:
            noted[key, variant] = (known or 0) + hits

    def tick(self, now: float) -> None:
        """Lets what is to be done every second or so be done, unless another thread is at it."""
        if self._lock.acquire(blocking=False):
            try:
                if now >= self.due:
                    self.due = now + INTERVAL
                    self.heard(now)
            finally:
                self._lock.release()

    def happened(
        self, kind: Kind, tags: Sequence[str], *, entries: int, number: int, cause: str, changes: Iterable[str] = ()
    ) -> Event:
        """Something happened to tags just now."""
        named = tuple(changes)[:MOST_LISTED]
        event = Event(
            number, self.clock.time(), kind, tuple(tags[:MOST_LISTED]), len(tags), entries, self.node, cause, named
        )
        now = self.clock.monotonic()
        self._events.append((now, event))
        if now >= self.due:
            self.tick(now)
        return event

    # What is taken by those who tell

    @property
    def row(self) -> NodeRow:
        """This node, as it is at this moment."""
        return self._row(self.stats.counters, busiest(self.stats.routes))

    def _row(self, counters: Counters, routes: tuple[RouteRow, ...]) -> NodeRow:
        standing = self._standing()
        return NodeRow(
            node=self.node,
            host=socket.gethostname(),
            pid=os.getpid(),
            role=self.role,
            version=_version(),
            began=self.began,
            seen=self.clock.time(),
            near=standing.near,
            tail=standing.tail,
            lease=standing.lease,
            is_down=standing.is_down,
            pending=standing.pending,
            counters=counters,
            routes=routes,
            settings=standing.settings,
        )

    def counted(self) -> tuple[Counters, tuple[RouteRow, ...]]:
        """What was counted since this was last asked, in all and by route."""
        purges, told = self.stats.purges, self._told
        total = Counters(purges=max(0, purges - self._purges_told))
        self._purges_told = purges
        rows = []
        for tally in self.stats.tallies:
            former = told.get(tally.route)
            if former is None or not tally.is_as(former):
                now = tally.counters
                since = now if former is None else now - former
                told[tally.route] = now
                if since != Counters():
                    rows.append(RouteRow(tally.route, since))
                    total += since
        if rows or total.purges:
            self._counted += total
            self._busiest = busiest([RouteRow(*item) for item in told.items()])
        return total, busiest(rows)

    def hits(self) -> dict[tuple[Key, bytes], int]:
        """Hits by entry since this was last asked."""
        taken, self._hits = self._hits, {}
        return taken

    def events(self) -> list[tuple[float, Event]]:
        """What happened since this was last asked, and when by the clock that never steps."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def report(self) -> Report:
        """All that is to be told since this was last asked."""
        counters, routes = self.counted()
        hits = sorted(self.hits().items(), key=lambda item: -item[1])[:MOST_TOLD]
        hot = {_popular(key, variant): count for (key, variant), count in hits if count}
        now = self.clock.monotonic()
        events = [(max(0.0, now - at), event) for at, event in self.events()]
        return Report(self._row(self._counted, self._busiest), counters, routes, hot, events)


def described(change: Change) -> str:
    """A change as events tell it: "update book:42"."""
    pk = "*" if change.pk is None else ":".join(map(str, change.pk))
    return f"{change.op} {change.table}:{pk}"


def _popular(key: Key, variant: bytes) -> str:
    return popular(entry_name(key.material, variant), key.shown, is_private=key.identity is not None)


def _nothing(now: float) -> None:
    pass


def _version() -> str:
    try:
        return version("rcache")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return ""
