"""Frees what purges killed, slice by slice, in the background. No promise rests on it."""

from __future__ import annotations

import asyncio
import contextlib

from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.pipe import Pipe
from rcache.stores.redis.scripts import SWEEP

SLICE = 200  # entries: about a millisecond of Redis' time
SLICE_TIMEOUT = 5.0  # seconds
SWEEPS_WAITING = 10_000  # registries; those beyond are left to their TTL
SWEEPS_LAST = 86_400_000  # milliseconds that the list of them outlives the last purge


class Sweeper:
    """At most one sweep at a time per loop. What one leaves, the next purge's takes up, in whatever process."""

    def __init__(self, pipe: Pipe, sweeps: bytes) -> None:
        self._pipe = pipe
        self._sweeps = sweeps
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to sweep, or lets the sweep under way go on."""
        if self._task is None:
            self._task = self._pipe.loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            command = SWEEP.call(1, self._sweeps, b"%d" % SLICE)
            while await self._pipe.call(command, self._pipe.attended() + SLICE_TIMEOUT):
                pass
        except (*DRIVER_ERRORS, driver.RedisError, BackendError):
            pass  # left to the next purge, or to the TTL
        finally:
            self._task = None

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
