"""The site as an application.

    uvicorn --factory examples.publishing.app:serve

PUBLISHING_DATABASE is its database's URL; without it there is a SQLite file, made and filled where it is new. RCACHE_URL names
a Redis, where the cache is not to be in the process.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from rcache import Cache, CacheMiddleware
from rcache.integrations.sqlalchemy import track

from . import article_routes, user_routes
from .asking import session_of
from .database import connect
from .errors import RefusedError
from .tables import Base
from .words import Passwords

VAR = Path(__file__).parent / "var"


def create_app(
    database_url: str, *, cache: Cache | None = None, is_seeded: bool = False, passwords: Passwords | None = None
) -> FastAPI:
    """The site on this database; with a cache, every answer to a GET comes from there until a write changes it."""
    database = connect(database_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.open(is_seeded)
        yield
        await database.close()

    app = FastAPI(title="Publishing", lifespan=lifespan)
    app.state.database = database
    app.state.passwords = passwords or Passwords()
    app.include_router(user_routes.router)
    app.include_router(article_routes.router)
    app.add_exception_handler(RefusedError, _refuse)
    if cache is not None:
        track(database.engine, Base.metadata, cache=cache)
        app.add_middleware(CacheMiddleware, cache=cache, auto=True, default_ttl="10m", key_by=session_of)
    return app


def serve() -> FastAPI:
    """The site as the environment has it, with something to read."""
    url = os.environ.get("PUBLISHING_DATABASE")
    if url is None:
        VAR.mkdir(exist_ok=True)
        url = f"sqlite+aiosqlite:///{VAR / 'publishing.sqlite3'}"
    return create_app(url, cache=Cache(), is_seeded=True)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return JSONResponse({"detail": error.detail}, error.status)
