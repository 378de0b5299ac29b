"""A store whose purges fail, wait and come through as a test says: the embedded store behind a line that can be cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.stores.memory import MemoryStore

PATIENCE = 10.0  # seconds until what never happens is an error


class FaultyStore(MemoryStore):
    """Purges go through only while `is_cut` is false; each attempt is noted, and may be held up."""

    is_down = False

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.failure: Exception = BackendError("the line is cut")
        self.attempts: list[tuple[str, ...]] = []
        self.landed: list[tuple[str, ...]] = []
        self.arrived = threading.Semaphore(0)  # one for each attempt of a thread
        self.may_go = threading.Event()
        self.may_go.set()
        self.may_land = asyncio.Event()  # for attempts of the event loop
        self.may_land.set()
        self.was_sent = asyncio.Event()

    async def purge(self, tags: Sequence[str], timeout: float) -> Purge:
        self.attempts.append(tuple(tags))
        self.was_sent.set()
        await self.may_land.wait()
        return self._purge(tags, timeout)

    def purge_sync(self, tags: Sequence[str], timeout: float, *, probe: bool = False) -> Purge:
        self.attempts.append(tuple(tags))
        self.arrived.release()
        assert self.may_go.wait(PATIENCE)
        return self._purge(tags, timeout)

    def _purge(self, tags: Sequence[str], timeout: float) -> Purge:
        if self.is_cut:
            raise self.failure
        purge = super().purge_sync(tags, timeout)
        self.landed.append(tuple(tags))
        return purge

    def attempted(self, times: int = 1) -> None:
        """Returns when so many more attempts of a thread have begun."""
        for _ in range(times):
            assert self.arrived.acquire(timeout=PATIENCE)
