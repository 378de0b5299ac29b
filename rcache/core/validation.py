"""Validators and conditional requests (RFC 9110 §8.8, §13; RFC 9111 §4.3.2)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from rcache.core.dates import parse_http_date
from rcache.core.headers import OWS, RawHeaders, joined, values, without
from rcache.core.keys import prefixed

# More than RFC 9110 §8.8.3 allows inside the quotes (a blank, say): what an application made comes back as it was.
_OPAQUE: Final = rb'"[^"\x00-\x1f\x7f]*+"'
_ENTITY_TAG: Final = re.compile(rb"(?:W/)?(" + _OPAQUE + rb")")
_ENTITY_TAGS: Final = re.compile(rb"[ \t,]*+(?:(?:W/)?" + _OPAQUE + rb"[ \t]*+(?:,[ \t,]*+|\Z))*+")

_METADATA: Final = frozenset(
    (
        b"content-digest",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"repr-digest",
    )
)
_METADATA_AND_DATE: Final = _METADATA | {b"last-modified"}


def strong_etag(body: bytes, headers: RawHeaders) -> bytes:
    """A strong validator of the representation, quoted: the same in every process, another for any other bytes.

    Type and coding count as well, since they change what the same bytes mean (RFC 9110 §8.8.1).
    """
    meaning = prefixed([joined(headers, b"content-type"), joined(headers, b"content-encoding")])
    digest = blake2b(b"%b%d:" % (meaning, len(body)), digest_size=16)
    digest.update(body)
    return b'"' + urlsafe_b64encode(digest.digest())[:-2] + b'"'


def is_strong(etag: bytes) -> bool:
    """Is it an entity-tag, and a strong one (RFC 9110 §8.8.3)?"""
    return etag[:1] == b'"' and _ENTITY_TAG.fullmatch(etag) is not None


def etag_matches(if_none_match: bytes, etag: bytes | None) -> bool:
    """Whether If-None-Match, its lines joined, lists `etag` by weak comparison (RFC 9110 §8.8.3.2, §13.1.2).

    `*` matches whatever is stored. A field that is not a list of entity-tags matches nothing.
    """
    if if_none_match.strip(OWS) == b"*":
        return True
    stored = _ENTITY_TAG.fullmatch(etag or b"")
    if stored is None or stored[1] not in if_none_match or not _ENTITY_TAGS.fullmatch(if_none_match):
        return False
    return stored[1] in _ENTITY_TAG.findall(if_none_match)


def not_modified(request_headers: RawHeaders, etag: bytes | None, last_modified: bytes | None, now: float) -> bool:
    """Whether a GET or HEAD with these headers is answered by 304, in the order of precedence of RFC 9110 §13.2.2.

    If-None-Match, where present, decides alone. If-Modified-Since is compared with Last-Modified, and ignored where
    either is no date or it is repeated.
    """
    if (if_none_match := joined(request_headers, b"if-none-match")) is not None:
        return etag_matches(if_none_match, etag)
    since = values(request_headers, b"if-modified-since")
    if len(since) != 1 or last_modified is None:
        return False
    since_time = parse_http_date(since[0].strip(OWS), now)
    modified_time = parse_http_date(last_modified.strip(OWS), now)
    return since_time is not None and modified_time is not None and modified_time <= since_time


def not_modified_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The pairs that a 304 carries (RFC 9110 §15.4.5): no metadata of the representation that it does not send.

    Last-Modified goes only where there is no ETag to tell the client which of its responses is meant.
    """
    return without(headers, _METADATA_AND_DATE if values(headers, b"etag") else _METADATA)
