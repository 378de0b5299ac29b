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

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ColumnClause
from sqlalchemy.sql.visitors import iterate

from rcache.integrations.sqlalchemy.reads.probe import Block, Sight
from rcache.integrations.sqlalchemy.reads.scopes import Field, Joined


def keyed_parts(sight: Sight, block: Block, field: Field, tables: dict[Any, Table]) -> set[Any]:
    """The parts of FROM whose rows' own tags are enough, where foreign keys are enforced."""
    if not block.is_whole or sum(each.is_whole for each in sight.blocks) != 1 or _collapses(block.select):
        return set()
    loaded = {part for part in tables if part in _loaded(sight.state, tables)}
    found: dict[Any, Joined] = {}
    for part in loaded:
        joined = _by_key(part, tables, field)
        if joined is not None:
            found[part] = joined
    filters = _filters(block, field)
    ties = _ties(field, [each for each in field.joins if _never_filters(each, tables)])
    return {
        part
        for part in found
        if part not in filters and ties.get(part, set()) <= {column.key for column in tables[part].primary_key.columns}
    }


def _collapses(select: Any) -> bool:
    return bool(select._distinct or select._distinct_on or select._group_by_clauses or select._having_criteria)


def _by_key(part: Any, tables: dict[Any, Table], field: Field) -> Joined | None:
    """The join that finds the part's row by its primary key, from a foreign key to it."""
    for joined in field.joins:
        if joined.is_full or (joined.missing is not None and field.parts.get(part) is not joined.missing):
            continue
        if _is_key(joined, part, tables):
            return joined
    return None


def _is_key(joined: Joined, part: Any, tables: dict[Any, Table]) -> bool:
    pairs = {}
    other: set[Any] = set()
    for clause in _flat(joined.condition):
        pair = _pair(clause, part)
        if pair is not None:
            pairs[pair[0]] = pair[1]
            other.add(pair[1].table)
    table = tables[part]
    key = {column.key for column in table.primary_key.columns}
    if pairs.keys() != key or len(other) != 1:
        return False
    return any(
        {element.parent: element.column.key for element in constraint.elements}
        == {_base(column): own for own, column in pairs.items()}
        for constraint in _constraints(pairs.values(), table)
    )


def _constraints(columns: Iterable[Any], table: Table) -> Iterator[Any]:
    """The foreign keys to the table from that of the columns."""
    for owner in {base.table for base in map(_base, columns) if isinstance(base, Column)}:
        if isinstance(owner, Table):
            yield from [each for each in owner.foreign_key_constraints if each.referred_table is table]


def _pair(clause: Any, part: Any) -> tuple[str, Any] | None:
    """The part's own column, and that of another part, where the clause says that they are equal."""
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return None
    for own, other in ((clause.left, clause.right), (clause.right, clause.left)):
        if _is_column(own) and _is_column(other) and own.table == part and other.table != part:
            return own.key, other
    return None


def _never_filters(joined: Joined, tables: dict[Any, Table]) -> bool:
    """Whether no row is left out by the join: it may be missing, or the foreign key is never NULL."""
    if joined.missing is not None:
        return not joined.is_full
    for part in tables:
        if _is_key(joined, part, tables) and len(list(_flat(joined.condition))) == len(
            tables[part].primary_key.columns
        ):
            pairs = [_pair(clause, part) for clause in _flat(joined.condition)]
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
        for column in iterate(joined.condition):
            if _is_column(column) and not (is_harmless and field.parts.get(column.table) is not joined.missing):
                found.setdefault(column.table, set()).add(column.key)
    return found


def _note(element: Any, found: dict[Any, set[str]]) -> None:
    for each in iterate(element):
        if _is_column(each):
            found.setdefault(each.table, set()).add(each.key)


def _parts(condition: Any) -> set[Any]:
    return {each.table for each in iterate(condition) if _is_column(each)}


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


def _loaded(state: Any, tables: dict[Any, Table]) -> set[Any]:
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
            alone |= _parts(entity.column) if hasattr(entity, "column") else set(tables)
    return {
        part
        for part, table in tables.items()
        if part not in alone and {column.key for column in table.primary_key.columns} <= shown.get(part, set())
    }
