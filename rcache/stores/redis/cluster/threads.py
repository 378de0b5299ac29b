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
        node, is_asking, pause = self._topology.owner(leg.slot), False, FIRST_PAUSE
        outcome: BackendError | None = None
        for _ in range(HOPS):
            if node is None:
                self.learn()
                node = self._topology.owner(leg.slot)
            if node is None or time.monotonic() >= until:
                return outcome or self._topology.unknown(leg.slot)
            if not (probe or self._topology.admits(node)):
                return BackendError(OPEN)
            try:
                command = ASKING + leg.command if is_asking else leg.command
                reply = self._pipe(node).call(command, timeout, is_asking)
                if not is_refusal(reply):
                    self._topology.succeed(node)
                    return reply
                error: BaseException = refused(reply)
            except ERRORS as raised:
                error = raised
            asked, is_asking, outcome = node, False, failure(error)
            turn = turn_of(error, asked)
            if turn.heading is Heading.MOVED and turn.node is not None:
                self._topology.move(leg.slot, turn.node)
                node = turn.node
            elif turn.heading is Heading.ASK:
                node, is_asking = turn.node, True
            elif turn.heading is Heading.AGAIN:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                node = self._topology.owner(leg.slot)
            else:
                self.learn()
                node = self._topology.owner(leg.slot)
                if node == asked or turn.heading is Heading.NOWHERE:
                    if is_outage(error):
                        self._topology.fail(asked, str(outcome))
                    return outcome
        return outcome

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
