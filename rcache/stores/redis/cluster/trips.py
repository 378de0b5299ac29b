"""Trips to a Cluster: several at once, each within its time, from whatever loop or thread asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rcache.core.errors import BackendError
from rcache.ports import Budget
from rcache.stores.redis.address import Address
from rcache.stores.redis.cluster.routes import Leg, Routes
from rcache.stores.redis.cluster.sweeper import ClusterSweeper
from rcache.stores.redis.cluster.threads import SyncRoutes
from rcache.stores.redis.cluster.topology import Topology
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.sweeper import Listening
from rcache.stores.redis.wire import Counters

_INHERITED: list[object] = []  # connections of a parent process: closing them would disturb its event loop


class ClusterTrips:
    """Every way of one store to its Cluster. Opens by itself, in each loop and thread that uses it."""

    def __init__(
        self,
        seeds: tuple[Address, ...],
        opening: Callable[[], Opening],
        sweeps: Sequence[tuple[bytes, bytes]],
        listening: Listening,
    ) -> None:
        """`sweeps` are the keys that list what is to be swept, by shard, each with the one that tells who does."""
        self.counters = Counters()
        self.topology = Topology(seeds)
        self._opening = opening
        self._sweeps = sweeps
        self._listening = listening
        self._start_closed()

    def _start_closed(self) -> None:
        self._routes: dict[asyncio.AbstractEventLoop, Routes] = {}
        self._sweepers: dict[asyncio.AbstractEventLoop, ClusterSweeper] = {}
        self.sync = SyncRoutes(self.topology, self._opening, self.counters)

    @property
    def is_down(self) -> bool:
        """The breaker of a node that serves slots is open."""
        return self.topology.is_down

    async def attempt(self, legs: Sequence[Leg], budget: Budget) -> list[Any]:
        """The outcome of each leg, a reply or a BackendError, within what is left of the time, which is less afterwards."""
        outcomes, spent = await self._route().carry(legs, budget.left)
        budget.spend(spent)
        return outcomes

    async def spend(self, legs: Sequence[Leg], budget: Budget) -> list[Any]:
        """The replies, within what is left of the request's time, which is less afterwards."""
        return replies(await self.attempt(legs, budget))

    def attempt_sync(self, legs: Sequence[Leg], timeout: float, probe: bool) -> list[Any]:
        """`attempt`, from any thread, with no event loop. A probe goes out even while a breaker is open."""
        return self.sync.carry(legs, timeout, probe)

    def sweep(self, shards: Iterable[int]) -> None:
        """Begins to free, in the background of the running loop, what purges killed in these shards."""
        routes = self._route()
        sweeper = self._sweepers.get(routes.loop)
        if sweeper is None:
            sweeper = self._sweepers[routes.loop] = ClusterSweeper(routes, self._listening)
        sweeper.start([self._sweeps[shard] for shard in shards])

    async def swept(self) -> int:
        """Returns when this loop has freed the bytes of what it purged: how many entries."""
        sweeper = self._sweepers.get(asyncio.get_running_loop())
        return await sweeper.wait() if sweeper is not None else 0

    def _route(self) -> Routes:
        loop = asyncio.get_running_loop()
        routes = self._routes.get(loop)
        if routes is None:
            self._forget_closed_loops()
            routes = self._routes[loop] = Routes(self.topology, self._opening, self.counters)
        return routes

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and locks may be held by threads that are not here."""
        _INHERITED.append((self._routes, self._sweepers, self.sync))
        self.topology.forget_parent()
        self._start_closed()

    def _forget_closed_loops(self) -> None:
        for loop, routes in list(self._routes.items()):
            if loop.is_closed():
                self._routes.pop(loop, None)
                self._sweepers.pop(loop, None)
                routes.discard()

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop, and of what belongs to none. It opens again when it is used."""
        loop = asyncio.get_running_loop()
        sweeper, routes = self._sweepers.pop(loop, None), self._routes.pop(loop, None)
        if sweeper is not None:
            await sweeper.aclose()
        if routes is not None:
            await routes.aclose()
        self.close()

    def close(self) -> None:
        """`aclose` where no loop runs. Connections of a running loop end with it."""
        self.sync.close()
        self._forget_closed_loops()


def replies(outcomes: list[Any]) -> list[Any]:
    """The outcomes, if all of them are replies; else raises the first that is none."""
    for outcome in outcomes:
        if isinstance(outcome, BackendError):
            raise outcome
    return outcomes
