"""A way to the data of a Cluster for those who look at it: a connection to each master."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.stores.redis.cluster.slots import Node, slot_of
from rcache.stores.redis.cluster.threads import SyncRoutes
from rcache.stores.redis.cluster.topology import Topology
from rcache.stores.redis.line import Command, Line
from rcache.stores.redis.reach import AT_ONCE, PATIENCE, Question
from rcache.stores.redis.scripts import JUDGE, SEQUENCE

_INHERITED: Final[list[object]] = []  # connections of a parent process: closing them would disturb it


class ClusterReach:
    """Every master. A slot that has moved is asked for once more, where it went."""

    judge = JUDGE

    def __init__(self, topology: Topology, routes: SyncRoutes) -> None:
        self._topology = topology
        self._routes = routes
        self._lines: dict[Node, Line] = {}

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The replies; an error of Redis' own is one too."""
        replies: list[Any] = [None] * len(questions)
        try:
            moved = self._asked(questions, range(len(questions)), replies)
        except BackendError:  # another master may have taken over: nobody but those who look may be here to notice
            moved = list(range(len(questions)))
        if moved:
            self._routes.learn()
            self._asked(questions, moved, replies)
        return replies

    def _asked(self, questions: Sequence[Question], places: Sequence[int], replies: list[Any]) -> list[int]:
        """Asks those at these places; where a slot has moved meanwhile."""
        for node, its in self._by_owner(questions, places).items():
            for first in range(0, len(its), AT_ONCE):
                asked = its[first : first + AT_ONCE]
                told = self._line(node).ask([questions[place].command for place in asked])
                for place, reply in zip(asked, told, strict=True):
                    replies[place] = reply
        return [place for place in places if isinstance(replies[place], driver.AskError)]  # MOVED is one

    def _by_owner(self, questions: Sequence[Question], places: Sequence[int]) -> dict[Node, list[int]]:
        owners: dict[Node, list[int]] = {}
        for place in places:
            slot = slot_of(questions[place].key)
            if self._topology.owner(slot) is None:
                self._routes.learn()
            owner = self._topology.owner(slot)
            if owner is None:
                raise self._topology.unknown(slot)
            owners.setdefault(owner, []).append(place)
        return owners

    def servers(self) -> list[Node]:
        """The masters."""
        self._routes.learn()
        masters = sorted(self._topology.plan.masters)
        if not masters:
            raise BackendError("no node of the Cluster tells who serves its slots")
        return masters

    def ask_server(self, server: Node, command: Command) -> Any:
        """The reply of that one."""
        return self._line(server).ask([command])[0]

    def _line(self, node: Node) -> Line:
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = Line(self._topology.address(node), (JUDGE, SEQUENCE), PATIENCE)
        return line

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's."""
        _INHERITED.append(self._lines)
        self._lines = {}

    def close(self) -> None:
        """Lets go of the connections."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            line.close()
