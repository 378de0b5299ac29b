"""A condition as alternatives of equalities.

`x = 5 AND (y = 1 OR z IN (2, 3))` holds only where one of its alternatives does: (x = 5, y = 1) or (x = 5, z among 2, 3). What is
no equality, and every NOT, is left out: an alternative then allows more than the condition does, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BindParameter,
    ColumnClause,
    False_,
    Grouping,
    Null,
    True_,
)

from rcache.integrations.sqlalchemy.reads.kinds import Kind

MOST_ALTERNATIVES: Final = 24
"""Of one condition; a part with more is left out."""


@dataclass(frozen=True, slots=True)
class Node:
    """A column of a table in FROM: `source` is the table, alias or subquery there."""

    source: Any
    column: str
    kind: Kind | None


@dataclass(frozen=True, slots=True)
class Bound:
    """A parameter's value, or one of those in its list."""

    name: str
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is part of the statement."""

    value: object


@dataclass(frozen=True, slots=True)
class Fixed:
    """The column has that value."""

    node: Node
    value: Bound | Constant


@dataclass(frozen=True, slots=True)
class Empty:
    """The column is NULL."""

    node: Node


@dataclass(frozen=True, slots=True)
class Tied:
    """Two columns have the same value."""

    one: Node
    other: Node


Term = Fixed | Empty | Tied
Alternative = tuple[Term, ...]


class Reader:
    """Reads conditions; `node` finds a column's node, `bind` the parameter's name, `kind` what a type can be compared by."""

    def __init__(
        self,
        node: Callable[[Any], Node | None],
        bind: Callable[[Any], str | None],
        kind: Callable[[Any], Kind | None],
    ) -> None:
        self._node = node
        self._bind = bind
        self._kind = kind

    def read(self, condition: Any) -> list[Alternative]:
        """Its alternatives; one that is empty allows everything, and none at all nothing."""
        if isinstance(condition, Grouping):
            return self.read(condition.element)
        operator = getattr(condition, "operator", None)
        clauses = getattr(condition, "clauses", None)
        if clauses is not None and operator is operators.and_:
            return both(self.read(each) for each in clauses)
        if clauses is not None and operator is operators.or_:
            return either(self.read(each) for each in clauses)
        if isinstance(condition, False_):
            return []
        term = self._term(condition, operator)
        return [() if term is None else (term,)]

    def _term(self, condition: Any, operator: Any) -> Term | None:
        if isinstance(condition, AsBoolean):
            return self._flag(condition.element, operator is operators.is_true)
        if isinstance(condition, ColumnClause):
            return self._flag(condition, True)
        if not isinstance(condition, BinaryExpression):
            return None
        left, right = condition.left, condition.right
        if operator is operators.in_op:
            return self._fixed(left, right, is_list=True)
        if operator is operators.is_ and isinstance(right, Null):
            node = self._node(left)
            return None if node is None else Empty(node)
        if operator is operators.eq or operator is operators.is_:
            return self._equal(left, right) or self._equal(right, left)
        return None

    def _flag(self, column: Any, value: bool) -> Term | None:
        node = self._node(column)
        if node is None or node.kind is None or node.kind.python is not bool:
            return None
        return Fixed(node, Constant(value))

    def _equal(self, column: Any, other: Any) -> Term | None:
        if isinstance(other, (True_, False_)):
            return self._flag(column, isinstance(other, True_))
        if isinstance(other, BindParameter):
            return self._fixed(column, other, is_list=False)
        one, two = self._node(column), self._node(other)
        if one is None or two is None or one.kind is None or one.kind != two.kind:
            return None
        return Tied(one, two)

    def _fixed(self, column: Any, value: Any, *, is_list: bool) -> Term | None:
        while isinstance(value, Grouping):
            value = value.element
        node = self._node(column)
        if node is None or node.kind is None or not isinstance(value, BindParameter) or value.expanding is not is_list:
            return None
        name = self._bind(value)
        if name is None or self._kind(value.type) != node.kind:
            return None
        return Fixed(node, Bound(name, is_list))


def both(conditions: Iterable[Sequence[Alternative]]) -> list[Alternative]:
    """All conditions hold."""
    found: list[Alternative] = [()]
    for alternatives in conditions:
        if len(found) * len(alternatives) <= MOST_ALTERNATIVES:
            found = [one + other for one in found for other in alternatives]
    return found


def either(conditions: Iterable[Sequence[Alternative]]) -> list[Alternative]:
    """One of the conditions holds."""
    found = [alternative for alternatives in conditions for alternative in alternatives]
    return [()] if () in found else found
