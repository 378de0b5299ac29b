"""What the nodes of `benchmarks.rewarm` serve: a thousand pages, each of which writes down in Redis who had it made."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.apps import REDIS_URL
from benchmarks.payload import BODY
from rcache import Cache, CacheMiddleware, cached

PAGES: Final = 1000
TAKES: Final = 0.02  # seconds
REWARM: Final = "BENCH_REWARM"
ROLE: Final = "BENCH_ROLE"


def application() -> Starlette:
    """One node, or one worker."""
    counted: Redis = Redis.from_url(os.environ[REDIS_URL], decode_responses=True)
    cache = Cache(os.environ[REDIS_URL], key_host=False, deadline=2.0)

    @cached(ttl="1h", tags=["site"], rewarm=int(os.environ.get(REWARM, "0")))
    async def page(request: Request) -> Response:
        is_rendered = request.headers.get("user-agent") == "rcache-warm"
        whose = os.environ.get(ROLE, "web") if is_rendered else "asked"
        await counted.incr(f"runs:{whose}")
        await asyncio.sleep(TAKES)
        return Response(BODY, media_type="application/json")

    async def purge(request: Request) -> Response:
        await cache.invalidate("site")
        return Response("purged", media_type="text/plain")

    routes = [Route("/{page:int}", page), Route("/purge", purge)]
    return Starlette(routes=routes, middleware=[Middleware(CacheMiddleware, cache=cache)])
