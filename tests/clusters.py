"""Redis Cluster as real processes: masters with a replica each, which fail over, are killed, and hand slots over live."""

from __future__ import annotations

import redis
from redis.crc import key_slot

from tests.sentinels import wait_until
from tests.servers import RedisServer, free_port
from tests.tls import Certificates

SLOTS = 16_384
ATTEMPTS = 5  # to hand a master's slots to its replica
GIVEN_UP_AFTER = 6.0  # seconds: a replica waits for five until its master has told it everything
BATCH = 10  # keys that one MIGRATE takes along, as redis-cli does it


class Cluster:
    """Three masters that share the slots, and a replica of each.

    `node_timeout` is for how many milliseconds a node must be silent before it counts as gone: long where a test wants no
    failover that it did not order, since test machines stall. `certificates` let all of them speak TLS.
    """

    def __init__(
        self,
        *options: str,
        masters: int = 3,
        replicas: int = 1,
        node_timeout: int = 60_000,
        password: str | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.password = password
        self._certificates = certificates
        self._told: dict[int, int] = {}  # plain port -> the one that clients are told
        self._ids: dict[int, str] = {}
        self.nodes: list[RedisServer] = []
        try:
            for _ in range(masters * (1 + replicas)):
                self._add_node(node_timeout, options)
            self._join(masters)
        except BaseException:
            self.stop()
            raise

    def _add_node(self, node_timeout: int, options: tuple[str, ...]) -> RedisServer:
        told = free_port()
        options += ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        options += ("--cluster-node-timeout", str(node_timeout), "--repl-diskless-sync-delay", "0")
        if self._certificates is not None:
            options += (*self._certificates.options(told), "--tls-cluster", "yes", "--tls-replication", "yes")
        if self.password is not None:
            options += ("--masterauth", self.password)
        node = RedisServer(*options, password=self.password)
        self.nodes.append(node)
        self._told[node.port] = node.port if self._certificates is None else told
        self._ids[node.port] = self._ask(node, "MYID")
        return node

    def _join(self, masters: int) -> None:
        for number, node in enumerate(self.nodes):
            self._ask(node, "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self._meet(node)
        wait_until(self._do_all_know_each_other, "all nodes have met")
        for number, master in enumerate(self.nodes[:masters]):
            first, after = (SLOTS * bound // masters for bound in (number, number + 1))
            self._ask(master, "ADDSLOTSRANGE", first, after - 1)
        for number, replica in enumerate(self.nodes[masters:]):
            self.follow(replica, self.nodes[number % masters])
        self.settle()

    def _meet(self, node: RedisServer) -> None:
        bus = node.options[node.options.index("--cluster-port") + 1]
        for other in self.nodes[: self.nodes.index(node)]:
            self._ask(other, "MEET", "127.0.0.1", self._told[node.port], bus)

    def _do_all_know_each_other(self) -> bool:
        return all(len(self._known(node)) == len(self.nodes) for node in self.nodes)

    def _known(self, node: RedisServer) -> list[list[str]]:
        lines = [line.split() for line in self._ask(node, "NODES").splitlines()]
        return [line for line in lines if "handshake" not in line[2]]

    def _ask(self, node: RedisServer, *order: object) -> str:
        with node.client(decode_responses=True) as client:
            # A plain connection: the client would parse and follow what the tests look at.
            connection = client.connection_pool.get_connection()
            connection.send_command("CLUSTER", *order)
            reply: str = connection.read_response()
            client.connection_pool.release(connection)
            return reply

    # Who has what

    @property
    def url(self) -> str:
        """How a client comes to it: the masters of the beginning, of which one suffices."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis+cluster://{secret}" + ",".join(f"127.0.0.1:{self._told[node.port]}" for node in self.nodes[:3])

    def client(self) -> redis.RedisCluster:
        """The driver's own client, for looking and meddling."""
        running = next(node for node in self.nodes if node.is_running)
        return redis.RedisCluster("127.0.0.1", running.port, password=self.password, protocol=2)

    def master_of(self, slot: int) -> RedisServer:
        """The node that serves a slot, as the running nodes see it."""
        for node in self.nodes:
            if node.is_running and self._serves(node, slot):
                return node
        raise RuntimeError(f"nobody serves slot {slot}")

    def _serves(self, node: RedisServer, slot: int) -> bool:
        mine = next(line for line in self._known(node) if "myself" in line[2])
        if "master" not in mine[2]:
            return False
        ranges = [part.split("-") for part in mine[8:] if not part.startswith("[")]
        return any(int(part[0]) <= slot <= int(part[-1]) for part in ranges)

    def masters(self) -> list[RedisServer]:
        """The running masters that serve slots."""
        owners = {self.master_of(slot).port: self.master_of(slot) for slot in range(0, SLOTS, SLOTS // 12)}
        return list(owners.values())

    def replica_of(self, master: RedisServer) -> RedisServer:
        """A running replica of that master."""
        name = self._ids[master.port]
        for node in self.nodes:
            if node.is_running and any("myself" in line[2] and line[3] == name for line in self._known(node)):
                return node
        raise RuntimeError("the master has no replica")

    # What may happen

    def follow(self, replica: RedisServer, master: RedisServer) -> None:
        """Makes a node the replica of another."""
        wait_until(
            lambda: self._ask(replica, "REPLICATE", self._ids[master.port]) == "OK", "the replica knows its master"
        )

    def settle(self) -> None:
        """Returns once every running node finds the cluster well, and every replica follows."""
        wait_until(self._is_settled, "the cluster is well")

    def _is_settled(self) -> bool:
        for node in self.nodes:
            if not node.is_running:
                continue
            if "cluster_state:ok" not in self._ask(node, "INFO"):
                return False
            with node.client() as client:
                if client.info("replication").get("master_link_status", "up") != "up":
                    return False
        return self._is_agreed()

    def kill(self, master: RedisServer) -> None:
        """Ends a master with SIGKILL. Its replica waits for the timeout, unless `take_over` orders it at once."""
        master.kill()

    def take_over(self, replica: RedisServer) -> None:
        """Lets a replica become the master at once, whoever agrees."""
        self._ask(replica, "FAILOVER", "TAKEOVER")
        wait_until(lambda: self._serves_any(replica), "the replica became the master")

    def replaced(self, replica: RedisServer) -> None:
        """Returns once the replica is the master, and every running node that answers knows."""
        wait_until(lambda: self._serves_any(replica), "the replica became the master")
        wait_until(self._is_agreed, "the others know")

    def _is_agreed(self) -> bool:
        return len({owners for node in self.nodes if (owners := self._view(node)) is not None}) == 1

    def _view(self, node: RedisServer) -> frozenset[tuple[str, ...]] | None:
        """Who owns what, as a node sees it; None where it does not answer."""
        if not node.is_running or node.is_paused:
            return None
        owners = (line for line in self._known(node) if "master" in line[2] and len(line) > 8)
        return frozenset((line[0], *(part for part in line[8:] if not part.startswith("["))) for line in owners)

    def hand_over(self, master: RedisServer) -> RedisServer:
        """Lets the replica of a master that is well take its place, in agreement; the new master."""
        replica = self.replica_of(master)
        for attempt in range(ATTEMPTS):
            self._ask(replica, "FAILOVER")
            try:
                wait_until(lambda: self._serves_any(replica), "the replica became the master", GIVEN_UP_AFTER)
                break
            except RuntimeError:  # where its master is too slow, the replica gives up
                if attempt == ATTEMPTS - 1:
                    raise
        self.settle()
        return replica

    def _serves_any(self, node: RedisServer) -> bool:
        mine = next(line for line in self._known(node) if "myself" in line[2])
        return "master" in mine[2] and len(mine) > 8

    def revive(self, node: RedisServer) -> None:
        """Starts a node that was killed; it finds its place by what it remembers of the cluster."""
        node.start()
        self.settle()

    def stop(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.stop()

    def move(self, slot: int, target: RedisServer) -> Move:
        """Prepares to hand a slot over to another master."""
        return Move(self, slot, self.master_of(slot), target)

    def reshard(self, slot: int, target: RedisServer) -> None:
        """Hands a slot over, from beginning to end."""
        move = self.move(slot, target)
        move.begin()
        move.finish()


class Move:
    """A slot on its way from one master to another, as redis-cli does it, step by step."""

    def __init__(self, cluster: Cluster, slot: int, source: RedisServer, target: RedisServer) -> None:
        self.cluster = cluster
        self.slot = slot
        self.source = source
        self.target = target

    def begin(self) -> None:
        """From now on the source answers ASK for what it does not have."""
        ids = self.cluster._ids
        self.cluster._ask(self.target, "SETSLOT", self.slot, "IMPORTING", ids[self.source.port])
        self.cluster._ask(self.source, "SETSLOT", self.slot, "MIGRATING", ids[self.target.port])

    def keys(self) -> list[bytes]:
        """What still lies at the source."""
        with self.source.client() as client:
            found: list[bytes] = client.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, 10_000)
        return found

    def carry(self, *keys: bytes) -> bool:
        """Takes these keys along, or some; whether there was anything to take."""
        chosen = list(keys) or self.keys()[:BATCH]
        if chosen:
            port = self.cluster._told[self.target.port]
            secret = ("AUTH", self.cluster.password) if self.cluster.password else ()
            with self.source.client() as client:
                client.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "REPLACE", *secret, "KEYS", *chosen)
        return bool(chosen)

    def finish(self) -> None:
        """Takes along whatever there is left, and ends."""
        while self.carry():
            pass
        self.end()

    def end(self) -> None:
        """The slot belongs to the target; the others hear of it from the two."""
        for node in (self.target, self.source):
            self.cluster._ask(node, "SETSLOT", self.slot, "NODE", self.cluster._ids[self.target.port])


def slot_of(key: str | bytes) -> int:
    """The slot of a key, by its hash tag."""
    slot: int = key_slot(key.encode() if isinstance(key, str) else key)
    return slot
