"""Every queue takes the same tests."""

from __future__ import annotations

import secrets

import pytest

from rcache.clock import SystemClock
from rcache.queues.memory import MemoryQueue
from rcache.queues.redis import open_queue


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
async def queue(request):
    """An empty queue."""
    if request.param == "memory":
        yield MemoryQueue(SystemClock())
        return
    server = request.getfixturevalue(
        {"redis": "redis_server", "sentinel": "sentinels", "cluster": "cluster"}[request.param]
    )
    made = open_queue(server.url, f"test-{secrets.token_hex(6)}", SystemClock())
    yield made
    await made.aclose()
