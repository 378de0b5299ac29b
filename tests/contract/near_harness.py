"""The Redis harness with a strict near cache before each store: whatever a store promises, it promises too."""

from __future__ import annotations

from typing import Any

from rcache.clock import SystemClock
from rcache.engine.near_store import NearStore
from rcache.ports import Store
from tests.contract.redis_harness import RedisHarness
from tests.servers import RedisServer
from tests.support import PATIENCE

LEASE = 0.2  # seconds: short, since the first purge of a namespace waits for one
SIZE = 64 * 1024 * 1024


class NearHarness:
    """Makes near caches on a server. What a fault does to the data, it does to what is kept of it."""

    has_hand_clock = False

    def __init__(self, server: RedisServer) -> None:
        self.redis = RedisHarness(server)
        self.nodes: list[NearStore] = []

    async def make(self, **settings: Any) -> Store:
        """A store, which the methods below are about from now on."""
        await self.redis.make(is_strict=True, near_lease=LEASE, **settings)
        self.nodes = []
        return await self.second()

    async def second(self) -> Store:
        """Another node on the same data."""
        behind = await self.redis.second()
        node = NearStore(behind, behind.log, max_bytes=SIZE, lease=LEASE, is_strict=True, clock=SystemClock())
        self.nodes.append(node)
        node.follow()
        return node

    def joined(self) -> None:
        """Returns when every node follows the log."""
        for node in self.nodes:
            assert node.follow().joined.wait(PATIENCE)

    async def close(self) -> None:
        """Closes every node."""
        for node in self.nodes:
            node._stop()
        await self.redis.close()

    def _forget(self) -> None:
        for node in self.nodes:
            node.near.doubt()

    async def lose_guard(self, tag: str) -> None:
        """The guard that judges `tag` is gone."""
        await self.redis.lose_guard(tag)
        self._forget()

    async def new_epoch(self) -> None:
        """The data is that of another server's history."""
        await self.redis.new_epoch()
        self._forget()

    async def forget_everything(self) -> None:
        """FLUSHALL, as far as this namespace goes."""
        await self.redis.forget_everything()
        self._forget()

    async def advance(self, seconds: float) -> None:
        """As if that time had passed since everything was written."""
        await self.redis.advance(seconds)
        self._forget()
