"""An origin server that says what a test wrote down, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from tests.http import wire
from tests.http.wire import Fields, Pairs, ProtocolError, TruncatedError
from tests.support import PATIENCE, Gate

_REQUEST_LINE = re.compile(rb"([!-~]+) ([!-~\x80-\xff]+) HTTP/1\.1")


class End(Enum):
    """How a script may end a connection."""

    CLOSE = "after what was sent has arrived"
    RESET = "at once, as a process does that is killed"


CLOSE, RESET = End.CLOSE, End.RESET

Step = bytes | Gate | End
"""Bytes to send, a gate that the test opens, or the end of the connection."""

Script = bytes | Sequence[Step]


@dataclass
class Received(Fields):
    """A request as it came over the wire."""

    method: str
    target: str
    headers: Pairs
    raw: bytes
    """The head, byte for byte."""
    pieces: list[bytes] = field(default_factory=list)
    """The body in its chunks, or else as it happened to arrive."""

    @property
    def body(self) -> bytes:
        """The body."""
        return b"".join(self.pieces)


class _Reader(asyncio.StreamReader):
    """Tells when the peer has gone, without reading on."""

    def __init__(self) -> None:
        super().__init__(limit=wire.LIMIT)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


class Origin:
    """Listens on a free port of the loopback interface as long as its block lasts.

    `plays` answers the next requests in order, `answers` all others by a function. A connection stays open after an answer
    unless its script or the request ends it. A request that cannot be read, or that has no script, fails the test at the end.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.port = 0
        self._scripts: deque[Script] = deque()
        self._answer: Callable[[Received], Script] | None = None
        self._changed = asyncio.Condition()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._abandoned = 0
        self._faults: list[Exception] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)
        if kind is None and self._faults:
            raise self._faults[0]

    def plays(self, *scripts: Script) -> None:
        """Answers the next requests, one script each."""
        self._scripts.extend(scripts)

    def answers(self, answer: Callable[[Received], Script]) -> None:
        """Answers each request for which no script is left by what `answer` makes of it."""
        self._answer = answer

    @property
    def last(self) -> Received:
        """The request that came last."""
        return self.requests[-1]

    async def received(self, count: int = 1) -> list[Received]:
        """The requests, once there are `count` of them."""
        await self._until(lambda: len(self.requests) >= count)
        return self.requests

    async def abandoned(self, count: int = 1) -> None:
        """Returns once `count` connections were closed by those who had more of an answer, or of a request, to come."""
        await self._until(lambda: self._abandoned >= count)

    async def _until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(is_true)

    # One connection

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = _Reader()

        async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connected(reader, writer)

        return asyncio.StreamReaderProtocol(reader, connected)

    async def _connected(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TruncatedError):
            await self._leaves()
        except ProtocolError as fault:
            self._faults.append(fault)
        finally:
            del self._connections[task]
            writer.close()

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, until a script ends it or its peer has gone."""
        while (request := await _read(reader)) is not None:
            script = self._script(request)
            async with self._changed:
                self.requests.append(request)
                self._changed.notify_all()
            playing = asyncio.ensure_future(_play(script, writer))
            leaving = asyncio.ensure_future(reader.ended.wait())
            try:
                await asyncio.wait((playing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    await self._leaves()
                    return
                if await playing or request.get("connection") == "close":
                    return
            finally:
                for each in (playing, leaving):
                    each.cancel()
                await asyncio.gather(playing, leaving, return_exceptions=True)

    async def _leaves(self) -> None:
        async with self._changed:
            self._abandoned += 1
            self._changed.notify_all()

    def _script(self, request: Received) -> Script:
        if self._scripts:
            return self._scripts.popleft()
        if self._answer is not None:
            return self._answer(request)
        self._faults.append(AssertionError(f"no script for {request.method} {request.target}"))
        return [CLOSE]


async def _play(script: Script, writer: asyncio.StreamWriter) -> bool:
    """Whether the script ended the connection."""
    for step in [script] if isinstance(script, bytes) else script:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, Gate):
            await step()
        else:
            if step is RESET:
                # Closing it with no time to linger is what makes the kernel send a reset.
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return True
    return False


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """The next request with its body; None where the peer is done."""
    found = await wire.read_head(reader)
    if found is None:
        return None
    raw, line, pairs = found
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(f"no request line: {line!r}")
    request = Received(match[1].decode(), match[2].decode("latin-1"), pairs, raw)
    length, coding = request.get("content-length"), request.get("transfer-encoding")
    if length is not None and coding is not None:
        raise ProtocolError("both Content-Length and Transfer-Encoding (RFC 9112 §6.2)")
    body = wire.read_length(reader, int(length or 0)) if coding is None else wire.read_chunks(reader, [])
    request.pieces = [piece async for piece in body]
    return request
