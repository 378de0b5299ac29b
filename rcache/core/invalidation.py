"""What an unsafe request invalidates (RFC 9111 §4.4): the targets that its answer names on the same origin."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rcache.core.headers import OWS, RawHeaders, values

MAX_REFERENCE: Final = 8000
"""Bytes of a Location that are looked at: the length of a URI that everybody ought to support (RFC 9110 §4.1)."""

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "QUERY", "TRACE"))
"""Methods known to change nothing (RFC 9110 §9.2.1, RFC 10008)."""

_NAMING: Final = (b"location", b"content-location")
_DEFAULT_PORTS: Final = {b"http": b"80", b"https": b"443"}

_CHARACTER: Final = rb"[^?#\x00-\x20\x7f]"
# The parts of a URI reference, as RFC 3986 appendix B takes them apart; what holds a blank or control is none.
_REFERENCE: Final = re.compile(
    rb"(?:([A-Za-z][A-Za-z0-9+.\-]*+):)?+(?://([^/?#\x00-\x20\x7f]*+))?+(%b*+)(?:\?([^#\x00-\x20\x7f]*+))?+(?:#.*+)?+"
    % _CHARACTER
)
_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]++\]|[^\[\]:@]++)(?::([0-9]*+))?+")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")


class _Base(NamedTuple):
    """The request's own target: what references are relative to."""

    scheme: bytes
    authority: tuple[bytes, bytes] | None
    path: bytes
    query: bytes


def is_unsafe(method: str) -> bool:
    """Whether a request with this method may change what is stored; methods nobody knows here do, as do `get` and `Get`."""
    return method not in SAFE


def invalidates(status: int) -> bool:
    """Whether the answer to an unsafe request is no error, so that what it may have changed is invalid."""
    return 200 <= status <= 399


def targets(scheme: str, host: bytes, path_and_query: bytes, headers: RawHeaders) -> list[bytes]:
    """Path and query of each target on the request's own origin that its answer names, each once, but for its own.

    Location and Content-Location are resolved as RFC 3986 §5.2 has it, strictly; fragments are dropped. Other origins are
    ignored, as they must be, and so is what is no URI reference or longer than `MAX_REFERENCE`. Bytes beyond ASCII are
    percent-encoded, as browsers will send them. `host` is the Host field; a path keeps the spelling that it came in.
    """
    own_scheme = scheme.lower().encode()
    path, _, query = path_and_query.partition(b"?")
    base = _Base(own_scheme, _authority(own_scheme, host), path or b"/", query)
    own = _target(base.path, query)
    named = [_resolved(line.strip(OWS), base) for name in _NAMING for line in values(headers, name)]
    return list(dict.fromkeys([target for target in named if target is not None and target != own]))


def _resolved(reference: bytes, base: _Base) -> bytes | None:
    """RFC 3986 §5.2.2, for targets on the origin of `base`; None for any other, and for what is no reference."""
    match = _REFERENCE.fullmatch(reference) if len(reference) <= MAX_REFERENCE else None
    if match is None:
        return None
    scheme, authority, path, query = match.groups()
    # Without an authority it is no URI of http (RFC 9110 §4.2.1), and those of other schemes have another origin.
    if scheme is not None and (authority is None or scheme.lower() != base.scheme):
        return None
    if authority is not None:
        named = _authority(base.scheme, authority)
        return _target(_without_dots(path), query) if named is not None and named == base.authority else None
    if not path:
        return _target(base.path, base.query if query is None else query)
    if path[:1] != b"/":
        path = base.path.rpartition(b"/")[0] + b"/" + path
    return _target(_without_dots(path), query)


def _authority(scheme: bytes, text: bytes) -> tuple[bytes, bytes] | None:
    """Host and port, spelled so that equal ones are the same (RFC 9110 §4.3.1).

    None where the text is none, or names a user: such a URI is suspect (RFC 9110 §4.2.4).
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host, port = match.groups()
    return host.lower(), port.lstrip(b"0") if port else _DEFAULT_PORTS.get(scheme, b"")


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 §5.2.4, for a path that is empty or begins with a slash."""
    segments = path.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments and segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _target(path: bytes, query: bytes | None) -> bytes:
    """An empty query is none: no application can tell."""
    target = path + b"?" + query if query else path
    return target if target.isascii() else _NOT_ASCII.sub(_encoded, target)


def _encoded(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
