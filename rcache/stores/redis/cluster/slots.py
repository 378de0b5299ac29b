"""Which master serves which slot, as CLUSTER SLOTS tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.crc import key_slot

SLOTS: Final = 16_384


class Node(NamedTuple):
    """A server of the Cluster, by where clients reach it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Plan(NamedTuple):
    """The owner of each slot, None where there is none; and every node that was named, replicas too."""

    owners: list[Node | None]
    nodes: frozenset[Node]

    @property
    def masters(self) -> frozenset[Node]:
        """The nodes that serve slots."""
        return frozenset(owner for owner in set(self.owners) if owner is not None)


UNKNOWN: Final = Plan([None] * SLOTS, frozenset())


def slot_of(key: bytes) -> int:
    """The slot of a key, which is that of its hash tag."""
    slot: int = key_slot(key)
    return slot


def read_plan(reply: Sequence[Any], asked: str) -> Plan:
    """The plan that a node tells; `asked` is the host that it was reached under, which it may leave out for its own.

    Raises ValueError for what is no such reply.
    """
    owners: list[Node | None] = [None] * SLOTS
    nodes: set[Node] = set()
    try:
        for first, last, *servers in reply:
            named = [Node(_host(server[0], asked), int(server[1])) for server in servers]
            nodes.update(named)
            if not 0 <= int(first) <= int(last) < SLOTS or not named:
                raise ValueError(f"slots {first} to {last} of {len(named)} servers")
            owners[int(first) : int(last) + 1] = [named[0]] * (int(last) - int(first) + 1)
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError("no plan of slots") from error
    return Plan(owners, frozenset(nodes))


def read_address(text: str, asked: str) -> Node:
    """The node that MOVED or ASK names: `host:port`, the host left out where it is the one that was asked."""
    host, _, port = text.rpartition(":")
    return Node(host or asked, int(port))


def _host(name: bytes | None, asked: str) -> str:
    return name.decode() if name and name != b"?" else asked
