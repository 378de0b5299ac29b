"""Where the tags of loaded rows say all there is to say of a table.

An author who is joined by primary key to the foreign key of a book is shown for that book and for no other: which one it is
changes with the book, and what the author is like changes with that row alone. So its row tag is enough, if

- the database enforces the foreign key: else the author may be inserted later, or deleted while the book stays;
- each author is loaded as an object, which is what adds its tag;
- nothing else in the statement looks at the author: what a filter has left out was never loaded, and an order shows more of rows
  than is fetched;
- the statement does not group, or leave out what is alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ColumnClause
from sqlalchemy.sql.visitors import iterate

from rcache.integrations.sqlalchemy.reads.probe import Block, Sight
from rcache.integrations.sqlalchemy.reads.scopes import Field, Joined


def keyed_parts(
    sight: Sight, block: Block, field: Field, tables: Mapping[Any, Table], is_view: Callable[[Table], bool]
) -> set[Any]:
    """The parts of FROM whose rows' own tags are enough, where foreign keys are enforced; of a view they never are."""
    if not block.is_whole or sum(each.is_whole for each in sight.blocks) != 1 or _collapses(block.select):
        return set()
    keys = _Keys(tables, field, is_view)
    loaded = _loaded(sight.state, tables)
    filters = _filters(block, field)
    ties = _ties(field, [each for each in field.joins if _never_filters(each, keys)])
    return {
        part
        for part, table in tables.items()
        if part in loaded
        and part not in filters
        and keys.joins(part)
        and ties.get(part, set()) <= {column.key for column in table.primary_key.columns}
    }


def _collapses(select: Any) -> bool:
    return bool(select._distinct or select._distinct_on or select._group_by_clauses or select._having_criteria)


class _Keys:
    """Which joins find which row by its primary key, from a foreign key to it."""

    def __init__(self, tables: Mapping[Any, Table], field: Field, is_view: Callable[[Table], bool]) -> None:
        self.tables = tables
        self._field = field
        self._is_view = is_view

    def joins(self, part: Any) -> bool:
        """Whether one finds the part's row, and what may be missing is the part."""
        return any(
            self.finds(joined, part)
            for joined in self._field.joins
            if not joined.is_full and (joined.missing is None or self._field.parts.get(part) is joined.missing)
        )

    def finds(self, joined: Joined, part: Any) -> bool:
        """Whether this one does."""
        pairs = dict(pair for clause in _flat(joined.condition) if (pair := _pair(clause, part)) is not None)
        table = self.tables[part]
        if pairs.keys() != {column.key for column in table.primary_key.columns}:
            return False
        if len({id(_plain(other.table)) for other in pairs.values()}) != 1:
            return False
        wanted = {_base(other): own for own, other in pairs.items()}
        return any(
            {element.parent: element.column.key for element in constraint.elements} == wanted
            for constraint in self._constraints(wanted, table)
        )

    def _constraints(self, columns: Iterable[Any], table: Table) -> Iterator[ForeignKeyConstraint]:
        for owner in {column.table for column in columns if isinstance(column, Column)}:
            if isinstance(owner, Table) and not self._is_view(owner):
                yield from [each for each in owner.foreign_key_constraints if each.referred_table is table]


def _pair(clause: Any, part: Any) -> tuple[str, Any] | None:
    """The part's own column, and that of another part, where the clause says that they are equal."""
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return None
    left: Any = clause.left
    right: Any = clause.right
    for own, other in ((left, right), (right, left)):
        if _is_column(own) and _is_column(other) and own.table == part and other.table != part:
            return str(own.key), other
    return None


def _never_filters(joined: Joined, keys: _Keys) -> bool:
    """Whether no row is left out by the join: the other may be missing, or its foreign key is never NULL."""
    if joined.missing is not None:
        return True
    clauses = list(_flat(joined.condition))
    for part in keys.tables:
        pairs = [_pair(clause, part) for clause in clauses]
        if not joined.is_full and None not in pairs and keys.finds(joined, part):
            return all(pair is not None and getattr(_base(pair[1]), "nullable", True) is False for pair in pairs)
    return False


def _filters(block: Block, field: Field) -> set[Any]:
    """The parts that WHERE, ORDER BY or a computed column looks at."""
    select = block.select
    found: dict[Any, set[str]] = {}
    computed = [column for column in select.selected_columns if not _is_column(column)]
    lateral = [part for part in field.parts if part.__visit_name__ in ("lateral", "table_valued_alias")]
    for clause in [*computed, *select._where_criteria, *select._order_by_clauses, *lateral]:
        _note(clause, found)
    return set(found)


def _ties(field: Field, harmless: list[Joined]) -> dict[Any, set[str]]:
    """The columns of each part that joins look at: for one that leaves nothing out, only those of what may be missing."""
    found: dict[Any, set[str]] = {}
    for joined in field.joins:
        is_harmless = joined in harmless and _is_plain(joined.condition)
        for column in _columns(joined.condition):
            if not (is_harmless and field.parts.get(column.table) is not joined.missing):
                found.setdefault(column.table, set()).add(column.key)
    return found


def _plain(part: Any) -> Any:
    """The part without annotations: one object for each."""
    return part._deannotate() if hasattr(part, "_deannotate") else part


def _note(element: Any, found: dict[Any, set[str]]) -> None:
    for column in _columns(element):
        found.setdefault(column.table, set()).add(column.key)


def _columns(element: Any) -> Iterator[Any]:
    """The columns anywhere in it."""
    for each in iterate(element):
        if _is_column(each):
            yield each


def _is_plain(condition: Any) -> bool:
    return all(
        isinstance(clause, BinaryExpression) and _is_column(clause.left) and _is_column(clause.right)
        for clause in _flat(condition)
    )


def _flat(condition: Any) -> Iterator[Any]:
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for clause in condition.clauses:
            yield from _flat(clause)
    else:
        yield condition


def _is_column(element: Any) -> bool:
    return isinstance(element, ColumnClause) and element.table is not None and not element.is_literal


def _base(column: Any) -> Any:
    """The column of a table that this one shows, through aliases and subqueries."""
    bases = list(column.base_columns)
    return bases[0] if len(bases) == 1 else None


def _loaded(state: Any, tables: Mapping[Any, Table]) -> set[Any]:
    """The parts whose every row becomes an object."""
    entities = getattr(state, "_entities", None)
    if entities is None or any("query_expression" in map(str, key) for key in state.attributes):
        return set()
    shown: dict[Any, set[str]] = {}
    for column in [*state.primary_columns, *state.secondary_columns]:
        if _is_column(column):
            shown.setdefault(column.table, set()).add(column.key)
    alone: set[Any] = set()
    for entity in entities:
        if not hasattr(entity, "mapper") or not hasattr(entity, "entity_zero") or hasattr(entity, "column"):
            alone |= {column.table for column in _columns(entity.column)} if hasattr(entity, "column") else set(tables)
    return {
        part
        for part, table in tables.items()
        if part not in alone and {column.key for column in table.primary_key.columns} <= shown.get(part, set())
    }
