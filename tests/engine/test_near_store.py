"""What this process purges, it does not serve from its own memory either, before it has read of it in the log."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rcache.clock import SystemClock
from rcache.core.log import Record
from rcache.engine.near_store import NearStore
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import TIMEOUT, Question, begin, budget, fill
from tests.servers import RedisServer
from tests.support import PATIENCE

BOOK = Question("/book/1")
LEASE = 3600.0


class Slow:
    """A way to the log by which nothing comes."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._closed = threading.Event()

    def read(self, after: int, wait: float) -> list[Record]:
        """Nothing, for as long as the node lives."""
        self._closed.wait()
        return []

    def close(self) -> None:
        """Ends the reading."""
        self._closed.set()
        self._log.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture
async def near(redis_server: RedisServer) -> AsyncIterator[NearStore]:
    """A node that hears nothing of what happens elsewhere, and keeps an entry."""
    harness = RedisHarness(redis_server)
    behind: Any = await harness.make()
    settings: dict[str, Any] = {"max_bytes": 1 << 20, "lease": LEASE, "is_strict": False, "clock": SystemClock()}
    node = NearStore(behind, lambda: Slow(behind.log()), **settings)
    await begin(node, BOOK)
    assert node.follow().joined.wait(PATIENCE)
    await fill(node, BOOK, b"old", "book:1", retention=100.0)
    await node.lookup(BOOK, budget())
    assert node.at_hand(BOOK.key) is not None
    yield node
    node.close()
    await harness.close()


@pytest.mark.parametrize("way", ["soften", "soften_sync", "purge", "purge_sync", "flush_sync"])
async def test_what_a_node_purges_it_drops_by_itself(near: NearStore, way: str) -> None:
    purging = getattr(near, way)(*([] if way == "flush_sync" else [["book:1"]]), TIMEOUT)
    if not way.endswith("sync"):
        await purging
    assert near.at_hand(BOOK.key) is None
