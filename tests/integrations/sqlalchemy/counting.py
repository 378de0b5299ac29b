"""The application of the nodes that are asked while writers are killed: each page shows the version of a row."""

from __future__ import annotations

import os

from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from tests.integrations.sqlalchemy.writer import counters

cache = Cache(namespace=os.environ["NAMESPACE"], near=os.environ["NEAR"] or None, deadline=2.0)  # type: ignore[arg-type]
engine = create_async_engine(os.environ["DATABASE"], isolation_level="AUTOCOMMIT")


@cached(ttl="1h", tags=["counter:{row}"])
async def read(request: Request) -> PlainTextResponse:
    query = select(counters.c.version).where(counters.c.id == request.path_params["row"])
    async with engine.connect() as connection:
        return PlainTextResponse(f"{await connection.scalar(query)}")


async def health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/counters/{row:int}", read), Route("/health", health)])
app.add_middleware(CacheMiddleware, cache=cache)
