"""What may happen to a real server while somebody writes: nobody is answered from before the commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from rcache import Cache
from rcache.core.errors import BackendError
from rcache.engine.near_store import NearStore
from tests.contract.support import Question, body_of, fill, finish, missing
from tests.servers import RedisServer
from tests.support import PATIENCE

ROW = Question("/row")
HOUR = 3600.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(params=[None, "strict"], ids=["no near caches", "near"])
async def caches(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[list[Cache]]:
    """Two nodes."""
    made = [Cache(server.url, near=request.param, near_lease=0.2, deadline=PATIENCE) for _ in range(2)]
    await missing(made[0].store, Question("/nothing"))
    for cache in made:
        if isinstance(cache.store, NearStore):
            assert cache.store.follow().joined.wait(PATIENCE)
    yield made
    for cache in made:
        await cache.close()


async def bodies(caches: list[Cache]) -> list[bytes | None]:
    """What each node answers with, once Redis answers."""
    found: list[bytes | None] = []
    for cache in caches:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    found.append(await body_of(cache.store, ROW))
                    break
                except BackendError:
                    await asyncio.sleep(0.01)
    return found


async def restart_from(server: RedisServer) -> None:
    """The server dies, and comes back with what its last snapshot holds."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_a_restart_from_a_snapshot_that_does_not_know_the_hold(server: RedisServer, caches: list[Cache]) -> None:
    await fill(caches[0].store, ROW, b"old", "row", lifetime=HOUR)
    assert await bodies(caches) == [b"old", b"old"]
    with server.client() as client:
        client.save()
    async with caches[0].writing("row") as write:
        await restart_from(server)  # committed, let us say, while it was down
        assert await bodies(caches) == [None, None]
        assert await bodies(caches) == [None, None]
    assert write.purged is not None
    assert await bodies(caches) == [None, None]


async def test_a_restart_from_a_snapshot_that_does_not_know_the_purge(server: RedisServer, caches: list[Cache]) -> None:
    await fill(caches[0].store, ROW, b"old", "row", lifetime=HOUR)
    late = await missing(caches[1].store, Question("/late"))
    with server.client() as client:
        client.save()
    await caches[0].invalidate("row")
    await restart_from(server)
    assert await bodies(caches) == [None, None]
    assert not await finish(caches[1].store, Question("/late"), late, b"old", "row", lifetime=HOUR)
    assert await bodies(caches) == [None, None]


async def test_a_restart_with_everything_lost_while_somebody_holds(server: RedisServer, caches: list[Cache]) -> None:
    await fill(caches[0].store, ROW, b"old", "row", lifetime=HOUR)
    assert await bodies(caches) == [b"old", b"old"]
    async with caches[0].writing("row"):
        await asyncio.to_thread(lambda: server.restart(keep_data=False))
        for cache in caches:  # each has seen an earlier epoch, so whoever comes first makes the next in quarantine
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        miss = await missing(cache.store, ROW)
                        break
                    except BackendError:
                        await asyncio.sleep(0.01)
            assert miss.start is None
    assert await bodies(caches) == [None, None]


async def test_a_full_redis_takes_holds_releases_and_purges(server: RedisServer, caches: list[Cache]) -> None:
    await fill(caches[0].store, ROW, b"old", "row", lifetime=HOUR)
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    assert await bodies(caches) == [b"old", b"old"]
    with contextlib.suppress(ZeroDivisionError):
        async with caches[0].writing("row"):
            assert await bodies(caches) == [None, None]
            raise ZeroDivisionError
    assert await bodies(caches) == [b"old", b"old"]
    async with caches[0].writing("row") as write:
        assert await bodies(caches) == [None, None]
    assert write.purged is not None
    assert write.purged.landed
    assert await bodies(caches) == [None, None]
    miss = await missing(caches[0].store, ROW)
    assert not await finish(caches[0].store, ROW, miss, b"new", "row"), "it is full"
    with server.client() as client:
        client.config_set("maxmemory", "0")
    await fill(caches[0].store, ROW, b"new", "row", lifetime=HOUR)
    assert await bodies(caches) == [b"new", b"new"]


@pytest.mark.parametrize("lost", ["seq", "log", "nodes", "guard", "marks"])
async def test_any_key_of_the_protocol_lost_while_somebody_holds(
    server: RedisServer, caches: list[Cache], lost: str
) -> None:
    await fill(caches[0].store, ROW, b"old", "row", lifetime=HOUR)
    assert await bodies(caches) == [b"old", b"old"]
    async with caches[0].writing("row"):
        with server.client() as client:
            for key in client.scan_iter(f"rc:*:{lost}"):
                client.delete(key)
        assert await bodies(caches) == [None, None]
    assert await bodies(caches) == [None, None]
    await caches[1].invalidate("row")
    assert await bodies(caches) == [None, None]
