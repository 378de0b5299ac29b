"""An application for servers of several processes: pages in a SQLite file, kept near by each worker.

With `USED_BEFORE` the module itself uses the cache, as an application that is loaded before its server forks may do.
"""

import asyncio
import os
import sqlite3
import threading
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, invalidate, invalidate_sync

cache = Cache(near=os.environ["NEAR"], near_lease=1, deadline=5.0)  # type: ignore[arg-type]


def execute(statement: str, page: int) -> list[tuple[int]]:
    """Each call with a connection of its own: SQLite's do not survive a fork either."""
    with sqlite3.connect(os.environ["PAGES"], timeout=30, isolation_level=None) as database:
        rows: list[tuple[int]] = database.execute(statement, (page,)).fetchall()
    database.close()
    return rows


@cached(ttl="1h", tags=["page:{page}"])
async def read(request: Request) -> PlainTextResponse:
    ((version,),) = execute("SELECT version FROM pages WHERE id = ?", request.path_params["page"])
    return PlainTextResponse(f"{version}")


async def change(request: Request) -> PlainTextResponse:
    page = request.path_params["page"]
    ((version,),) = execute("UPDATE pages SET version = version + 1 WHERE id = ? RETURNING version", page)
    if page % 2:
        purged = await asyncio.to_thread(invalidate_sync, f"page:{page}")
    else:
        purged = await invalidate(f"page:{page}")
    return PlainTextResponse(f"{version if purged.landed else 0}")


async def process(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{os.getpid()}")


@asynccontextmanager
async def lifespan(_: Starlette):
    yield
    await cache.close()


pages = "/pages/{page:int}"
app = Starlette(
    routes=[Route(pages, read), Route(pages, change, methods=["PUT"]), Route("/process", process)], lifespan=lifespan
)
app.add_middleware(CacheMiddleware, cache=cache)

if os.environ.get("USED_BEFORE"):

    async def use() -> None:
        """Opens a client in this loop, and the thread that follows the log."""
        async with cache.writing("page:0"):
            pass
        cache.store.follow().joined.wait(30.0)  # type: ignore[attr-defined]
        cache.invalidate_sync("page:0")

    # Some servers load applications inside their loop.
    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    thread.join()
