"""Frees what purges killed, slice by slice: what a shard lists lies on other servers. No promise rests on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from rcache.core.errors import BackendError
from rcache.stores.redis.cluster.routes import Leg, Routes
from rcache.stores.redis.cluster.slots import slot_of
from rcache.stores.redis.scripts import FREE, GATHER
from rcache.stores.redis.sweeper import SLICE, SLICE_TIMEOUT


class ClusterSweeper:
    """At most one sweep at a time per loop. What one leaves, the next of the same shard takes up, in whatever process."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._waiting: dict[bytes, None] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, sweeps: Iterable[bytes]) -> None:
        """Begins to sweep what these keys list, or lets the sweep under way do it."""
        self._waiting.update(dict.fromkeys(sweeps))
        if self._task is None and self._waiting:
            self._task = self._routes.loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            while self._waiting:
                sweeps = next(iter(self._waiting))
                del self._waiting[sweeps]
                while await self._slice(sweeps):
                    pass
        finally:
            self._task = None

    async def _slice(self, sweeps: bytes) -> bool:
        """Frees one slice; whether there may be more. What fails is left to the next purge, or to the TTL."""
        taken = await self._carry([Leg(slot_of(sweeps), GATHER.call(1, sweeps, b"%d" % SLICE))])
        if isinstance(taken[0], BackendError) or not taken[0]:
            return False
        epoch, number, *entries = taken[0]
        await self._carry([Leg(slot_of(entry), FREE.call(1, entry, epoch, number)) for entry in entries])
        return True

    async def _carry(self, legs: list[Leg]) -> list[Any]:
        outcomes, _ = await self._routes.carry(legs, SLICE_TIMEOUT)
        return outcomes

    async def wait(self) -> None:
        """Returns when nothing is being swept."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)

    async def aclose(self) -> None:
        """Stops after the slice under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
