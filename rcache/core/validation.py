"""Validators, conditional requests and what they freshen (RFC 9110 §8.8, §13; RFC 9111 §3.2, §4.3).

Functions that are told a validator take the one of the response that would be sent: a coded one has an ETag of its own.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from rcache.core.dates import parse_http_date
from rcache.core.freshness import date_values
from rcache.core.headers import OWS, RawHeaders, joined, split_list, values, without
from rcache.core.keys import prefixed
from rcache.core.storing import stored_headers

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

_EVALUATED_HERE: Final = frozenset((b"if-modified-since", b"if-none-match"))

_NOT_UPDATED: Final = frozenset(
    (
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
        b"repr-digest",
    )
)
"""What says which bytes are stored and how to read them: true of those bytes, whatever another message says."""


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


def not_modified(
    request_headers: RawHeaders,
    etag: bytes | None,
    last_modified: bytes | None,
    now: float,
    *,
    stored: RawHeaders = (),
    received: float | None = None,
) -> bool:
    """Whether a GET or HEAD with these headers is answered by 304, in the order of precedence of RFC 9110 §13.2.2.

    If-None-Match, where present, decides alone. If-Modified-Since is compared with Last-Modified, and ignored where
    either is no date or it is repeated. Where there is no Last-Modified it is compared with the Date of the `stored` fields,
    the last of several, or else with when that response was `received`, if that is given (RFC 9111 §4.3.2), in seconds
    since the epoch. Not rounded down the latter is safe: whoever holds another response of the same second is answered in
    full.
    """
    if (if_none_match := joined(request_headers, b"if-none-match")) is not None:
        return etag_matches(if_none_match, etag)
    since = values(request_headers, b"if-modified-since")
    if len(since) != 1:
        return False
    since_time = parse_http_date(since[0].strip(OWS), now)
    if last_modified is not None:
        modified_time = parse_http_date(last_modified.strip(OWS), now)
    else:
        modified_time = None if received is None else max(date_values(stored, received))
    return since_time is not None and modified_time is not None and modified_time <= since_time


def not_modified_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The pairs that a 304 carries (RFC 9110 §15.4.5): no metadata of the representation that it does not send.

    Last-Modified goes only where there is no ETag to tell the client which of its responses is meant.
    """
    return without(headers, _METADATA_AND_DATE if values(headers, b"etag") else _METADATA)


def conditions(etag: bytes | None, last_modified: bytes | None) -> list[tuple[bytes, bytes]]:
    """The fields that ask the application whether a stored response still holds (RFC 9111 §4.3.1); none: it cannot be asked.

    Both validators go, as they came. What is no entity-tag or no date does not: `*` would be true of anything.
    """
    asked = []
    if etag is not None and _ENTITY_TAG.fullmatch(etag.strip(OWS)):
        asked.append((b"if-none-match", etag.strip(OWS)))
    # Whether it is a date does not depend on the present.
    if last_modified is not None and parse_http_date(last_modified.strip(OWS), 0.0) is not None:
        asked.append((b"if-modified-since", last_modified.strip(OWS)))
    return asked


def unconditional(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """A request's fields without If-None-Match and If-Modified-Since, the conditions that a cache evaluates itself.

    Only a request with none of the others is then answered in full: If-Match and If-Unmodified-Since are the origin's to
    evaluate (RFC 9111 §4.3.2), and Range asks for a part, so requests with these have to be passed on as they came.
    """
    return without(headers, _EVALUATED_HERE)


def selects(
    headers: RawHeaders, etag: bytes | None, last_modified: bytes | None, now: float, *, asked_alone: bool = False
) -> bool:
    """Whether a 304 with these fields speaks of the stored response that came with these validators (RFC 9111 §4.3.4).

    Where not, nothing may be freshened, and the application has to be asked again without conditions. A strong ETag must
    be the stored one. Otherwise each validator that is there must correspond: ETags by weak comparison, Last-Modified
    (which counts as weak) as a date. A 304 without any names only what has none itself, or, a step beyond the RFC, the
    one response whose validators made the conditions of the request, where `asked_alone` says so.
    """
    received_etag, received_modified = joined(headers, b"etag"), joined(headers, b"last-modified")
    if received_etag is None and received_modified is None:
        return asked_alone or (etag is None and last_modified is None)
    if received_etag is not None and is_strong(received_etag.strip(OWS)):
        return received_etag.strip(OWS) == (etag or b"").strip(OWS)
    return _corresponds(received_etag, etag) and _is_same_date(received_modified, last_modified, now)


def freshened(stored: RawHeaders, received: RawHeaders) -> tuple[tuple[bytes, bytes], ...]:
    """The stored pairs after an update from a 304, or from the 200 of a HEAD (RFC 9111 §3.2); names in lower case.

    Each field received replaces all its stored lines, but for those that are never stored and those that the stored bytes
    depend on: §3.2 excepts Content-Length, and lets a cache keep what its stored response depends on. A Content-Type is
    among these, since it often is a framework's default on a 304, and the ETag may be computed from it. A stored Date goes
    even if none came in its place: it would date the update back (RFC 9110 §6.6.1). The age is to be taken from
    `received`, and what comes out must pass `may_store` again: a 304 can bring no-store, Vary or Set-Cookie as well.
    """
    news = without(stored_headers(received), _NOT_UPDATED)
    replaced = frozenset([name for name, _ in news] + [b"date"])
    return (*without(stored, replaced), *news)


def head_agrees(
    received: RawHeaders, *, etag: bytes | None, last_modified: bytes | None, length: int, now: float
) -> bool | None:
    """Whether the 200 of a HEAD lets the stored GET response be freshened (RFC 9111 §4.3.5).

    False where it contradicts: the stored one counts as stale from now on. None where it brings no validator. The RFC
    would have such a HEAD freshen; but the same fields may come with other content, so the stored response stays as it is.
    `length` is that of the stored body as the HEAD would speak of it.
    """
    lengths = [member for line in values(received, b"content-length") for member in split_list(line)]
    if any((said.lstrip(b"0") or b"0") != b"%d" % length for said in lengths):
        return False
    received_etag, received_modified = joined(received, b"etag"), joined(received, b"last-modified")
    if not _corresponds(received_etag, etag) or not _is_same_date(received_modified, last_modified, now):
        return False
    return True if conditions(received_etag, received_modified) else None


def _corresponds(received: bytes | None, stored: bytes | None) -> bool:
    """By weak comparison (RFC 9110 §8.8.3.2). What is not there contradicts nothing, nor does the very same garbage."""
    if received is None or received == stored:
        return True
    one, other = _ENTITY_TAG.fullmatch(received.strip(OWS)), _ENTITY_TAG.fullmatch((stored or b"").strip(OWS))
    return one is not None and other is not None and one[1] == other[1]


def _is_same_date(received: bytes | None, stored: bytes | None, now: float) -> bool:
    """In whatever form. What is not there contradicts nothing, nor does the very same garbage."""
    if received is None or received == stored:
        return True
    moment = parse_http_date(received.strip(OWS), now)
    return moment is not None and stored is not None and moment == parse_http_date(stored.strip(OWS), now)
