"""Who may enter, and what every answer tells the browser to keep out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from inspect import isawaitable
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache import logs
from rcache.core.checks import is_async

if TYPE_CHECKING:
    from rcache.dashboard.view import View

Check = Callable[[Request], bool | Response | Awaitable[bool | Response]]
"""A function of the request, sync or async. True opens; a response is sent instead of the page; anything else closes."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

PROTECTED: Final = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}


class Door:
    """Asks `access` before anything else, and protects whatever is answered."""

    def __init__(self, app: ASGIApp, access: Check | None, view: View) -> None:
        self.app = app  # by this name a CacheMiddleware around us finds our routes and their marks
        self._access = access
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in PROTECTED.items():
                    headers.setdefault(name, value)
            await send(message)

        # Without `receive`: a check that read the body would leave none for the form.
        answer = await verdict(self._access, Request(scope))
        if answer is True:
            await self.app(scope, receive, protected)
        else:
            response = answer if isinstance(answer, Response) else self._closed(scope)
            await response(scope, receive, protected)

    def _closed(self, scope: Scope) -> Response:
        page, style = self._view.closed(is_unset=self._access is None)
        # Its style is the only one that stands in a page, as the files are closed as well.
        allowed = b64encode(sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; frame-ancestors 'none'"
        return HTMLResponse(page, 403, {"Content-Security-Policy": policy})


async def verdict(check: Check | None, request: Request) -> bool | Response:
    """What a check says of a request; what it may not say is logged, and is no."""
    if check is None:
        return False
    answer = check(request) if is_async(check) else await run_in_threadpool(check, request)
    answer = await answer if isawaitable(answer) else answer
    if isinstance(answer, bool | Response):
        return answer
    # Not its truth: a user object, or an error page, would open the door.
    logs.DASHBOARD_UNCLEAR.tell(type=type(answer).__name__)
    return False
