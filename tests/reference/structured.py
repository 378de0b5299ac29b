"""Dictionaries of RFC 8941 §4.2.2, read step by step as the RFC's algorithm goes."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """A Token."""

    text: str


@dataclass(frozen=True)
class String:
    """A String, without its quotes."""

    text: str


@dataclass(frozen=True)
class Decimal:
    """A Decimal, as it was written."""

    text: str


@dataclass(frozen=True)
class Other:
    """An Inner List or a Byte Sequence: no cache directive has one."""


class MalformedError(ValueError):
    """The field is to be ignored as a whole."""


KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
BARE = (
    (re.compile(r"-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])"), Decimal),
    (re.compile(r"-?[0-9]{1,15}(?![0-9.])"), int),
    (re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'), lambda text: String(re.sub(r"\\(.)", r"\1", text))),
    (re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"), Token),
    (re.compile(r"\?([01])"), lambda text: text == "1"),
    (re.compile(r":[A-Za-z0-9+/=]*:"), lambda text: Other()),
)


def dictionary(value: str) -> dict[str, object] | None:
    """The members by key, parameters left out; None where the field cannot be parsed. Of equal keys the last counts."""
    try:
        return _dictionary(value.strip(" "))
    except MalformedError:
        return None


def _dictionary(rest: str) -> dict[str, object]:
    found: dict[str, object] = {}
    while rest:
        key, rest = _key(rest)
        if rest.startswith("="):
            found[key], rest = _value(rest[1:])
        else:
            found[key], rest = True, _parameters(rest)
        rest = rest.lstrip(" \t")
        if not rest:
            break
        if not rest.startswith(","):
            raise MalformedError
        rest = rest[1:].lstrip(" \t")
        if not rest:
            raise MalformedError
    return found


def _key(rest: str) -> tuple[str, str]:
    found = KEY.match(rest)
    if found is None:
        raise MalformedError
    return found.group(), rest[found.end() :]


def _value(rest: str) -> tuple[object, str]:
    if not rest.startswith("("):
        item, rest = _bare(rest)
        return item, _parameters(rest)
    rest = rest[1:].lstrip(" ")
    while not rest.startswith(")"):
        _, rest = _bare(rest)
        rest = _parameters(rest)
        if not rest.startswith((" ", ")")):
            raise MalformedError
        rest = rest.lstrip(" ")
    return Other(), _parameters(rest[1:])


def _bare(rest: str) -> tuple[object, str]:
    for pattern, made in BARE:
        found = pattern.match(rest)
        if found is not None:
            return made(found.group(found.lastindex or 0)), rest[found.end() :]
    raise MalformedError


def _parameters(rest: str) -> str:
    while rest.startswith(";"):
        _, rest = _key(rest[1:].lstrip(" "))
        if rest.startswith("="):
            _, rest = _bare(rest[1:])
    return rest
