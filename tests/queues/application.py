"""An application whose jobs write down, in the Redis of its queue, that they ran."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
from starlette.applications import Starlette

from rcache import Cache, CacheMiddleware, job, scheduled
from rcache.queues.redis import lane

URL = os.environ["RCACHE_URL"]
NAMESPACE = os.environ["TEST_NAMESPACE"]
lane.LEASE = float(os.environ.get("TEST_LEASE", lane.LEASE))  # type: ignore[misc]

client = redis.asyncio.from_url(URL, protocol=2)
app = CacheMiddleware(Starlette(), cache=Cache(URL, namespace=NAMESPACE))


async def write(name: str, *values: object) -> None:
    """Appends a line that a test reads; what it is told cannot be lost with a connection."""
    line = " ".join(map(str, (os.getpid(), time.time(), *values)))
    await _lasting(lambda: client.rpush(f"{NAMESPACE}:{name}", line))


async def _lasting(ask: Callable[[], Awaitable[Any]]) -> Any:
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            return await ask()
        await asyncio.sleep(0.1)


@job(name="note")
async def note(number: int) -> None:
    """Ends at once."""
    await write("note", number)


@job(name="sleep")
async def sleep(seconds: float) -> None:
    """Waits, as for a mail server."""
    await asyncio.sleep(seconds)


@job(name="late")
async def late(added: float) -> None:
    """Tells how long it took to begin."""
    await write("late", time.time() - added)


@job(name="gated")
async def gated(number: int) -> None:
    """Goes on once the test has opened the gate."""
    await write("began", number)
    while not await _lasting(lambda: client.exists(f"{NAMESPACE}:gate")):
        await asyncio.sleep(0.02)
    await write("ended", number)


if "TEST_TICKS" in os.environ:

    @scheduled(every="1s", name="tick")
    async def tick() -> None:
        """Once a second."""
        await write("tick")
