"""A stored response's head as bytes, and back.

The first byte is the format's version; what cannot be read, for whatever reason, is a CodecError, which a store treats
as a miss. Bytes of header fields travel as Latin-1 text, where each byte is one character, so that any comes back.
"""

from __future__ import annotations

from typing import Final

import orjson

from rcache.core.entry import Entry, Start
from rcache.core.errors import RCacheError

VERSION: Final = b"\x03"


class CodecError(RCacheError):
    """Stored bytes that are damaged, foreign or of another version: count them, and treat them as absent."""


def encode_head(entry: Entry) -> bytes:
    """Everything about `entry` but its body, its start, its tags and the time it was stored."""
    fields = [text.decode("latin-1") for pair in entry.headers for text in pair]
    return VERSION + orjson.dumps(
        (
            entry.status,
            fields,
            float(entry.initial_age),
            float(entry.lifetime),
            _text(entry.etag),
            _text(entry.last_modified),
            entry.client_ttl,
            entry.is_shared,
            float(entry.retention),
            float(entry.stale_while_revalidate),
            float(entry.stale_if_error),
            entry.must_revalidate,
            entry.own,
            entry.coding,
            entry.length,
            float(entry.early),
            float(entry.cost),
        )
    )


def decode_entry(head: bytes, *, body: bytes, start: Start, tags: tuple[str, ...], stored_at: float) -> Entry:
    """The entry of which `encode_head` made `head`. Raises CodecError."""
    if head[:1] != VERSION:
        raise CodecError("another version of the format")
    try:
        status, fields, initial_age, lifetime, etag, last_modified, *rest = orjson.loads(head[1:])
        octets = [text.encode("latin-1") for text in fields]
        headers = tuple(zip(octets[::2], octets[1::2], strict=True))
        times = (initial_age, lifetime)
        if not (type(status) is int and 100 <= status <= 999 and _are(times, _FLOATS) and _are(rest, _REST)):
            raise CodecError("a field of another type")
        return Entry(
            start, status, headers, body, tags, stored_at, *times, _octets(etag), _octets(last_modified), *rest
        )
    except (ValueError, TypeError, AttributeError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise CodecError("damaged") from error


_FLOATS: Final = ((float,), (float,))
_REST: Final = (
    (int, type(None)),  # client_ttl
    (bool,),
    *((float,),) * 3,
    (bool,),
    (int,),  # own
    (str, type(None)),  # coding
    (int,),
    *((float,),) * 2,  # early, cost
)


def _are(values: tuple[object, ...] | list[object], kinds: tuple[tuple[type, ...], ...]) -> bool:
    return len(values) == len(kinds) and all(type(value) in kind for value, kind in zip(values, kinds, strict=True))


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode("latin-1")


def _octets(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
