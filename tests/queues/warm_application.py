"""An application whose pages say which process made them."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached


@cached("1h", tags=["site"], rewarm=5, refresh="worker", stale_while_revalidate="1h")
async def page(request: Request) -> JSONResponse:
    """Whoever renders it, all middlewares have seen it."""
    return JSONResponse([os.getpid(), request.scope.get("stamp")])


class Stamp:
    """Stands before the whole application: a middleware of the application's own would not be missed by anybody."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await self.app({**scope, "stamp": "passed"}, receive, send)


cache = Cache(os.environ["RCACHE_URL"], namespace=os.environ["TEST_NAMESPACE"], deadline=30)
app = Stamp(Starlette(routes=[Route("/{page}", page)], middleware=[Middleware(CacheMiddleware, cache=cache)]))
