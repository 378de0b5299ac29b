"""Frees what purges killed, slice by slice, in the background. No promise rests on it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence

from redis import exceptions as driver

from rcache import logs
from rcache.core.errors import BackendError
from rcache.core.keys import Carrier, Key
from rcache.ports import Told
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.pipe import Pipe
from rcache.stores.redis.scripts import SWEEP

SLICE = 200  # entries: about a millisecond of Redis' time
SLICE_TIMEOUT = 5.0  # seconds
SWEEPING_LASTS = 15_000  # milliseconds for which nobody else sweeps, from each slice on
SWEEPS_WAITING = 10_000  # registries; those beyond are left to their TTL
SWEEPS_LAST = 86_400_000  # milliseconds that the list of them outlives the last purge

Listening = Callable[[], Told | None]
"""Who is to hear of what is freed, at this moment."""


class Sweeper:
    """At most one sweep at a time per loop, and of all processes. What one leaves, the next purge's takes up, wherever that is."""

    def __init__(self, pipe: Pipe, sweeps: bytes, sweeping: bytes, listening: Listening) -> None:
        self._pipe = pipe
        self._keys = sweeps, sweeping
        self._listening = listening
        self._asks = secrets.token_hex(8).encode()
        self._task: asyncio.Task[int] | None = None

    def start(self) -> None:
        """Begins to sweep, or lets the sweep under way go on."""
        if self._task is None:
            self._task = self._pipe.loop.create_task(self._sweep())

    async def _sweep(self) -> int:
        freed, more = 0, 1
        try:
            while more == 1:
                told = self._listening()
                arguments = (b"%d" % SLICE, self._asks, b"%d" % SWEEPING_LASTS, b"%d" % (told is not None))
                command = SWEEP.call(2, *self._keys, *arguments)
                more, count, number, *told_of = await self._pipe.call(command, self._pipe.attended() + SLICE_TIMEOUT)
                freed += count
                if told is not None and told_of:
                    await tell(told, int(number), told_of)
        except (*DRIVER_ERRORS, driver.RedisError, BackendError):
            pass  # left to the next purge, or to the TTL
        finally:
            self._task = None
        return freed

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


async def tell(told: Told, number: int, told_of: Sequence[bytes]) -> None:
    """Tells of entries by their keys and variants, in turns. What cannot be read is nothing to be told of."""
    carriers = []
    for material, variant in zip(told_of[::2], told_of[1::2], strict=True):
        with contextlib.suppress(ValueError):
            carriers.append(Carrier(Key.read(material), variant))
    try:
        await told(number, carriers)
    except Exception:
        logs.SWEPT_UNTOLD.tell(exc_info=True)
