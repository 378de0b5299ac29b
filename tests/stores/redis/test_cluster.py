"""On a Cluster: slots that move, masters that fail over, nodes that vanish. Nothing stale, and the cache is used again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import asyncio as aredis
from redis.asyncio.cluster import ClusterNode

from rcache import Cache
from rcache.core.changes import families
from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.keys import digest, shard_of
from rcache.core.schemes import Scheme
from rcache.stores.redis import ClusterStore, RedisStore
from rcache.stores.redis.cluster.slots import Node
from rcache.stores.redis.scripts import pack
from tests.clusters import Cluster, slot_of
from tests.contract.redis_harness import RedisHarness
from tests.servers import RedisServer
from tests.tls import Certificates
from tests.traffic import Traffic

from .conftest import Request, budget, entry_of, fill, start_of

ROOT = Path(__file__).parents[3]
TAG = "article:7"


@pytest.fixture(scope="module")
def moving() -> Iterator[Cluster]:
    """A Cluster whose slots and masters change at a word, and not by themselves."""
    made = Cluster()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lone() -> Iterator[Cluster]:
    """A Cluster of one node, where a round of trips is one trip."""
    made = Cluster(masters=1, replicas=0)
    yield made
    made.stop()


@pytest.fixture
async def harness(moving: Cluster) -> AsyncIterator[RedisHarness]:
    moving.settle()
    made = RedisHarness(moving)
    await made.make(quarantine=0.0)
    yield made
    await made.close()


@pytest.fixture
def store(harness: RedisHarness) -> ClusterStore:
    return harness.store


def entry_key(store: ClusterStore, ask: Request) -> bytes:
    return store.names.entry(digest(ask.key.material), "0").encode()


def guard_key(store: ClusterStore, tag: str = TAG) -> str:
    return store.names.guard(shard_of(tag, store.shards))


def other_master(cluster: Cluster, slot: int) -> RedisServer:
    here = cluster.master_of(slot)
    return next(master for master in cluster.masters() if master is not here)


async def found(store: ClusterStore, ask: Request) -> bytes | None:
    answer = await store.lookup(ask, budget())
    return answer.entry.body if isinstance(answer, Found) else None


async def until_it_answers(store: ClusterStore, ask: Request) -> Found | Missing:
    deadline = time.monotonic() + 30.0
    while True:
        with contextlib.suppress(BackendError):
            return await store.lookup(ask, budget())
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


# Trips


@pytest.fixture
async def near_store(lone: Cluster) -> AsyncIterator[ClusterStore]:
    harness = RedisHarness(lone)
    yield await harness.make()
    await harness.close()


async def test_a_hit_takes_two_rounds_of_trips(near_store: ClusterStore):
    await fill(near_store, Request(), "a", "b", "c")
    for _ in range(2):  # with its body, and without
        before = near_store.trips
        assert isinstance(await near_store.lookup(Request(), budget()), Found)
        assert near_store.trips == before + 2


async def test_a_hit_takes_as_many_rounds_with_fifty_schemes_and_a_store_no_more(near_store: ClusterStore):
    schemes = [Scheme(f"table{n % 5}", (f"column{n}",)) for n in range(50)]
    tags = [str(each.tag({each.columns[0]: 1})) for each in schemes]
    missing = await start_of(near_store, Request())
    before = near_store.trips
    entry = entry_of(missing.start, missing.now, *tags, *families(tags))
    assert await near_store.store(Request(), (), entry, budget(), schemes)
    assert near_store.trips == before + 3
    before = near_store.trips
    assert isinstance(await near_store.lookup(Request(), budget()), Found)
    assert near_store.trips == before + 2


async def test_a_store_takes_three_rounds_and_a_purge_of_many_tags_three(near_store: ClusterStore):
    missing = await start_of(near_store, Request())
    before = near_store.trips
    assert await near_store.store(Request(), (), entry_of(missing.start, missing.now, "a", "b"), budget())
    assert near_store.trips == before + 3
    before = near_store.trips
    await near_store.purge([f"article:{n}" for n in range(50)], 5.0)
    assert near_store.trips == before + 3


async def test_calls_of_one_turn_travel_as_one_pipeline_to_each_node(near_store: ClusterStore):
    for n in range(64):
        await fill(near_store, Request(b"/%d" % n))
    before = near_store.trips
    answers = await asyncio.gather(*[near_store.lookup(Request(b"/%d" % n), budget()) for n in range(64)])
    assert all(isinstance(answer, Found) for answer in answers)
    assert near_store.trips <= before + 4  # two rounds, over two connections at most


async def test_what_is_held_is_not_sent_again(near_store: ClusterStore, lone: Cluster):
    await fill(near_store, Request(), body=b"x" * 100_000)
    first = await near_store.lookup(Request(), budget())
    with lone.nodes[0].client() as client:
        sent = client.info("stats")["total_net_output_bytes"]
        again = await near_store.lookup(Request(), budget())
        assert again.entry is first.entry
        assert client.info("stats")["total_net_output_bytes"] - sent < 50_000


# Housekeeping


async def test_every_key_ends_by_itself_but_for_the_few_that_promises_rest_on(harness: RedisHarness):
    store = harness.store
    await fill(store, Request(names=("accept-language",)), TAG, "author:1")
    await fill(store, Request(b"/plain"), "article:8")
    await store.purge(["author:1"], 5.0)
    store.purge_sync(["article:8"], 5.0)

    endless = {key.decode() for key in harness.all_keys() if harness.client.pttl(key) == -1}

    guards = {name.decode() for names in store.guards for name in names}
    assert endless == {store.names.sequence, store.names.log, *guards}


async def test_sweeping_frees_what_was_purged_and_nothing_else(harness: RedisHarness):
    store = harness.store
    for n in range(250):
        await fill(store, Request(b"/%d" % n), TAG)
    await fill(store, Request(b"/other"), "article:8")
    assert (await store.purge([TAG], 5.0)).entries == 250
    await fill(store, Request(b"/0"), TAG, body=b"again")

    await store.swept()

    assert [await found(store, Request(path)) for path in (b"/other", b"/0")] == [b"hello", b"again"]
    entries = [key for key in harness.all_keys() if key.endswith(b"}:0")]
    assert len(entries) == 2
    assert not [key for key in harness.all_keys() if b"swept" in key]


async def test_what_a_synchronous_purge_left_is_swept_by_the_next_store(harness: RedisHarness):
    store = harness.store
    await fill(store, Request(b"/1"), "article:1")
    store.purge_sync(["article:1"], 5.0)
    assert harness.entries(Request(b"/1"))

    await fill(store, Request(b"/2"), "article:2")
    await store.swept()

    assert not harness.entries(Request(b"/1"))


async def test_a_full_node_serves_and_purges_and_refuses_to_store_quietly(caplog):
    own = Cluster("--maxmemory-policy", "noeviction", masters=1, replicas=0)
    try:
        harness = RedisHarness(own)
        store = await harness.make()
        await fill(store, Request(b"/kept"), "kept")
        await fill(store, Request(b"/dead"), "dead")
        missing = await start_of(store, Request(b"/new"))
        with own.nodes[0].client() as client:
            client.config_set("maxmemory", "1mb")

        assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
        assert not await store.store(Request(b"/new"), (), entry_of(missing.start, missing.now), budget())
        await store.purge(["dead"], 5.0)
        assert isinstance(await store.lookup(Request(b"/dead"), budget()), Missing)
        assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
        assert not store.is_down
        assert not caplog.records
        await harness.close()
    finally:
        own.stop()


# Slots that move


async def test_an_entry_whose_slot_has_moved_is_found_where_it_is(moving: Cluster, store: ClusterStore):
    await fill(store, Request(), body=b"old")
    slot = slot_of(entry_key(store, Request()))
    moving.reshard(slot, other_master(moving, slot))

    assert await found(store, Request()) == b"old"
    await store.purge([TAG], 5.0)
    assert await found(store, Request()) is None


async def test_while_a_slot_is_on_its_way_its_entries_are_found_on_both_sides(moving: Cluster, harness: RedisHarness):
    store = harness.store
    here = Request(fields={"x": b"1"}, names=("x",))
    there = Request(fields={"x": b"2"}, names=("x",))
    for ask in (here, there):
        await fill(store, ask, body=ask.fields["x"])
    key, *_ = set(harness.entries(there)) - {
        key for key in harness.entries(here) if await self_of(harness, key) == b"1"
    }
    slot = slot_of(key)
    move = moving.move(slot, other_master(moving, slot))
    move.begin()
    try:
        move.carry(key)
        assert [await found(store, ask) for ask in (here, there)] == [b"1", b"2"]
        fresh = await harness.second()
        assert [await found(fresh, ask) for ask in (here, there)] == [b"1", b"2"]
        assert await found(store, Request(fields={"x": b"3"}, names=("x",))) is None
    finally:
        move.finish()
    moving.settle()
    assert [await found(store, ask) for ask in (here, there)] == [b"1", b"2"]


async def self_of(harness: RedisHarness, key: bytes) -> bytes:
    body: bytes = harness.client.hget(key, "body")
    return body


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_purge_lands_where_its_guard_has_arrived_before_the_slot_has(
    moving: Cluster, store: ClusterStore, is_sync: bool
):
    await fill(store, Request(), body=b"old")
    names = [name.encode() for name in (guard_key(store), store.names.marks(shard_of(TAG, store.shards)))]
    move = moving.move(slot_of(names[0]), other_master(moving, slot_of(names[0])))
    move.begin()
    try:
        move.carry(*names)
        if is_sync:
            assert store.purge_sync([TAG], 5.0).number
        else:
            assert (await store.purge([TAG], 5.0)).number
        assert await found(store, Request()) is None
    finally:
        move.finish()
    moving.settle()


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_purge_lands_while_its_guard_is_on_its_way(moving: Cluster, store: ClusterStore, is_sync: bool):
    """Guard and marks are split for a moment: nobody may answer for both then, and nothing is lost."""
    await fill(store, Request(), body=b"old")
    guard = guard_key(store).encode()
    slot = slot_of(guard)
    move = moving.move(slot, other_master(moving, slot))
    move.begin()
    move.carry(guard)
    try:
        with pytest.raises(BackendError, match="on their way"):
            await store.lookup(Request(), budget(0.5))
        assert not store.is_down, "nobody is gone"
        purge = asyncio.to_thread(store.purge_sync, [TAG], 30.0) if is_sync else store.purge([TAG], 30.0)
        purging = asyncio.ensure_future(purge)
        await asyncio.sleep(0.1)
        assert not purging.done()
    finally:
        move.finish()
    await purging
    assert await found(store, Request()) is None
    moving.settle()
    await until_filled(store, Request(), b"new")
    assert await found(store, Request()) == b"new"


async def until_filled(store: ClusterStore, ask: Request, body: bytes) -> None:
    """Fills as soon as a fill is stored: after a loss comes a quarantine, here of no length."""
    deadline = time.monotonic() + 30.0
    while True:
        answer = await until_it_answers(store, ask)
        if isinstance(answer, Missing) and answer.start is not None:
            entry = entry_of(answer.start, answer.now, body=body)
            if await store.store(ask, ask.names, entry, budget()):
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_purge_counts_that_landed_where_a_guard_was_only_for_a_while(moving: Cluster, store: ClusterStore):
    """The guard comes back to the server it was made on, and must not have forgotten what happened elsewhere."""
    await fill(store, Request(), body=b"old")
    slot = slot_of(guard_key(store))
    first = moving.master_of(slot)
    moving.reshard(slot, other_master(moving, slot))
    await store.purge([TAG], 5.0)
    moving.reshard(slot, first)

    assert await found(store, Request()) is None


@pytest.mark.parametrize("which", ["guard", "sequence"])
async def test_what_promises_rest_on_is_made_again_where_its_slot_went(
    moving: Cluster, harness: RedisHarness, which: str
):
    """Its new server does not know whether it was told everything."""
    store = harness.store
    late = await start_of(store, Request(b"/late"))
    await fill(store, Request(), body=b"old")
    slot = slot_of(guard_key(store) if which == "guard" else store.names.sequence)
    moving.reshard(slot, other_master(moving, slot))
    store.quarantine = 5.0

    answer = await store.lookup(Request(), budget())
    assert (answer.start, answer.reason) == (None, "quarantine")
    entry = entry_of(late.start, late.now, body=b"late")
    assert not await store.store(Request(b"/late"), (), entry, budget())
    await harness.advance(6.0)
    await until_filled(store, Request(), b"new")
    assert await found(store, Request()) == b"new"
    assert await found(await harness.second(), Request(b"/late")) is None


async def test_resharding_under_traffic_serves_nothing_stale(moving: Cluster):
    traffic = Traffic(moving.url)
    store = traffic.caches[0].store
    slots = {slot_of(name) for names in (*store.guards, (store.names.sequence.encode(),)) for name in names}
    traffic.start()
    try:
        await traffic.flows()
        for slot in [*sorted(slots)[::3], slot_of(store.names.sequence)]:
            target = await asyncio.to_thread(other_master, moving, slot)
            await asyncio.to_thread(moving.reshard, slot, target)
            await asyncio.sleep(0.02)
        await traffic.flows()
        tally = await traffic.stop()
    finally:
        await traffic.close()
    assert not tally.stale
    moving.settle()


# Masters that fail over


@pytest.fixture(scope="module")
def failing() -> Iterator[Cluster]:
    """A Cluster that notices by itself that a master is gone; each test leaves six nodes that are well."""
    made = Cluster(node_timeout=1500)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("how", "whose", "near"),
    [
        ("in agreement", "sequence", None),
        ("in agreement", "guard", "strict"),
        ("taken over", "sequence", "strict"),
        ("taken over", "guard", None),
        ("killed", "sequence", None),
        ("killed", "guard", "strict"),
        ("stopped", "sequence", "strict"),
        ("stopped", "guard", None),
    ],
)
async def test_a_failover_under_traffic_serves_nothing_stale_and_the_cache_is_used_again(
    failing: Cluster, how: str, whose: str, near: str | None
):
    traffic = Traffic(failing.url, near=near, near_lease=0.5)
    behind = getattr(traffic.caches[0].store, "store_behind", traffic.caches[0].store)
    slot = slot_of(behind.names.sequence if whose == "sequence" else guard_key(behind, "page:3"))
    master = failing.master_of(slot)
    replica = failing.replica_of(master)
    traffic.start()
    try:
        await traffic.flows()
        if how == "in agreement":
            await asyncio.to_thread(failing.hand_over, master)
        else:
            master.pause() if how == "stopped" else master.kill()
            if how == "taken over":
                await asyncio.to_thread(failing.take_over, replica)
            await asyncio.to_thread(failing.replaced, replica)
            if how == "stopped":
                master.resume()
        await traffic.flows()
        tally = await traffic.stop()
    finally:
        if not master.is_running:
            await asyncio.to_thread(failing.revive, master)
        failing.settle()
        await traffic.close()
    assert not tally.stale
    assert tally.slowest < 5.0, "nobody waited for a node that was gone"


async def test_where_one_master_is_gone_what_lies_elsewhere_is_still_served(moving: Cluster, harness: RedisHarness):
    store = harness.store
    asks = [Request(b"/%d" % number) for number in range(40)]
    for number, ask in enumerate(asks):
        await fill(store, ask, f"tag:{number}", body=b"%d" % number)
    sequence = moving.master_of(slot_of(store.names.sequence))
    gone = next(master for master in moving.masters() if master is not sequence)

    def lies_there(number: int) -> bool:
        slots = (slot_of(entry_key(store, asks[number])), slot_of(guard_key(store, f"tag:{number}")))
        return any(moving.master_of(slot) is gone for slot in slots)

    there = [number for number in range(40) if lies_there(number)]
    gone.pause()
    try:
        bodies: dict[int, bytes | None] = {}
        for number, ask in enumerate(asks):
            with contextlib.suppress(BackendError):
                bodies[number] = await found(store, ask)
        assert bodies == {number: b"%d" % number for number in range(40) if number not in there}
        assert 5 < len(bodies) < 35
        assert store.is_down, "a purge has to wait for the master that is gone"
        with pytest.raises(BackendError, match="lately"):
            await store.lookup(asks[there[0]], budget(0.05))
    finally:
        gone.resume()
    moving.settle()


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_purge_finds_the_master_that_took_over(moving: Cluster, harness: RedisHarness, is_sync: bool):
    store = harness.store
    await fill(store, Request(), body=b"old")
    slot = slot_of(guard_key(store))
    master = moving.master_of(slot)
    replica = moving.replica_of(master)
    moving.kill(master)
    try:
        await asyncio.to_thread(moving.take_over, replica)
        await asyncio.to_thread(moving.replaced, replica)
        if is_sync:
            assert store.purge_sync([TAG], 5.0, probe=True).number
        else:
            assert (await store.purge([TAG], 5.0)).number
        assert not isinstance(await until_it_answers(store, Request()), Found)
    finally:
        await asyncio.to_thread(moving.revive, master)


# Ways in


async def test_a_cluster_may_want_a_password_and_tls(tmp_path: Path):
    certificates = Certificates(tmp_path)
    (tmp_path / "secret").write_text("of the nodes\n")
    own = Cluster(replicas=0, password="of the nodes", certificates=certificates)
    try:
        url = own.url.partition("@")[2]
        options = f"password_file={tmp_path}/secret&ssl_ca_certs={certificates.authority}"
        store = ClusterStore(f"rediss+cluster://{url}/0?{options}", namespace="guarded")
        await fill(store, Request())
        assert isinstance(await store.lookup(Request(), budget()), Found)
        assert store.purge_sync([TAG], 5.0).entries == 1
        await store.aclose()

        stranger = ClusterStore(f"rediss+cluster://:wrong@{url}?ssl_ca_certs={certificates.authority}")
        with pytest.raises(BackendError, match="password"):
            await stranger.lookup(Request(), budget())
        with pytest.raises(BackendError, match="password"):
            stranger.purge_sync([TAG], 5.0, probe=True)
        await stranger.aclose()
    finally:
        own.stop()


async def test_a_ready_cluster_client_leads_to_the_same_place(lone: Cluster):
    client = aredis.RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", lone.nodes[0].port)])
    store = ClusterStore(client, namespace="ready")
    await fill(store, Request())
    assert store.purge_sync([TAG], 5.0).entries == 1
    await store.aclose()
    await client.aclose()


async def test_one_node_of_those_listed_suffices_to_begin(moving: Cluster):
    last = moving.masters()[-1].port
    store = ClusterStore(f"redis+cluster://127.0.0.1:1,127.0.0.1:{last}", namespace="one")
    await fill(store, Request())
    await store.aclose()
    other = ClusterStore(f"redis+cluster://127.0.0.1:1,127.0.0.1:{last}", namespace="one")
    assert other.purge_sync([TAG], 5.0).entries == 1
    other.close()


async def test_where_nobody_answers_an_error_says_so():
    store = ClusterStore("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:1: Redis cannot be reached"):
        await store.lookup(Request(), budget())
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:1: Redis cannot be reached"):
        store.purge_sync([TAG], 5.0, probe=True)
    await store.aclose()


async def test_a_server_that_is_no_cluster_is_named(redis_server: RedisServer):
    store = ClusterStore(f"redis+cluster://127.0.0.1:{redis_server.port}")
    with pytest.raises(BackendError, match="redis://"):
        await store.lookup(Request(), budget())
    await store.aclose()


async def test_a_node_of_a_cluster_is_no_single_server(lone: Cluster, moving: Cluster):
    store = RedisStore(f"redis://127.0.0.1:{moving.nodes[0].port}")
    with pytest.raises(BackendError, match=r"redis\+cluster://"):
        await store.lookup(Request(), budget())
    await store.aclose()


def test_kinds_of_stores_are_not_mixed_up():
    with pytest.raises(ConfigurationError, match=r"redis\+cluster://"):
        ClusterStore("redis://localhost")
    with pytest.raises(ConfigurationError, match="ClusterStore"):
        RedisStore("redis+cluster://localhost")
    assert "ClusterStore" in repr(Cache("redis+cluster://localhost"))


# Loops and processes


def test_a_new_loop_per_call_works_and_leaves_nothing_open(lone: Cluster, caplog):
    store = ClusterStore(lone.url, namespace="loops")
    unraisable: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            asyncio.run(fill(store, Request()))
            for _ in range(3):
                assert isinstance(asyncio.run(store.lookup(Request(), budget())), Found)
            loop = asyncio.new_event_loop()
            loop.run_until_complete(store.lookup(Request(), budget()))
            loop.close()
            store.close()
            del store
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert not unraisable
    assert not caplog.records


def test_after_a_fork_parent_and_child_have_connections_of_their_own(lone: Cluster):
    """In a process of its own: a test run's threads do not survive a fork."""
    program = f"""
import asyncio, os
from rcache.core.entry import Found
from rcache.stores.redis import ClusterStore
from tests.stores.redis.conftest import Request, budget, fill

store = ClusterStore({lone.url!r}, namespace="loops-fork")
loop = asyncio.new_event_loop()
loop.run_until_complete(fill(store, Request(), "article:7"))
loop.run_until_complete(fill(store, Request(b"/kept"), "kept"))
store.purge_sync(["other"], 5.0)
child = os.fork()
if child == 0:
    asyncio.run(store.lookup(Request(), budget()))
    store.purge_sync(["article:7"], 5.0)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert not isinstance(loop.run_until_complete(store.lookup(Request(), budget())), Found)
assert isinstance(loop.run_until_complete(store.lookup(Request(b"/kept"), budget())), Found)
store.purge_sync(["other"], 5.0)
loop.run_until_complete(store.aclose())
loop.close()
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)

    assert (run.returncode, run.stderr) == (0, "")


async def test_ways_to_nodes_that_left_the_cluster_are_closed(store: ClusterStore):
    """They were asked on the word of a redirection."""
    await fill(store, Request())
    stranger = RedisServer()
    try:
        routes = store._trips._route()
        lane = routes._lane(Node("127.0.0.1", stranger.port))
        await lane.pipe.call(pack((b"PING",)), lane.pipe.attended() + 5.0)
        with stranger.client() as client:
            assert [each["name"] for each in client.client_list()].count("rcache") == 1
            await routes.learn()
            async with asyncio.timeout(30.0):
                while [each["name"] for each in client.client_list()].count("rcache"):
                    await asyncio.sleep(0.01)
    finally:
        stranger.stop()
