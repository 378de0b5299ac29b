"""Cache-Control of a response (RFC 9111 §5.2.2). Whatever arrives is read; where it is in doubt, the stricter way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rcache.core.headers import OWS, RawHeaders, split_list, values

MAX_DELTA: Final = 1 << 31
"""What a number of seconds too large to hold becomes (RFC 9111 §1.2.2)."""

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """What the origin says of storing and reusing a response.

    `no_cache` and `private` are the unqualified forms; the qualified ones name the fields they speak of, in lower case.
    """

    no_store: bool = False
    no_cache: bool = False
    no_cache_fields: tuple[str, ...] = ()
    private: bool = False
    private_fields: tuple[str, ...] = ()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    max_age: int | None = None
    s_maxage: int | None = None


NONE: Final = ResponseDirectives()


def response_directives(headers: RawHeaders) -> ResponseDirectives:
    """The directives of all Cache-Control lines together; unknown ones are ignored.

    Of directives that contradict each other the most restrictive counts, and a malformed number of seconds is 0, which
    makes the response stale (RFC 9111 §4.2.1 encourages both).
    """
    lines = values(headers, b"cache-control")
    if not lines:
        return NONE
    found: dict[bytes, list[bytes | None]] = {}
    for line in lines:
        for member in split_list(line):
            name, argument = _directive(member)
            found.setdefault(name, []).append(argument)
    no_cache, no_cache_fields = _qualified(found.get(b"no-cache", []))
    private, private_fields = _qualified(found.get(b"private", []))
    return ResponseDirectives(
        no_store=b"no-store" in found,
        no_cache=no_cache,
        no_cache_fields=no_cache_fields,
        private=private,
        private_fields=private_fields,
        public=b"public" in found,
        must_revalidate=b"must-revalidate" in found,
        proxy_revalidate=b"proxy-revalidate" in found,
        must_understand=b"must-understand" in found,
        max_age=_lowest(found.get(b"max-age")),
        s_maxage=_lowest(found.get(b"s-maxage")),
    )


def delta_seconds(text: bytes) -> int | None:
    """A non-negative number of seconds, capped (RFC 9111 §1.2.2); None where it is malformed."""
    if not text.isdigit():
        return None
    # Length first: Python refuses to read integers of more than 4300 digits.
    digits = text.lstrip(b"0") or b"0"
    return min(int(digits), MAX_DELTA) if len(digits) <= 10 else MAX_DELTA


def _directive(member: bytes) -> tuple[bytes, bytes | None]:
    name, equals, argument = member.partition(b"=")
    if not equals:
        return name.lower(), None
    argument = argument.strip(OWS)
    if len(argument) >= 2 and argument[:1] == b'"' == argument[-1:]:
        argument = _ESCAPED.sub(rb"\1", argument[1:-1])
    return name.rstrip(OWS).lower(), argument


def _qualified(arguments: list[bytes | None]) -> tuple[bool, tuple[str, ...]]:
    """Whether the unqualified form is there, and the fields of the qualified ones; naming no field is the former."""
    is_bare = False
    names: dict[str, None] = {}
    for argument in arguments:
        fields = [] if argument is None else split_list(argument)
        is_bare = is_bare or not fields
        names.update((field.decode("latin-1").lower(), None) for field in fields)
    return is_bare, tuple(names)


def _lowest(arguments: list[bytes | None] | None) -> int | None:
    if arguments is None:
        return None
    return min(delta_seconds(argument or b"") or 0 for argument in arguments)
