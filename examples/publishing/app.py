"""The site as an application.

    uvicorn --factory examples.publishing.app:serve

PUBLISHING_DATABASE is its database's URL; without it there is a SQLite file, made and filled where it is new.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from . import article_routes, user_routes
from .database import connect
from .errors import RefusedError
from .words import Passwords

VAR = Path(__file__).parent / "var"


def create_app(database_url: str, *, is_seeded: bool = False, passwords: Passwords | None = None) -> FastAPI:
    """The site on this database."""
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
    return app


def serve() -> FastAPI:
    """The site as the environment has it, with something to read."""
    url = os.environ.get("PUBLISHING_DATABASE")
    if url is None:
        VAR.mkdir(exist_ok=True)
        url = f"sqlite+aiosqlite:///{VAR / 'publishing.sqlite3'}"
    return create_app(url, is_seeded=True)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return JSONResponse({"detail": error.detail}, error.status)
