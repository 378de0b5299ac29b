"""What SQL in text form does, as far as its words tell: what is no read is taken for a write to every table it names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

Kind = Literal["read", "write", "schema", "anything", "commit", "rollback"]

LONGEST: Final = 20_000
"""Characters of a text that is worth remembering."""

_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD: Final = re.compile(r"\w+")
_LOCKING: Final = re.compile(r"\bfor\s+(no\s+key\s+)?update\b")
_LITERAL: Final = re.compile(r"'[^']*'")
_WRITES: Final = frozenset(("insert", "update", "delete", "merge", "into"))
_WRITING: Final = frozenset(("replace", "copy", "load", "import"))
"""First words alone: REPLACE is a function too."""
_DELETES: Final = frozenset(("delete", "merge", "replace"))
_UPDATES: Final = frozenset(("update", "merge", "replace"))
_SCHEMA: Final = frozenset(("create", "alter", "drop", "truncate", "attach", "detach", "rename", "restore", "refresh"))
_ANYTHING: Final = frozenset(("call", "do", "exec", "execute"))


class Reading(NamedTuple):
    """What a text does, its first word, and all of them."""

    kind: Kind
    first: str
    words: frozenset[str]

    @property
    def deletes(self) -> bool:
        """Whether rows may go, and take others with them."""
        return not self.words.isdisjoint(_DELETES)

    @property
    def updates(self) -> bool:
        """Whether keys may change that other rows keep."""
        return not self.words.isdisjoint(_UPDATES)


def read(text: str) -> Reading:
    """What the text does: a `write` changes rows of tables that it names, `anything` may change every table, `schema` does."""
    return _remembered(text) if len(text) <= LONGEST else _read(text)


def _read(text: str) -> Reading:
    # A quote behind a backslash may end no literal, and then it is not told here where one begins.
    bare = text if "\\" in text else _LITERAL.sub(" ", text)
    plain = _LOCKING.sub(" ", _COMMENT.sub(" ", bare).lower())
    found = _WORD.findall(plain)
    words = frozenset(found)
    first = found[0] if found else ""
    if first == "commit" or first == "end":
        return Reading("commit", first, words)
    if first == "rollback" and "to" not in words:
        return Reading("rollback", first, words)
    if first in _ANYTHING:
        return Reading("anything", first, words)
    if first in _SCHEMA:
        return Reading("schema", first, words)
    return Reading("write" if words & _WRITES or first in _WRITING else "read", first, words)


_remembered = lru_cache(maxsize=1000)(_read)
