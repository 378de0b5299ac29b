"""The shop as an application.

    uvicorn --factory examples.shop.app:create_app

SHOP_DATABASE names its file (made and filled where it is new); RCACHE_URL a Redis, where the cache is not to be in the
process. The dashboard is at /_rcache.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request

from rcache import Cache, CacheMiddleware
from rcache.dashboard import dashboard
from rcache.integrations.sqlalchemy import track

from .database import Base, Database
from .routes import router

DEFAULT_DATABASE = Path(__file__).parent / "var" / "shop.sqlite3"


def is_here(request: Request) -> bool:
    """Whoever sits at this machine. Behind a proxy everybody would seem to: ask who has logged in."""
    return request.client is not None and request.client.host in ("127.0.0.1", "::1")


def create_app() -> FastAPI:
    """A shop with a cache of its own."""
    cache = Cache()
    database = Database(Path(os.environ.get("SHOP_DATABASE") or DEFAULT_DATABASE))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.open()
        # From here on what a COMMIT changed is flushed, and nothing else; the catalogue that was filled in was on no page yet.
        track(database.engine, Base.metadata, cache=cache)
        yield
        await database.close()

    app = FastAPI(title="rcache's shop", lifespan=lifespan)
    app.state.database = database
    app.include_router(router)
    app.mount("/_rcache", dashboard(cache, access=is_here, may_purge=is_here, name="The cached shop"))
    app.add_middleware(CacheMiddleware, cache=cache)
    return app
