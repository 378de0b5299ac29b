"""The application of the nodes under chaos: pages that show the versions of rows, read from PostgreSQL."""

import asyncio
import logging
import os
import random
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, tag
from rcache.clock import SystemClock
from tests.chaos.board import GROUP, Board
from tests.chaos.events import EventHandler, Events
from tests.chaos.ways import lead_through_links

board = Board(Path(os.environ["CHAOS_BOARD"]))
events = Events(Path(os.environ["CHAOS_EVENTS"]), os.environ["CHAOS_NAME"])
logging.getLogger("rcache").addHandler(EventHandler(events))
logging.getLogger("rcache").setLevel(logging.INFO)
lead_through_links()


class SteppedClock(SystemClock):
    """The clock that people agree on steps as the run wants it; the others do not."""

    @staticmethod
    def time() -> float:
        return SystemClock.time() + board.clock_step


cache = Cache(
    namespace="chaos",
    near=os.environ["CHAOS_NEAR"] or None,  # type: ignore[arg-type]
    near_lease=float(os.environ["CHAOS_LEASE"]),
    commit_timeout=float(os.environ["CHAOS_COMMIT"]),
    deadline=1.0,  # a busy machine must not let the application answer in place of the cache
    clock=SteppedClock() if os.environ["CHAOS_STEPS"] == "1" else None,
)


async def _versions(first: int, count: int) -> PlainTextResponse:
    rows = await app.state.pool.fetch(
        "SELECT version FROM item WHERE id >= $1 AND id < $2 ORDER BY id", first, first + count
    )
    versions = " ".join(str(row["version"]) for row in rows)
    events.note(f"read {versions} items={','.join(map(str, range(first, first + count)))}")
    if random.random() < 0.2:
        await asyncio.sleep(random.random() * 0.03)  # a slow page: much may happen before it is stored
    return PlainTextResponse(versions)


@cached(ttl="1h", tags=["item:{item}"])
async def item(request: Request) -> PlainTextResponse:
    return await _versions(request.path_params["item"], 1)


@cached(ttl="1h")
async def group(request: Request) -> PlainTextResponse:
    first = request.path_params["group"] * GROUP
    tag(*(f"item:{number}" for number in range(first, first + GROUP)))
    return await _versions(first, GROUP)


@asynccontextmanager
async def lifespan(_: Starlette):
    async with asyncpg.create_pool(os.environ["CHAOS_POSTGRES"], min_size=2, max_size=6, command_timeout=20) as pool:
        app.state.pool = pool
        yield
    await cache.close()


app = Starlette(routes=[Route("/items/{item:int}", item), Route("/groups/{group:int}", group)], lifespan=lifespan)
app.add_middleware(CacheMiddleware, cache=cache)
