"""Event loops come and go, applications are built by the thousand, and nothing global grows."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, Rule, cached, invalidate, invalidate_sync, signals
from rcache.cache import _caches
from tests.support import RawClient, settle


def application(cache: Cache) -> FastAPI:
    """Reads and writes one number, in async and in sync endpoints."""
    app = FastAPI()
    app.state.value = 0
    app.add_middleware(CacheMiddleware, cache=cache)

    @app.get("/async")
    @cached(ttl=60, tags=["value"])
    async def read_async() -> int:
        return int(app.state.value)

    @app.get("/sync")
    @cached(ttl=60, tags=["value"])
    def read_sync() -> int:
        return int(app.state.value)

    @app.put("/async")
    async def write_async() -> bool:
        app.state.value += 1
        return (await invalidate("value")).landed

    @app.put("/sync")
    def write_sync() -> bool:
        app.state.value += 1
        return invalidate_sync("value").landed

    return app


@pytest.mark.parametrize("is_entered", [True, False], ids=["with", "without"])
def test_the_test_client_with_and_without_with(is_entered: bool) -> None:
    """Without it, each request runs on a loop of its own."""
    cache = Cache("memory://")
    app = application(cache)

    def story(client: TestClient) -> None:
        for path in ("/async", "/sync"):
            value = client.get(path).json()
            assert client.get(path).headers["cache-status"].startswith("rcache; hit")
            assert client.put(path).json() is True
            assert client.get(path).json() == value + 1

    for _ in range(3):
        if is_entered:
            with TestClient(app) as client:
                story(client)
        else:
            story(TestClient(app))
    cache.close_sync()


def test_loops_in_several_threads_share_one_cache() -> None:
    cache = Cache("memory://")
    app = Starlette(routes=[Route("/{n}", cached(ttl=60, tags=["all"])(_text()))])
    client = RawClient(CacheMiddleware(app, cache=cache))
    start = threading.Barrier(4)

    def work() -> list[str]:
        async def requests() -> list[str]:
            answers = []
            for n in range(40):
                answers += await asyncio.gather(*(client.get(f"/{n % 5}") for _ in range(3)))
                if n % 10 == 9:
                    await cache.invalidate("all")
            return [f"{answer.status} {answer.text}" for answer in answers]

        start.wait()
        return asyncio.run(requests())

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(work) for _ in range(4)]]
    expected = [f"200 {n % 5}" for n in range(40) for _ in range(3)]
    assert results == [expected] * 4
    assert not cache.flights.under_way
    cache.close_sync()


def _text() -> Any:
    async def endpoint(request: Request) -> Response:
        await asyncio.sleep(0)
        return PlainTextResponse(request.path_params["n"])

    return endpoint


async def test_the_cache_outlives_a_loop_that_was_closed_midway() -> None:
    """A flight of a dead loop must not be waited for."""
    cache = Cache("memory://")
    is_stuck = True

    async def endpoint(request: Request) -> Response:
        if is_stuck:
            await asyncio.Event().wait()
        return PlainTextResponse("went")

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", cached(ttl=60)(endpoint))]), cache=cache))

    def abandoned() -> None:
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            client.start("/")
            await settle()

        loop.run_until_complete(begin())
        assert len(cache.flights.under_way) == 1
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(settle())
        loop.close()

    await asyncio.to_thread(abandoned)
    is_stuck = False
    assert (await client.get("/")).text == "went"
    assert (await client.get("/")).is_hit
    await cache.close()


async def test_many_middlewares_leave_nothing_behind() -> None:
    gc.collect()
    before = len(_caches)
    receivers = [len(signal.receivers) for signal in (signals.entity_saved, signals.entity_deleted)]
    left: list[weakref.ref[Any]] = []
    for number in range(50):
        app = Starlette(routes=[Route("/{n}", cached(ttl=60, tags=["{n}"])(_text()))])
        middleware = CacheMiddleware(app, cache=Cache("memory://"), rules=[Rule("/{x}/{y}", ttl=60)])
        assert (await RawClient(middleware).get(f"/{number}")).is_stored
        left += [weakref.ref(middleware), weakref.ref(middleware.cache), weakref.ref(app)]
    del app, middleware
    gc.collect()
    assert [reference() for reference in left if reference() is not None] == []
    assert len(_caches) == before
    assert [len(signal.receivers) for signal in (signals.entity_saved, signals.entity_deleted)] == receivers


def test_building_a_middleware_reads_no_routes_and_makes_no_threads() -> None:
    class Unread:
        @property
        def routes(self) -> Any:
            raise AssertionError("read before the first request")

        async def __call__(self, *args: Any) -> None: ...

    threads = set(threading.enumerate())
    for _ in range(100):
        CacheMiddleware(Unread(), cache=Cache("memory://"))
    assert set(threading.enumerate()) <= threads
