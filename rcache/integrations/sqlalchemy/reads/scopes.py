"""Where a condition holds: for the whole result, or only for what an outer join found.

What stands in ON of an outer join, and what is equal there, restricts the side that may be missing and no other. What stands in
WHERE holds for every row of the result; but `IS NULL` of a column that may be missing asks for rows that are *not* there, and
restricts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql.selectable import FromGrouping, Join

from rcache.integrations.sqlalchemy.reads.terms import (
    Alternative,
    Bound,
    Constant,
    Empty,
    Fixed,
    Node,
    Reader,
    Term,
    both,
)

Values = dict[str, tuple[Bound | Constant, ...]]


@dataclass(slots=True, eq=False)
class Scope:
    """Conditions that hold together, within those of `outer`; `is_open`: of a FULL JOIN, where none restricts."""

    outer: Scope | None = None
    conditions: list[Any] = field(default_factory=list)
    is_open: bool = False

    def chain(self) -> Iterator[Scope]:
        """This one, and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


@dataclass(slots=True, eq=False)
class Joined:
    """One ON: `missing` is the scope of the side that may be missing; None for an inner join."""

    condition: Any
    missing: Scope | None
    is_full: bool = False


@dataclass(slots=True, eq=False)
class Field:
    """FROM of a SELECT: its parts, each with the scope that it stands in, and its joins."""

    root: Scope
    parts: dict[Any, Scope] = field(default_factory=dict)
    joins: list[Joined] = field(default_factory=list)

    def add(self, part: Any, scope: Scope) -> None:
        """An element of FROM, with whatever it joins."""
        if isinstance(part, FromGrouping):
            self.add(part.element, scope)
        elif isinstance(part, Join):
            self._join(part, scope)
        else:
            self.parts[part] = scope

    def _join(self, join: Any, scope: Scope) -> None:
        if join.full:
            self.add(join.left, Scope(scope, is_open=True))
            self.add(join.right, Scope(scope, is_open=True))
            self.joins.append(Joined(join.onclause, None, is_full=True))
        elif join.isouter:
            missing = Scope(scope, [join.onclause])
            self.add(join.left, scope)
            self.add(join.right, missing)
            self.joins.append(Joined(join.onclause, missing))
        else:
            scope.conditions.append(join.onclause)
            self.add(join.left, scope)
            self.add(join.right, scope)
            self.joins.append(Joined(join.onclause, None))


def alternatives(scope: Scope, reader: Reader) -> list[Alternative]:
    """What holds of rows in the scope, as alternatives; of NULLs only those that it can tell."""
    chain = list(scope.chain())
    if any(each.is_open for each in chain):
        return [()]
    return both(
        [
            tuple(term for term in alternative if not isinstance(term, Empty) or each is scope)
            for alternative in reader.read(condition)
        ]
        for each in chain
        for condition in each.conditions
    )


def values(alternative: Alternative, source: Any) -> tuple[Values, frozenset[str]]:
    """What the columns of a part of FROM are equal to, also by way of others; and which of them are NULL."""
    classes = _classes(alternative)
    found: dict[str, dict[Bound | Constant, None]] = {}
    for term in alternative:
        if isinstance(term, Fixed):
            for node in classes.get(term.node, {term.node}):
                if node.source == source:  # one of them may be annotated
                    found.setdefault(node.column, {})[term.value] = None
    empty = frozenset(
        term.node.column for term in alternative if isinstance(term, Empty) and term.node.source == source
    )
    return {column: tuple(each) for column, each in found.items()}, empty - found.keys()


def _classes(terms: tuple[Term, ...]) -> dict[Node, set[Node]]:
    """Columns that are equal to each other."""
    classes: dict[Node, set[Node]] = {}
    for term in terms:
        if not isinstance(term, (Fixed, Empty)):
            merged = classes.get(term.one, {term.one}) | classes.get(term.other, {term.other})
            for node in merged:
                classes[node] = merged
    return classes
