"""Near caches in real processes, on a real Redis that is cut off, restarted and emptied: hits without a trip, nothing stale."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rcache import Cache
from rcache.core.entry import Found
from rcache.core.keys import Key
from rcache.engine.near_store import NearStore
from rcache.ports import Store
from tests.contract.support import TIMEOUT, Question, body_of, budget, fill, finish, missing
from tests.nodes.processes import Node
from tests.nodes.test_two_nodes import fill as fill_database
from tests.servers import RedisServer
from tests.support import PATIENCE

BOOK = Question("/book/1")
NAMESPACE = "near"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


def near_cache(server: RedisServer, **settings: object) -> Cache:
    options = {"near": "strict", "near_lease": 1.0, "deadline": PATIENCE, "namespace": NAMESPACE, **settings}
    return Cache(server.url, **options)  # type: ignore[arg-type]


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[list[Cache]]:
    """Two strict nodes, that follow the log."""
    caches = [near_cache(server) for _ in range(2)]
    await missing(caches[0].store, Question("/nothing"))
    for cache in caches:
        joined(cache)
    yield caches
    for cache in caches:
        await cache.close()


def store_of(cache: Cache) -> NearStore:
    assert isinstance(cache.store, NearStore)
    return cache.store


def joined(cache: Cache) -> None:
    """Returns when the cache follows the log."""
    assert store_of(cache).follow().joined.wait(PATIENCE)


async def keep(caches: list[Cache], body: bytes, *tags: str) -> None:
    """Every node keeps it near: again where it has begun anew meanwhile, since a busy machine may let a lease lapse."""
    await fill(caches[0].store, BOOK, body, *tags, lifetime=3600.0)
    async with asyncio.timeout(PATIENCE):
        while at_hand(caches) != [body] * len(caches):
            for cache in caches:
                assert await body_of(cache.store, BOOK) == body


def at_hand(caches: list[Cache], key: Key = BOOK.key) -> list[bytes | None]:
    found = [cache.store.at_hand(key) for cache in caches]
    return [each[0].body if each is not None else None for each in found]


async def test_hits_take_no_trip(nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    node, is_shown = store_of(nodes[1]), False
    async with asyncio.timeout(PATIENCE):
        while not is_shown:
            assert await body_of(node, BOOK) == b"x"
            clears, trips = node.near.clears, node.store_behind.trips  # type: ignore[attr-defined]
            is_shown = at_hand(nodes)[1] is not None
            for _ in range(100):
                assert await body_of(node, BOOK) == b"x"
            # Else the lease has lapsed in between, and it shows nothing.
            is_shown = is_shown and node.near.is_alive and node.near.clears == clears
    assert node.store_behind.trips == trips  # type: ignore[attr-defined]


async def test_once_a_purge_or_a_hold_has_returned_no_node_has_it_at_hand(nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    await nodes[0].invalidate("book:1")
    assert at_hand(nodes) == [None, None]
    await keep(nodes, b"y", "book:1")
    async with nodes[1].writing("book:1"):
        assert at_hand(nodes) == [None, None]
        for cache in nodes:
            assert await body_of(cache.store, BOOK) is None
    await keep(nodes, b"z", "book:1")
    with nodes[0].writing_sync("book:1"):
        assert at_hand(nodes) == [None, None]


async def test_what_is_rolled_back_is_kept_again(nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    with pytest.raises(ZeroDivisionError):
        async with nodes[0].writing("book:1"):
            raise ZeroDivisionError
    for cache in nodes:
        assert await body_of(cache.store, BOOK) == b"x"
    async with asyncio.timeout(PATIENCE):  # until the release has been read
        while at_hand(nodes) != [b"x", b"x"]:
            for cache in nodes:
                await body_of(cache.store, BOOK)


async def test_a_writer_without_a_near_cache_waits_for_those_that_have_one(
    server: RedisServer, nodes: list[Cache]
) -> None:
    writer = near_cache(server, near=None)
    for number in range(20):
        await keep(nodes, b"%d" % number, "book:1")
        await writer.invalidate("book:1")
        assert at_hand(nodes) == [None, None]
    await writer.close()


async def test_a_fast_node_hears_of_purges_by_itself(server: RedisServer, nodes: list[Cache]) -> None:
    fast = near_cache(server, near="fast")
    await missing(fast.store, Question("/nothing"))
    joined(fast)
    await keep([*nodes, fast], b"x", "book:1")
    await nodes[0].invalidate("book:1")
    async with asyncio.timeout(PATIENCE):
        while at_hand([fast]) != [None]:
            await asyncio.sleep(0)
    await keep([fast], b"y", "book:1")
    await fast.invalidate("book:1")
    assert at_hand([fast]) == [None], "its own purges at once"
    await fast.close()


async def test_a_hold_that_was_lost_with_its_guard_keeps_nothing_from_being_kept_near(
    server: RedisServer, nodes: list[Cache]
) -> None:
    """Its end is named by no record: what it held is kept again once a look-up finds it."""
    await keep(nodes, b"x", "book:1")
    hold = nodes[0].holds.begin()
    await hold.place(["book:1"])
    guard = store_of(nodes[0]).store_behind.names.guard(0)  # type: ignore[attr-defined]
    with server.client() as client:
        client.delete(guard)
        assert (await missing(nodes[1].store, BOOK)).reason == "quarantine"
        client.hset(guard, "quarantine", 1)  # it is over
    await missing(nodes[1].store, BOOK)
    await hold.purge()
    await keep(nodes, b"y", "book:1")


# What may go wrong


def anew(cache: Cache, clears: int) -> None:
    """Returns when the cache has begun anew."""
    deadline = time.monotonic() + PATIENCE
    while store_of(cache).near.clears == clears or not store_of(cache).near.is_alive:
        assert time.monotonic() < deadline, "it never begins anew"
        time.sleep(0.001)


async def test_a_connection_that_is_cut_is_a_doubt(server: RedisServer, nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    clears = store_of(nodes[1]).near.clears
    with server.client() as client:
        for other in client.client_list():
            if other["cmd"] == "xread":
                client.client_kill_filter(_id=other["id"])
    await asyncio.to_thread(anew, nodes[1], clears)
    assert at_hand(nodes)[1] is None
    assert await body_of(nodes[1].store, BOOK) == b"x"
    await nodes[0].invalidate("book:1")
    assert at_hand(nodes) == [None, None]


@pytest.mark.parametrize("loss", ["deleted", "trimmed"])
async def test_a_record_that_is_gone_before_it_was_read_is_a_doubt(
    server: RedisServer, nodes: list[Cache], loss: str
) -> None:
    writer = near_cache(server, near=None)
    await keep(nodes, b"x", "book:1")
    clears = [store_of(cache).near.clears for cache in nodes]
    store = store_of(nodes[0]).store_behind
    names = store.names  # type: ignore[attr-defined]
    with server.client() as client:
        # Both events at once for whoever reads: the purge is gone when the next record comes.
        pipe = client.pipeline(transaction=True)
        pipe.hincrby(names.sequence, "n", 1)
        number = int(client.hget(names.sequence, "n")) + 1
        pipe.hset(names.sequence, "last", number)
        if loss == "trimmed":
            pipe.xtrim(names.log, maxlen=0)
        else:
            pipe.delete(names.log)
        pipe.execute()
    await asyncio.to_thread(store_of(nodes[0]).store_behind.purge_sync, ["other"], TIMEOUT)
    for cache, before in zip(nodes, clears, strict=True):
        await asyncio.to_thread(anew, cache, before)
    await writer.close()


async def test_a_restart_of_redis_clears_and_the_nodes_join_again(server: RedisServer, nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    clears = [store_of(cache).near.clears for cache in nodes]
    await asyncio.to_thread(lambda: server.restart(keep_data=True))
    for cache in nodes:
        assert await _answered(cache.store) in (None, b"x")
    for cache, before in zip(nodes, clears, strict=True):
        await asyncio.to_thread(anew, cache, before)
    assert at_hand(nodes) == [None, None]


async def _answered(store: Store) -> bytes | None:
    """The body of a hit, asked for until Redis answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await body_of(store, BOOK)
            except Exception:
                await asyncio.sleep(0.01)


async def test_flushall_is_another_epoch(server: RedisServer, nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    clears = [store_of(cache).near.clears for cache in nodes]
    with server.client() as client:
        client.flushall()
    await missing(store_of(nodes[0]).store_behind, Question("/nothing"))
    for cache, before in zip(nodes, clears, strict=True):
        await asyncio.to_thread(anew, cache, before)
    assert at_hand(nodes) == [None, None]


async def test_a_stopped_redis_lets_the_leases_run_out(server: RedisServer, nodes: list[Cache]) -> None:
    await keep(nodes, b"x", "book:1")
    server.pause()
    try:
        async with asyncio.timeout(PATIENCE):
            while any(at_hand(nodes)):
                await asyncio.sleep(0.01)
    finally:
        server.resume()
    for cache in nodes:
        deadline = time.monotonic() + PATIENCE
        while not store_of(cache).near.is_alive:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


# Many loops, and a process that is frozen


async def test_readers_and_writers_of_many_loops_see_nothing_stale(server: RedisServer, nodes: list[Cache]) -> None:
    """Readers in threads with loops of their own, against the version committed before they asked."""
    committed = 0
    is_over = threading.Event()
    stale: list[tuple[int, int]] = []
    hits = [0]

    async def read(cache: Cache) -> None:
        while not is_over.is_set():
            floor = committed
            found = await cache.store.lookup(BOOK, budget())
            if isinstance(found, Found):
                hits[0] += 1
                if int(found.entry.body) < floor:
                    stale.append((int(found.entry.body), floor))
            elif found.start is not None:
                version = committed
                await asyncio.sleep(0)
                await finish(cache.store, BOOK, found, b"%d" % version, "row")

    async def write(cache: Cache) -> None:
        nonlocal committed
        for _ in range(100):
            async with cache.writing("row"):
                committed += 1

    threads = [threading.Thread(target=lambda cache=cache: asyncio.run(read(cache))) for cache in nodes * 2]
    for thread in threads:
        thread.start()
    for cache in nodes:
        await write(cache)
    is_over.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
    assert not stale
    assert hits[0]


@pytest.fixture
def processes(server: RedisServer, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    books = tmp_path / "books.sqlite3"
    fill_database(books)
    environment = {"RCACHE_URL": server.url, "BOOKS": str(books), "NEAR": "strict"}
    started = [Node("tests.nodes.application:app", **environment) for _ in range(2)]
    yield started[0], started[1]
    for node in started:
        node.stop()


def test_a_node_that_was_frozen_serves_nothing_from_before_when_it_wakes(
    server: RedisServer, processes: tuple[Node, Node], tmp_path: Path
) -> None:
    a, b = processes
    for _ in range(3):
        before = a.get("/books/1").data["version"]
        b.get("/books/1")
    a.pause()
    try:
        assert b.put("/books/1").data["landed"], "it waits for the frozen node's lease, and then no longer"
    finally:
        a.resume()
    assert a.get("/books/1").data["version"] == before + 1
    assert b.get("/books/1").data["version"] == before + 1


def test_processes_agree_about_every_write(processes: tuple[Node, Node], tmp_path: Path) -> None:
    a, b = processes
    for _ in range(10):
        for writer, reader in ((a, b), (b, a)):
            writer.put("/books/2")
            with sqlite3.connect(tmp_path / "books.sqlite3") as database:
                (version,) = database.execute("SELECT version FROM books WHERE id = 2").fetchone()
            for node in (reader, writer):
                assert node.get("/books/2").data["version"] == version
                assert node.get("/books/2").cache.startswith("rcache; hit")
