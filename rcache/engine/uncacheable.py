"""URLs that proved uncacheable, remembered for a while so that they cost no trip and nobody queues behind them."""

from __future__ import annotations

from rcache.clock import Clock
from rcache.core.keys import Key

REMEMBERED = 10.0  # seconds
CAPACITY = 10_000


class Uncacheable:
    """A bounded memory of keys and the reason why their answers are not stored."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._until: dict[tuple[Key, bool], tuple[float, str]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._until)

    def note(self, url: Key, personal: bool, reason: str) -> None:
        """Requests like this one bypass the cache for REMEMBERED seconds."""
        key = (url, personal)
        self._until.pop(key, None)
        self._until[key] = (self._monotonic() + REMEMBERED, reason)
        if len(self._until) > CAPACITY:
            self._until.pop(next(iter(self._until)), None)

    def reason(self, url: Key, personal: bool) -> str | None:
        """Why requests like this one bypass the cache; None where they do not."""
        found = self._until.get((url, personal))
        if found is None:
            return None
        until, reason = found
        if self._monotonic() < until:
            return reason
        self._until.pop((url, personal), None)
        return None
