"""Runs of the application that nobody waits for: they make anew what was just served stale."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from rcache import logs

MOST: Final = 64
"""Refreshes under way in one event loop; beyond that the stale answer is all there is until one ends."""

PATIENCE: Final = 5.0  # seconds that a close leaves those it cancelled to come to their end


class Refreshes:
    """The refreshes of one cache in this process, one per key."""

    def __init__(self, most: int = MOST, failed: logs.Message = logs.REFRESH_FAILED) -> None:
        """`failed` is what is said of one that raises."""
        self._most = most
        self._failed = failed
        self._under_way: dict[tuple[object, ...], asyncio.Task[None]] = {}

    def start(self, key: tuple[object, ...], refresh: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begins one in the running loop, unless one for this key is under way or there are too many."""
        loop = asyncio.get_running_loop()
        place = (loop, *key)
        if place in self._under_way or self.is_full:
            return False
        task = self._under_way[place] = loop.create_task(refresh())

        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.pop(place, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed.tell(exc_info=error)

        task.add_done_callback(ended)
        return True

    @property
    def is_full(self) -> bool:
        """Whether no more can be begun in the running loop."""
        return len(self._mine()) >= self._most

    async def wait(self) -> None:
        """Returns when those of the running loop have ended."""
        while mine := self._mine():
            await asyncio.wait(mine)

    async def aclose(self) -> None:
        """Cancels those of the running loop, and forgets those of loops that are closed."""
        for place in [place for place in self._under_way if place[0].is_closed()]:  # type: ignore[attr-defined]
            self._under_way.pop(place, None)
        mine = self._mine()
        for task in mine:
            task.cancel()
        if mine:
            await asyncio.wait(mine, timeout=PATIENCE)

    def _mine(self) -> list[asyncio.Task[None]]:
        loop = asyncio.get_running_loop()
        return [task for place, task in self._under_way.items() if place[0] is loop]
