"""What the nodes of `benchmarks.waiting` serve: pages that take a known time, and count their runs in Redis."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.apps import REDIS_URL
from benchmarks.payload import BODY
from rcache import Cache, CacheMiddleware, cached

COLD: Final = 0.5  # seconds that a cold page takes
HOT: Final = 0.05  # seconds that a hot page takes
LIFETIME: Final = 1.0  # seconds for which a hot page that expires is fresh
WAYS: Final[dict[str, dict[str, Any]]] = {
    "plain": {"ttl": "1h"},
    "revalidate": {"ttl": LIFETIME, "stale_while_revalidate": 10},
    "early": {"ttl": LIFETIME, "early": True},
    "fraction": {"ttl": LIFETIME, "early": 0.8},
    "neither": {"ttl": LIFETIME},
}


def application() -> Starlette:
    """One node. With `deadline` it gives a loaded Redis time: this is about who waits for the application."""
    counted: Redis = Redis.from_url(os.environ[REDIS_URL], decode_responses=True)
    cache = Cache(os.environ[REDIS_URL], key_host=False, deadline=2.0, wait=30)

    async def run(name: str, seconds: float) -> None:
        await counted.rpush(f"runs:{name}", os.getpid())
        await asyncio.sleep(seconds)

    @cached(ttl="1h", vary=["accept-language"])
    async def cold(request: Request) -> Response:
        await run(request.path_params["name"], COLD)
        return JSONResponse(os.getpid())

    def hot(way: str) -> Any:
        async def page(request: Request) -> Response:
            await run(way, HOT)
            return Response(BODY, media_type="application/json")

        return cached(**WAYS[way])(page)

    routes = [Route("/cold/{name}", cold), *[Route(f"/{way}", hot(way)) for way in WAYS]]
    return Starlette(routes=routes, middleware=[Middleware(CacheMiddleware, cache=cache)])
