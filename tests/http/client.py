"""A client that sends bytes as they are given, and fails where the answer is not what RFC 9112 allows."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from tests.http import wire
from tests.http.wire import Fields, Given, Pairs, ProtocolError, Text, TruncatedError, octets
from tests.support import PATIENCE

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")


@dataclass
class Answer(Fields):
    """A response as it came over the wire."""

    status: int
    reason: str
    headers: Pairs
    raw: bytes
    """The head, byte for byte."""
    interim: list[Answer] = field(default_factory=list)
    """The 1xx responses before it."""
    pieces: list[bytes] = field(default_factory=list)
    """The body in its chunks, or else as it happened to arrive."""
    trailers: Pairs = field(default_factory=list)
    framing: str = "none"
    """How the end of the body is told: none, length, chunked or close."""

    @property
    def body(self) -> bytes:
        """As much of the body as has been read."""
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def cache(self) -> str | None:
        """What rcache says in Cache-Status: its last line, where caches of the origin's have said something before."""
        return next(reversed(self.all("cache-status")), None)

    @property
    def is_hit(self) -> bool:
        """Whether it came from the cache."""
        return (self.cache or "").startswith("rcache; hit")

    @property
    def is_stored(self) -> bool:
        """Whether the application answered, and the head already says that the answer was stored."""
        return (self.cache or "").endswith("; stored")


def request(method: str, target: str, headers: Given = (), body: Text = b"") -> bytes:
    """A request with Host (unless `headers` have one) and, where it has a body, Content-Length."""
    lines = wire.fields(headers)
    content = octets(body)
    if b"\r\nhost:" not in b"\r\n" + lines.lower():
        lines = b"Host: site.test\r\n" + lines
    if content:
        lines += b"Content-Length: %d\r\n" % len(content)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), octets(target), lines, content)


class Connection:
    """One connection. Leaving its block in order shows that nothing came which nobody had asked for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = False

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=wire.LIMIT)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._is_over:
                await self.close()
        finally:
            self.writer.close()

    async def send(self, raw: bytes) -> None:
        """Sends these bytes."""
        self.writer.write(raw)
        await self.writer.drain()

    async def request(self, method: str, target: str, headers: Given = (), body: Text = b"") -> Answer:
        """Sends a request and reads the whole answer to it."""
        await self.send(request(method, target, headers, body))
        return await self.read(method)

    async def get(self, target: str, headers: Given = ()) -> Answer:
        """GET."""
        return await self.request("GET", target, headers)

    async def read(self, method: str = "GET") -> Answer:
        """The whole answer to a request of this method."""
        answer = await self.begin(method)
        while await self.piece(answer):
            pass
        return answer

    async def begin(self, method: str = "GET") -> Answer:
        """The head of the answer, with what came before it; its body is read by `piece`."""
        interim: list[Answer] = []
        async with asyncio.timeout(PATIENCE):
            while (answer := await self._head()).status < 200:
                if answer.all("content-length") or answer.all("transfer-encoding"):
                    raise ProtocolError("an interim response that announces a body (RFC 9110 §8.6, RFC 9112 §6.1)")
                interim.append(answer)
        answer.interim = interim
        self._pieces = self._body(answer, method)
        return answer

    async def piece(self, answer: Answer) -> bytes:
        """The next piece of its body, empty at its end."""
        async with asyncio.timeout(PATIENCE):
            piece = await anext(self._pieces, b"")
        answer.pieces += [piece] if piece else []
        return piece

    async def is_closed(self) -> bool:
        """Whether the server closes the connection, once it has nothing more to say."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                if surplus := await self.reader.read(1 << 16):
                    raise ProtocolError(f"nobody asked for {surplus[:200]!r}")
        self._is_over = True
        return True

    async def close(self) -> None:
        """Ends it by what no server takes for a request: the next thing that comes is the answer to that, and the last."""
        with contextlib.suppress(ConnectionError):  # the server may have closed it
            await self.send(b"\x00\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                last = await self.reader.read()
            if last and not last.startswith(b"HTTP/1.1 400 "):
                raise ProtocolError(f"nobody asked for {last[:200]!r}")
        self._is_over = True

    def abort(self) -> None:
        """Ends it as a client does that vanishes."""
        self._is_over = True
        self.writer.transport.abort()

    async def _head(self) -> Answer:
        found = await wire.read_head(self.reader)
        if found is None:
            self._is_over = True
            raise TruncatedError("the connection ended before an answer")
        raw, line, pairs = found
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(f"no status line: {line!r}")
        return Answer(int(match[2]), match[3].decode("latin-1"), pairs, raw)

    def _body(self, answer: Answer, method: str) -> AsyncIterator[bytes]:
        """Its pieces, in the framing that RFC 9112 §6.3 finds, where what it merely tolerates is a violation."""
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        if lengths and codings:
            raise ProtocolError("both Content-Length and Transfer-Encoding (RFC 9112 §6.2)")
        if len(lengths) > 1 or not all(length.isdecimal() for length in lengths):
            raise ProtocolError(f"Content-Length {lengths} (RFC 9110 §8.6)")
        if codings and codings != ["chunked"]:
            raise ProtocolError(f"Transfer-Encoding {codings}")
        if (lengths or codings) and answer.status == 204:
            raise ProtocolError("a 204 that announces a body (RFC 9110 §8.6, RFC 9112 §6.1)")
        if codings and answer.status == 304:
            raise ProtocolError("a 304 in chunks")
        if method == "HEAD" or answer.status in (204, 304):
            return wire.read_length(self.reader, 0)
        if codings:
            answer.framing = "chunked"
            return wire.read_chunks(self.reader, answer.trailers)
        if lengths:
            answer.framing = "length"
            return wire.read_length(self.reader, int(lengths[0]))
        answer.framing = "close"
        return wire.read_to_end(self.reader)


async def fetch(port: int, method: str, target: str, headers: Given = (), body: Text = b"") -> Answer:
    """One request on a connection of its own, which says so, and nothing but the answer to it."""
    async with Connection(port) as connection:
        raw = request(method, target, headers, body)
        await connection.send(raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = await connection.read(method)
        assert await connection.is_closed()
        return answer
