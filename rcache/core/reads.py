"""What an answer was made of: the tags that its reads depend on, and why it may not be stored."""

from __future__ import annotations

from collections.abc import Mapping

from rcache.core.changes import row_tag
from rcache.core.schemes import Scheme
from rcache.core.tags import TagError


class Reads:
    """Gathered while an application answers, by whoever sees it read.

    - `tags`: of rows, of whole tables, and of what the schemes say.
    - `schemes`: those that tags were made by; a store has to know them before it stores what carries their tags.
    - `refused`: why the answer must not be stored, each reason once and in order.
    """

    __slots__ = ("refused", "schemes", "tags")

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.schemes: set[Scheme] = set()
        self.refused: dict[str, None] = {}

    def row(self, table: str, pk: tuple[object, ...]) -> None:
        """A row was shown; the whole table where its key makes no tag."""
        try:
            self.tags.add(row_tag(table, pk))
        except TagError:
            self.tags.add(table)

    def table(self, name: str) -> None:
        """Anything about the table may have been shown."""
        self.tags.add(name)

    def rows(self, scheme: Scheme, values: Mapping[str, object]) -> None:
        """All rows with these values were asked for; the whole table where they make no tag."""
        tag = scheme.tag(values)
        if tag is None:
            self.tags.add(scheme.table)
        else:
            self.tags.add(tag)
            self.schemes.add(scheme)

    def refuse(self, reason: str) -> None:
        """What was read cannot be followed, for this reason."""
        self.refused.setdefault(reason)
