"""Requests that wait for others' runs do not end up running one after the other."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from tests.support import RawClient


async def test_purges_during_each_run_do_not_make_those_who_wait_run_in_turns():
    """Somebody elsewhere purges during every run, so no answer is ever accepted: after two waits each runs by itself."""
    inside: list[asyncio.Event] = []

    @cached(ttl=60, tags=["hot"])
    async def page(request: Request) -> PlainTextResponse:
        gate = asyncio.Event()
        inside.append(gate)
        await gate.wait()
        return PlainTextResponse("page")

    cache = Cache("memory://")
    app = Starlette(routes=[Route("/", page)])
    app.add_middleware(CacheMiddleware, cache=cache)
    client = RawClient(app)
    requests = [client.start("/") for _ in range(12)]
    rounds = 0
    while not all(request.task.done() for request in requests):
        for _ in range(50):
            await asyncio.sleep(0)
        if inside:
            rounds += 1
            await cache.store.purge(["hot"], 1.0)  # not through this node's cache, which would detach its flights
            for gate in inside:
                gate.set()
            inside.clear()
    assert rounds == 3
    assert {(await request.finish()).text for request in requests} == {"page"}
