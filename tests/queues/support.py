"""What tests of queues share: somebody who serves, and jobs that pause."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from rcache.core.jobs import LANES, Job
from rcache.ports import Queue
from tests.support import PATIENCE


class Runs:
    """Runs jobs by doing what a test says, and writes down which."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.ended: list[Job] = []
        self.most = 0  # under way at a time
        self._under_way = 0
        self._changed = asyncio.Event()
        self.gate = asyncio.Event()  # jobs wait for it before they end
        self.gate.set()
        self.act: Callable[[Job], Any] = lambda job: None  # raises, or returns what the run returns

    async def __call__(self, job: Job) -> Job | None:
        self.jobs.append(job)
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self._tell()
        try:
            await self.gate.wait()
            result: Job | None = self.act(job)
        finally:
            self._under_way -= 1
        self.ended.append(job)
        self._tell()
        return result

    @property
    def names(self) -> list[str]:
        """Of the jobs that began, in order."""
        return [job.name for job in self.jobs]

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a run to begin or end after which the condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._changed.wait()

    async def began(self, count: int) -> None:
        """Waits until so many have begun."""
        await self.until(lambda: len(self.jobs) >= count)


@contextlib.asynccontextmanager
async def served(queue: Queue, run: Any, **how: Any) -> AsyncIterator[asyncio.Event]:
    """The queue is served within the block; what is under way at its end is waited for."""
    told = asyncio.Event()
    options = {"lanes": LANES, "concurrency": 4, "is_worker": False, **how}
    task = asyncio.create_task(queue.serve(run, told, **options))
    try:
        yield told
    finally:
        told.set()
        await asyncio.wait_for(task, PATIENCE)


async def seen(queue: Queue, condition: Callable[[Any], bool]) -> Any:
    """The first view for which the condition holds: what is written after a run is written a moment later."""
    async with asyncio.timeout(PATIENCE):
        while not condition(view := await queue.view()):
            await asyncio.sleep(0.01)
    return view
