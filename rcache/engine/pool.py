"""Renders that nobody waits for, in this process: a few at a time, the hottest first, each key once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from heapq import heappop, heappush, nsmallest
from typing import Final

from rcache import logs

AT_ONCE: Final = 4
"""Renders under way in one event loop: requests have a process to themselves but for these."""

MOST_WAITING: Final = 1000
"""Beyond them the coldest are forgotten: whoever asks for those makes them."""

Work = Callable[[], Awaitable[object]]


class Pool:
    """The renders of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, str]] = []  # a heap: coldness, order of arrival, key
        self._work: dict[str, Work] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, tuple[int, Work]] = {}  # asked for while they ran: something has changed since
        self._count = 0

    def add(self, key: str, hits: int, work: Work) -> None:
        """Has it done in its turn; one that waits already is not added, and one that runs is done again afterwards."""
        if key in self._work:
            return
        if key in self._running:
            self._again[key] = (hits, work)
            return
        self._work[key] = work
        self._count += 1
        heappush(self._waiting, (-hits, self._count, key))
        if len(self._waiting) > 2 * MOST_WAITING:
            self._forget_coldest()
        self._start()

    def _forget_coldest(self) -> None:
        kept = nsmallest(MOST_WAITING, self._waiting)
        for _, _, key in set(self._waiting).difference(kept):
            del self._work[key]
        self._waiting = kept  # sorted, which is a heap

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._running) < AT_ONCE:
            _, _, key = heappop(self._waiting)
            task = self._running[key] = loop.create_task(self._carry_out(key, self._work.pop(key)), context=Context())
            task.add_done_callback(lambda _, key=key: self._ended(key))  # type: ignore[misc]

    async def _carry_out(self, key: str, work: Work) -> None:
        try:
            await work()
        except Exception:
            logs.RENDER_UNFORESEEN.tell(exc_info=True)

    def _ended(self, key: str) -> None:
        del self._running[key]
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, *again)
        self._start()

    async def wait(self) -> None:
        """Returns when nothing waits or runs."""
        while self._running:
            await asyncio.wait(set(self._running.values()))
            await asyncio.sleep(0)  # their ends are told

    async def aclose(self) -> None:
        """Forgets what waits, and cancels what runs."""
        self._waiting.clear()
        self._work.clear()
        self._again.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
