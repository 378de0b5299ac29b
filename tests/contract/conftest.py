"""Every store takes the same tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.memory_harness import MemoryHarness
from tests.contract.near_harness import NearHarness
from tests.contract.redis_harness import RedisHarness

Harness = MemoryHarness | RedisHarness | NearHarness


@pytest.fixture(params=["memory", "redis", "near"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Makes stores of one kind, and closes them."""
    if request.param == "memory":
        made: Harness = MemoryHarness()
    elif request.param == "near":
        made = NearHarness(request.getfixturevalue("redis_server"))
    else:
        made = RedisHarness(request.getfixturevalue("redis_server"))
    yield made
    await made.close()
