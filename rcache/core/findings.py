"""What an audit reports: a stale answer, with everything that tells why it was served."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rcache.core.audit import Answer, Difference
from rcache.core.changes import table_of
from rcache.core.tags import listed

MOST_TOLD: Final = 5
"""Differences, and queries, that a log line names."""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that a tracked engine was sent, without its values, and the tags that its answer depends on."""

    statement: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer that was served although the application would have given another, and nothing had purged it."""

    url: str
    route: str
    age: float  # seconds, when it was served
    ttl: float  # seconds for which it would have been served further
    stored_at: float  # by the store's clock
    tags: tuple[str, ...]  # of the entry, without that of its URL
    unnamed: tuple[str, ...]  # what the application read when it was asked again, and none of the tags names
    unfollowed: tuple[str, ...]  # why what it read then cannot be followed
    queries: tuple[Query, ...]  # what it asked tracked engines then
    differences: tuple[Difference, ...]
    served: Answer
    made: Answer

    @property
    def remedy(self) -> str:
        """What to look at first."""
        if self.unfollowed:
            return f"it reads what cannot be followed ({', '.join(self.unfollowed)}): say what it depends on by depends_on()"
        if self.unnamed:
            return f"it reads {listed(self.unnamed)}, which none of its tags names: add them, or write auto=True"
        if not self.tags:
            return "it has no tags, so that only its age ends it: give it tags=, or write auto=True"
        return (
            "somebody has changed what it shows where rcache does not see it: purge after that write, call touch(), or let the "
            "database tell (triggers)"
        )

    def explain(self) -> str:
        """All of it in words, but for the two answers, whose values may be somebody's own."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.url} was answered with what is {self.age:.1f} seconds old and does not hold any more"
        yield f"  route: {self.route}"
        yield f"  differs in: {_some([each.where for each in self.differences])}"
        yield f"  tags: {listed(self.tags) if self.tags else 'none'}"
        for query in self.queries[:MOST_TOLD]:
            yield f"  query: {' '.join(query.statement.split())} -> {listed(query.tags) if query.tags else 'nothing'}"
        if len(self.queries) > MOST_TOLD:
            yield f"  and {len(self.queries) - MOST_TOLD} queries more"
        yield f"  what to do: {self.remedy}"


def unnamed(read: Iterable[str], tags: Collection[str]) -> tuple[str, ...]:
    """What was read and no tag names: neither by itself, nor with all of its table."""
    return tuple(sorted(tag for tag in read if tag not in tags and table_of(tag) not in tags))


def _some(words: list[str]) -> str:
    told = ", ".join(words[:MOST_TOLD])
    return told if len(words) <= MOST_TOLD else f"{told} and more"
