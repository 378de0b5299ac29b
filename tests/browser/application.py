"""What the browser looks at: a few cached pages, hostile ones among them, and three dashboards.

`/_rcache` is open to whoever has the cookie staff=yes, `/look` only to be read, and `/closed` to nobody.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from rcache import Cache, CacheMiddleware, cached
from rcache.dashboard import dashboard

EVIL = "<script>window.pwned=1;alert(1)</script><img src=x onerror=window.pwned=1>"

cache = Cache(namespace="browser", deadline=2.0)  # a loaded test machine must not turn hits into misses


def is_staff(request: Request) -> bool:
    """Whoever has a cookie."""
    return request.cookies.get("staff") == "yes"


@cached(ttl=600, tags=["book:{book}", "book"])
async def book(request: Request) -> Response:
    """A page."""
    return PlainTextResponse(f"book {request.path_params['book']}")


def hostile(request: Request) -> list[str]:
    """A tag out of the query."""
    return [request.query_params["tag"], "hostile"]


@cached(ttl=600, tags=[hostile], vary=["x-colour"])
async def evil(request: Request) -> Response:
    """A page whose URL, tags, header and body are somebody's attempt to run a script."""
    return HTMLResponse(request.query_params["tag"], headers={"x-evil": f'"> {EVIL}'})


@cached(ttl=600, tags=["wide"])
async def wide(request: Request) -> Response:
    """A page with a long URL and long words."""
    return PlainTextResponse("wide" * 4000, headers={"x-wide": "w" * 600})


async def change(request: Request) -> Response:
    """Purges a tag, as the application does."""
    purged = await cache.invalidate(request.query_params["tag"])
    return PlainTextResponse(str(purged.landed))


app = Starlette(
    routes=[
        Route("/books/{book}", book),
        Route("/evil/{rest:path}", evil),
        Route("/wide/{rest:path}", wide),
        Route("/change", change, methods=["POST"]),
        Mount(
            "/_rcache", dashboard(cache, access=is_staff, may_purge=is_staff, may_see_private=is_staff, name="Books")
        ),
        Mount("/look", dashboard(cache, access=is_staff)),
        Mount("/closed", dashboard(cache)),
    ]
)
app.add_middleware(CacheMiddleware, cache=cache)
