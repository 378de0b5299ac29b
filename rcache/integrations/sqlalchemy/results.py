"""What the result of a write tells: how many rows, and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CursorResult, Table
from sqlalchemy.exc import InvalidRequestError

from rcache.integrations.sqlalchemy.images import Row


def changed_rows(result: CursorResult[Any]) -> int:
    """The rows it has changed; -1 where the driver does not say."""
    context = result.context
    if getattr(context, "executemany", False) and not context.dialect.supports_sane_multi_rowcount:
        return -1
    return int(result.rowcount)


def peek(result: CursorResult[Any]) -> Sequence[Any] | None:
    """The rows that it returned, which whoever asked for them still gets; None where it returned none."""
    if not result.returns_rows or result._soft_closed:
        return None
    rows = result.fetchall()
    result._rewind(rows)
    return rows


def inserted_keys(
    table: Table, result: CursorResult[Any], returned: Sequence[Any] | None
) -> list[tuple[object, ...]] | None:
    """The primary keys of the new rows; None where one is unknown."""
    columns = [column.key for column in table.primary_key.columns]
    if returned is not None:
        try:
            return [tuple([row._mapping[table.columns[name]] for name in columns]) for row in returned]
        except (KeyError, InvalidRequestError):  # it returned something else
            given = result.context.compiled_parameters
            keys = [tuple([each.get(name) for name in columns]) for each in given]
    else:
        keys = [tuple(row) for row in result.context.inserted_primary_key_rows]
    return keys if all(None not in key and len(key) == len(columns) for key in keys) else None


def returned_keys(
    table: Table, result: CursorResult[Any], returned: Sequence[Any] | None
) -> set[tuple[object, ...]] | None:
    """The primary keys of the rows that it says it has changed; None where it does not say."""
    rows = returned if returned is not None else result.context.returned_default_rows
    try:
        return {tuple([row._mapping[column] for column in table.primary_key.columns]) for row in rows or ()}
    except (KeyError, InvalidRequestError):  # it returned something else
        return None


def given_values(table: Table, parameters: Mapping[str, Any]) -> Row:
    return {column.key: parameters[column.key] for column in table.columns if column.key in parameters}
