"""A HEAD that the application answers tells whether the stored answer to GET still holds (RFC 9111 §4.3.5)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Send

from rcache.asgi.errand import Errand
from rcache.asgi.keeper import Keeper
from rcache.core.headers import joined, values
from rcache.core.validation import freshened, head_agrees
from rcache.current import request_scope


class Head:
    """One such request. Its answer passes as it is; what it says of the stored one is done before it leaves."""

    def __init__(self, errand: Errand, send: Send) -> None:
        self._errand = errand
        self._keeper = Keeper(errand)
        self._send = send

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Calls the application."""
        token = request_scope.set(self._keeper.request)
        try:
            await app(self._errand.scope, receive, self.send)
        finally:
            request_scope.reset(token)

    async def send(self, message: Message) -> None:
        """Passes a message on; the start says why the application was asked."""
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            is_stored = message["status"] == 200 and await self._compare(headers)
            field = self._keeper.field(None, stored=is_stored)
            message = {**message, "headers": [*headers, (b"cache-status", field)]}
        await self._send(message)

    async def _compare(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether the stored answer was freshened. One that is contradicted counts as stale, and is validated first."""
        errand, former = self._errand, self._errand.former
        if former is None or former.status != 200:
            return False
        etag = joined(former.application_headers, b"etag")
        now, modified = errand.cache.clock.time(), former.last_modified
        agrees = head_agrees(headers, etag=etag, last_modified=modified, length=former.length, now=now)
        if agrees is None:
            return False
        if not agrees:
            await self._keeper.distrust()
            return False
        merged = freshened(former.application_headers, headers)
        aged = [*merged, *[(b"age", value) for value in values(headers, b"age")]]
        _, reason = await self._keeper.freshen(headers, merged, self._keeper.verdict(former.status, aged))
        return reason is None
