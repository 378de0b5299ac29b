"""Every store takes the same tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.memory_harness import MemoryHarness
from tests.contract.near_harness import NearHarness
from tests.contract.redis_harness import RedisHarness
from tests.sentinels import Sentinels
from tests.support import PATIENCE

Harness = MemoryHarness | RedisHarness | NearHarness


def make_harness(request: pytest.FixtureRequest, kind: str) -> Harness:
    """The harness of that kind of store, on the servers that tests share."""
    if kind == "memory":
        return MemoryHarness()
    if kind == "near":
        return NearHarness(request.getfixturevalue("redis_server"))
    if kind == "sentinel":
        sentinels: Sentinels = request.getfixturevalue("sentinels")
        return RedisHarness(sentinels.primary, sentinels.url)
    return RedisHarness(request.getfixturevalue("cluster" if kind == "cluster" else "redis_server"))


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes behind sentinels waits for a lease after the first connection of a namespace.

    So they are asked all the time. Neither one of them nor a node of a Cluster is stopped here, and a busy machine may keep them
    from answering for a while.
    """
    monkeypatch.setattr("rcache.stores.redis.sentinel.LEASE", 0.05)
    for module in ("sentinel", "cluster.routes", "cluster.threads"):
        monkeypatch.setattr(f"rcache.stores.redis.{module}.ASK_TIMEOUT", PATIENCE)


@pytest.fixture(params=["memory", "redis", "near", "sentinel", "cluster"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Makes stores of one kind, and closes them."""
    made = make_harness(request, request.param)
    yield made
    await made.close()
