"""After purges the hottest of what they killed is made again, before anybody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from heapq import heappush, heappushpop
from typing import Final, NamedTuple

from rcache import logs
from rcache.core.keys import Carrier
from rcache.core.recipe import Recipe, recipe_of

QUIET: Final = 0.1
"""Seconds without a purge after which those before are acted on: of a storm each page is made once."""

LONGEST: Final = 1.0
"""Seconds after which they are acted on although the storm goes on."""

MOST_PURGES: Final = 1000
"""Purges whose hottest are kept apart while a storm lasts; those beyond count as one."""


class Hot(NamedTuple):
    """One answer to make again, and its hits in the last window."""

    hits: int
    id: str
    recipe: Recipe


class Wanted(NamedTuple):
    """What a rule wants of its purged entries: of each purge the hottest, at most so many."""

    rule: str
    most: int


class Rewarmer:
    """Gathers what is told of purged entries in one event loop, and hands over the hottest of each purge."""

    def __init__(
        self,
        wanted: Callable[[Recipe], Wanted | None],
        hits: Callable[[Sequence[Carrier]], Awaitable[Sequence[int]]],
        hand_over: Callable[[Sequence[Hot]], Awaitable[None]],
    ) -> None:
        self._wanted = wanted
        self._hits = hits
        self._hand_over = hand_over
        self._purges: dict[int, dict[str, list[Hot]]] = {}  # by number, by rule: the hottest, as a heap
        self._latest = 0
        self._heard = 0
        self._task: asyncio.Task[None] | None = None

    async def hear(self, number: int, carriers: Sequence[Carrier]) -> None:
        """Entries that the purge of that number killed, or has made stale."""
        told = [(carrier, recipe) for carrier in carriers if (recipe := recipe_of(*carrier)) is not None]
        asked = [(carrier, recipe, wanted) for carrier, recipe in told if (wanted := self._wanted(recipe)) is not None]
        if not asked:
            return
        counts = await self._hits([carrier for carrier, _, _ in asked])
        if number not in self._purges and len(self._purges) >= MOST_PURGES:
            number = next(reversed(self._purges))
        purge = self._purges.setdefault(number, {})
        for (_, recipe, wanted), hits in zip(asked, counts, strict=True):
            if hits > 0:
                _keep(purge.setdefault(wanted.rule, []), Hot(hits, recipe.id, recipe), wanted.most)
        self._latest = number
        self._heard += 1
        if self._task is None:
            # Not in the context of whoever purged: it may be a request that gathers what its own answer is made of.
            self._task = asyncio.get_running_loop().create_task(self._act(), context=Context())

    async def _act(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            while self._purges:
                heard = self._heard
                await asyncio.sleep(QUIET)
                is_quiet = heard == self._heard
                if is_quiet or loop.time() - began >= LONGEST:
                    # Of the purge told of last there may be more to come.
                    await self._hand_over(self._taken(None if is_quiet else self._latest))
                    began = loop.time()
        except Exception:
            logs.REWARM_FAILED.tell(exc_info=True)
        finally:
            self._task = None

    def _taken(self, but: int | None) -> list[Hot]:
        """The hottest of all purges but that one, each once, hottest first."""
        chosen: dict[str, Hot] = {}
        for number in [number for number in self._purges if number != but]:
            for heap in self._purges.pop(number).values():
                chosen.update({hot.id: hot for hot in heap})
        return sorted(chosen.values(), reverse=True, key=lambda hot: hot.hits)

    async def wait(self) -> None:
        """Returns when nothing is left to hand over."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Forgets what was not handed over."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._purges.clear()


def _keep(heap: list[Hot], hot: Hot, most: int) -> None:
    """Adds it, unless there are `most` hotter ones."""
    if len(heap) < most:
        heappush(heap, hot)
    else:
        heappushpop(heap, hot)
