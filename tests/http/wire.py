"""HTTP/1.1 as bytes, read to the letter: what RFC 9112 forbids is an error here, never a guess."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

LIMIT = 1 << 20
"""Bytes of a head or a line that a stream may hold."""

Pairs = list[tuple[bytes, bytes]]
Text = str | bytes
Given = Iterable[tuple[Text, Text]] | Mapping[str, str]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[ \t]*"
)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})")


class ProtocolError(AssertionError):
    """A peer sent what no HTTP/1.1 message may hold."""


class TruncatedError(ProtocolError):
    """The connection ended within a message."""


class Fields:
    """Header lines in the order and the spelling that they came in."""

    headers: Pairs

    def all(self, name: str) -> list[str]:
        """The values of every line of a field."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]

    def get(self, name: str) -> str | None:
        """The field's only value, None where it is absent."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None


# Writing


def octets(text: Text) -> bytes:
    """What is sent for `text`: bytes as they are, characters as Latin-1."""
    return text.encode("latin-1") if isinstance(text, str) else text


def fields(pairs: Given) -> bytes:
    """Header lines, as they were given."""
    items: Iterable[tuple[Any, Any]] = pairs.items() if isinstance(pairs, Mapping) else pairs
    return b"".join(b"%b: %b\r\n" % (octets(name), octets(value)) for name, value in items)


def response(status: int | Text = 200, headers: Given = (), body: Text = b"") -> bytes:
    """A whole response whose Content-Length counts its body. `status` may be a whole status line."""
    content = octets(body)
    return head(status, headers, (b"Content-Length", b"%d" % len(content))) + content


def head(status: int | Text = 200, headers: Given = (), *more: tuple[Text, Text]) -> bytes:
    """A response up to and with the empty line, and with no other fields than these."""
    line = b"HTTP/1.1 %d Scripted" % status if isinstance(status, int) else octets(status)
    return line + b"\r\n" + fields(headers) + fields(more) + b"\r\n"


def chunked(
    status: int | Text = 200, headers: Given = (), body: Iterable[Text] = (), trailers: Given = ()
) -> list[bytes]:
    """A whole response, a chunk for each part of `body`, and each of them a piece of its own."""
    start = head(status, headers, (b"Transfer-Encoding", b"chunked"))
    return [start, *map(chunk, body), b"0\r\n" + fields(trailers) + b"\r\n"]


def chunk(content: Text) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(content), octets(content))


# Reading


async def read_head(reader: asyncio.StreamReader) -> tuple[bytes, bytes, Pairs] | None:
    """A head as it came, its first line, and its fields; None where the connection ended before it, or was reset."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise TruncatedError(f"within a head: {error.partial!r}") from error
    except ConnectionError:
        return None
    start, *lines = raw[:-4].split(b"\r\n")
    return raw, start, [parsed_field(line) for line in lines]


def parsed_field(line: bytes) -> tuple[bytes, bytes]:
    """The name and value of a header line (RFC 9112 §5)."""
    match = _FIELD.fullmatch(line)
    if match is None:
        raise ProtocolError(f"no header line: {line!r}")
    return match[1], match[2] or b""


async def read_chunks(reader: asyncio.StreamReader, trailers: Pairs) -> AsyncIterator[bytes]:
    """The contents of each chunk; when they have ended, `trailers` holds the fields after them (RFC 9112 §7.1)."""
    while size := _chunk_size(await _line(reader)):
        yield await _exactly(reader, size)
        if await _exactly(reader, 2) != b"\r\n":
            raise ProtocolError("a chunk is longer than it says")
    while line := await _line(reader):
        trailers.append(parsed_field(line))


async def read_length(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    """The pieces of a body of this length, as they arrive."""
    while length:
        with _whole("a body"):
            piece = await reader.read(min(length, 1 << 16))
        if not piece:
            raise TruncatedError(f"{length} bytes of the body are missing")
        length -= len(piece)
        yield piece


async def read_to_end(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a body that ends with its connection."""
    while True:
        with _whole("a body"):
            piece = await reader.read(1 << 16)
        if not piece:
            return
        yield piece


def _chunk_size(line: bytes) -> int:
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise ProtocolError(f"no size of a chunk: {line!r}")
    return int(match[1], 16)


async def _line(reader: asyncio.StreamReader) -> bytes:
    with _whole("a line"):
        return (await reader.readuntil(b"\r\n"))[:-2]


async def _exactly(reader: asyncio.StreamReader, size: int) -> bytes:
    with _whole("a chunk"):
        return await reader.readexactly(size)


@contextmanager
def _whole(part: str) -> Iterator[None]:
    try:
        yield
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise TruncatedError(f"the connection ended within {part}: {error!r}") from error
