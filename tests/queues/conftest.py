"""Every queue takes the same tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from rcache.clock import SystemClock
from rcache.ports import Queue
from rcache.queues.memory import MemoryQueue
from rcache.queues.redis import open_queue


@pytest.fixture(params=["memory", "redis"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    """An empty queue."""
    if request.param == "memory":
        yield MemoryQueue(SystemClock())
        return
    server = request.getfixturevalue("redis_server")
    made = open_queue(server.url, f"test-{secrets.token_hex(6)}", SystemClock())
    yield made
    await made.aclose()
