"""Ordered, repeatable header pairs, as ASGI gives them; never a dict, which loses a second Set-Cookie.

Names are lower case in principle, but applications send other cases too, so they are compared without regard to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

RawHeaders = Sequence[tuple[bytes, bytes]]
"""ASGI's header pairs; anything ordered of pairs will do."""

OWS: Final = b" \t"
"""Optional whitespace around what fields hold (RFC 9110 §5.6.3)."""

_MEMBERS: Final = re.compile(rb'(?:[^,"]++|"(?:[^"\\]++|\\.)*+"?)++', re.DOTALL)
_IS_BALANCED: Final = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)


def values(headers: RawHeaders, name: bytes) -> list[bytes]:
    """The values of every line of a field, in order. `name` is lower case."""
    length = len(name)
    return [value for key, value in headers if len(key) == length and key.lower() == name]


def joined(headers: RawHeaders, name: bytes) -> bytes | None:
    """The field as one value, as RFC 9110 §5.3 combines lines; None where it is absent."""
    lines = values(headers, name)
    return b", ".join(lines) if lines else None


def without(headers: RawHeaders, names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """All pairs but those of these fields, in order. `names` are lower case."""
    return [pair for pair in headers if pair[0].lower() not in names]


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated list (RFC 9110 §5.6.1): trimmed, empty ones dropped, quoted strings left whole.

    A quote that never closes quotes nothing: it must not hide the members behind it.
    """
    if b'"' in value:
        members = _MEMBERS.findall(value)
        if members and not _IS_BALANCED.fullmatch(members[-1]):
            members[-1:] = members[-1].split(b",")
    else:
        members = value.split(b",")
    return [trimmed for member in members if (trimmed := member.strip(OWS))]
