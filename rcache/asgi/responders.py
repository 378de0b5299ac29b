"""What answers one request: a stored entry, or the application with a word on why."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.entry import Entry
from rcache.core.validation import not_modified, not_modified_headers
from rcache.current import RequestScope, request_scope
from rcache.signals import notify, response_served


async def replay(
    cache: Cache, entry: Entry, now: float, scope: Scope, send: Send, status_field: bytes | None = None
) -> None:
    """Answers from a stored entry; the application is not called. `status_field` replaces "hit" in Cache-Status."""
    age = now - entry.stored_at + entry.initial_age
    if age < 0.0:  # the clock was set back
        age = 0.0
    own = [
        (b"age", b"%d" % age),
        (b"cache-status", status_field or cache_status.hit(entry.lifetime - age)),
    ]
    if entry.client_ttl is not None:
        # Clients subtract the Age that is sent along, so it is added here (RFC 9111 §4.2).
        own.append((b"cache-control", b"max-age=%d" % (entry.client_ttl + int(age))))
    headers = scope["headers"]
    is_modified = True
    for name, _ in headers:
        if name == b"if-none-match" or name == b"if-modified-since":  # noqa: PLR1714 (a tuple costs more, on every hit)
            is_modified = not not_modified(headers, entry.etag, entry.last_modified, cache.clock.time())
            break
    if response_served.receivers:
        notify(response_served, cache, path=scope["path"], status=entry.status, age=age, tags=entry.tags)
    if is_modified:
        await send({"type": "http.response.start", "status": entry.status, "headers": [*entry.headers, *own]})
        # A stored GET also answers HEAD, without the body (RFC 9110 §9.3.2).
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else entry.body})
    else:
        await send(
            {"type": "http.response.start", "status": 304, "headers": [*not_modified_headers(entry.headers), *own]}
        )
        await send({"type": "http.response.body", "body": b""})


class Forward:
    """Lets the application answer, and says in Cache-Status why the cache did not."""

    __slots__ = ("_field", "_send")

    def __init__(self, send: Send, field: bytes) -> None:
        self._send = send
        self._field = field

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"cache-status", self._field)]}
        await self._send(message)

    async def run(self, app: ASGIApp, request: RequestScope, scope: Scope, receive: Receive) -> None:
        """Calls the application for `request`."""
        token = request_scope.set(request)
        try:
            await app(scope, receive, self.send)
        finally:
            request_scope.reset(token)
