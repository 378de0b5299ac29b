"""Calls of one event loop to a Cluster: each goes to the node that serves its slot, and on to where it is sent.

Calls of the same turn to the same node travel as one pipeline, as they do to a single server: there is a `Pipe` per node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rcache.core.errors import BackendError
from rcache.ports import Budget
from rcache.stores.redis.address import Address
from rcache.stores.redis.cluster.redirects import (
    ASKING,
    HOPS,
    Goal,
    Heading,
    Pauses,
    failure,
    is_outage,
    is_refusal,
    refused,
    turn_of,
)
from rcache.stores.redis.cluster.slots import Node
from rcache.stores.redis.cluster.topology import OPEN, PLAN, Topology, UnknownError
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.pipe import Pipe
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.wire import Counters

ERRORS = (*DRIVER_ERRORS, BackendError)
ASK_TIMEOUT = 0.5  # seconds in which a node tells the plan of slots
ASKED_AT_ONCE = 3  # nodes


class Leg(NamedTuple):
    """A packed command, and the slot of its keys."""

    slot: int
    command: bytes


class Lane(NamedTuple):
    """The way of one event loop to one node."""

    node: Node
    pipe: Pipe


class Flight:
    """A leg under way."""

    __slots__ = ("began", "future", "lane", "leg")

    def __init__(self, leg: Leg, lane: Lane, future: asyncio.Future[Any], began: float) -> None:
        self.leg = leg
        self.lane = lane
        self.future = future
        self.began = began

    def spent(self) -> float:
        """Seconds of the loop's attention since it was sent."""
        return self.lane.pipe.attended() - self.began


class Routes:
    """The ways of one event loop to the nodes of a Cluster."""

    def __init__(self, topology: Topology, opening: Callable[[], Opening], counters: Counters) -> None:
        self.loop = asyncio.get_running_loop()
        self._topology = topology
        self._opening = opening
        self._counters = counters
        self._lanes: dict[Node, Lane] = {}
        self._learning: asyncio.Task[None] | None = None

    async def carry(self, legs: Sequence[Leg], left: float) -> tuple[list[Any], float]:
        """The outcome of each leg, which is a reply or a BackendError, and the seconds that it took."""
        flights = [self._send(leg, self._topology.owner(leg.slot), left) for leg in legs]
        outcomes, spent = [], 0.0
        for leg, flight in zip(legs, flights, strict=True):
            asked: Node | None = None
            if isinstance(flight, BackendError):
                error: BaseException = flight
            else:
                try:
                    outcomes.append(self._accepted(flight, await flight.future))
                    spent = max(spent, flight.spent())
                    continue
                except ERRORS as raised:
                    asked, error = flight.lane.node, raised
                    spent = max(spent, flight.spent())
            budget = Budget(left - spent)
            outcomes.append(await self._follow(leg, asked, error, budget))
            spent = left - budget.left
        return outcomes, spent

    def _accepted(self, flight: Flight, reply: Any) -> Any:
        if is_refusal(reply):
            raise refused(reply)
        self._topology.succeed(flight.lane.node)
        return reply

    def _send(self, leg: Leg, node: Node | None, left: float, is_asking: bool = False) -> Flight | BackendError:
        if left <= 0:
            return BackendError("no time is left for Redis")
        if node is None:
            return self._topology.unknown(leg.slot)
        lane = self._lanes.get(node)
        if lane is None:
            lane = self._lane(node)
        if not self._topology.admits(node):
            return BackendError(OPEN)
        command = ASKING + leg.command if is_asking else leg.command
        began = lane.pipe.attended()
        return Flight(leg, lane, lane.pipe.call(command, began + left, is_asking), began)

    def _lane(self, node: Node) -> Lane:
        pipe = Pipe(self._topology.address(node), self._opening(), self._counters)
        lane = self._lanes[node] = Lane(node, pipe)
        return lane

    async def _follow(self, leg: Leg, asked: Node | None, error: BaseException, budget: Budget) -> Any:
        """The outcome of the leg, which goes where errors send it as long as there is time."""
        pauses = Pauses()
        for _ in range(HOPS):
            goal = await self._goal(leg, asked, error, budget, pauses)
            if isinstance(goal, BackendError):
                return goal
            flight = self._send(leg, goal.node, budget.left, goal.is_asking)
            if not isinstance(flight, Flight):
                return flight if asked is None else failure(error)
            asked = flight.lane.node
            try:
                return self._accepted(flight, await flight.future)
            except ERRORS as raised:
                error = raised
            finally:
                budget.spend(flight.spent())
        return failure(error)

    async def _goal(
        self, leg: Leg, asked: Node | None, error: BaseException, budget: Budget, pauses: Pauses
    ) -> Goal | BackendError:
        """Where the error sends the leg; the failure where that is nowhere."""
        if asked is None:
            if not isinstance(error, UnknownError):  # a breaker is open, or there is no time left
                return failure(error)
            if self._topology.owner(leg.slot) is None:  # else somebody has learned it meanwhile
                await self._learned(budget)
            return Goal(self._topology.owner(leg.slot))
        turn = turn_of(error, asked)
        if turn.heading is Heading.MOVED:
            self._topology.move(leg.slot, turn.node)
            self.learn()
            return Goal(turn.node)
        if turn.heading is Heading.ASK:
            return Goal(turn.node, is_asking=True)
        if turn.heading is Heading.AGAIN:
            pause = min(pauses.next(), max(budget.left, 0.0))
            await asyncio.sleep(pause)
            budget.spend(pause)
            return Goal(self._topology.owner(leg.slot))
        if turn.heading is Heading.ELSEWHERE:
            await self._learned(budget)
            if self._topology.owner(leg.slot) != asked:
                return Goal(self._topology.owner(leg.slot))
        else:
            self.learn()
        return self._failed(asked, error)

    def _failed(self, node: Node, error: BaseException) -> BackendError:
        failed = failure(error)
        if is_outage(error):
            self._topology.fail(node, str(failed))
        return failed

    # Learning who serves what

    def learn(self) -> asyncio.Task[None]:
        """Begins to ask for the plan, or lets the question under way go on."""
        if self._learning is None or self._learning.done():
            self._learning = self.loop.create_task(self._learn())
        return self._learning

    async def _learned(self, budget: Budget) -> None:
        """Returns once the plan was learned, or the time is over."""
        began = self.loop.time()
        await asyncio.wait({self.learn()}, timeout=max(budget.left, 0.0))
        budget.spend(self.loop.time() - began)

    async def _learn(self) -> None:
        informants = self._topology.informants()
        while informants:
            asked = [asyncio.ensure_future(self._ask(informant)) for informant in informants[:ASKED_AT_ONCE]]
            informants = informants[ASKED_AT_ONCE:]
            try:
                for answered in asyncio.as_completed(asked):
                    if await answered:
                        await self._close_others()
                        return
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, informant: Address) -> bool:
        connection = await informant.connection()
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command([PLAN], check_health=False)
                reply = await connection.read_response(disable_decoding=True)
            self._topology.learn(reply, informant)
        except ERRORS as error:
            self._topology.miss(informant, error)
            return False
        finally:
            await connection.disconnect(nowait=True)
        return True

    async def _close_others(self) -> None:
        """Lets go of nodes that are no part of the Cluster any more, unless something is under way there."""
        for node, lane in list(self._lanes.items()):
            if node not in self._topology.plan.nodes and lane.pipe.is_idle:
                del self._lanes[node]
                await lane.pipe.aclose()

    # Ending

    async def aclose(self) -> None:
        """Closes all connections; whoever still waits gets an error."""
        if self._learning is not None:
            self._learning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._learning
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.pipe.aclose()

    def discard(self) -> None:
        """Closes the sockets of a loop that was closed before it could."""
        for lane in self._lanes.values():
            lane.pipe.discard()
        self._lanes = {}
