"""`dashboard`: an ASGI application of pages about one cache, closed unless somebody says who may enter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rcache import logs
from rcache.asgi.decorator import cached
from rcache.cache import Cache
from rcache.core.errors import BackendError, ConfigurationError
from rcache.dashboard.ask import InputError
from rcache.dashboard.door import Check, Door
from rcache.dashboard.files import file
from rcache.dashboard.pages import Pages
from rcache.dashboard.purging import Purging
from rcache.dashboard.stream import Stream
from rcache.dashboard.view import View

Endpoint = Callable[[Request], Awaitable[Response]]


def dashboard(
    cache: Cache,
    *,
    access: Check | None = None,
    may_purge: Check | None = None,
    may_see_private: Check | None = None,
    name: str = "",
) -> ASGIApp:
    """Pages that show the cache, for `app.mount("/_rcache", dashboard(cache, access=...))` or any other place.

    Each check is a function of the request, sync or async, that returns a bool; only True opens. It may return a response instead
    (a redirect to a log-in), or raise an HTTPException, which the application answers. A check that is not given is False.

    - `access`: who may look. Without it every request is answered with 403 and a page that names the remedy.
    - `may_purge`: who of them may purge. Without it the dashboard only reads.
    - `may_see_private`: who of them may see, when they ask for it, the body and the cookies of an entry that belongs to one user.
    - `name`: of the application, for the title of the pages.

    No CacheMiddleware around it keeps any of it, whatever its rules are. Raises ConfigurationError where `cache` is no Cache,
    a check cannot be called, or what `rcache[dashboard]` brings is missing.
    """
    if not isinstance(cache, Cache):
        raise ConfigurationError(f"dashboard(cache): {cache!r} is no Cache: write dashboard(Cache(...), access=...)")
    checks = {"access": access, "may_purge": may_purge, "may_see_private": may_see_private}
    for setting, check in checks.items():
        if check is not None and not callable(check):
            raise ConfigurationError(f"{setting}={check!r} must be a function of the request that returns a bool")
    if access is None:
        logs.DASHBOARD_CLOSED.tell()
    view = View(cache, name, may_purge, may_see_private)
    return Door(_application(view), access, view)


def _application(view: View) -> Starlette:
    pages, purging = Pages(view), Purging(view)
    endpoints: dict[str, Endpoint] = {
        "/": pages.overview,
        "/entries": pages.entries,
        "/entry": pages.entry,
        "/tags": pages.tags,
        "/tag": pages.tag,
        "/log": pages.log,
        "/log/stream": Stream(view).answer,
        "/nodes": pages.nodes,
        "/queue": pages.queue,
        "/purge": purging.preview,
        "/static/{digest}/{name}": file,
    }
    routes = [Route(path, _uncached(endpoint), methods=["GET"]) for path, endpoint in endpoints.items()]
    routes.append(Route("/purge", purging.purge, methods=["POST"]))

    async def refused(request: Request, error: Exception) -> Response:
        status, title, text = _told(error)
        return await view.page(request, "error.html", status=status, title=title, text=text)

    handled = (HTTPException, InputError, BackendError)
    return Starlette(routes=routes, exception_handlers=dict.fromkeys(handled, refused))


def _uncached(endpoint: Endpoint) -> Endpoint:
    """The endpoint under a mark of its own, which wins over every rule of a CacheMiddleware around."""

    @cached(enabled=False)
    async def marked(request: Request) -> Response:
        return await endpoint(request)

    return marked


def _told(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, InputError):
        return error.status, error.title, str(error)
    if isinstance(error, BackendError):
        return (
            503,
            "The store cannot be reached",
            "The application goes on without the cache. This page works again once it is back.",
        )
    status = error.status_code if isinstance(error, HTTPException) else 500
    texts = {404: "Nothing is at this address.", 405: "This address does not answer that kind of request."}
    return status, {404: "Not found", 405: "Not allowed"}.get(status, "Error"), texts.get(status, "")
