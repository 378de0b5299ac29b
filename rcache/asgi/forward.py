"""Lets the application answer, and says in Cache-Status why the cache did not."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.core.headers import without
from rcache.current import RequestScope, request_scope


class Forward:
    """One request that the application answers by itself."""

    __slots__ = ("_field", "_hidden", "_send")

    def __init__(self, send: Send, field: bytes, hidden: frozenset[bytes]) -> None:
        """`hidden` are fields, in lower case, that are not passed on."""
        self._send = send
        self._field = field
        self._hidden = hidden

    async def send(self, message: Message) -> None:
        """Passes a message on; the start says why."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ())]
            if self._hidden:
                headers = without(headers, self._hidden)
            message = {**message, "headers": [*headers, (b"cache-status", self._field)]}
        await self._send(message)

    async def run(self, app: ASGIApp, request: RequestScope, scope: Scope, receive: Receive) -> None:
        """Calls the application for `request`."""
        token = request_scope.set(request)
        try:
            await app(scope, receive, self.send)
        finally:
            request_scope.reset(token)
