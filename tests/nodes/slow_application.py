"""The application that nodes run which all miss at once: a slow page, whose runs are counted in Redis."""

import asyncio
import os

from fastapi import FastAPI, Request
from redis.asyncio import Redis

from rcache import Cache, CacheMiddleware, cached

cache = Cache(deadline=2.0, near=os.environ.get("NEAR"))  # a loaded test machine must not turn hits into misses
app = FastAPI()
app.add_middleware(CacheMiddleware, cache=cache)
counted = Redis.from_url(os.environ["COUNTED"], max_connections=1000)


class Counting:
    """Counts the requests for a path that have come, whether or not they were answered."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await counted.incr(f"asked:{scope['path']}")
        await self.app(scope, receive, send)


app.add_middleware(Counting)


async def run(name: str) -> int:
    """Counts a run, and ends when the test lets it; the process that runs, for a test that kills it."""
    await counted.rpush(f"runs:{name}", os.getpid())
    while not await counted.exists(f"gate:{name}"):
        await asyncio.sleep(0.02)
    return os.getpid()


@app.get("/slow/{name}")
@cached(ttl="1h", tags=["slow:{name}"])
async def slow(name: str):
    return await run(name)


@app.get("/spoken/{name}")
@cached(ttl="1h", vary=["accept-language"])
async def spoken(name: str, request: Request):
    await run(name)
    return request.headers["accept-language"]


@app.get("/health")
async def health():
    return os.getpid()
