"""Caching switched off, strict mode switched on, and an application's own cache made an embedded one, while a test lasts."""

from __future__ import annotations

import asyncio
import threading

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, ConfigurationError, StrictError, cached, invalidate
from rcache.testing import (
    HandClock,
    assert_hit,
    assert_miss,
    assert_not_cached,
    assert_purged_by,
    disable,
    embedded,
    strict,
)


def application(cache: Cache | None = None) -> FastAPI:
    app = FastAPI()
    app.add_middleware(CacheMiddleware, cache=cache)

    @app.get("/page")
    @cached(ttl=60, tags=["page"])
    async def page() -> Response:
        return PlainTextResponse("page")

    @app.get("/own")
    @cached(ttl=60)
    async def own(request: Request) -> Response:
        return PlainTextResponse(request.headers.get("x-user", ""))

    @app.delete("/page")
    async def drop() -> Response:
        await invalidate("page")
        return PlainTextResponse("dropped")

    return app


def test_switched_off_everything_passes_and_purges_are_sent_all_the_same():
    with TestClient(application(Cache("memory://"))) as client:
        assert_miss(client.get("/page"))
        assert_hit(client.get("/page"))
        with disable():
            assert_not_cached(client.get("/page"))
            assert_not_cached(client.get("/page"))
            with assert_purged_by("page"):
                client.delete("/page")
        assert_miss(client.get("/page"), stored=True)
        assert_hit(client.get("/page"))


def test_switched_off_the_lifespan_goes_on_as_before():
    cache = Cache("memory://")
    with disable(), TestClient(application(cache)) as client:
        assert client.get("/page").text == "page"
        assert cache.is_open
    assert not cache.is_open


def test_strict_mode_holds_for_routes_that_were_read_before_and_ends_with_the_block():
    client = TestClient(application(Cache("memory://")))
    headers = {"x-user": "ada", "cache-control": "no-store"}
    assert client.get("/own", headers=headers).text == "ada"
    with strict():
        with pytest.raises(StrictError, match="x-user"):
            client.get("/own", headers={"x-user": "ada"})
        assert client.get("/page").text == "page"
    assert client.get("/own", headers=headers).text == "ada"


def test_strict_mode_ends_for_routes_that_are_read_in_the_block():
    client = TestClient(application(Cache("memory://")))
    with strict(), pytest.raises(StrictError):
        client.get("/own", headers={"x-user": "ada"})
    assert client.get("/own", headers={"x-user": "ada"}).text == "ada"


def test_an_applications_own_cache_is_embedded_and_empty_for_a_while():
    others = set(threading.enumerate())
    cache = Cache("redis://127.0.0.1:1", namespace="shop", max_body=100)
    client = TestClient(application(cache))
    clock = HandClock()
    store, stats, heard = cache.store, cache.stats, cache.telemetry.heard
    for _ in range(2):
        with embedded(cache, clock) as same:
            assert same is cache
            assert (cache.max_body, cache.settings.namespace) == (100, "shop")
            assert_miss(client.get("/page"), stored=True)
            clock.advance("59s")
            assert_hit(client.get("/page"))
            clock.advance(1)
            assert_miss(client.get("/page"))
            with assert_purged_by("page", urls=["/page"]):
                client.delete("/page")
            assert (cache.stats.hits, cache.stats.misses) == (1, 2)
            assert [node.near for node in asyncio.run(cache.inspector.nodes())] == [None]
    assert cache.store is store
    assert cache.stats is stats
    assert cache.telemetry.heard == heard
    started = {thread.name for thread in set(threading.enumerate()) - others}
    assert "rcache-telemetry" not in started, "nobody is told of it"
    assert cache.is_open
    cache.close_sync()
    with embedded(cache):
        assert cache.is_open
    assert not cache.is_open


def test_what_follows_writes_for_a_cache_goes_on_doing_so():
    cache = Cache("memory://")
    first, second = object(), object()
    cache.changes.tables.append(first)  # type: ignore[arg-type]
    with embedded(cache):
        cache.changes.transactions.append(second)  # type: ignore[arg-type]
        assert cache.changes.tables == [first]
    assert (cache.changes.tables, cache.changes.transactions) == ([first], [second])
    cache.close_sync()


def test_the_cache_may_be_found_in_the_stack_of_an_application():
    app = application()
    with embedded(app, HandClock()) as cache:
        client = TestClient(app)
        client.get("/page")
        assert_hit(client.get("/page"))
        assert cache.stats.hits == 1
    with embedded(CacheMiddleware(app, cache)) as same:
        assert same is cache
    with pytest.raises(ConfigurationError, match="has no CacheMiddleware in its stack: hand its Cache to embedded"):
        embedded(FastAPI()).__enter__()
    cache.close_sync()


def test_a_hand_clock_takes_what_settings_take():
    clock = HandClock(now=100.0)
    clock.advance(1.5)
    clock.advance("1m")
    assert (clock.time(), clock.monotonic(), clock.boottime()) == (161.5, 61.5, 61.5)
    with pytest.raises(ConfigurationError, match="duration='soon' is not a duration"):
        clock.advance("soon")
    assert HandClock().time() > 1_700_000_000
