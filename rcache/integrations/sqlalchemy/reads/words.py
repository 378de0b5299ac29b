"""SQL in text form, as far as its words tell: which tables it names, and what in it cannot be followed.

Nothing here knows SQLAlchemy's constructs: so it is also what is left where those have changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise
from typing import Final, NamedTuple

from rcache.integrations.sqlalchemy.reads.functions import CHANGING, KNOWN, WORDS

_SKIPPED: Final = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_TOKEN: Final = re.compile(r'"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\w+|[^\s\w]')
_OPENING: Final = frozenset(("from", "join"))
_WITH_FROM: Final = frozenset(("extract", "substring", "trim", "overlay", "position"))
_SILENT: Final = frozenset(
    ("set", "begin", "start", "savepoint", "release", "rollback", "commit", "end", "listen", "reset")
)
"""First words of what reads nothing."""
_READING: Final = frozenset(("select", "with", "values", "table"))


class Words(NamedTuple):
    """A text: the names after FROM and JOIN, all its words, the functions it calls, and whether it is a query at all."""

    sources: frozenset[str]
    words: frozenset[str]
    functions: frozenset[str]
    is_silent: bool
    is_query: bool


def read_words(text: str, *, is_part: bool = False) -> Words:
    """What the words of a statement tell, or those of a part of one."""
    bare = text if "\\" in text else _SKIPPED.sub(" '' ", text)
    tokens = [_plain(token) for token in _TOKEN.findall(bare)]
    first = next((word for word in tokens if word != "("), "")
    made = _made(tokens)
    names = _sources(tokens) - made
    words = frozenset(token for token in tokens if token[:1].isalnum() or token[:1] == "_")
    called = {
        name
        for name, after in pairwise(tokens)
        if after == "(" and name[:1].isidentifier() and name not in WORDS and name not in made
    }
    return Words(
        frozenset(names),
        words | names,
        frozenset(called - KNOWN) | (words & CHANGING),
        not is_part and first in _SILENT,
        is_part or first in _READING,
    )


def _plain(token: str) -> str:
    return token[1:-1].lower() if token[:1] in '"`[' and len(token) > 1 else token.lower()


def _made(tokens: list[str]) -> set[str]:
    """The names of common table expressions: `name AS (`, `name (columns) AS (`."""
    found = set()
    for index, (word, after) in enumerate(pairwise(tokens)):
        if word == "as" and index and after in ("(", "materialized", "not"):
            before = index - 1
            if tokens[before] == ")":
                while before > 0 and tokens[before] != "(":
                    before -= 1
                before -= 1
            found.add(tokens[before])
    return found


def _sources(tokens: list[str]) -> set[str]:
    """The names that rows are taken from: not what follows FROM in `extract(year FROM day)`."""
    found: set[str] = set()
    called: list[str] = []
    for index, word in enumerate(tokens):
        if word == "(":
            called.append(tokens[index - 1] if index else "")
        elif word == ")" and called:
            called.pop()
        elif (
            word in _OPENING and not (called and called[-1] in _WITH_FROM) and tokens[index - 1 : index] != ["distinct"]
        ):
            _list(tokens, index + 1, found)
    return found


def _list(tokens: list[str], at: int, found: set[str]) -> None:
    """Names in a list after FROM, up to what is no name, alias or comma."""
    while at < len(tokens):
        while tokens[at : at + 1] in (["only"], ["lateral"], ["("]):
            at += 1
        if at >= len(tokens) or not tokens[at][:1].isidentifier() or tokens[at] in ("select", "values", "with"):
            return
        name, at = tokens[at], at + 1
        while tokens[at : at + 1] == ["."] and at + 1 < len(tokens):
            name, at = tokens[at + 1], at + 2
        if tokens[at : at + 1] != ["("]:  # else it is a function
            found.add(name)
        while at < len(tokens) and tokens[at] != "," and (tokens[at] == "as" or tokens[at] not in WORDS):
            if tokens[at] in (")", "(", ";"):
                return
            at += 1
        if tokens[at : at + 1] != [","]:
            return
        at += 1


def names_in(words: Collection[str], text: str, name: str) -> bool:
    """Whether the text names the table."""
    low = name.lower()
    return low in words or (not low.isidentifier() and low in text.lower())
