"""Which headers select a variant, and the variant's part of the key (RFC 9111 §4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from rcache.core import headers as fields
from rcache.core.headers import OWS, RawHeaders
from rcache.core.keys import prefixed

COOKIE: Final = "cookie:"
"""What precedes a cookie's name among the names that select a variant; no field name holds a colon."""

_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CODING: Final = re.compile(rb"([^;\s]++)[ \t]*+;[ \t]*+q=(?:(0(?:\.0*+)?)|0\.[0-9]++|1(?:\.0*+)?)")
_WEIGHT_ZEROS: Final = re.compile(rb"(;q=[01])\.0*+\Z|(;q=[01]\.[0-9]*[1-9])0+\Z")


def vary_names(headers: RawHeaders) -> tuple[str, ...] | None:
    """The fields that the response says it depends on: lower case, sorted, each once.

    None where that can match no request: `*`, or something that is no field name.
    """
    names = set()
    for line in fields.values(headers, b"vary"):
        for member in fields.split_list(line):
            if member == b"*" or not _FIELD_NAME.fullmatch(member):
                return None
            names.add(member.decode().lower())
    return tuple(sorted(names))


def merge(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The names of both, sorted, each once."""
    return tuple(sorted({*a, *b}))


def normalise(name: str, values: list[bytes]) -> bytes | None:
    """One text for all spellings of a field that ask for the same; None where the field is absent.

    RFC 9111 §4.1 allows what is known to keep the meaning: order and weights of codings, spacing of languages.
    """
    if not values:
        return None
    if name == "accept-encoding":
        line = values[0] if len(values) == 1 else b", ".join(values)
        return _codings_kept(line) if len(line) <= _KEPT_LENGTH else _codings(line)
    if name == "accept-language":
        return b", ".join([_language(member) for member in _plain_members(b",".join(values))])
    return b", ".join([value.strip(OWS) for value in values]).strip(OWS)


def variant_material(names: tuple[str, ...], headers: RawHeaders, cookies: Callable[[str], bytes | None]) -> bytes:
    """What this request holds for `names`, in their order; empty where there are none.

    `cookie:NAME` reads that cookie through `cookies`, any other name a field.
    """
    if not names:
        return b""
    parts: list[bytes | None] = []
    for name in names:
        encoded = name.encode()
        if name.startswith(COOKIE):
            parts += encoded, cookies(name[len(COOKIE) :])
        else:
            parts += encoded, normalise(name, fields.values(headers, encoded))
    return prefixed(parts)


def _plain_members(line: bytes) -> list[bytes]:
    """Lower case and trimmed; neither codings nor languages hold quoted strings, so every comma separates."""
    members = line.lower().split(b",")
    return [trimmed for member in members if (trimmed := member.strip(OWS))]


def _codings(line: bytes) -> bytes:
    return b", ".join(sorted({_coding(member) for member in _plain_members(line)}))


# Browsers send a handful of spellings, on every request; the bound on length keeps what is remembered small.
_KEPT_LENGTH: Final = 128
_codings_kept: Final = lru_cache(maxsize=256)(_codings)


def _coding(member: bytes) -> bytes:
    """The coding without its weight, unless that is zero.

    `gzip;q=0` is told apart from absence, because naive applications look for the word `gzip` alone.
    """
    match = _CODING.fullmatch(member)
    if match is None:
        return member
    coding: bytes = match[1]
    return coding if match[2] is None else coding + b";q=0"


def _language(member: bytes) -> bytes:
    if b";" not in member:
        return member
    return _WEIGHT_ZEROS.sub(rb"\1\2", b";".join([part.strip(OWS) for part in member.split(b";")]))
