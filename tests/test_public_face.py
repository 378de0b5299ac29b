"""What users import: invalidation from anywhere, signals, and a package that needs no extra."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

import rcache
from rcache import (
    BackendError,
    Cache,
    CacheMiddleware,
    ConfigurationError,
    Purged,
    RCacheError,
    cached,
    invalidate,
    invalidate_sync,
    signals,
)
from rcache.cache import _caches
from tests.support import EPOCH, HandClock, RawClient


@pytest.fixture(autouse=True)
def _no_cache_left_over() -> None:
    """Applications of earlier tests lie in reference cycles, and their caches with them; what is left was not closed there."""
    if len(_caches):
        gc.collect()
        for left in list(_caches):
            left.close_sync()


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    """The only cache in the process, on a clock set by hand."""
    cache = Cache("memory://", clock=HandClock())
    yield cache
    await cache.close()


def serving(cache: Cache, path: str = "/{name}", **settings: Any) -> RawClient:
    async def page(request: Request) -> Response:
        return PlainTextResponse("page")

    options = {"ttl": 60, "tags": ["page", "page:{name}"], **settings}
    return RawClient(CacheMiddleware(Starlette(routes=[Route(path, cached(**options)(page))]), cache=cache))


# Imports


def test_every_public_name_is_there() -> None:
    assert {"Cache", "CacheMiddleware", "Rule", "cached", "invalidate", "invalidate_sync", "tag"} <= set(rcache.__all__)
    assert {"capture", "depends_on", "depends_on_table", "StrictError"} <= set(rcache.__all__)
    for name in rcache.__all__:
        assert getattr(rcache, name) is not None


def test_errors_are_one_family() -> None:
    assert issubclass(ConfigurationError, RCacheError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(BackendError, RCacheError)


def test_importing_it_and_caching_in_starlette_loads_neither_fastapi_nor_redis() -> None:
    code = """
import asyncio, sys
for name in ("fastapi", "pydantic", "redis", "hiredis", "httpx", "uvicorn"):
    sys.modules[name] = None
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from rcache import Cache, CacheMiddleware, cached
@cached(ttl=60, tags=["{n}"])
async def page(request):
    return PlainTextResponse("page")
app = CacheMiddleware(Starlette(routes=[Route("/{n:int}", page)]), cache=Cache())
async def get():
    sent = []
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "GET", "path": "/1", "query_string": b"", "headers": []}
    await app(scope, None, send)
    return dict(sent[0]["headers"])[b"cache-status"].decode()
async def main():
    return await get(), await get()
print(asyncio.run(main()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "('rcache; fwd=miss; stored', 'rcache; hit; ttl=60')"


# Cache


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "memory://elsewhere"},
        {"url": "http://nowhere"},
        {"url": 5},
        {"max_bytes": 0},
        {"max_bytes": "lots"},
        {"max_body": -1},
        {"max_variants": 0},
        {"max_variants": True},
        {"max_marks": 0},
        {"max_marks": 1.5},
        {"deadline": 0},
        {"deadline": "soon"},
        {"purge_timeout": -1},
        {"on_outage": "explode"},
    ],
    ids=repr,
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Cache(**settings)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCACHE_URL", "memory://wrong")
    Cache("memory://").close_sync()
    with pytest.raises(ConfigurationError, match="wrong"):
        Cache()
    monkeypatch.setenv("RCACHE_URL", "")
    Cache().close_sync()


async def test_a_cache_is_a_context_and_opens_again_after_it() -> None:
    async with Cache("memory://") as cache:
        assert cache.is_open
    assert not cache.is_open
    assert (await cache.invalidate("x")).landed
    assert cache.is_open
    await cache.close()
    await cache.close()


# invalidate


async def test_an_invalidation_tells_what_it_did(cache: Cache) -> None:
    client = serving(cache)
    for name in ("a", "b", "c"):
        await client.get(f"/{name}")
    purged = await cache.invalidate("page:a", "page:b", "nobody", "page:a")
    assert isinstance(purged, Purged)
    assert (purged.tags, purged.entries, purged.landed) == (("page:a", "page:b", "nobody"), 2, True)
    assert isinstance(purged.sequence, int)
    later = cache.invalidate_sync("page")
    assert later.sequence is not None
    assert later.sequence > purged.sequence
    assert later.entries >= 1
    assert [(await client.get(f"/{name}")).is_hit for name in ("a", "b", "c")] == [False] * 3


async def test_nothing_to_invalidate_is_nothing_done(cache: Cache) -> None:
    assert await cache.invalidate() == Purged((), 0, None, landed=True)
    assert cache.invalidate_sync() == Purged((), 0, None, landed=True)


async def test_only_the_exact_tag_is_purged(cache: Cache) -> None:
    client = serving(cache)
    await client.get("/42")
    for other in ("page:4", "page:42:", "page:420", "PAGE:42", "page?*", "pag", "page:42 "):
        await cache.invalidate(other)
        assert (await client.get("/42")).is_hit, other
    await cache.invalidate("page:42")
    assert not (await client.get("/42")).is_hit


async def test_the_family_of_a_row_s_tag_purges_every_row_and_nothing_else(cache: Cache) -> None:
    rows, other = serving(cache), serving(cache, tags=["page", "pages:{name}"])
    await rows.get("/1")
    await rows.get("/2")
    await other.get("/3")
    assert (await cache.invalidate("page:*")).landed
    assert [(await client.get(path)).is_hit for client, path in ((rows, "/1"), (rows, "/2"), (other, "/3"))] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("illegal", ["", "a\x00", "a\n", "x" * 513, "\x1fAAAA", "\ud800"], ids=ascii)
async def test_an_illegal_tag_is_an_error_and_nothing_is_purged(cache: Cache, illegal: str) -> None:
    client = serving(cache)
    await client.get("/a")
    with pytest.raises(ValueError):
        await cache.invalidate("page", illegal)
    with pytest.raises(ValueError):
        cache.invalidate_sync("page", illegal)
    assert (await client.get("/a")).is_hit


async def test_not_waiting_returns_at_once_and_lands_soon(cache: Cache) -> None:
    client = serving(cache)
    await client.get("/a")
    purged = await cache.invalidate("page:a", wait=False)
    assert (purged.tags, purged.sequence, purged.landed) == (("page:a",), None, False)
    # Nothing that carries the tag is served in this process, whether the purge has landed yet or not.
    assert not (await client.get("/a")).is_hit


async def test_the_only_cache_is_meant_outside_a_request(cache: Cache) -> None:
    client = serving(cache)
    for purge in (
        lambda: invalidate("page"),
        lambda: asyncio.to_thread(invalidate_sync, "page"),
    ):
        await client.get("/a")
        assert (await client.get("/a")).is_hit
        assert (await purge()).entries == 1
        assert not (await client.get("/a")).is_hit
    invalidate_sync("page")  # on the loop's own thread
    assert not (await client.get("/a")).is_hit


def test_a_script_without_a_loop_invalidates() -> None:
    cache = Cache("memory://")
    client = serving(cache)
    asyncio.run(client.get("/a"))
    assert invalidate_sync("page:a").entries == 1
    results = []
    thread = threading.Thread(target=lambda: results.append(invalidate_sync("page")))
    thread.start()
    thread.join()
    assert results[0].landed
    cache.close_sync()


async def test_no_cache_at_all_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="create a Cache"):
        invalidate_sync("x")
    with pytest.raises(ConfigurationError, match="create a Cache"):
        await invalidate("x")


async def test_several_caches_are_an_error_that_names_the_remedy(cache: Cache) -> None:
    other = Cache("memory://")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"\.invalidate\(\) on the one you mean"):
            await invalidate("x")
        with pytest.raises(ConfigurationError, match=r"\.invalidate\(\) on the one you mean"):
            invalidate_sync("x")
    await other.close()
    assert (await invalidate("x")).landed


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("is_sync", [True, False])
async def test_the_cache_of_the_request_is_meant_inside_one(
    cache: Cache, method: str, is_cached: bool, is_sync: bool
) -> None:
    other = Cache("memory://")
    for each in (cache, other):
        await serving(each).get("/a")

    async def asynchronous(request: Request) -> Response:
        return PlainTextResponse(str((await invalidate("page")).entries))

    def synchronous(request: Request) -> Response:
        return PlainTextResponse(str(invalidate_sync("page").entries))

    endpoint: Any = synchronous if is_sync else asynchronous
    if is_cached:
        endpoint = cached(ttl=60)(endpoint)
    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])
    answer = await RawClient(CacheMiddleware(app, cache=other)).request(method, "/")
    assert answer.text == "1"
    assert (await serving(cache).get("/a")).is_hit
    assert not (await serving(other).get("/a")).is_hit
    await other.close()


async def test_the_cache_of_the_connection_is_meant_in_a_websocket(cache: Cache) -> None:
    other = Cache("memory://")

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str((await invalidate("x")).landed))
        await websocket.close()

    app = CacheMiddleware(Starlette(routes=[WebSocketRoute("/", endpoint)]), cache=other)

    def connect() -> str:
        with TestClient(app).websocket_connect("/") as session:
            return session.receive_text()

    assert await asyncio.to_thread(connect) == "True"
    await other.close()


# Signals


class Heard:
    """Collects what a signal sends."""

    def __init__(self, signal: Any, sender: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        signal.connect(self, sender=sender)

    def __call__(self, sender: Any, **details: Any) -> None:
        self.calls.append(details)


async def test_storing_serving_and_invalidating_are_told(cache: Cache) -> None:
    stored = Heard(signals.response_stored, cache)
    served = Heard(signals.response_served, cache)
    invalidated = Heard(signals.tags_invalidated, cache)
    client = serving(cache)
    await client.get("/a")
    cache.clock.advance(3)  # type: ignore[attr-defined]
    await client.get("/a")
    purged = await invalidate("page", "other")
    assert stored.calls == [{"path": "/a", "status": 200, "tags": ("page", "page:a"), "ttl": 60.0, "size": 4}]
    assert served.calls == [{"path": "/a", "status": 200, "tags": ("page", "page:a"), "age": 3}]
    assert invalidated.calls == [
        {"tags": ("page", "other"), "entries": 1, "sequence": purged.sequence, "landed": True},
    ]


async def test_a_receiver_that_raises_breaks_nothing_and_stops_nobody(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(sender: Any, **details: Any) -> None:
        raise RuntimeError("receiver")

    async def coroutine(sender: Any, **details: Any) -> None: ...

    notified = (signals.response_stored, signals.response_served, signals.tags_invalidated)
    for signal in notified:
        signal.connect(broken, sender=cache)
    heard = [Heard(signal, cache) for signal in notified]
    client = serving(cache)
    assert (await client.get("/a")).is_stored
    assert (await client.get("/a")).is_hit
    assert (await cache.invalidate("page")).landed
    assert cache.invalidate_sync("page").landed
    assert [len(each.calls) for each in heard] == [1, 1, 2]
    assert sum("a receiver of" in record.getMessage() for record in caplog.records) == 4
    for signal in notified:
        signal.disconnect(broken, sender=cache)


class Plain:
    """Named after its class."""


class Named:
    __tablename__ = "people"


class Tagged:
    __tablename__ = "people"
    __cache_tag__ = "person"


class Table:
    """Has a table object, as imperative mappings do."""

    __table__ = type("T", (), {"name": "things"})()


class Model:
    """Has Django's."""

    _meta = type("M", (), {"db_table": "shop_order"})()


@pytest.mark.parametrize(
    ("sender", "identity", "tags"),
    [
        (Plain, 42, ("plain:42", "plain", "plain?*")),
        (Named, "a", ("people:a", "people", "people?*")),
        (Tagged, 42, ("person:42", "person", "person?*")),
        (Table, 7, ("things:7", "things", "things?*")),
        (Model, 7, ("shop_order:7", "shop_order", "shop_order?*")),
        (Tagged(), 42, ("person:42", "person", "person?*")),
        (Plain, None, ("plain", "plain:*")),
        (Plain, 0, ("plain:0", "plain", "plain?*")),
        (Plain, ("a:b", 1), ("plain:a%3Ab:1", "plain", "plain?*")),
        (Plain, ("a", "b:1"), ("plain:a:b%3A1", "plain", "plain?*")),
    ],
)
@pytest.mark.parametrize("signal", [signals.entity_saved, signals.entity_deleted], ids=["saved", "deleted"])
async def test_an_entity_that_changed_is_purged_in_every_open_cache(
    cache: Cache, signal: Any, sender: Any, identity: Any, tags: tuple[str, ...]
) -> None:
    other, closed = Cache("memory://"), Cache("memory://")
    await closed.close()
    heard = [Heard(signals.tags_invalidated, each) for each in (cache, other, closed)]
    signal.send(sender, identity=identity, more="keywords")
    assert [[call["tags"] for call in each.calls] for each in heard] == [[tags], [tags], []]
    assert not closed.is_open
    await other.close()


async def test_an_entity_without_identity_purges_its_table(cache: Cache) -> None:
    client = serving(cache, tags=["plain"])
    await client.get("/a")
    signals.entity_saved.send(Plain)
    assert not (await client.get("/a")).is_hit


async def test_counters_say_what_happened(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "rcache")
    client = serving(cache)
    await client.get("/a")
    await client.get("/a")
    await client.head("/b")
    await client.get("/a", {"authorization": "x"})
    await client.get("/a", {"cookie": "session=x"})
    await cache.invalidate("page")
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.passes, stats.stores, stats.purges) == (1, 3, 1, 1, 1)


def test_the_hand_clock_starts_where_tests_expect_it() -> None:
    clock = HandClock()
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (EPOCH + 2.5, 2.5)
