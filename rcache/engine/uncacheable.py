"""URLs that proved uncacheable, remembered for a while so that they cost no trip and nobody queues behind them."""

from __future__ import annotations

import threading

from rcache.clock import Clock
from rcache.core.keys import Key

REMEMBERED = 10.0  # seconds
CAPACITY = 10_000


class Uncacheable:
    """A bounded memory of keys and the reason why their answers are not stored.

    It keeps their hashes, so that ten thousand long URLs cost no memory to speak of; two that collide cost a bypass.
    """

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._until: dict[int, tuple[float, str]] = {}  # oldest first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def note(self, url: Key, personal: bool, reason: str) -> None:
        """Requests like this one bypass the cache for REMEMBERED seconds."""
        place = hash((url, personal))
        with self._lock:
            self._until.pop(place, None)
            self._until[place] = (self._monotonic() + REMEMBERED, reason)
            if len(self._until) > CAPACITY:
                del self._until[next(iter(self._until))]

    def reason(self, url: Key, personal: bool) -> str | None:
        """Why requests like this one bypass the cache; None where they do not."""
        if not self._until:
            return None
        place = hash((url, personal))
        found = self._until.get(place)
        if found is None:
            return None
        until, reason = found
        if self._monotonic() < until:
            return reason
        with self._lock:
            self._until.pop(place, None)
        return None
