"""Frees what purges killed, slice by slice: what a shard lists lies on other servers. No promise rests on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Any

from rcache.core.errors import BackendError
from rcache.stores.redis.cluster.routes import Leg, Routes
from rcache.stores.redis.cluster.slots import slot_of
from rcache.stores.redis.scripts import FREE, GATHER
from rcache.stores.redis.sweeper import SLICE, SLICE_TIMEOUT, SWEEPING_LASTS, Listening, tell


class ClusterSweeper:
    """At most one sweep at a time per loop, and of all processes in a shard. What one leaves, the next there takes up."""

    def __init__(self, routes: Routes, listening: Listening) -> None:
        self._routes = routes
        self._listening = listening
        self._asks = secrets.token_hex(8).encode()
        self._waiting: dict[tuple[bytes, bytes], None] = {}
        self._freed = 0
        self._task: asyncio.Task[int] | None = None

    def start(self, sweeps: Iterable[tuple[bytes, bytes]]) -> None:
        """Begins to sweep what these keys list (each with the one that tells who does), or lets the sweep under way do it."""
        self._waiting.update(dict.fromkeys(sweeps))
        if self._task is None and self._waiting:
            self._task = self._routes.loop.create_task(self._sweep())

    async def _sweep(self) -> int:
        self._freed = 0
        try:
            while self._waiting:
                sweeps = next(iter(self._waiting))
                del self._waiting[sweeps]
                while await self._slice(sweeps):
                    pass
        finally:
            self._task = None
        return self._freed

    async def _slice(self, sweeps: tuple[bytes, bytes]) -> bool:
        """Frees one slice; whether there may be more. What fails is left to the next purge, or to the TTL."""
        arguments = (b"%d" % SLICE, self._asks, b"%d" % SWEEPING_LASTS)
        taken = await self._carry([Leg(slot_of(sweeps[0]), GATHER.call(2, *sweeps, *arguments))])
        if isinstance(taken[0], BackendError) or not taken[0]:
            return False
        epoch, number, *entries = taken[0]
        told = self._listening()
        is_told = b"%d" % (told is not None)
        outcomes = await self._carry(
            [Leg(slot_of(entry), FREE.call(1, entry, epoch, number, is_told)) for entry in entries]
        )
        freed = [outcome for outcome in outcomes if not isinstance(outcome, BackendError) and outcome[0]]
        self._freed += len(freed)
        if told is not None and (told_of := [part for outcome in freed for part in outcome[1:]]):
            await tell(told, int(number), told_of)
        return True

    async def _carry(self, legs: list[Leg]) -> list[Any]:
        outcomes, _ = await self._routes.carry(legs, SLICE_TIMEOUT)
        return outcomes

    async def wait(self) -> int:
        """Returns when nothing is being swept: how many entries were freed."""
        task = self._task
        if task is None:
            return 0
        await asyncio.wait({task})
        return 0 if task.cancelled() else task.result()

    async def aclose(self) -> None:
        """Stops after the slice under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
