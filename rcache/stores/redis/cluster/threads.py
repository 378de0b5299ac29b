"""Calls to a Cluster without an event loop: one after the other, each to where its slot is served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rcache.core.errors import BackendError
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
from rcache.stores.redis.cluster.routes import ASK_TIMEOUT, ERRORS, Leg
from rcache.stores.redis.cluster.slots import Node
from rcache.stores.redis.cluster.topology import OPEN, PLAN, Topology
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.sync import SyncPipe
from rcache.stores.redis.wire import Counters


class SyncRoutes:
    """The ways to the nodes of a Cluster for code without an event loop. Safe in threads; not shared across a fork."""

    def __init__(self, topology: Topology, opening: Callable[[], Opening], counters: Counters) -> None:
        self._topology = topology
        self._opening = opening
        self._counters = counters
        self._lock = threading.Lock()
        self._pipes: dict[Node, SyncPipe] = {}

    def carry(self, legs: Sequence[Leg], timeout: float, probe: bool) -> list[Any]:
        """The outcome of each leg, which is a reply or a BackendError. Probes go out even while a breaker is open."""
        until = time.monotonic() + timeout
        return [self._carry(leg, timeout, until, probe) for leg in legs]

    def _carry(self, leg: Leg, timeout: float, until: float, probe: bool) -> Any:
        goal, pauses = Goal(self._topology.owner(leg.slot)), Pauses()
        failed: BackendError | None = None
        for _ in range(HOPS):
            if goal.node is None:
                self.learn()
                goal = Goal(self._topology.owner(leg.slot))
            if goal.node is None or time.monotonic() >= until:
                return failed or self._topology.unknown(leg.slot)
            if not (probe or self._topology.admits(goal.node)):
                return BackendError(OPEN)
            try:
                return self._asked(leg, goal.node, timeout, goal.is_asking)
            except ERRORS as error:
                failed = failure(error)
                turned = self._goal(leg, goal.node, error, pauses)
            if turned is None:
                return failed
            goal = turned
        return failed

    def _asked(self, leg: Leg, node: Node, timeout: float, is_asking: bool) -> Any:
        command = ASKING + leg.command if is_asking else leg.command
        reply = self._pipe(node).call(command, timeout, is_asking)
        if is_refusal(reply):
            raise refused(reply)
        self._topology.succeed(node)
        return reply

    def _goal(self, leg: Leg, asked: Node, error: BaseException, pauses: Pauses) -> Goal | None:
        """Where the error of the node `asked` sends the leg; None where that is nowhere."""
        turn = turn_of(error, asked)
        if turn.heading is Heading.MOVED:
            self._topology.move(leg.slot, turn.node)
            return Goal(turn.node)
        if turn.heading is Heading.ASK:
            return Goal(turn.node, is_asking=True)
        if turn.heading is Heading.AGAIN:
            time.sleep(pauses.next())
            return Goal(self._topology.owner(leg.slot))
        self.learn()
        owner = self._topology.owner(leg.slot)
        if turn.heading is Heading.ELSEWHERE and owner != asked:
            return Goal(owner)
        if is_outage(error):
            self._topology.fail(asked, str(failure(error)))
        return None

    def _pipe(self, node: Node) -> SyncPipe:
        with self._lock:
            pipe = self._pipes.get(node)
            if pipe is None:
                address = self._topology.address(node)
                pipe = self._pipes[node] = SyncPipe(address, self._opening, self._counters)
            return pipe

    def learn(self) -> None:
        """Asks for the plan of slots, one node after the other until one tells it, and lets go of nodes that are gone."""
        if any(_ask(self._topology, informant) for informant in self._topology.informants()):
            with self._lock:
                gone = [node for node in self._pipes if node not in self._topology.plan.nodes]
                pipes = [self._pipes.pop(node) for node in gone]
            for pipe in pipes:
                pipe.close()

    def close(self) -> None:
        """Closes what is idle; what is under way closes nothing and may be used again."""
        with self._lock:
            pipes = list(self._pipes.values())
        for pipe in pipes:
            pipe.close()


def _ask(topology: Topology, informant: Address) -> bool:
    connection = informant.sync_connection(ASK_TIMEOUT)
    try:
        connection.connect()  # type: ignore[no-untyped-call]
        connection.send_packed_command([PLAN])  # type: ignore[no-untyped-call]
        topology.learn(connection.read_response(disable_decoding=True), informant)
    except ERRORS as error:
        topology.miss(informant, error)
        return False
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
    return True
