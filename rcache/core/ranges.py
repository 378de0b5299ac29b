"""206 and 416 from a stored complete response (RFC 9110 §14, §15.3.7, §15.5.17)."""

from __future__ import annotations

import re
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple

from rcache.core.dates import parse_http_date
from rcache.core.headers import OWS, RawHeaders, joined, split_list, values, without
from rcache.core.validation import is_strong

MOST_RANGES: Final = 64
"""How many ranges a request may ask for; whoever asks for more gets the whole (RFC 9110 §17.15).

Readers of documents ask for a few dozen at most. Without a bound, one request for hundreds of overlapping ranges
exhausted servers (CVE-2011-3192).
"""

SURELY_LATER: Final = 60.0
"""Seconds between Last-Modified and the response that show it not to have changed again within the same second.

RFC 9110 §8.8.2.2 asks for one, and for more where two clocks may differ, as those of an application and its database do.
The number is RFC 7232's.
"""

_BYTES: Final = b"bytes="
_SPEC: Final = re.compile(rb"([0-9]*+)-([0-9]*+)")
_HUGE: Final = 10**18

_OF_THE_WHOLE: Final = frozenset((b"content-digest", b"content-length", b"content-md5", b"content-range"))

# Representation metadata that whoever sends If-Range holds already: RFC 9110 §15.3.7 wants it left out.
_HELD: Final = frozenset((b"content-encoding", b"content-language", b"content-type", b"digest", b"repr-digest"))
_HELD_AND_DATE: Final = _HELD | {b"last-modified"}

# What speaks of the representation, and what would let a cache further out keep the 416 as the answer for everybody.
_NOT_IN_416: Final = (
    _OF_THE_WHOLE
    | _HELD_AND_DATE
    | {b"age", b"content-disposition", b"content-location", b"etag", b"expires", b"pragma", b"surrogate-control"}
)


class Part(NamedTuple):
    """What answers a request for ranges: 206, or 416 where none of them lies in the body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def partial(
    request_headers: RawHeaders,
    headers: RawHeaders,
    body: bytes,
    *,
    etag: bytes | None,
    last_modified: bytes | None,
    made_at: float,
    now: float,
) -> Part | None:
    """The answer to a GET with a Range on a stored 200; None where that 200 itself is the answer.

    `headers` and `body` are what the 200 would be sent with, `etag` and `last_modified` its validators. Where the date
    does not tell it from another representation of the resource, such as the same in another coding, it is None
    (RFC 9110 §8.8.1). `made_at` is when the origin made it, `now` the present, both in seconds since the epoch.

    Range is ignored where it is no valid field of byte ranges, asks for too many, gains nothing, or where If-Range does
    not hold.
    """
    lines = values(request_headers, b"range")
    # One line is all that is defined. An empty body has no ranges that could be told of (RFC 9110 §14.2 lets us ignore
    # them), and clients that always ask for a first part are better served with the empty 200.
    if len(lines) != 1 or not body or not _are_ranges_accepted(headers):
        return None
    conditions = values(request_headers, b"if-range")
    if conditions and not _if_range_holds(conditions, etag, last_modified, made_at, now):
        return None
    size = len(body)
    ranges = byte_ranges(lines[0], size)
    if ranges is None:
        return None
    if not ranges:
        # A Range that is not applicable is ignored if there is an If-Range (RFC 9110 §13.2.2, step 5).
        return None if conditions else _unsatisfiable(headers, size)
    left_out = _OF_THE_WHOLE
    if conditions:
        left_out |= _HELD_AND_DATE if values(headers, b"etag") else _HELD
    if len(ranges) == 1:
        return _single(without(headers, left_out), body, *ranges[0])
    return _multiple(headers, left_out, body, ranges)


def byte_ranges(field: bytes, size: int) -> list[tuple[int, int]] | None:
    """What a Range field asks for of `size` bytes, as start and stop, the way Python slices (RFC 9110 §14.1.2).

    Ranges that overlap or touch are one, at the place of the first of them (§15.3.7.2); those that lie beyond the end
    are left out, so it may be empty. None where the field is invalid, of another unit, or asks for more than
    MOST_RANGES.
    """
    field = field.strip(OWS)
    if field[: len(_BYTES)].lower() != _BYTES:
        return None
    specs = split_list(field[len(_BYTES) :])
    if not 0 < len(specs) <= MOST_RANGES:
        return None
    found = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first, last = match.groups()
        if first:
            start, stop = _number(first), _number(last) + 1 if last else size
            if last and stop <= start:
                return None
        elif last:
            start, stop = max(size - _number(last), 0), size
        else:
            return None
        if start < size:
            found.append((start, min(stop, size)))
    return _coalesced(found)


def _number(digits: bytes) -> int:
    """Its value, or one beyond any body: Python refuses to read integers of more than 4300 digits."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= 18 else _HUGE


def _coalesced(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int, int]] = []
    for place, (start, stop) in sorted(enumerate(ranges), key=itemgetter(1)):
        if merged and start <= merged[-1][2]:
            first_place, first_start, end = merged[-1]
            merged[-1] = (min(first_place, place), first_start, max(end, stop))
        else:
            merged.append((place, start, stop))
    return [(start, stop) for _, start, stop in sorted(merged)]


def _are_ranges_accepted(headers: RawHeaders) -> bool:
    """Whether the application's Accept-Ranges (RFC 9110 §14.3) allows bytes: absent, or naming them."""
    units = [unit.lower() for unit in split_list(joined(headers, b"accept-ranges") or b"")]
    return not units or b"bytes" in units


def _if_range_holds(
    conditions: list[bytes], etag: bytes | None, last_modified: bytes | None, made_at: float, now: float
) -> bool:
    """If-Range (RFC 9110 §13.1.5): the very same strong entity-tag, or the very same date where that is strong."""
    if len(conditions) != 1:
        return False
    condition = conditions[0].strip(OWS)
    if b'"' in condition[:3]:
        return condition == etag and is_strong(condition)
    if last_modified is None:
        return False
    modified = parse_http_date(last_modified.strip(OWS), now)
    if modified is None or made_at - modified < SURELY_LATER:
        return False
    return parse_http_date(condition, now) == modified


def _unsatisfiable(headers: RawHeaders, size: int) -> Part:
    kept = [pair for pair in without(headers, _NOT_IN_416) if not pair[0].lower().endswith(b"cache-control")]
    told = [(b"content-range", b"bytes */%d" % size), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    return Part(416, kept + told, b"")


def _single(headers: list[tuple[bytes, bytes]], body: bytes, start: int, stop: int) -> Part:
    told = [(b"content-range", _content_range(start, stop, body)), (b"content-length", b"%d" % (stop - start))]
    return Part(206, headers + told, body[start:stop])


def _multiple(
    headers: RawHeaders, left_out: frozenset[bytes], body: bytes, ranges: list[tuple[int, int]]
) -> Part | None:
    """multipart/byteranges (RFC 9110 §14.6, §15.3.7.2); None where the whole is shorter, or coded.

    Content-Encoding beside a multipart body reads as the coding of that body, which it is not, and clients would decode
    it.
    """
    if values(headers, b"content-encoding"):
        return None
    content_type = joined(headers, b"content-type")
    contents = [body[start:stop] for start, stop in ranges]
    boundary = _boundary(contents)
    content = bytearray()
    for (start, stop), piece in zip(ranges, contents, strict=True):
        content += b"--%b\r\n" % boundary
        if content_type is not None:
            content += b"Content-Type: %b\r\n" % content_type
        content += b"Content-Range: %b\r\n\r\n%b\r\n" % (_content_range(start, stop, body), piece)
    content += b"--%b--\r\n" % boundary
    if len(content) >= len(body):
        return None
    # Unquoted, since some clients mistake the quotes for a part of it (§14.6).
    told = [
        (b"content-type", b"multipart/byteranges; boundary=" + boundary),
        (b"content-length", b"%d" % len(content)),
    ]
    return Part(206, without(headers, left_out | {b"content-type"}) + told, bytes(content))


def _content_range(start: int, stop: int, body: bytes) -> bytes:
    return b"bytes %d-%d/%d" % (start, stop - 1, len(body))


def _boundary(contents: list[bytes]) -> bytes:
    """A boundary that none of `contents` holds: the same for the same contents, in every process.

    Made of the contents, so that nobody can write it into them beforehand and have the search go on for long.
    """
    material = b"\n".join(contents)
    boundary = material
    while True:
        boundary = _digest(boundary)
        if boundary not in material:
            return boundary


def _digest(material: bytes) -> bytes:
    return blake2b(material, digest_size=16).hexdigest().encode()
