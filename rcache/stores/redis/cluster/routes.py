"""Calls of one event loop to a Cluster: each goes to the node that serves its slot, and on to where it is sent.

Calls of the same turn to the same node travel as one pipeline, as they do to a single server: there is a `Pipe` per node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rcache.core.errors import BackendError
from rcache.stores.redis.address import Address
from rcache.stores.redis.cluster.redirects import (
    ASKING,
    FIRST_PAUSE,
    HOPS,
    LONGEST_PAUSE,
    Heading,
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
            if isinstance(flight, Flight):
                try:
                    reply = await flight.future
                    spent = max(spent, flight.spent())
                    if not (reply.__class__ is list and is_refusal(reply)):
                        self._topology.succeed(flight.lane.node)
                        outcomes.append(reply)
                        continue
                    error: BaseException = refused(reply)
                except ERRORS as raised:
                    error = raised
                    spent = max(spent, flight.spent())
                outcome, more = await self._follow(leg, flight.lane.node, error, left - spent)
            else:
                outcome, more = await self._follow(leg, None, flight, left - spent)
            spent += more
            outcomes.append(outcome)
        return outcomes, spent

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

    async def _follow(self, leg: Leg, asked: Node | None, error: BaseException, left: float) -> tuple[Any, float]:
        """Goes where errors send the leg, as long as there is time; its outcome, and the seconds that it took."""
        pause, spent = FIRST_PAUSE, 0.0
        for _ in range(HOPS):
            node, is_asking = self._topology.owner(leg.slot), False
            turn = turn_of(error, asked) if asked is not None else None
            if turn is None:
                if not isinstance(error, UnknownError):  # a breaker is open, or there is no time left
                    return error, spent
                if node is None:  # else somebody has learned it meanwhile
                    spent += await self._learned(left - spent)
                    node = self._topology.owner(leg.slot)
            elif turn.heading is Heading.MOVED and turn.node is not None:
                self._topology.move(leg.slot, turn.node)
                self.learn()
                node = turn.node
            elif turn.heading is Heading.ASK:
                node, is_asking = turn.node, True
            elif turn.heading is Heading.AGAIN:
                await asyncio.sleep(min(pause, max(left - spent, 0.0)))
                spent += pause
                pause = min(2 * pause, LONGEST_PAUSE)
            elif turn.heading is Heading.ELSEWHERE and asked is not None:
                spent += await self._learned(left - spent)
                node = self._topology.owner(leg.slot)
                if node == asked:
                    return self._failed(asked, error), spent
            elif asked is not None:
                self.learn()
                return self._failed(asked, error), spent
            flight = self._send(leg, node, left - spent, is_asking)
            if not isinstance(flight, Flight):
                return (flight if asked is None else failure(error)), spent
            asked = flight.lane.node
            try:
                reply = await flight.future
                if not is_refusal(reply):
                    self._topology.succeed(flight.lane.node)
                    return reply, spent + flight.spent()
                error = refused(reply)
            except ERRORS as raised:
                error = raised
            spent += flight.spent()
        return failure(error), spent

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

    async def _learned(self, left: float) -> float:
        """Returns once the plan was learned, or the time is over; the seconds that it took."""
        began = self.loop.time()
        await asyncio.wait({self.learn()}, timeout=max(left, 0.0))
        return self.loop.time() - began

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
