"""Tags for what a query asked for: "rows of this table with these values, as far as these columns go".

`user:42` and `user?org_id=7` (`core.changes`) are tags that anybody may write; a writer can purge them without having heard of
them. A query compares several columns at once and shows a few of the others, and there is no end to such combinations, so each
that is in use is registered as a *scheme*: whoever changes a row of its table makes the tags of each registered scheme from the
row's old and new values.

A store keeps the schemes of a table where it judges the table's tag, `book`, which every writer holds and purges: so each of its
writers learns of them by doing that. Writers that began before a scheme was registered did not know it. Hence it is registered
only while nobody holds `book`, with the number of the last purge of `book`, its *since*, and what it made tags for is accepted
only if it was started at that number or later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from typing import Final

import orjson

from rcache.core.changes import Change, is_telling
from rcache.core.tags import TagError, check_tag, written

MAX_VALUE = 40
"""Characters of a value that stand in a tag as they are; a longer one stands there as a digest."""

MAX_SCHEMES: Final = 200
"""Schemes of one table; what is asked for in yet another way depends on the whole table."""

MOST_TAGS: Final = 1_000
"""Tags of a table's schemes that a writer purges one by one; where there are more, everything that has values goes."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to ask a table for rows.

    - `table`: its name in tags.
    - `columns`: those whose values select the rows, sorted; without any, every row counts.
    - `used`: those whose change is seen, `columns` among them; None: all.
    """

    table: str
    columns: tuple[str, ...] = ()
    used: frozenset[str] | None = None

    @property
    def spelled(self) -> bytes:
        """One spelling for equal schemes, which `scheme` reads."""
        used = None if self.used is None else sorted(self.used)
        return orjson.dumps([self.table, sorted(self.columns), used])

    def tag(self, values: Mapping[str, object]) -> str | None:
        """The tag of the rows with these values; None where a value is absent or has no one text (`is_telling`)."""
        pieces = []
        for column in sorted(self.columns):
            if column not in values or not (values[column] is None or is_telling(values[column])):
                return None
            pieces.append(_piece(column, values[column]))
        try:
            return check_tag(f"{self.table}?{'&'.join(pieces)}~{_digest(self)}")
        except TagError:
            return None

    def sees(self, change: Change) -> bool:
        """Whether the change may alter what somebody was shown who asked this way."""
        if change.op != "update" or self.used is None or change.changed is None:
            return True
        return not self.used.isdisjoint(change.changed)


Schemes = Mapping[str, frozenset[Scheme]]
"""What is registered, by table; of a table that is not there nobody knows."""


@lru_cache(maxsize=4096)
def _digest(of: Scheme) -> str:
    return blake2s(of.spelled, digest_size=5).hexdigest()


def _piece(column: str, value: object) -> str:
    if value is None:
        return _escaped(column)
    text = written(value, column)
    if len(text) > MAX_VALUE or not text.isprintable():
        text = f"#{blake2s(text.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
    elif text.startswith("#"):
        text = f"%23{text[1:]}"
    return f"{_escaped(column)}={_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26").replace("=", "%3D").replace("~", "%7E")


def scheme(spelled: bytes) -> Scheme:
    """The scheme of a spelling. Raises ValueError where it is none."""
    try:
        table, columns, used = orjson.loads(spelled)
        texts = [table, *columns, *(used or ())]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
        return Scheme(table, tuple(columns), None if used is None else frozenset(used))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{spelled!r} spells no scheme") from error


def needed(schemes: Iterable[Scheme], tags: Collection[str]) -> dict[str, list[Scheme]]:
    """Those that have to be registered for what carries the tags, by table: what carries the table's own tag needs none of it."""
    found: dict[str, list[Scheme]] = {}
    for each in schemes:
        if each.table not in tags:
            found.setdefault(each.table, []).append(each)
    return found


def scheme_tags(change: Change, each: Scheme) -> set[str]:
    """The tags of the scheme that the change purges; where values are unknown, those of everything that has values."""
    if change.pk is None or not each.sees(change):
        return set()  # unknown rows purge the table's family, `book:*`, which every such tag comes with
    images = {"insert": (change.new,), "delete": (change.old,), "update": (change.old, change.new)}[change.op]
    return {each.tag(image if image is not None else {}) or f"{each.table}?*" for image in images}


class Effect:
    """What some changes purge: tags that are known at once, and those of schemes as they become known.

    - `tags`: of rows, values, tables and templates, and whatever else is to go with them.
    - `tables`: those whose schemes matter; the tag of each is among `tags`.
    """

    __slots__ = ("_changes", "tables", "tags")

    def __init__(self, tags: Iterable[str], changes: Mapping[str, Sequence[Change]]) -> None:
        """`changes`: those of known rows, under each name of their table."""
        self.tags = tuple(sorted(tags))
        self.tables = tuple(sorted(changes))
        self._changes = changes

    def __or__(self, other: Effect) -> Effect:
        changes = {table: [*self._changes.get(table, ()), *its] for table, its in other._changes.items()}
        return Effect({*self.tags, *other.tags}, {**self._changes, **changes})

    @property
    def changes(self) -> list[Change]:
        """The changes of known rows, each once."""
        found = {id(change): change for its in self._changes.values() for change in its}
        return list(found.values())

    @property
    def widest(self) -> tuple[str, ...]:
        """Tags that need no scheme to be known: `book?*` reaches whatever any of them may have made."""
        return tuple(sorted({*self.tags, *[f"{table}?*" for table in self.tables]}))

    def made_by(self, schemes: Schemes) -> set[str]:
        """The tags that the schemes make of the changes; `book?*` where nobody knows the schemes of a table."""
        tags: set[str] = set()
        for table, changes in self._changes.items():
            tags |= _made(changes, schemes[table]) if table in schemes else {f"{table}?*"}
        return tags


def _made(changes: Iterable[Change], schemes: Collection[Scheme]) -> set[str]:
    tags: set[str] = set()
    for change in changes:
        for each in schemes:
            tags |= scheme_tags(change, each)
            if len(tags) > MOST_TAGS:
                return {f"{each.table}?*"}
    return tags


NO_EFFECT: Final = Effect((), {})
