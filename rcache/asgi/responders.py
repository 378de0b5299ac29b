"""What answers one request: a stored entry, or the application with a word on why."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.entry import Entry, Found
from rcache.core.validation import not_modified, not_modified_headers
from rcache.current import RequestScope, request_scope
from rcache.signals import notify, response_served


async def replay(
    cache: Cache,
    found: Found,
    scope: Scope,
    fields: Mapping[bytes, bytes],
    send: Send,
    status_field: bytes | None = None,
) -> None:
    """Answers from a stored entry; the application is not called.

    `fields` are the request's headers, `status_field` is what Cache-Status says in place of a hit.
    """
    entry, now, _, _ = found
    age = int(now - entry.stored_at + entry.initial_age)
    replayed = entry.replayed
    if replayed is None or replayed[0] != age or status_field is not None:
        replayed = (age, _headers(entry, age, status_field))
        if status_field is None:
            entry.replayed = replayed
    if response_served.receivers:
        notify(response_served, cache, path=scope["path"], status=entry.status, age=max(age, 0), tags=entry.tags[1:])
    status, headers, body = entry.status, replayed[1], entry.body
    # Preconditions speak of successes (RFC 9110 §13.2.1): a stored 404 is none.
    is_conditional = (b"if-none-match" in fields or b"if-modified-since" in fields) and status < 300
    if is_conditional and not_modified(scope["headers"], entry.etag, entry.last_modified, cache.clock.time()):
        status, headers, body = 304, not_modified_headers(headers), b""
    # Middleware further out may add to the list it is sent, so each answer has a list of its own.
    await send({"type": "http.response.start", "status": status, "headers": headers.copy()})
    # A stored GET also answers HEAD, without the body (RFC 9110 §9.3.2).
    await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})


def _headers(entry: Entry, age: int, status_field: bytes | None) -> list[tuple[bytes, bytes]]:
    age = max(age, 0)  # the clock was set back
    headers = [
        *entry.headers,
        (b"age", b"%d" % age),
        (b"cache-status", status_field or cache_status.hit(entry.lifetime - age)),
    ]
    if entry.client_ttl is not None:
        # Clients subtract the Age that is sent along, so it is added here (RFC 9111 §4.2).
        headers.append((b"cache-control", b"max-age=%d" % (entry.client_ttl + age)))
    return headers


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
