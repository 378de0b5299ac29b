"""Tag grammar and templates: what may name a group of entries, and how a request's values become such names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Final, NamedTuple
from uuid import UUID

from rcache.core.errors import ConfigurationError, RCacheError

MAX_TAG_BYTES: Final = 512
"""The longest tag, in bytes of UTF-8."""

MOST_LISTED: Final = 20
"""Tags that a message names one by one."""

_FORBIDDEN: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029"
# A character takes four bytes at most, so what matches here needs no second look at its length.
_plainly_legal: Final = re.compile(f"[^{_FORBIDDEN}]{{1,{MAX_TAG_BYTES // 4}}}").fullmatch
_forbidden: Final = re.compile(f"[{_FORBIDDEN}]").search

_PIECES: Final = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")
_QUERY_NAME: Final = re.compile(r"[^\s!:]+")
_SCALARS: Final = (str, int, float, Decimal, UUID, date, datetime, time)


class TagError(RCacheError, ValueError):
    """A tag, or a value for one, that cannot be used: the response is served and not stored."""


def check_tag(tag: str) -> str:
    """The tag itself, as a plain `str`.

    Raises TagError (a ValueError) where it is empty, longer than 512 bytes of UTF-8, or holds a control character, a
    line or paragraph separator or a lone surrogate; TypeError where it is no string.
    """
    if not isinstance(tag, str):
        raise TypeError(f"a tag is a str, not {type(tag).__name__}")
    if _plainly_legal(tag) is None:
        _check_closely(tag)
    return str.__str__(tag)


def _check_closely(tag: str) -> None:
    if not tag:
        raise TagError("tag '' is empty")
    if (match := _forbidden(tag)) is not None:
        raise TagError(f"tag {_shown(tag)} holds {match[0]!a}: no control characters, separators or surrogates")
    if len(tag.encode()) > MAX_TAG_BYTES:
        raise TagError(f"tag {_shown(tag)} is longer than {MAX_TAG_BYTES} bytes of UTF-8")


def listed(tags: Sequence[str]) -> str:
    """The first tags of possibly very many, for messages."""
    if len(tags) <= MOST_LISTED:
        return f"{list(tags)}"
    return f"{list(tags[:MOST_LISTED])} and {len(tags) - MOST_LISTED:,} more tags"


def _shown(tag: str) -> str:
    return ascii(tag) if len(tag) <= 80 else ascii(tag[:77]) + "..."


class _Piece(NamedTuple):
    """A literal text, or the name of a value."""

    text: str
    is_name: bool = False
    is_query: bool = False


class Template:
    """A tag with gaps: `user:{user_id}` takes a parameter of the route, `list:{query.page}` one of the query.

    `{{` and `}}` stand for the braces themselves. Raises ConfigurationError where the text is malformed.
    """

    __slots__ = ("_pieces", "names", "query_names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = _parse(text)
        self.names = frozenset(piece.text for piece in self._pieces if piece.is_name and not piece.is_query)
        self.query_names = frozenset(piece.text for piece in self._pieces if piece.is_query)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    @property
    def prefix(self) -> str:
        """The literal text before the first gap."""
        return "" if self._pieces[0].is_name else self._pieces[0].text

    def fill(self, values: Mapping[str, object], query: Callable[[str], str | None]) -> str:
        """The tag for these values, written as an f-string would write them; members of an Enum by their value.

        Raises TagError where a value is absent, is no scalar, or makes no legal tag.
        """
        texts = []
        for text, is_name, is_query in self._pieces:
            if not is_name:
                texts.append(text)
            elif is_query:
                texts.append(written(query(text), text))
            else:
                texts.append(written(values.get(text), text))
        return check_tag("".join(texts))


def written(value: object, name: str) -> str:
    """The value as an f-string writes it; members of an Enum by their value. Raises TagError where it has no plain text."""
    if type(value) is str:
        return value
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        raise TagError(f"no value for {{{name}}}")
    if not isinstance(value, _SCALARS):
        raise TagError(f"the value of {{{name}}} is of type {type(value).__name__}, which has no plain text")
    try:
        return f"{value}"
    except ValueError as error:  # an integer of more than 4300 digits
        raise TagError(f"the value of {{{name}}} cannot be written as text") from error


def _parse(text: str) -> tuple[_Piece, ...]:
    if not isinstance(text, str):
        raise ConfigurationError(f"a tag template is a str, not {type(text).__name__}")
    pieces = tuple(_piece(token, text) for token in _PIECES.findall(text))
    literal = "".join(piece.text for piece in pieces if not piece.is_name)
    try:
        if literal or not pieces:
            check_tag(literal)
    except TagError as error:
        raise ConfigurationError(f"tag template {_shown(text)} can never make a tag: {error}") from error
    return pieces


def _piece(token: str, template: str) -> _Piece:
    if token in ("{{", "}}"):
        return _Piece(token[0])
    if token in ("{", "}"):
        raise _malformed(template, f'unbalanced "{token}" (write "{token * 2}" for the brace itself)')
    if token[0] != "{":
        return _Piece(token)
    name = token[1:-1]
    scope, dot, rest = name.partition(".")
    if dot and scope == "query" and _QUERY_NAME.fullmatch(rest):
        return _Piece(rest, is_name=True, is_query=True)
    if not name.isidentifier():
        raise _malformed(template, f'"{token}" is not a name (write "{{user_id}}" or "{{query.page}}")')
    return _Piece(name, is_name=True)


def _malformed(template: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"tag template {_shown(template)}: {reason}")
