"""What an answer was made of: the tags that its reads depend on, and why it may not be stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from rcache.core.changes import row_tag, table_of
from rcache.core.errors import StrictError
from rcache.core.schemes import Scheme
from rcache.core.tags import TagError

MOST_QUERIES: Final = 100
"""Statements that are kept of one answer's making."""


class Reads:
    """Gathered while an application answers, by whoever sees it read.

    - `tags`: of rows, of whole tables, and of what the schemes say.
    - `schemes`: those that tags were made by; a store has to know them before it stores what carries their tags.
    - `refused`: why the answer must not be stored, each reason once and in order.

    - `queries`: the statements that tracked engines were sent, and what each depends on; None where nobody wants to know.

    What is gathered here belongs to `outer` as well, within which this began. Where it is strict, a refusal is an error.
    """

    __slots__ = ("_is_strict", "_outer", "queries", "refused", "schemes", "tags")

    def __init__(self, outer: Reads | None = None, *, is_strict: bool = False) -> None:
        self.tags: set[str] = set()
        self.schemes: set[Scheme] = set()
        self.refused: dict[str, None] = {}
        self._outer = outer
        self._is_strict = is_strict
        self.queries: list[tuple[str, Reads]] | None = None

    def row(self, table: str, pk: tuple[object, ...]) -> None:
        """A row was shown; the whole table where its key makes no tag."""
        try:
            tag = row_tag(table, pk)
        except TagError:
            tag = table
        self.add(tag)

    def table(self, name: str) -> None:
        """Anything about the table may have been shown."""
        self.add(name)

    def rows(self, scheme: Scheme, values: Mapping[str, object]) -> None:
        """All rows with these values were asked for; the whole table where they make no tag."""
        tag = scheme.tag(values)
        if tag is None:
            self.add(scheme.table)
        else:
            self.add(tag, scheme)

    def add(self, tag: str, scheme: Scheme | None = None) -> None:
        """A legal tag, and the scheme that it was made by."""
        self.tags.add(tag)
        if scheme is not None:
            self.schemes.add(scheme)
        if self._outer is not None:
            self._outer.add(tag, scheme)

    def query(self, statement: str) -> Reads:
        """What a statement depends on is to be added to this."""
        if self.queries is None or len(self.queries) >= MOST_QUERIES:
            return self
        reads = Reads(self)
        self.queries.append((statement, reads))
        return reads

    def refuse(self, reason: str, *, seen_by: Collection[Reads] = ()) -> None:
        """What was read cannot be followed, for this reason. Raises StrictError where somebody wants to know of that at once.

        `seen_by`: those around this one to whom it is no secret, since they began earlier.
        """
        concerned = [each for each in self.around if each not in seen_by]
        for each in concerned:
            each.refused.setdefault(reason)
        if any(each._is_strict for each in concerned):
            raise unfollowed(reason)

    def exclude(self, reason: str) -> None:
        """The answer is not for others, which is nobody's mistake, or not yet."""
        for each in self.around:
            each.refused.setdefault(reason)

    def pardon(self, reason: str) -> None:
        """It was not so after all."""
        for each in self.around:
            each.refused.pop(reason, None)

    @property
    def around(self) -> tuple[Reads, ...]:
        """This one, and those within which it began, from the inside out."""
        return (self,) if self._outer is None else (self, *self._outer.around)


def unfollowed(reason: str) -> StrictError:
    """What strict mode says of a refusal."""
    return StrictError(
        f"a cached endpoint reads what cannot be followed ({reason}): say what it depends on by depends_on() or "
        "depends_on_table(), or write auto=False and tags= at its rule"
    )


def coarse(tags: AbstractSet[str], most: int) -> set[str]:
    """No more than `most` tags that depend on no less: the tables with the most of them are depended on as a whole.

    As many as there are, where they are of more tables than that.
    """
    found = set(tags)
    if len(found) <= most:
        return found
    by_table: dict[str, set[str]] = {}
    for tag in tags:
        if table := table_of(tag):
            by_table.setdefault(table, set()).add(tag)
    for table in sorted(by_table, key=lambda name: (-len(by_table[name]), name)):
        found -= by_table[table]
        found.add(table)
        if len(found) <= most:
            break
    return found
