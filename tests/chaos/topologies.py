"""The kinds of Redis that a run is on: how nodes come to it, whom faults do things to, and which faults fit."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.clusters import Cluster, slot_of
from tests.sentinels import Sentinels
from tests.servers import RedisServer


class Topology(Protocol):
    """One kind of Redis."""

    title: str
    url: str
    faults: Sequence[Fault]

    @property
    def server(self) -> RedisServer:
        """The server that faults do things to: the primary."""
        ...

    @property
    def ports(self) -> list[int]:
        """Where its servers listen."""
        ...

    def url_through(self, ports: Mapping[int, int]) -> str:
        """Where a process finds it that comes to these ports by others; those that it is told of it has to look up."""
        ...

    def filling(self, server: RedisServer) -> str:
        """How keys begin that such a server takes."""
        ...

    def stop(self) -> None:
        """Ends it."""
        ...


class OneServer:
    """One server, with a link before each node."""

    title = "one server"
    faults: Sequence[Fault] = (*faults.ON_NODES, *faults.ON_LINKS, *faults.ON_SERVER, *faults.ON_REDIS)

    def __init__(self) -> None:
        self.server = RedisServer()
        self.url = self.server.url
        self.ports = [self.server.port]

    def url_through(self, ports: Mapping[int, int]) -> str:
        """The link's own."""
        return f"redis://127.0.0.1:{ports[self.server.port]}/0"

    def filling(self, server: RedisServer) -> str:
        """Any key."""
        return "filling"

    def stop(self) -> None:
        """Ends it."""
        self.server.stop()


class WatchedServers:
    """A primary with two replicas, and three sentinels."""

    title = "Sentinel"
    faults: Sequence[Fault] = (*faults.ON_NODES, *faults.ON_LINKS, *faults.ON_SERVER, *faults.ON_SENTINELS)

    def __init__(self) -> None:
        self.sentinels = Sentinels(down_after=1500)
        self.url = self.sentinels.url
        self.ports = [server.port for server in self.sentinels.servers]

    def url_through(self, ports: Mapping[int, int]) -> str:
        """The sentinels', before whom no link stands."""
        return self.url

    @property
    def server(self) -> RedisServer:
        """Whom the sentinels call the primary."""
        return self.sentinels.primary

    def filling(self, server: RedisServer) -> str:
        """Any key."""
        return "filling"

    def stop(self) -> None:
        """Ends it."""
        for server in self.sentinels.servers:
            if server.is_running:
                with contextlib.suppress(ProcessLookupError):
                    server.resume()
        self.sentinels.stop()


class ClusteredServers:
    """Three masters with a replica each."""

    title = "Cluster of 3+3"
    faults: Sequence[Fault] = (*faults.ON_NODES, *faults.ON_LINKS, *faults.ON_SERVER, *faults.ON_CLUSTER)

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.url = self.cluster.url
        self.ports = [node.port for node in self.cluster.nodes]

    def url_through(self, ports: Mapping[int, int]) -> str:
        """Those of nodes that tell about all, before whom no link stands then."""
        return self.url

    @property
    def server(self) -> RedisServer:
        """One of the masters."""
        return random.choice(self.cluster.masters())

    def filling(self, server: RedisServer) -> str:
        """A hash tag in a slot of that master."""
        return next(
            name
            for name in (f"{{filling-{number}}}" for number in range(1000))
            if self.cluster.master_of(slot_of(name)) is server
        )

    def stop(self) -> None:
        """Ends it."""
        self.cluster.stop()


TOPOLOGIES = {"one": OneServer, "sentinel": WatchedServers, "cluster": ClusteredServers}
