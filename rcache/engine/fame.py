"""How hot entries are, as far as that is known: the hits that all nodes have told of in the last window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rcache.clock import Clock
from rcache.core.inspection import entry_name
from rcache.core.keys import Carrier
from rcache.ports import Fleet

MOST: Final = 1000
"""Entries whose hits are asked for, the hottest: whatever is beyond them is cold."""

KNOWN: Final = 1.0  # seconds for which an answer is good enough


class Fame:
    """Asks for the hottest once a second at most, and only when somebody wants to know."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._until = float("-inf")
        self._hottest: Mapping[str, float] = {}

    async def hits(self, carriers: Sequence[Carrier]) -> Sequence[int]:
        """The hits of each, 1 at least of what was hit at all. Raises BackendError."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._hottest = {hot.entry: hot.hits for hot in await self._fleet.popularity.top(MOST)}
            self._until = now + KNOWN
        counts = [self._hottest.get(entry_name(key.material, variant), 0.0) for key, variant in carriers]
        return [max(1, round(count)) if count > 0 else 0 for count in counts]
