"""What a store knows of its Cluster: shared by all event loops and threads, and never more than a hint.

A plan that is out of date costs a redirection: a node that does not serve a slot says who does.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from rcache.core.errors import BackendError
from rcache.stores.redis.address import Address
from rcache.stores.redis.breaker import Breaker
from rcache.stores.redis.cluster.slots import UNKNOWN, Node, Plan, read_plan
from rcache.stores.redis.failures import translated
from rcache.stores.redis.scripts import pack

PLAN = pack((b"CLUSTER", b"SLOTS"))
OPEN = "a node of the Cluster did not answer lately; it is tried again soon"


class UnknownError(BackendError):
    """Nobody is known to serve a slot."""


class Topology:
    """Nodes, the plan of slots, and a breaker for each node: where one is gone, the others still serve."""

    def __init__(self, seeds: tuple[Address, ...]) -> None:
        self.plan = UNKNOWN
        self._seeds = seeds
        self._reasons: dict[str, str] = {}
        self._start_closed()

    def _start_closed(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[Node, Address] = {}
        self._breakers: dict[Node, Breaker] = {}

    def forget_parent(self) -> None:
        """In a forked child: locks may be held by threads that are not here."""
        self._start_closed()

    @property
    def is_down(self) -> bool:
        """Some of the data cannot be reached."""
        masters = self.plan.masters
        return any(breaker.is_open for node, breaker in list(self._breakers.items()) if node in masters)

    def owner(self, slot: int) -> Node | None:
        """Who serves the slot, as far as is known."""
        return self.plan.owners[slot]

    def unknown(self, slot: int) -> UnknownError:
        """The error that nobody is known to serve the slot, and why not."""
        told = "; ".join(f"{place}: {reason}" for place, reason in list(self._reasons.items()))
        return UnknownError(f"no node of the Cluster tells who serves slot {slot} ({told or 'they leave it out'})")

    def address(self, node: Node) -> Address:
        """The way into a node: that of the seeds."""
        address = self._addresses.get(node)
        if address is None:
            address = self._addresses[node] = self._seeds[0].at(*node)
        return address

    def admits(self, node: Node) -> bool:
        """Whether a call may go to the node: always while it answers, else now and then as a probe."""
        breaker = self._breakers.get(node)
        return breaker is None or breaker.admits()

    def succeed(self, node: Node) -> None:
        """The node answered."""
        breaker = self._breakers.get(node)
        if breaker is not None:
            breaker.succeed()

    def fail(self, node: Node, reason: str) -> None:
        """The node gave no answer that can be used."""
        with self._lock:
            breaker = self._breakers.setdefault(node, Breaker())
        breaker.fail(f"{node}: {reason}")

    def informants(self) -> list[Address]:
        """Whom to ask for the plan: every node that is known, in any order, then the seeds."""
        known = list(self.plan.nodes)
        random.shuffle(known)
        asked = [self.address(node) for node in known]
        return [*asked, *(seed for seed in self._seeds if Node(seed.host, seed.port) not in known)]

    def learn(self, reply: Any, informant: Address) -> None:
        """Takes over the plan that a node told. Raises BackendError where it is none."""
        try:
            plan = read_plan(reply, informant.host)
        except ValueError as error:
            raise BackendError(f"it does not tell who serves which slot: {error}") from error
        with self._lock:
            self.plan = plan
            self._reasons = {}
            for node in [node for node in self._breakers if node not in plan.nodes]:
                del self._breakers[node]

    def miss(self, informant: Address, error: BaseException) -> None:
        """A node did not tell the plan."""
        text = str(error)
        if "cluster support disabled" in text:
            text = "this server is no part of a Cluster: write redis:// in place of redis+cluster://"
        elif not isinstance(error, BackendError):
            text = str(translated(error))
        self._reasons[informant.place] = text

    def move(self, slot: int, node: Node | None) -> None:
        """The slot is served by that node, as another one said; the plan as a whole is yet to be learned."""
        if node is None or self.plan.owners[slot] == node:
            return
        with self._lock:
            owners = list(self.plan.owners)
            owners[slot] = node
            self.plan = Plan(owners, self.plan.nodes | {node})
