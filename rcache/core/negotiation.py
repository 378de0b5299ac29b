"""Which entries are kept coded, who is sent the coded body, and what each of the two answers says of itself.

One stored body serves every Accept-Encoding (RFC 9110 §12.5.3): coded to whoever takes its coding, decoded to the others.
They are two representations of one resource, so a strong validator tells them apart (§8.8.3.3).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from rcache.core.coding import encode
from rcache.core.headers import OWS, RawHeaders, joined, split_list, values, without
from rcache.core.validation import is_strong

SHORTEST: Final = 512
"""Bytes from which a body is worth coding: a shorter one travels in the same packet either way."""

WORTHWHILE: Final = 0.9
"""How long a coded body may be, as a share of the plain one, so that it makes up for decoding it for some."""

_MEMBER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9a-z]++)(?:[ \t]*+;[ \t]*+q=(0(?:\.[0-9]*+)?|1(?:\.0*+)?))?")
_TEXTUAL: Final = re.compile(rb"text/.+|.+\+(?:json|json-seq|text|xml|yaml)")
_TEXTUAL_TYPES: Final = frozenset(
    b"application/graphql application/javascript application/json application/json-seq application/ndjson "
    b"application/rtf application/sql application/toml application/vnd.apple.mpegurl application/wasm "
    b"application/x-javascript application/x-ndjson application/x-yaml application/xml application/xml-dtd "
    b"application/yaml "
    b"application/vnd.ms-fontobject font/collection font/otf font/ttf image/bmp image/vnd.microsoft.icon image/x-icon".split()
)
"""Besides those that say so in their names: text/*, and structured suffixes (RFC 6838 §4.2.8)."""

_WITHOUT_CONTENT: Final = frozenset((204, 205, 206, 304))  # 206 has some: of something else

# What vouches for the bytes of the content, or of the representation with its coding (RFC 9530, RFC 3230, RFC 1864).
_DIGESTS: Final = frozenset((b"content-digest", b"content-md5", b"digest", b"repr-digest"))
_LEFT_ALONE: Final = _DIGESTS | {b"content-encoding", b"content-range", b"signature"}
_VARY: Final = frozenset((b"vary",))
_OF_THE_BODY: Final = _DIGESTS | {b"content-encoding", b"content-length", b"etag"}


def compressed(coding: str, status: int, headers: RawHeaders, body: bytes) -> bytes | None:
    """The body in this coding; None where the response is better kept as it is."""
    if not is_worth_coding(status, headers, len(body)):
        return None
    coded = encode(coding, body)
    return coded if len(coded) <= WORTHWHILE * len(body) else None


def is_worth_coding(status: int, headers: RawHeaders, length: int) -> bool:
    """Whether a response with a body of `length` bytes may be coded, and is likely to become shorter by it.

    One that is coded already, is a part, is signed or comes with a digest of its bytes is left alone, as is one that asks
    for that by no-transform (RFC 9111 §5.2.2.6).
    """
    if length < SHORTEST or status in _WITHOUT_CONTENT or any(name.lower() in _LEFT_ALONE for name, _ in headers):
        return False
    return _is_textual(headers) and not _forbids_transforming(headers)


def takes(accept_encoding: bytes | None, coding: str) -> bool:
    """Whether a client with this Accept-Encoding, its lines joined, is sent the coded body rather than the plain one.

    It is if it accepts the coding (RFC 9110 §12.5.3), and does not want the plain body more. A client without the field
    accepts anything by the letter; as it says nothing of decoding, it is sent what all can read. What is malformed, or
    said twice, counts the way that keeps the body plain.
    """
    if accept_encoding is None:
        return False
    if len(accept_encoding) > _KEPT_LENGTH:
        return _takes(accept_encoding, coding)
    return _takes_kept(accept_encoding, coding)


def coded_etag(etag: bytes, coding: str, coded: bytes) -> bytes:
    """The entity-tag of the representation whose content is `coded`, made from that of the plain one.

    A strong one gains the coding and a digest of the coded bytes: another version of the library may make others from the
    same body, and ranges of the two must not be put together. A weak one, or what is none, stays: it never vouches for
    bytes.
    """
    if not is_strong(etag):
        return etag
    mark = urlsafe_b64encode(blake2b(coded, digest_size=6).digest())
    return b'%b-%b.%b"' % (etag[:-1], coding.encode(), mark)


def coded_headers(headers: RawHeaders, coding: str, etag: bytes | None, length: int) -> list[tuple[bytes, bytes]]:
    """The pairs to send with the coded body, from those of the plain one.

    `etag` is what `coded_etag` made of its own, if it has one, `length` that of the coded body. A digest of the plain
    bytes, which a 304 may have brought, goes.
    """
    told = [(b"content-encoding", coding.encode()), (b"content-length", b"%d" % length)]
    if etag is not None:
        told.append((b"etag", etag))
    return plain_headers(without(headers, _OF_THE_BODY)) + told


def plain_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The pairs to send with the plain body of an entry that is kept coded: Vary tells that there are two."""
    names = split_list(joined(headers, b"vary") or b"")
    if any(name.lower() in (b"accept-encoding", b"*") for name in names):
        return list(headers)
    return [*without(headers, _VARY), (b"vary", b", ".join([*names, b"accept-encoding"]))]


def _forbids_transforming(headers: RawHeaders) -> bool:
    directives = split_list(joined(headers, b"cache-control") or b"")
    return any(directive.partition(b"=")[0].rstrip(OWS).lower() == b"no-transform" for directive in directives)


def _is_textual(headers: RawHeaders) -> bool:
    types = values(headers, b"content-type")
    if len(types) != 1:
        return False
    media_type = types[0].partition(b";")[0].strip(OWS).lower()
    return media_type in _TEXTUAL_TYPES or _TEXTUAL.fullmatch(media_type) is not None


def _takes(accept_encoding: bytes, coding: str) -> bool:
    weights = _weights(accept_encoding)
    others = weights.get(b"*", 0.0)
    weight = weights.get(coding.encode(), others)
    # Unless it is named, the plain body is accepted by default, but not asked for.
    return weight > 0 and weight >= weights.get(b"identity", others)


# Browsers send a handful of spellings, on every request; the bound on length keeps what is remembered small.
_KEPT_LENGTH: Final = 128
_takes_kept: Final = lru_cache(maxsize=256)(_takes)


def _weights(accept_encoding: bytes) -> dict[bytes, float]:
    """The weight of each coding named, in lower case; of several the lowest, and 0 where it is malformed."""
    weights: dict[bytes, float] = {}
    for member in accept_encoding.lower().split(b","):
        member = member.strip(OWS)
        match = _MEMBER.fullmatch(member)
        name = match[1] if match else member.partition(b";")[0].rstrip(OWS)
        name = _ALIASES.get(name, name)
        weight = 0.0 if match is None else float(match[2] or b"1")
        weights[name] = min(weight, weights.get(name, 1.0))
    return weights


_ALIASES: Final = {b"x-gzip": b"gzip"}
"""RFC 9110 §8.4.1.3."""
