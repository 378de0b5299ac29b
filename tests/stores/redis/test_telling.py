"""Nodes tell what they count, and tools look, on connections of their own: what fails there is no request's trouble."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from rcache import Cache
from rcache.core.errors import BackendError
from rcache.core.reports import EVENTS, Report
from rcache.core.views import Counters, EntryRow
from rcache.engine import reporter as reporting
from rcache.engine.telemetry import Standing, Telemetry
from rcache.stores.redis import RedisStore
from rcache.stores.redis import board as boards
from rcache.stores.redis import inspector as inspecting
from rcache.stores.redis.fleet import RedisFleet
from rcache.stores.redis.rights import ALL
from tests.servers import RedisServer
from tests.support import PATIENCE, HandClock

from .conftest import Request, budget, fill
from .test_rights import LEAST, allow

LOOKING = ("+scan", "+hstrlen", "+xread", "+xrevrange")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    made = RedisServer()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "INTERVAL", 0.05)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when that holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_cache_is_a_node_from_its_first_request_until_it_is_closed(redis_server: RedisServer):
    others = set(threading.enumerate())
    cache, other = (Cache(redis_server.url, namespace="telling-1") for _ in range(2))
    assert await other.inspector.nodes() == [], "nobody has counted anything"
    cache.stats.tally("/a").end("misses", 0.1)

    async def is_told() -> bool:
        return any(row.counters.misses == 1 for row in await other.inspector.nodes())

    await until(is_told)
    (row,) = await other.inspector.nodes()
    assert (row.node, row.role, row.near, row.is_down) == (cache.telemetry.node, "web", None, False)
    assert abs(row.seen - time.time()) < PATIENCE
    await cache.invalidate("book:1")
    await cache.close()
    assert await other.inspector.nodes() == []
    (event,) = await other.inspector.events()
    assert (event.tags, event.cause, event.node) == (("book:1",), "invalidate", row.node)
    assert "rcache-telemetry" not in {each.name for each in set(threading.enumerate()) - others}
    await other.close()


async def test_a_server_that_is_gone_costs_reports_and_nothing_else():
    server = RedisServer()
    cache = Cache(server.url, namespace="telling-2")
    cache.stats.tally("/a").end("misses", 0.1)

    async def is_told() -> bool:
        return len(await cache.inspector.nodes()) == 1

    await until(is_told)
    server.kill()
    with pytest.raises(BackendError):
        await cache.inspector.nodes()
    with pytest.raises(BackendError):
        await cache.inspector.largest()
    assert not cache.store.is_down, "nobody but tools has noticed"
    cache.stats.tally("/a").end("misses", 0.1)
    server.start()
    await until(is_told)

    async def is_made_up_for() -> bool:
        return (await cache.inspector.nodes())[0].counters.misses == 2

    await until(is_made_up_for)
    await cache.close()
    server.stop()


async def test_whoever_may_not_look_is_told_what_to_allow_and_the_cache_goes_on(server: RedisServer):
    cache = Cache(f"redis://{allow(server, *LEAST)}/0", namespace="telling-3")
    assert isinstance(cache.store, RedisStore)
    await fill(cache.store, Request())
    cache.stats.tally("/a").end("misses", 0.1)

    async def is_told() -> bool:
        return len(await cache.inspector.nodes()) == 1

    await until(is_told)  # the rights of the cache itself are enough to tell
    for look, missing in ((cache.inspector.largest, "scan"), (cache.inspector.events, "xrevrange")):
        with pytest.raises(BackendError, match=rf"\+{missing}`"):
            await look()
    assert not cache.store.is_down
    await cache.store.lookup(Request(), budget())
    await cache.close()


@pytest.mark.parametrize("rules", [(*LEAST, *LOOKING), ALL.split()], ids=["least", "in few words"])
async def test_whoever_may_look_sees_all(server: RedisServer, rules: tuple[str, ...]):
    cache = Cache(f"redis://{allow(server, *rules)}/0", namespace=f"telling-4-{len(rules)}")
    assert isinstance(cache.store, RedisStore)
    await fill(cache.store, Request())
    inspector = cache.inspector
    (row,) = await inspector.largest()
    assert await inspector.entries(row.url)
    assert await inspector.entry(row.entry)
    for page in (inspector.tags, inspector.search):
        await page("")
    await inspector.preview(["a"])
    await inspector.history()
    await inspector.hottest()
    await inspector.events()
    follower = inspector.follow()
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()
    await cache.close()


def test_what_nodes_leave_is_bounded_and_has_an_end(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(boards, "MOST_POPULAR", 50)
    store = RedisStore(redis_server.url, namespace="telling-5")
    board = store.board()
    telemetry = Telemetry(HandClock(), lambda: Standing(None, None, None, False, 0))
    hot = {f"entry-{number} http://a/{number}": number + 1 for number in range(200)}
    event = telemetry.happened("purge", ["a"] * 100, entries=1, number=1, cause="commit")
    for _ in range(3):
        happened = [(0.5, event)] * 1000
        board.report(Report(telemetry.row, Counters(hits=7, seconds=0.5), (), hot, happened))
    board.close()
    with redis_server.client() as client:
        keys = {key.decode().partition("}:")[2].partition(":")[0]: key for key in client.scan_iter("rc:{telling-5*")}
        assert set(keys) == {"node", "fleet", "second", "minute", "popular", "events"}
        assert all(client.pttl(key) > 0 for key in keys.values())
        assert client.zcard(keys["popular"]) == 50
        assert client.zrange(keys["popular"], -1, -1, withscores=True)[0][1] in (200.0, 400.0, 600.0)
        assert client.xlen(keys["events"]) < EVENTS + 200
        assert client.hget(keys["minute"], "hits") in (b"7", b"14", b"21")
        client.unlink(*client.scan_iter("rc:{telling-5*"))


def test_what_is_of_another_type_gives_way(redis_server: RedisServer):
    store = RedisStore(redis_server.url, namespace="telling-6")
    telemetry = Telemetry(HandClock(), lambda: Standing(None, None, None, False, 0))
    telemetry.happened("purge", ["a"], entries=1, number=1, cause="commit")
    with redis_server.client() as client:
        client.lpush(store.names.fleet, "x")
        client.lpush(store.names.events, "x")
        client.lpush(store.names.node(telemetry.node), "x")
        inspector = store.inspector()
        assert asyncio.run(inspector.events()) == []
        assert asyncio.run(inspector.nodes()) == []
        board = store.board()
        board.report(telemetry.report())
        assert len(asyncio.run(inspector.events())) == len(asyncio.run(inspector.nodes())) == 1
        board.close()
        inspector.close()
        client.unlink(*client.scan_iter("rc:{telling-6*"))


SCRIPT = """
import sys
from rcache import Cache
Cache(sys.argv[1], namespace="telling-7").invalidate_sync("book:1", cause="script")
"""


async def test_a_script_that_purges_and_ends_leaves_its_event(redis_server: RedisServer):
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SCRIPT, redis_server.url], check=True, timeout=PATIENCE
    )
    cache = Cache(redis_server.url, namespace="telling-7")
    (event,) = await cache.inspector.events()
    assert (event.tags, event.cause) == (("book:1",), "script")
    assert event.number > 0
    assert await cache.inspector.nodes() == []
    await cache.close()


async def test_a_server_that_was_told_to_forget_scripts_is_given_them_again(redis_server: RedisServer):
    cache = Cache(redis_server.url, namespace="telling-8")
    assert isinstance(cache.store, RedisStore)
    await fill(cache.store, Request())
    (row,) = (await cache.inspector.search("")).rows
    with redis_server.client() as client:
        client.script_flush()
    assert (await cache.inspector.entry(row.entry)) is not None
    await cache.close()


async def test_a_large_cache_is_looked_through_in_slices(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    """Each look ends in its time, and the cursor goes on where it ended."""
    monkeypatch.setattr(inspecting, "LOOK", 0.0)
    monkeypatch.setattr(inspecting, "SLICE", 10)
    store = RedisStore(redis_server.url, namespace="telling-9")
    for number in range(60):
        await fill(store, Request(b"/%d" % number), f"n:{number}")
    inspector = store.inspector()
    for look, wanted in ((inspector.search, 60), (inspector.tags, 60)):
        found: set[str] = set()
        looks, cursor = 0, None
        while looks == 0 or cursor is not None:
            page = await look("", cursor=cursor, count=1000)
            found |= {row.url if isinstance(row, EntryRow) else row.tag for row in page.rows}
            cursor, looks = page.cursor, looks + 1
        assert len(found) == wanted
        assert looks > 5
    assert len(await inspector.largest()) < 60, "a sample"
    inspector.close()
    await store.aclose()


async def test_who_follows_hears_of_holds_as_the_log_has_them_and_of_purges_once(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    cache = Cache(redis_server.url, namespace="telling-10")
    assert isinstance(cache.store, RedisStore)
    await fill(cache.store, Request())
    follower = cache.inspector.follow()
    heard: list[tuple[str, tuple[str, ...], str]] = []

    async def follow() -> None:
        async for event in follower:
            heard.append((event.kind, event.tags, event.cause))
            if len(heard) == 4:
                return

    began, heads = asyncio.Event(), RedisFleet._heads
    loop = asyncio.get_running_loop()

    def begin(fleet: RedisFleet) -> object:
        place = heads(fleet)
        loop.call_soon_threadsafe(began.set)
        return place

    monkeypatch.setattr(RedisFleet, "_heads", begin)
    following = asyncio.ensure_future(follow())
    async with asyncio.timeout(PATIENCE):
        await began.wait()
    with pytest.raises(ZeroDivisionError):
        async with cache.writing("book:1"):
            raise ZeroDivisionError
    async with cache.writing("book:2"):
        pass
    async with asyncio.timeout(PATIENCE):
        await following
    assert sorted(heard) == [
        ("hold", ("book:1",), ""),
        ("hold", ("book:2",), ""),
        ("purge", ("book:2",), "writing"),
        ("release", ("book:1",), ""),
    ]
    await cache.close()
