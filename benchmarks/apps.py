"""One application per row: `uvicorn --factory benchmarks.apps:NAME`.

Each cache stands in the usage its own documentation shows for FastAPI. Imports are made inside the factories, because
every peer runs in an environment that holds nothing but itself. Each application with an endpoint also answers /calls
with the number of times that endpoint ran, so that a harness can prove a hit without trusting a header.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from benchmarks.payload import BODY, HEADERS, HIT_FIELDS, ITEMS, PATH

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

TTL: Final = 3600  # longer than any run
REDIS_URL: Final = "BENCH_REDIS_URL"
"""Name of the environment variable that holds the URL of the run's own redis-server."""


class Calls:
    """Counts the runs of one endpoint."""

    def __init__(self) -> None:
        self.count = 0

    async def read_items(self) -> Any:
        """The endpoint that every cache stands before; of all return annotations, FastAPI is fastest with this one."""
        self.count += 1
        return ITEMS

    def read_count(self) -> int:
        """What /calls answers."""
        return self.count


def _constant(headers: list[tuple[bytes, bytes]]) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    return application


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def bare() -> ASGIApp:
    """The ceiling: no framework at all, constant bytes."""
    return _constant(HEADERS)


def bare_with_fields() -> ASGIApp:
    """The ceiling of an answer that carries what a hit carries."""
    return _constant([*HEADERS, *HIT_FIELDS])


def starlette(middleware: Any = (), mark: Callable[[Any], Any] = lambda endpoint: endpoint) -> ASGIApp:
    """A Starlette route whose body is ready."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def read_items(request: Request) -> Response:
        return Response(BODY, media_type="application/json")

    return Starlette(routes=[Route(PATH, mark(read_items))], middleware=middleware)


def fastapi() -> FastAPI:
    """FastAPI returning the list, no cache."""
    calls = Calls()
    app = _application(calls)
    app.get(PATH)(calls.read_items)
    return app


def _application(calls: Calls, lifespan: Any = None) -> FastAPI:
    from fastapi import FastAPI

    app = FastAPI(lifespan=lifespan)
    app.get("/calls")(calls.read_count)
    return app


def rcache_memory() -> FastAPI:
    """rcache, embedded, added to FastAPI."""
    return _added(None)


def rcache_memory_around() -> ASGIApp:
    """rcache, embedded, around FastAPI: a hit does not pay for the layers that FastAPI puts outside any middleware."""
    return _around(None)


def rcache_redis() -> FastAPI:
    """rcache on Redis, added to FastAPI."""
    return _added(os.environ[REDIS_URL])


def rcache_redis_around() -> ASGIApp:
    """rcache on Redis, around FastAPI."""
    return _around(os.environ[REDIS_URL])


def rcache_near() -> FastAPI:
    """rcache on Redis with a near cache, added to FastAPI."""
    return _added(os.environ[REDIS_URL], near="fast")


def rcache_near_around() -> ASGIApp:
    """rcache on Redis with a near cache, around FastAPI."""
    return _around(os.environ[REDIS_URL], near="fast")


def _added(url: str | None, **settings: Any) -> FastAPI:
    from rcache import Cache, CacheMiddleware

    app = _rcached()
    app.add_middleware(CacheMiddleware, cache=Cache(url, namespace="added", **settings))
    return app


def _around(url: str | None, **settings: Any) -> ASGIApp:
    from rcache import Cache, CacheMiddleware

    return CacheMiddleware(_rcached(), cache=Cache(url, namespace="around", **settings))


def _rcached() -> FastAPI:
    from rcache import cached

    calls = Calls()
    app = _application(calls)

    @app.get(PATH)
    @cached(ttl="1h", tags=["items"])
    async def read_items() -> Any:
        return await calls.read_items()

    return app


def rcache_pass() -> ASGIApp:
    """The bare application below rcache, on a URL that no rule matches."""
    from rcache import Cache, CacheMiddleware, Rule

    return CacheMiddleware(bare(), cache=Cache(), rules=[Rule("/reports/{number}", ttl=60)])


def fastapi_cache2_memory() -> FastAPI:
    """fastapi-cache2 with its in-memory backend."""
    from fastapi_cache.backends.inmemory import InMemoryBackend

    return _fastapi_cache2(InMemoryBackend)


def fastapi_cache2_redis() -> FastAPI:
    """fastapi-cache2 on Redis."""
    from fastapi_cache.backends.redis import RedisBackend
    from redis import asyncio as aioredis

    return _fastapi_cache2(lambda: RedisBackend(aioredis.from_url(os.environ[REDIS_URL])))


def _fastapi_cache2(backend: Callable[[], Any]) -> FastAPI:
    from fastapi_cache import FastAPICache
    from fastapi_cache.decorator import cache

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        FastAPICache.init(backend(), prefix="fastapi-cache2")
        yield

    calls = Calls()
    app = _application(calls, lifespan)

    # Its wrapper hides the annotation from FastAPI, which without one encodes ten times slower.
    @app.get(PATH, response_model=Any)
    @cache(expire=TTL)
    async def read_items() -> Any:
        return await calls.read_items()

    return app


def cashews_memory() -> FastAPI:
    """cashews in memory."""
    return _cashews("mem://")


def cashews_redis() -> FastAPI:
    """cashews on Redis, every hit read from there (no client-side cache)."""
    return _cashews(os.environ[REDIS_URL])


def _cashews(url: str) -> FastAPI:
    from cashews import cache

    cache.setup(url)
    calls = Calls()
    app = _application(calls)

    @app.get(PATH)
    @cache(ttl="1h", key="items")
    async def read_items() -> Any:
        return await calls.read_items()

    return app


def starlette_caches_memory() -> FastAPI:
    """starlette-caches with aiocache's memory backend."""
    from aiocache import Cache

    return _starlette_caches(Cache(ttl=TTL))


def starlette_caches_redis() -> FastAPI:
    """starlette-caches with aiocache's Redis backend."""
    from aiocache import Cache

    return _starlette_caches(Cache.from_url(f"{os.environ[REDIS_URL]}?ttl={TTL}"))


def _starlette_caches(cache: Any) -> FastAPI:
    from starlette_caches.middleware import CacheMiddleware
    from starlette_caches.rules import Rule

    calls = Calls()
    app = _application(calls)
    app.add_middleware(CacheMiddleware, cache=cache, rules=[Rule(PATH, ttl=TTL)])
    app.get(PATH)(calls.read_items)
    return app
