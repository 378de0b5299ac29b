"""A store whose holds and purges fail, wait and come through as a test says: the embedded store behind a line that can be cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.core.schemes import Schemes
from rcache.stores.memory import MemoryStore

PATIENCE = 30.0  # seconds until what never happens is an error


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
        self.renewing = threading.Event()
        self.may_renew = threading.Event()  # for holds of a thread
        self.may_renew.set()
        self.renewed = threading.Semaphore(0)
        self.released = threading.Semaphore(0)
        self.watchers: list[Callable[[], None]] = []

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        self.attempts.append(tuple(tags))
        self.was_sent.set()
        await self.may_land.wait()
        return self._purge(tags, timeout, transaction, tables)

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        self.attempts.append(tuple(tags))
        self.arrived.release()
        assert self.may_go.wait(PATIENCE)
        return self._purge(tags, timeout, transaction, tables)

    def _purge(self, tags: Sequence[str], timeout: float, transaction: str, tables: Sequence[str]) -> Purge:
        if self.is_cut:
            raise self.failure
        purge = super().purge_sync(tags, timeout, transaction, tables)
        self.landed.append(tuple(tags))
        return purge

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        self.arrived.release()
        if self.is_cut:
            raise self.failure
        self.landed.append(("everything",))
        return super().flush_sync(timeout)

    async def hold(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        self.was_sent.set()
        await self.may_land.wait()
        return self._hold(tags, transaction, lasts, timeout, tables)

    def hold_sync(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        self.renewing.set()
        assert self.may_renew.wait(PATIENCE)
        told = self._hold(tags, transaction, lasts, timeout, tables)
        self.renewed.release()
        return told

    def _hold(
        self, tags: Sequence[str], transaction: str, lasts: float, timeout: float, tables: Sequence[str]
    ) -> Schemes:
        if self.is_cut:
            raise self.failure
        return super().hold_sync(tags, transaction, lasts, timeout, tables)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        if self.is_cut:
            raise self.failure
        super().release_sync(tags, transaction, timeout)
        self.released.release()

    @property
    def held(self) -> set[str]:
        """The tags that anybody holds."""
        return {tag for guard in self._guards.values() for tag in guard.holds}

    def forget(self) -> None:
        """What this process knew of the store may be lost."""
        for changed in self.watchers:
            changed()

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        self.watchers.append(changed)

    def attempted(self, times: int = 1) -> None:
        """Returns when so many more attempts of a thread have begun."""
        for _ in range(times):
            assert self.arrived.acquire(timeout=PATIENCE)
