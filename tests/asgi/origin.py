"""An application that answers as a test tells it, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware
from tests.support import RawClient

Pairs = Sequence[tuple[str, str]]


@dataclass
class Reply:
    """One answer. `pieces` are sent without a Content-Length, a body with one; `error` is raised in place of it all."""

    status: int = 200
    headers: Pairs = ()
    body: bytes = b"body"
    pieces: Sequence[bytes] | None = None
    error: Exception | None = None
    silent: bool = False  # returns without a word
    gate: Callable[[], Awaitable[None]] | None = None  # waits there before it answers


@dataclass
class Request:
    """What an application was asked."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The field's only value; None where it is absent."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, found
        return found[0] if found else None


@dataclass
class Origin:
    """Gives its replies in turn, the last one again and again."""

    replies: list[Reply]
    requests: list[Request] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        message = await receive()
        request = Request(scope["method"], scope["path"], headers, message.get("body", b""))
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if reply.gate is not None:
            await reply.gate()
        if reply.error is not None:
            raise reply.error
        if reply.silent:
            return
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers]
        if reply.pieces is None and reply.status not in (204, 304):
            pairs.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        pieces = [reply.body] if reply.pieces is None else [*reply.pieces, b""]
        for number, piece in enumerate(pieces, 1):
            more = number < len(pieces)
            body = b"" if reply.status in (204, 304) or scope["method"] == "HEAD" else piece
            await send({"type": "http.response.body", "body": body, "more_body": more})

    @property
    def last(self) -> Request:
        """The request that came last."""
        return self.requests[-1]


def standing(cache: Cache, *replies: Reply, **settings: Any) -> tuple[RawClient, Origin]:
    """A client of a middleware with these settings, `standard` among them, before an application with these replies."""
    origin = Origin(list(replies))
    return RawClient(CacheMiddleware(origin, cache=cache, **{"standard": True, **settings})), origin
