"""Cache directives addressed to caches like this one (RFC 9213): they replace Cache-Control and Expires.

The fields are structured (RFC 9651) and parsed by http-sf, which the extra `targeted` brings: it is kept by an author of both
RFCs, and its predecessor http-sfv is not any more. Without it such a field cannot be read, so nothing that carries one is
stored: its origin may have forbidden that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from rcache.core.directives import MALFORMED, Arguments, ResponseDirectives, combined
from rcache.core.headers import OWS, RawHeaders, values

TARGETS: Final = (b"rcache-control", b"cdn-cache-control")
"""The target list (RFC 9213 §2.2): what is addressed to rcache alone comes before what any such cache may read."""

UNREADABLE: Final = ResponseDirectives(no_store=True)
"""What `targeted` gives, this very object, where a field is there and the parser is not."""

REMEDY: Final = (
    "the answer has a targeted field, like CDN-Cache-Control, which takes a parser: pip install 'rcache[targeted]'"
)

_LISTS: Final = frozenset(("no-cache", "private"))
_LIFETIMES: Final = frozenset(("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"))


def targeted(headers: RawHeaders, names: tuple[bytes, ...]) -> ResponseDirectives | None:
    """The directives of the first field in `names`, which are lower case, that is valid and not empty; None without one.

    A field that is no Dictionary counts as absent (RFC 9213 §2.1). Within one, parameters are ignored, of a name that is
    repeated the last counts (RFC 9651 §4.2.2), and an argument of the wrong type is malformed: `max-age="60"` is stale,
    `private=x` forbids the whole response. That reads "SHOULD NOT consume" in §2.1 together with RFC 9111 §4.2.1.
    """
    for name in names:
        lines = [line.strip(OWS) for line in values(headers, name)]
        if not any(lines):
            continue
        parse = _parser()
        if parse is None:
            return UNREADABLE
        found = _arguments(parse, b", ".join(lines))
        if found:
            return combined(found)
    return None


@cache
def _parser() -> Callable[..., Any] | None:
    """The parser, looked for once, where the first such field is met."""
    try:
        from http_sf import parse
    except ImportError:
        return None
    return parse


def _arguments(parse: Callable[..., Any], field: bytes) -> Arguments:
    """What each directive of the Dictionary was given; nothing where the field is no Dictionary."""
    try:
        members = parse(field, tltype="dictionary")
    except ValueError:
        return {}
    # A member is an item or an inner list with its parameters.
    return {name.encode(): [_argument(name, value)] for name, (value, _) in members.items()}


def _argument(name: str, value: object) -> bytes | None:
    """The argument as Cache-Control would spell it."""
    if value is True:
        return None
    if name in _LIFETIMES and type(value) is int:
        return b"%d" % value
    if name in _LISTS and type(value) is str:
        return value.encode()
    return MALFORMED
