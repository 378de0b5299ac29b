"""What triggers have written to the outbox, read as changes: the same ones that the tracker would have told.

PostgreSQL writes rows as JSON, which knows fewer types than its columns have. So each value is read by the type that the catalogue
gives its column, and, where the table is tracked, by what the model makes of it. What cannot be read is no reason to stop, nor to
guess: then everything about the table has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Dialect, Enum, Numeric, Table, TypeDecorator, Uuid, text
from sqlalchemy.types import TypeEngine

from rcache.cache import Cache
from rcache.core.changes import Change
from rcache.integrations.sqlalchemy.bounds import bounded
from rcache.integrations.sqlalchemy.images import OWN
from rcache.integrations.sqlalchemy.names import Names
from rcache.integrations.sqlalchemy.pending import MOST_CHANGES

Row = Mapping[str, Any]
Reader = Callable[[Any], Any]


class Triggered(NamedTuple):
    """One statement that somebody has run. Without rows it is not known which they were."""

    table_schema: str
    table_name: str
    operation: str
    old_rows: str | None
    new_rows: str | None


class Relation(NamedTuple):
    """A table as the catalogue has it: the type of each column, by name, and those of the primary key in their order."""

    kinds: dict[str, str]
    key: tuple[str, ...]


class _Unreadable(Exception):  # noqa: N818 (it says what the row is)
    """A row that tells of the whole table."""


# A domain is what it was made from, however often.
_CATALOGUE: Final = text("""
WITH RECURSIVE typed(relation, schema, name, number, attribute, type) AS (
    SELECT c.oid, wanted.schema, wanted.name, a.attnum, a.attname, a.atttypid
    FROM json_to_recordset(CAST(:wanted AS json)) AS wanted(schema text, name text)
    JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT relation, schema, name, number, attribute, t.typbasetype
    FROM typed JOIN pg_catalog.pg_type t ON t.oid = typed.type AND t.typtype = 'd'
)
SELECT schema, name, attribute, CASE WHEN t.typtype IN ('r', 'm') THEN 'range' ELSE t.typname END AS kind,
    array_position(CAST(i.indkey AS int2[]), number) AS position
FROM typed JOIN pg_catalog.pg_type t ON t.oid = typed.type AND t.typtype <> 'd'
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = typed.relation AND i.indisprimary
ORDER BY position
""")


def changes_of(
    connection: Connection, rows: Sequence[Triggered], cache: Cache, names: Mapping[str, str]
) -> list[Change]:
    """What the statements have changed; where that is too much, in less detail.

    `names`: what a table is called in tags, by `table` or `schema.table`; else what those who track it for the cache say.
    """
    if not rows:
        return []
    relations = _relations(connection, {(row.table_schema, row.table_name) for row in rows})
    tracked = [each for each in cache.changes.tables if isinstance(each, Names)]
    found: dict[str, list[Change]] = {}
    for row in rows:
        name, table = _named(row, tracked, names)
        changes = found.setdefault(name, [])
        if len(changes) == 1 and changes[0].pk is None:
            continue
        told = _read(row, relations.get((row.table_schema, row.table_name)), name, table, connection.dialect)
        if told is None or len(changes) + len(told) > MOST_CHANGES:
            changes[:] = [Change(name, None)]
        else:
            changes += told
    all_ = [change for changes in found.values() for change in changes]
    return list(bounded(all_, lambda some: len(cache.changes.effect(some).tags)))


def _relations(connection: Connection, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Relation]:
    names = [{"schema": schema, "name": name} for schema, name in wanted]
    found: dict[tuple[str, str], Relation] = {}
    columns = connection.execute(_CATALOGUE, {"wanted": json.dumps(names)}, execution_options={OWN: True})
    for schema, name, attribute, kind, position in columns:  # those of the primary key first, in its order
        relation = found.get((schema, name), Relation({}, ()))
        relation.kinds[attribute] = kind
        key = relation.key if position is None else (*relation.key, attribute)
        found[schema, name] = relation._replace(key=key)
    return found


def _named(row: Triggered, tracked: Iterable[Names], names: Mapping[str, str]) -> tuple[str, Table | None]:
    chosen = names.get(f"{row.table_schema}.{row.table_name}", names.get(row.table_name))
    if chosen is not None:
        return chosen, None
    for schema in (row.table_schema, None):  # a model that names none has its table wherever the connection looks first
        for each in tracked:
            table = each.find(row.table_name, schema)
            if table is not None:
                return table.key, table
    return row.table_name, None


def _read(
    row: Triggered, relation: Relation | None, name: str, table: Table | None, dialect: Dialect
) -> list[Change] | None:
    """The changed rows, one by one; None where that cannot be told."""
    if relation is None or (row.old_rows is None and row.new_rows is None):
        return None
    # Where there is a model its key counts: the database may have the columns in another order.
    key = relation.key if table is None else tuple(column.name for column in table.primary_key.columns)
    if not key:
        return None
    try:
        old, new = _by_key(row.old_rows, key), _by_key(row.new_rows, key)
        return list(_paired(old, new, key, _Rows(relation, table, dialect), name))
    except _Unreadable:
        return None


def _by_key(rows: str | None, key: Sequence[str]) -> dict[str, Row]:
    """The rows as JSON has them, by what it has for the key."""
    if rows is None:
        return {}
    try:
        found: list[Row] = json.loads(rows, parse_float=Decimal, parse_int=_number)
        by_key = {repr([row[column] for column in key]): row for row in found}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Unreadable from error
    if len(by_key) < len(found):  # a model may name a key that is none to the database
        raise _Unreadable
    return by_key


def _number(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 100 else Decimal(digits)


def _paired(
    old: Mapping[str, Row], new: Mapping[str, Row], key: Sequence[str], rows: _Rows, name: str
) -> Iterator[Change]:
    for id_ in [*old, *[id_ for id_ in new if id_ not in old]]:
        before, after = old.get(id_), new.get(id_)
        # A row that is the same as before is nobody's news; by their text, since numbers may be equal and look different.
        changed = None if before is None or after is None else rows.changed(before, after)
        if changed is not None and not changed:
            continue
        image = after if before is None else before
        pk = rows.key(image or {}, key)
        was = None if before is None else rows.read(before)
        is_ = None if after is None else rows.read(after)
        if was is None:
            yield Change(name, pk, "insert", None, is_)
        elif is_ is None:
            yield Change(name, pk, "delete", was, None)
        else:
            yield Change(name, pk, "update", was, is_, changed)


class _Rows:
    """Reads the rows of one table."""

    def __init__(self, relation: Relation, table: Table | None, dialect: Dialect) -> None:
        self._readers = {column: _READERS.get(kind, _as_it_is) for column, kind in relation.kinds.items()}
        self._models = {} if table is None else {column.name: column for column in table.columns}
        self._processors = {name: _processor(column.type, dialect) for name, column in self._models.items()}

    def read(self, row: Row) -> dict[str, object]:
        """The values as the tracker would have them."""
        return {self._key(column): self._value(column, value) for column, value in row.items()}

    def key(self, row: Row, key: Sequence[str]) -> tuple[object, ...]:
        """The primary key's."""
        values = tuple(self._value(column, row[column]) for column in key)
        if not all(map(_has_one_text, values)):
            raise _Unreadable
        return values

    def changed(self, before: Row, after: Row) -> frozenset[str]:
        """The columns that look different."""
        columns = before.keys() | after.keys()
        return frozenset(self._key(column) for column in columns if repr(before.get(column)) != repr(after.get(column)))

    def _key(self, column: str) -> str:
        model = self._models.get(column)
        return column if model is None else model.key

    def _value(self, column: str, value: Any) -> object:
        if value is None:
            return None
        try:
            read = self._readers[column](value)
            processor = self._processors.get(column)
            return read if processor is None else processor(read)
        except Exception as error:  # the column was another when this was written, or the model's own code refuses it
            raise _Unreadable from error


def _processor(kind: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    """What the model makes of a value; what drivers need besides is none of ours."""
    if isinstance(kind, TypeDecorator):
        return _decorated(kind, dialect)
    kind = kind.dialect_impl(dialect)
    if isinstance(kind, Enum) or not type(kind).result_processor.__module__.startswith("sqlalchemy."):
        return kind.result_processor(dialect, None)
    if isinstance(kind, Uuid) and not kind.as_uuid:
        return str
    if isinstance(kind, Numeric) and not kind.asdecimal:
        return float
    return None


def _decorated(kind: TypeDecorator[Any], dialect: Dialect) -> Reader | None:
    inner = _processor(kind.load_dialect_impl(dialect), dialect)
    if type(kind).process_result_value is TypeDecorator.process_result_value:
        return inner
    return lambda value: kind.process_result_value(value if inner is None else inner(value), dialect)


OPAQUE: Final = object()
"""A value that makes no tag."""


def _has_one_text(value: object) -> bool:
    """Whether all who read the value write it alike."""
    if isinstance(value, datetime):
        return value.tzinfo is None
    return value is not OPAQUE and not isinstance(value, (float, list, dict, time))


def _as_it_is(value: Any) -> Any:
    return value


def _opaque(value: Any) -> object:
    return OPAQUE


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _instant(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


_READERS: Final[Mapping[str, Reader]] = {
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "numeric": Decimal,
    "float4": float,
    "float8": float,
    "uuid": UUID,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": _instant,
    "time": time.fromisoformat,
    "timetz": _opaque,
    "interval": _opaque,
    "bytea": _opaque,
    "range": _opaque,
}
"""By PostgreSQL's own names. What is not here JSON has as drivers do: text, bool, labels of an enumeration, what is JSON itself."""
