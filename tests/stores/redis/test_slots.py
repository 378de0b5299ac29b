"""Plans of slots and redirections are read as nodes write them, and what is no plan is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.core.keys import RedisNames
from rcache.stores.redis.cluster.redirects import Heading, Turn, failure, is_outage, turn_of
from rcache.stores.redis.cluster.slots import SLOTS, Node, read_address, read_plan, slot_of
from rcache.stores.redis.cluster.topology import Topology
from rcache.stores.redis.failures import UnwritableError
from rcache.stores.redis.urls import located
from tests.clusters import Cluster

hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", "node.example", "::1"])
nodes = st.builds(Node, hosts, st.integers(1, 65535))


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[int, int, list[Node]]]:
    """Ranges that do not overlap, each with a master and some replicas."""
    bounds = sorted(draw(st.sets(st.integers(0, SLOTS - 1), min_size=2, max_size=12)))
    servers = st.lists(nodes, min_size=1, max_size=3, unique=True)
    return [(first, last - 1, draw(servers)) for first, last in pairwise(bounds) if draw(st.booleans())]


def told(plan: list[tuple[int, int, list[Node]]], own: str) -> list[Any]:
    """As CLUSTER SLOTS tells it; a node may leave its own host out."""
    return [
        [first, last, *[[None if node.host == own else node.host.encode(), node.port, b"id", []] for node in servers]]
        for first, last, servers in plan
    ]


@given(plans(), hosts)
def test_a_plan_gives_each_slot_its_master_and_names_every_node(plan, own):
    read = read_plan(told(plan, own), own)

    owners: list[Node | None] = [None] * SLOTS
    for first, last, servers in plan:
        for slot in range(first, last + 1):
            owners[slot] = servers[0]
    assert read.owners == owners
    assert read.nodes == {node for _, _, servers in plan for node in servers}
    assert read.masters == {servers[0] for _, _, servers in plan}


@pytest.mark.parametrize("name", [b"", b"?", None])
def test_a_host_that_is_left_out_is_the_one_that_was_asked(name):
    assert read_plan([[0, 5, [name, 7000, b"id"]]], "10.0.0.9").owners[5] == Node("10.0.0.9", 7000)


values = st.none() | st.integers() | st.binary(max_size=4)


@given(st.recursive(values, lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_what_is_no_plan_is_refused_or_names_nobody(reply):
    try:
        plan = read_plan(reply, "host")
    except ValueError:
        return
    assert len(plan.owners) == SLOTS
    assert plan.masters <= plan.nodes


@given(hosts, st.integers(1, 65535))
def test_an_address_is_read_as_redirections_write_it(host, port):
    assert read_address(f"{host}:{port}", "asked") == Node(host, port)
    assert read_address(f":{port}", "asked") == Node("asked", port)


@given(st.text(max_size=20).filter(lambda text: "{" not in text and "}" not in text), st.integers(0, 15))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_keys_that_a_script_takes_together_lie_in_one_slot_and_redis_agrees(cluster: Cluster, text: str, shard: int):
    names = RedisNames("space" + text)
    groups = [
        [names.sequence, names.log, names.nodes],
        [names.guard(shard), names.marks(shard)],
        [names.sweep_in(shard), names.registry(shard, text or "x"), names.swept_in(shard, "purge", 3)],
        [names.vary("url"), names.variants("url"), names.entry("url", "0"), names.entry("url", "variant")],
    ]
    with cluster.nodes[0].client() as client:
        for group in groups:
            slots = {slot_of(key.encode()) for key in group}
            assert slots == {client.execute_command("CLUSTER", "KEYSLOT", key) for key in group}
            assert len(slots) == 1
    assert slot_of(names.guard(shard).encode()) == slot_of(names.registry(shard, "other").encode())


HERE = Node("10.0.0.1", 7000)


@pytest.mark.parametrize(
    ("error", "turn"),
    [
        (driver.MovedError("7 10.0.0.2:7001"), Turn(Heading.MOVED, Node("10.0.0.2", 7001))),
        (driver.MovedError("7 :7001"), Turn(Heading.MOVED, Node("10.0.0.1", 7001))),
        (driver.AskError("7 ::1:7001"), Turn(Heading.ASK, Node("::1", 7001))),
        (driver.TryAgainError("x"), Turn(Heading.AGAIN)),
        (driver.ClusterDownError("x"), Turn(Heading.ELSEWHERE)),
        (driver.ReadOnlyError("x"), Turn(Heading.ELSEWHERE)),
        (driver.ConnectionError("x"), Turn(Heading.ELSEWHERE)),
        (driver.BusyLoadingError("x"), Turn(Heading.ELSEWHERE)),
        (OSError("x"), Turn(Heading.ELSEWHERE)),
        (driver.TimeoutError("x"), Turn(Heading.NOWHERE)),
        (TimeoutError("x"), Turn(Heading.NOWHERE)),
        (driver.NoPermissionError("x"), Turn(Heading.NOWHERE)),
        (driver.OutOfMemoryError("x"), Turn(Heading.NOWHERE)),
    ],
)
def test_each_error_says_where_a_call_goes_on(error, turn):
    assert turn_of(error, HERE) == turn


def test_what_is_no_fault_of_a_node_does_not_spare_it():
    kind = (
        driver.OutOfMemoryError("x"),
        driver.ResponseError("NOREPLICAS Not enough good replicas to write."),
        driver.TryAgainError("x"),
        driver.MovedError("7 h:1"),
        driver.AskError("7 h:1"),
    )
    assert not any(is_outage(error) for error in kind)
    assert is_outage(driver.ClusterDownError("x"))
    assert isinstance(failure(kind[0]), UnwritableError)


def test_a_plan_that_cannot_be_read_leaves_the_last_one_as_it_is():
    topology = Topology(located("redis+cluster://10.0.0.1:7000").seeds)
    informant = topology.informants()[0]
    topology.learn([[0, SLOTS - 1, [b"", 7000, b"id"]]], informant)
    with pytest.raises(BackendError):
        topology.learn([[0, SLOTS, [b"", 7000, b"id"]]], informant)
    assert topology.owner(SLOTS - 1) == HERE


def test_a_redirection_corrects_its_slot_alone():
    topology = Topology(located("redis+cluster://10.0.0.1:7000").seeds)
    topology.learn([[0, SLOTS - 1, [b"", 7000, b"id"]]], topology.informants()[0])
    there = Node("10.0.0.2", 7001)
    topology.move(7, there)
    assert (topology.owner(6), topology.owner(7), topology.owner(8)) == (HERE, there, HERE)
    assert there in topology.plan.nodes


def test_a_node_that_left_is_forgotten_with_its_breaker():
    topology = Topology(located("redis+cluster://10.0.0.1:7000").seeds)
    informant = topology.informants()[0]
    topology.learn([[0, SLOTS - 1, [b"", 7000, b"id"]]], informant)
    topology.fail(HERE, "gone")
    assert topology.is_down
    topology.learn([[0, SLOTS - 1, [b"10.0.0.2", 7001, b"id"], [b"", 7000, b"id"]]], informant)
    assert not topology.is_down, "a replica is not needed"
    topology.learn([[0, SLOTS - 1, [b"10.0.0.2", 7001, b"id"]]], informant)
    assert topology.admits(HERE)
