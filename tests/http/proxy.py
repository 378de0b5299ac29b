"""A reverse proxy as an ASGI application: what an origin says, handed on as it is.

Requests and responses keep their fields, in order, with repeats and odd bytes; only what belongs to one connection stays on
it (RFC 9110 §7.6.1). Each request has a connection of its own, which is given up when the client leaves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from tests.http import wire
from tests.http.wire import Pairs, ProtocolError

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: .*)?")
_FOLD = re.compile(rb"\r\n[ \t]+")

_FRAMING = frozenset((b"transfer-encoding",))
_OF_ONE_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


class OriginError(Exception):
    """The origin did not answer as HTTP has it, or not to the end."""


@dataclass
class Head:
    """The start of the origin's final response."""

    status: int
    headers: Pairs
    length: int | None
    """What Content-Length says."""
    is_chunked: bool


class Proxy:
    """Forwards every request to the origin on `port`.

    - `streamed`: each piece is handed on as it comes, and the end in a message of its own; False: the whole body in one.
    - `raises`: an origin that fails is an exception; False: a 502, or where the response has begun, one that just ends.
    - `hop_by_hop`: fields of the origin's connection are handed on too, as an application might send them by mistake.
    """

    def __init__(self, port: int, *, streamed: bool = True, raises: bool = True, hop_by_hop: bool = False) -> None:
        self.port = port
        self.streamed = streamed
        self.raises = raises
        self.hop_by_hop = hop_by_hop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=wire.LIMIT)
        try:
            if await _forward(scope, receive, writer):
                await _while_there(receive, self._answer(scope, reader, send))
        finally:
            writer.transport.abort()  # all that was wanted of it has been read

    async def _answer(self, scope: Scope, reader: asyncio.StreamReader, send: Send) -> None:
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._respond(scope, reader, sending)
        except OriginError as error:
            if self.raises:
                raise
            if not has_begun:
                await send({"type": "http.response.start", "status": 502, "headers": []})
                await send({"type": "http.response.body", "body": str(error).encode()})

    async def _respond(self, scope: Scope, reader: asyncio.StreamReader, send: Send) -> None:
        head = await _read_head(reader)
        headers = head.headers if self.hop_by_hop else _of_all_connections(head.headers)
        start = {
            "type": "http.response.start",
            "status": head.status,
            "headers": [pair for pair in headers if pair[0].lower() not in _FRAMING],
        }
        pieces = _pieces(head, scope["method"], reader)
        if self.streamed:
            await send(start)
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            body = b"".join([piece async for piece in pieces])
            await send(start)
            await send({"type": "http.response.body", "body": body})


# To the origin


async def _forward(scope: Scope, receive: Receive, writer: asyncio.StreamWriter) -> bool:
    """Sends the request, its body as it comes; False where the client left meanwhile."""
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    pairs = _of_all_connections(scope["headers"])
    is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if is_chunked:
        pairs.append((b"transfer-encoding", b"chunked"))
    pairs = [pair for pair in pairs if pair[0] != b"expect"]  # this server has answered that already
    writer.write(b"%b %b HTTP/1.1\r\n%b\r\n" % (scope["method"].encode(), target, wire.fields(pairs)))
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        more_body = message.get("more_body", False)
        if body := message.get("body", b""):
            writer.write(wire.chunk(body) if is_chunked else body)
            await writer.drain()
    if is_chunked:
        writer.write(b"0\r\n\r\n")
    return True


def _of_all_connections(headers: Any) -> Pairs:
    listed = {
        name.strip().lower() for field, value in headers if field.lower() == b"connection" for name in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _OF_ONE_CONNECTION | listed]


async def _while_there(receive: Receive, answering: Any) -> None:
    """Awaits `answering`, unless the client leaves before."""
    task = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    finally:
        for each in (task, leaving):
            each.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# From the origin


async def _read_head(reader: asyncio.StreamReader) -> Head:
    """The final response's head, what came before it left out: no server here sends interim responses of applications."""
    while (head := await _read_one_head(reader)).status < 200:
        pass
    return head


async def _read_one_head(reader: asyncio.StreamReader) -> Head:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
        raise OriginError("the origin did not answer") from error
    line, *lines = _FOLD.sub(b" ", raw[:-4]).split(b"\r\n")  # RFC 9112 §5.2
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise OriginError(f"the origin said {line!r}")
    headers = [_field(each) for each in lines]
    is_chunked = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"] == [b"chunked"]
    if is_chunked:  # RFC 9112 §6.3: it overrides the other
        headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
    return Head(int(match[1]), headers, _length(headers), is_chunked)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise OriginError(f"the origin sent {line!r} for a field")
    return name.rstrip(b" \t"), value.strip(b" \t")  # RFC 9112 §5.1


def _length(headers: Pairs) -> int | None:
    said = [value for name, value in headers if name.lower() == b"content-length"]
    if len(said) > 1 or not all(value.isdigit() for value in said):
        raise OriginError(f"the origin's Content-Length is {said}")
    return int(said[0]) if said else None


async def _pieces(head: Head, method: str, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The body, in the order of RFC 9112 §6.3; trailers are read and dropped."""
    if method == "HEAD" or head.status in (204, 304):
        return
    if head.is_chunked:
        body = wire.read_chunks(reader, [])
    elif head.length is not None:
        body = wire.read_length(reader, head.length)
    else:
        body = wire.read_to_end(reader)
    try:
        async for piece in body:
            yield piece
    except ProtocolError as error:
        raise OriginError(f"the origin's body ended early: {error}") from error


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that starts, stops, and answers no request."""
    assert scope["type"] == "lifespan", f"{scope['path']} came before an application or after it"
    await lifespan(receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """Answers the lifespan protocol, with nothing to start and nothing to stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
