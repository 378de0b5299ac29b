"""Cache-Control of a response (RFC 9111 §5.2.2). Whatever arrives is read; where it is in doubt, the stricter way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rcache.core.headers import RawHeaders, split_list, values

MAX_DELTA: Final = 1 << 31
"""What a number of seconds too large to hold becomes (RFC 9111 §1.2.2)."""

MALFORMED: Final = b""
"""The argument of a directive whose argument cannot be read: it restricts as much as that directive can."""

Arguments = dict[bytes, list[bytes | None]]
"""What each directive, its name in lower case, was given, in order; None where it stands alone."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"((?:[^"\\]++|\\.)*+)"'
_DIRECTIVE: Final = re.compile(b"(%b)(?:=(?:(%b)|%b))?" % (_TOKEN, _TOKEN, _QUOTED), re.DOTALL)
_NAME: Final = re.compile(_TOKEN)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """What the origin says of storing and reusing a response. Durations are seconds.

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
    no_transform: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None  # RFC 5861 §3
    stale_if_error: int | None = None  # RFC 5861 §4


NONE: Final = ResponseDirectives()


def response_directives(headers: RawHeaders) -> ResponseDirectives:
    """The directives of all Cache-Control lines together.

    Names have no case (RFC 9111 §5.2), unknown ones are ignored (§5.2.3), and an argument may be a token or a quoted
    string (§5.2). Of directives that conflict the most restrictive counts, and a lifetime that cannot be read is 0
    (§4.2.1): so is any lifetime that is named in a member which is no directive, `max-age = 60` or `no-store; max-age=60`,
    whose restrictions count all the same.
    """
    lines = values(headers, b"cache-control")
    return combined(arguments(lines)) if lines else NONE


def arguments(lines: Iterable[bytes]) -> Arguments:
    """What the directives of a Cache-Control field were given, whether it is a request's or a response's.

    Of a member that is no directive each word counts as one, with an argument that is malformed: a missing comma or a
    semicolon in its place is not to hide what the sender forbids.
    """
    found: Arguments = {}
    for line in lines:
        for member in split_list(line):
            match = _DIRECTIVE.fullmatch(member)
            if match is None:
                for word in _NAME.findall(member):
                    found.setdefault(word.lower(), []).append(MALFORMED)
                continue
            name, argument, quoted = match.groups()
            if quoted is not None:
                argument = _ESCAPED.sub(rb"\1", quoted)
            found.setdefault(name.lower(), []).append(argument)
    return found


def combined(found: Arguments) -> ResponseDirectives:
    """What these directives of a response say together.

    One that takes no argument is recognised whatever it is given (RFC 9111 §5.2: directives are identified by a token),
    unless it is there to permit: `public`, and `must-understand`, which sets no-store aside.
    """
    no_cache, no_cache_fields = _qualified(found.get(b"no-cache", []))
    private, private_fields = _qualified(found.get(b"private", []))
    return ResponseDirectives(
        no_store=b"no-store" in found,
        no_cache=no_cache,
        no_cache_fields=no_cache_fields,
        private=private,
        private_fields=private_fields,
        public=None in found.get(b"public", ()),
        must_revalidate=b"must-revalidate" in found,
        proxy_revalidate=b"proxy-revalidate" in found,
        must_understand=None in found.get(b"must-understand", ()),
        no_transform=b"no-transform" in found,
        max_age=lowest(found.get(b"max-age")),
        s_maxage=lowest(found.get(b"s-maxage")),
        stale_while_revalidate=lowest(found.get(b"stale-while-revalidate")),
        stale_if_error=lowest(found.get(b"stale-if-error")),
    )


def delta_seconds(text: bytes) -> int | None:
    """A non-negative number of seconds, capped (RFC 9111 §1.2.2); None where it is malformed."""
    if not text.isdigit():
        return None
    # Length first: Python refuses to read integers of more than 4300 digits.
    digits = text.lstrip(b"0") or b"0"
    return min(int(digits), MAX_DELTA) if len(digits) <= 10 else MAX_DELTA


def lowest(given: Iterable[bytes | None] | None) -> int | None:
    """The lowest of these numbers of seconds, 0 where one cannot be read; None where there is none."""
    return None if given is None else min(delta_seconds(argument or MALFORMED) or 0 for argument in given)


def _qualified(given: list[bytes | None]) -> tuple[bool, tuple[str, ...]]:
    """Whether the unqualified form is there, and the fields of the qualified ones.

    A list that is empty, or that holds something else than names of fields, qualifies nothing.
    """
    is_bare = False
    names: dict[str, None] = {}
    for argument in given:
        fields = split_list(argument or MALFORMED)
        if fields and all(_NAME.fullmatch(field) for field in fields):
            names.update((field.decode().lower(), None) for field in fields)
        else:
            is_bare = True
    return is_bare, tuple(names)
