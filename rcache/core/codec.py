"""A stored response's head as bytes, and back.

The first byte is the format's version; what cannot be read, for whatever reason, is a CodecError, which a store treats
as a miss. Bytes of header fields travel as Latin-1 text, where each byte is one character, so that any comes back.
"""

from __future__ import annotations

from typing import Final

import orjson

from rcache.core.entry import Entry, Start
from rcache.core.errors import RCacheError

VERSION: Final = b"\x01"


class CodecError(RCacheError):
    """Stored bytes that are damaged, foreign or of another version: count them, and treat them as absent."""


def encode_head(entry: Entry) -> bytes:
    """Everything about `entry` but its body, its start, its tags and the time it was stored."""
    fields = [text.decode("latin-1") for pair in entry.headers for text in pair]
    return VERSION + orjson.dumps(
        (
            entry.status,
            fields,
            float(entry.lifetime),
            float(entry.initial_age),
            None if entry.etag is None else entry.etag.decode("latin-1"),
            None if entry.last_modified is None else entry.last_modified.decode("latin-1"),
            entry.client_ttl,
            entry.is_shared,
        )
    )


def decode_entry(head: bytes, *, body: bytes, start: Start, tags: tuple[str, ...], stored_at: float) -> Entry:
    """The entry of which `encode_head` made `head`. Raises CodecError."""
    if head[:1] != VERSION:
        raise CodecError("another version of the format")
    try:
        status, fields, lifetime, initial_age, etag, last_modified, client_ttl, is_shared = orjson.loads(head[1:])
        octets = [text.encode("latin-1") for text in fields]
        headers = tuple(zip(octets[::2], octets[1::2], strict=True))
        if not _is_plausible(status, lifetime, initial_age, client_ttl, is_shared):
            raise CodecError("a field of another type")
        return Entry(
            start,
            status,
            headers,
            body,
            tags,
            stored_at,
            initial_age,
            lifetime,
            None if etag is None else etag.encode("latin-1"),
            None if last_modified is None else last_modified.encode("latin-1"),
            client_ttl,
            is_shared,
        )
    except (ValueError, TypeError, AttributeError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise CodecError("damaged") from error


def _is_plausible(status: object, lifetime: object, age: object, client_ttl: object, is_shared: object) -> bool:
    return (
        type(status) is int
        and 100 <= status <= 999
        and type(lifetime) is float
        and type(age) is float
        and (client_ttl is None or type(client_ttl) is int)
        and type(is_shared) is bool
    )
