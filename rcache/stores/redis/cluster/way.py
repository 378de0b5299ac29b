"""The way to the one node that serves a slot, for a connection that is kept: the reader of the log."""

from __future__ import annotations

from typing import Any

import redis
from redis import asyncio as aredis
from redis import exceptions as driver

from rcache.stores.redis.cluster.threads import SyncRoutes
from rcache.stores.redis.cluster.topology import Topology


class SlotWay:
    """Leads to whoever serves the slot when a connection is made."""

    is_sure = True
    is_aging = False
    reign = b""

    def __init__(self, topology: Topology, routes: SyncRoutes, slot: int) -> None:
        self.generation = 0
        self._topology = topology
        self._routes = routes
        self._slot = slot

    async def connection(self) -> aredis.Connection:
        """A connection for the running loop, not yet open."""
        node = self._topology.owner(self._slot)
        if node is None:
            raise driver.ConnectionError(str(self._topology.unknown(self._slot)))
        return await self._topology.address(node).connection()

    def sync_connection(self, timeout: float) -> redis.Connection:
        """A connection for threads, not yet open. Each asks anew who serves the slot: connections are rare."""
        self._routes.learn()
        node = self._topology.owner(self._slot)
        if node is None:
            raise driver.ConnectionError(str(self._topology.unknown(self._slot)))
        return self._topology.address(node).sync_connection(timeout)

    def doubt(self) -> None:
        """Another node serves the slot by now."""
        self.generation += 1

    def unsettled(self) -> float:
        """Nodes that were masters answer with redirections as soon as they know."""
        return 0.0

    def greeting(self) -> bytes | None:
        """None: whoever serves the slot is the one."""
        return None

    def greeted(self, reply: Any) -> None:
        """There is no greeting."""

    async def confirm(self) -> None:
        """Each reply tells by itself."""

    def confirm_sync(self, timeout: float) -> None:
        """Each reply tells by itself."""
