"""Behind sentinels: the primary is found, left when another takes its place, and nothing older is served afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import asyncio as aredis
from redis import exceptions as driver

from rcache import Cache
from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError
from rcache.stores.redis import RedisStore, sentinel
from rcache.stores.redis.sentinel import Poll, Spot
from tests.sentinels import SERVICE, Sentinels
from tests.servers import RedisServer, free_port
from tests.tls import Certificates
from tests.traffic import Traffic

from .conftest import Request, budget, entry_of, fill, start_of

OLD, NEW = Spot("10.0.0.1", 6379, 3), Spot("10.0.0.2", 6379, 4)


@pytest.fixture(scope="module")
def quick() -> Iterator[Sentinels]:
    """Sentinels that notice a dead primary soon; each test leaves three servers that are well."""
    made = Sentinels(down_after=400)
    yield made
    made.stop()


@pytest.fixture
async def nodes(quick: Sentinels, request: pytest.FixtureRequest) -> AsyncIterator[list[RedisStore]]:
    made = [RedisStore(quick.url, namespace=request.node.name, quarantine=3.0) for _ in range(2)]
    yield made
    for store in made:
        await store.aclose()


def lose_connection(store: RedisStore) -> None:
    """Its next call has to ask the sentinels."""
    store._trips._way.doubt()


async def until_it_answers(store: RedisStore, ask: Request) -> Found | Missing:
    deadline = time.monotonic() + 30.0
    while True:
        with contextlib.suppress(BackendError):
            return await store.lookup(ask, budget())
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_store_works_behind_sentinels_with_and_without_a_loop(nodes: list[RedisStore]):
    await fill(nodes[0], Request(), body=b"old")
    assert (await nodes[1].lookup(Request(), budget())).entry.body == b"old"
    assert nodes[1].purge_sync(["article:7"], 5.0).entries == 1

    assert isinstance(await nodes[0].lookup(Request(), budget()), Missing)


async def test_after_an_ordered_failover_nothing_older_is_served_and_fills_are_stored(
    quick: Sentinels, nodes: list[RedisStore]
):
    """The former primary lives on, and would answer whoever is still connected to it."""
    await fill(nodes[0], Request(), body=b"old")
    assert isinstance(await nodes[1].lookup(Request(), budget()), Found)
    running = await start_of(nodes[0], Request(b"/running"))
    await asyncio.to_thread(quick.fail_over)

    lose_connection(nodes[0])
    await nodes[0].purge(["article:7"], 5.0)
    assert not isinstance(await until_it_answers(nodes[1], Request()), Found)
    assert not await nodes[0].store(Request(b"/running"), (), entry_of(running.start, running.now), budget())
    for store in nodes:
        store.quarantine = 0.0
    await asyncio.sleep(3.0)  # the quarantine, on the server's clock
    await fill(nodes[1], Request(), body=b"new")
    assert (await nodes[0].lookup(Request(), budget())).entry.body == b"new"


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_purge_waits_until_nobody_can_follow_the_former_primary(
    quick: Sentinels, nodes: list[RedisStore], is_sync: bool
):
    """The other node heard of the former primary just before the sentinels changed their minds."""
    purger, reader = nodes
    await fill(purger, Request(), body=b"old")
    assert isinstance(await reader.lookup(Request(), budget()), Found)
    await asyncio.to_thread(quick.fail_over)
    reader._trips._way._sure_until = sentinel._now() + sentinel.LEASE
    lose_connection(purger)

    purge = asyncio.to_thread(purger.purge_sync, ["article:7"], 5.0) if is_sync else purger.purge(["article:7"], 5.0)
    purging = asyncio.ensure_future(purge)
    assert isinstance(await reader.lookup(Request(), budget()), Found), "which is right until the purge has landed"
    await purging
    assert not isinstance(await until_it_answers(reader, Request()), Found)


async def test_a_node_that_needs_no_trip_hears_of_the_failover_too(quick: Sentinels, request, monkeypatch):
    """It answers from what it keeps near, and its lease would be renewed by the former primary, which lives on."""
    monkeypatch.setattr("rcache.stores.redis.sentinel.LEASE", 0.3)
    settings = {"namespace": request.node.name, "near": "strict", "near_lease": 0.5, "deadline": 5.0}
    writer, reader = Cache(quick.url, **settings), Cache(quick.url, **settings)
    ask = Request()
    await fill(reader.store, ask, body=b"old")
    while not isinstance(reader.store.near.find(ask), Found):
        await reader.store.lookup(ask, budget())
        await asyncio.sleep(0.01)
    await asyncio.to_thread(quick.fail_over)

    lose_connection(writer.store.store_behind)
    assert (await writer.invalidate("article:7")).landed
    found = reader.store.near.find(ask)
    assert found is None
    await writer.close()
    await reader.close()


async def test_what_a_former_primary_held_is_void_when_it_is_named_again(
    quick: Sentinels, nodes: list[RedisStore], request: pytest.FixtureRequest
):
    """Two failovers in a row: before it was made a replica, it is the primary again, and never heard of the purge."""
    purger, reader = nodes
    former = quick.primary
    await fill(purger, Request(), body=b"old")
    with quick.only_two(former):
        between = await asyncio.to_thread(quick.fail_over)
        lose_connection(purger)
        await purger.purge(["article:7"], 5.0)
        again = await asyncio.to_thread(quick.fail_over)
    assert (between is former, again is former) == (False, True)

    # A process that knows nothing of all this, or one whose connection has lived through it.
    stranger = RedisStore(quick.url, namespace=request.node.name)
    assert not isinstance(await until_it_answers(stranger, Request()), Found)
    assert not isinstance(await until_it_answers(reader, Request()), Found)
    await stranger.aclose()


async def test_a_connection_without_a_loop_begins_the_reign_too(quick: Sentinels, nodes: list[RedisStore]):
    await fill(nodes[0], Request())
    sequence = nodes[0].names.sequence
    with quick.primary.client() as client:
        reign = int(client.hget(sequence, "reign"))
        client.hset(sequence, "reign", reign - 1)

        nodes[1].purge_sync(["unrelated"], 5.0)

        assert client.hget(sequence, "replid") is None
        assert int(client.hget(sequence, "reign")) == reign


async def test_an_epoch_of_this_reign_is_not_void_for_whoever_connects_after_everything_was_lost(
    quick: Sentinels, nodes: list[RedisStore]
):
    """It is begun on a connection that was there before, and is there still."""
    await fill(nodes[0], Request())
    with quick.primary.client() as client:
        client.flushall()
    for store in nodes:
        store.quarantine = 0.0
    assert isinstance(await nodes[0].lookup(Request(), budget()), Missing)
    await fill(nodes[0], Request(), body=b"new")

    nodes[1].purge_sync(["unrelated"], 5.0)

    assert (await nodes[0].lookup(Request(), budget())).entry.body == b"new"


async def test_a_name_that_leads_to_another_server_by_now_is_followed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("rcache.stores.redis.breaker.FIRST_WAIT", 0.0)
    servers = [RedisServer("--unixsocket", str(tmp_path / f"{number}.sock")) for number in range(2)]
    name = tmp_path / "redis.sock"
    name.symlink_to(tmp_path / "0.sock")
    try:
        store = RedisStore(f"unix://{name}", namespace="name")
        await fill(store, Request())
        store.purge_sync(["article:7"], 5.0)
        name.unlink()
        name.symlink_to(tmp_path / "1.sock")
        with servers[0].client() as client:
            client.replicaof("127.0.0.1", servers[1].port)

        with pytest.raises(BackendError, match="replica"):
            await store.lookup(Request(), budget())
        assert isinstance(await until_it_answers(store, Request()), Missing)
        assert store.purge_sync(["article:7"], 5.0).number
        await store.aclose()
    finally:
        for server in servers:
            server.stop()


async def test_a_synchronous_purge_finds_the_new_primary(quick: Sentinels, nodes: list[RedisStore]):
    nodes[0].purge_sync(["article:7"], 5.0)
    former = quick.kill_primary()
    try:
        with pytest.raises(BackendError):
            nodes[0].purge_sync(["article:7"], 1.0, probe=True)
        await asyncio.to_thread(quick.succeeded, former)

        assert nodes[0].purge_sync(["article:7"], 5.0, probe=True).number > 0
    finally:
        quick.revive(former)


@pytest.mark.parametrize("near", [None, "strict"])
@pytest.mark.parametrize("how", ["ordered", "killed", "stopped"])
async def test_a_failover_under_traffic_serves_nothing_stale_and_the_cache_is_used_again(
    quick: Sentinels, how: str, near: str | None, monkeypatch
):
    monkeypatch.setattr("rcache.stores.redis.sentinel.LEASE", 0.3)
    traffic = Traffic(quick.url, near=near, near_lease=0.5)
    former = quick.primary
    traffic.start()
    try:
        await traffic.flows()
        if how == "ordered":
            await asyncio.to_thread(quick.fail_over)
        else:
            former.kill() if how == "killed" else former.pause()
            await asyncio.to_thread(quick.succeeded, former)
            if how == "stopped":
                former.resume()
        await traffic.flows()
        tally = await traffic.stop()
    finally:
        if not former.is_running:
            quick.revive(former)
        await traffic.close()
    assert not tally.stale
    assert tally.slowest < 5.0, "nobody waited for sentinels or for a server that was gone"


async def test_sentinels_that_are_gone_are_no_reason_to_give_up_a_primary_that_answers(caplog):
    own = Sentinels()
    try:
        store = RedisStore(own.url, namespace="gone")
        await fill(store, Request())
        for process in own.sentinels:
            process.stop()
        store._trips._way._sure_until = 0.0  # its lease has run out

        assert isinstance(await store.lookup(Request(), budget()), Found)
        assert store.purge_sync(["article:7"], 5.0).entries == 1
        assert not store.is_down
        await store.aclose()

        stranger = RedisStore(own.url, namespace="gone")
        with pytest.raises(BackendError, match="no sentinel answers"):
            await stranger.lookup(Request(), budget())
        with pytest.raises(BackendError, match="no sentinel answers"):
            stranger.purge_sync(["article:7"], 5.0, probe=True)
        await stranger.aclose()
    finally:
        own.stop()


async def test_one_sentinel_of_those_listed_suffices_to_begin(quick: Sentinels):
    gone = f"127.0.0.1:{free_port()}"
    store = RedisStore(f"redis+sentinel://{gone},{quick.places.split(',')[0]}/{SERVICE}", namespace="one")

    await fill(store, Request())
    store.purge_sync(["article:7"], 5.0)
    await store.aclose()


async def test_a_service_that_nobody_knows_is_named(quick: Sentinels):
    store = RedisStore(f"redis+sentinel://{quick.places}/unknown/0")

    with pytest.raises(BackendError, match="no service 'unknown'"):
        await store.lookup(Request(), budget())
    await store.aclose()


async def test_a_client_that_a_sentinel_made_leads_to_the_same_place(quick: Sentinels):
    places = [("127.0.0.1", process.port) for process in quick.sentinels]
    client = aredis.Sentinel(places).master_for(SERVICE, db=0)
    store = RedisStore(client, namespace="ready")

    await fill(store, Request())
    assert store.purge_sync(["article:7"], 5.0).entries == 1
    await store.aclose()
    await client.aclose()


async def test_servers_and_sentinels_may_each_want_a_password_and_tls(tmp_path):
    certificates = Certificates(tmp_path)
    (tmp_path / "server").write_text("of the server\n")
    (tmp_path / "sentinel").write_text("of-the-sentinel")
    own = Sentinels(password="of the server", sentinel_password="of-the-sentinel", certificates=certificates)
    files = f"password_file={tmp_path}/server&sentinel_password_file={tmp_path}/sentinel&ssl_ca_certs={certificates.authority}"
    try:
        store = RedisStore(f"rediss+sentinel://{own.tls_places}/{SERVICE}/0?{files}", namespace="guarded")
        await fill(store, Request())
        assert isinstance(await store.lookup(Request(), budget()), Found)
        assert store.purge_sync(["article:7"], 5.0).entries == 1
        await store.aclose()

        plain = RedisStore(
            f"redis+sentinel://:wrong@{own.places}/{SERVICE}/0?sentinel_password=wrong", namespace="guarded"
        )
        with pytest.raises(BackendError, match=r"no sentinel answers.*password"):
            await plain.lookup(Request(), budget())
        await plain.aclose()
    finally:
        own.stop()


# Whom to believe


@pytest.mark.parametrize(
    ("answers", "winner", "is_decided"),
    [
        ([], None, False),
        ([OLD], OLD, False),
        ([OLD, NEW], None, False),
        ([NEW, NEW], NEW, True),
        ([OLD, NEW, NEW], NEW, True),
        ([OLD._replace(reign=5), OLD, OLD._replace(reign=5)], OLD._replace(reign=5), True),
    ],
)
def test_a_majority_of_those_listed_decides_and_else_most_of_those_who_answer(answers, winner, is_decided):
    poll = Poll(3)
    for answer in answers:
        poll.count(answer)

    assert (poll.winner, poll.is_decided) == (winner, is_decided)


GONE, SILENT = OSError("cannot connect"), TimeoutError("no answer")
GONE.__cause__ = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("said", "is_kept"),
    [
        ([GONE, GONE, GONE], True),
        ([GONE, GONE, SILENT], True),  # one alone appoints nobody
        ([GONE, SILENT, SILENT], False),
        ([SILENT, SILENT, SILENT], False),
        ([OLD, GONE, SILENT], True),
        ([OLD, SILENT, SILENT], False),  # it may not have heard yet of what the two did
        ([OLD, OLD, SILENT], True),
        ([OLD, NEW, SILENT], False),
    ],
)
def test_a_primary_is_kept_only_where_no_majority_can_have_appointed_another(said, is_kept):
    """Who is silent may have: on a busy machine, answers that came too late let nodes follow two primaries for seconds."""
    way = RedisStore("redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/shop")._trips._way
    way._primary, way._spot = way._place.server.at(OLD.host, OLD.port), OLD
    poll = Poll(3)
    for each in said:
        poll.count(each) if isinstance(each, Spot) else poll.fail(way._place.sentinels[0], each)

    if is_kept:
        assert way._conclude(poll, sentinel._now()) is way._primary
        assert way.is_sure
    else:
        with pytest.raises(driver.ConnectionError):
            way._conclude(poll, sentinel._now())
        assert not way.is_sure
