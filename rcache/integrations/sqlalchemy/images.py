"""Rows as the database has them: before a statement, locked, and after it.

What a session remembers of a row may be older than the row, and then tells of a value that nobody has cached and hides the one
that somebody has. So the database is asked, with the statement's own WHERE and FOR UPDATE: what was read cannot change before
the statement does it. SQLite has no row locks; there the transaction takes the write lock first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Select, Table, and_, or_, select, tuple_
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList

from rcache.integrations.sqlalchemy.names import is_binary

MOST_ROWS: Final = 500
"""Rows of one statement that are told apart; a larger one flushes its whole table."""

OWN: Final = "rcache_image"
"""The execution option that marks the statements sent from here."""

Lock = Literal["row", "values"]
"""What a DELETE takes, and what an UPDATE does unless it changes a key: beside that, rows that refer to this one may come."""

Row = Mapping[str, object]
Rows = dict[tuple[object, ...], Row]


class TooManyRowsError(Exception):
    """More rows than are told apart."""


def key_of(table: Table, row: Row) -> tuple[object, ...]:
    """The row's primary key."""
    return tuple([row[column.key] for column in table.primary_key.columns])


def is_whole(table: Table) -> bool:
    """Whether an image shows every column."""
    return len(_columns(table)) == len(table.columns)


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if not is_binary(column.type) or column.primary_key]


class Images:
    """Reads rows on one connection, within its transaction, under the options of the statement they belong to."""

    def __init__(self, connection: Connection, options: Mapping[str, Any]) -> None:
        self._connection = connection
        self.locks_joined = connection.dialect.name in ("mysql", "mariadb")
        """FOR UPDATE locks rows of every table in the FROM there, of whichever it is said."""
        kept = {name: options[name] for name in ("schema_translate_map",) if name in options}
        self._options = {**kept, OWN: True}

    def matching(
        self, table: Table, criteria: Sequence[Any], parameters: Mapping[str, Any], *, is_delete: bool
    ) -> Rows:
        """The rows that a statement with this WHERE is about to change, locked as it will lock them."""
        query = select(*_columns(table)).select_from(table).where(*criteria)
        query = query.with_for_update(of=table, key_share=not is_delete)
        return self._read(table, query, parameters)

    def by_key(self, table: Table, keys: Iterable[tuple[object, ...]], *, lock: Lock | None = None) -> Rows:
        """The rows with these primary keys."""
        columns = list(table.primary_key.columns)
        return self.by_values(table, columns, keys, lock=lock)

    def by_values(
        self,
        table: Table,
        columns: Sequence[Column[Any]],
        values: Iterable[tuple[object, ...]],
        *,
        lock: Lock | None = None,
    ) -> Rows:
        """The rows whose `columns` have one of these combinations of values."""
        wanted = list(dict.fromkeys(values))
        if not wanted:
            return {}
        if len(wanted) > MOST_ROWS:
            raise TooManyRowsError
        if len(columns) == 1:
            criterion: Any = columns[0].in_([value for (value,) in wanted])
        elif getattr(self._connection.dialect, "supports_tuple_values", True):
            criterion = tuple_(*columns).in_(wanted)
        else:
            criterion = or_(*[and_(*[c == v for c, v in zip(columns, value, strict=True)]) for value in wanted])
        query = select(*_columns(table)).where(criterion)
        if lock is not None:
            query = query.with_for_update(key_share=lock == "values")
        return self._read(table, query, {})

    def _read(self, table: Table, query: Select[Any], parameters: Mapping[str, Any]) -> Rows:
        keys = [column.key for column in _columns(table)]
        result = self._connection.execute(query.limit(MOST_ROWS + 1), parameters, execution_options=self._options)
        rows = [dict(zip(keys, row, strict=True)) for row in result.fetchall()]
        if len(rows) > MOST_ROWS:
            raise TooManyRowsError
        return {key_of(table, row): row for row in rows}

    def cascades(self) -> bool:
        """Whether the database deletes and nulls by itself what refers to a deleted row."""
        if self._connection.dialect.name != "sqlite":
            return True
        asked = self._connection.exec_driver_sql("PRAGMA foreign_keys", execution_options={OWN: True})
        return bool(asked.scalar())


def referring(tables: Iterable[Table], table: Table) -> list[ForeignKeyConstraint]:
    """The foreign keys to the table by which the database acts on its own when a row of it goes."""
    return [
        constraint
        for other in tables
        for constraint in other.foreign_key_constraints
        if constraint.referred_table is table and (constraint.ondelete or "").upper() in _ACTING
    ]


def following(tables: Iterable[Table], table: Table) -> list[ForeignKeyConstraint]:
    """The foreign keys to the table whose values the database changes along with the row's."""
    return [
        constraint
        for other in tables
        for constraint in other.foreign_key_constraints
        if constraint.referred_table is table and (constraint.onupdate or "").upper() in _ACTING
    ]


_ACTING: Final = frozenset(("CASCADE", "SET NULL", "SET DEFAULT"))


def keys_in(
    table: Table, criteria: Sequence[Any], parameters: Sequence[Mapping[str, Any]]
) -> list[tuple[object, ...]] | None:
    """The primary keys that a WHERE of equalities names, one for each set of parameters; None where it does more or less.

    That is what a unit of work writes, once for all rows of a mapper.
    """
    bound: dict[str, BindParameter[Any]] = {}
    for criterion in _flat(criteria):
        if not isinstance(criterion, BinaryExpression) or criterion.operator is not operators.eq:
            return None
        column, value = criterion.left, criterion.right
        if not isinstance(value, BindParameter) or getattr(column, "table", None) is None:
            return None
        name: str = getattr(column, "key", "")
        if column.table.name != table.name or name in bound or name not in table.columns:
            return None
        if not table.columns[name].primary_key:
            return None
        bound[name] = value
    columns = [column.key for column in table.primary_key.columns]
    if bound.keys() != set(columns):
        return None
    return [tuple([_value(bound[column], each) for column in columns]) for each in parameters or ({},)]


def _flat(criteria: Iterable[Any]) -> Iterable[Any]:
    for criterion in criteria:
        if isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
            yield from _flat(criterion.clauses)
        else:
            yield criterion


def _value(bound: BindParameter[Any], parameters: Mapping[str, Any]) -> object:
    return parameters.get(bound.key, bound.effective_value)
