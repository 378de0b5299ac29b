"""Which WHEREs may choose other rows when the statement runs than when its rows were imaged, though these are locked.

One that looks at other tables, or calls functions: what those say may have changed in between. The number of rows can be the
same and the rows others, so there the statement itself has to say which rows it has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from sqlalchemy import Delete, Dialect, FunctionElement, Table, TextClause, Update
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

W = TypeVar("W", Update, Delete)

_STEADY: Final = frozenset(
    ("lower", "upper", "coalesce", "length", "char_length", "abs", "substr", "substring", "trim")
)
_TELLING: Final = frozenset(("postgresql", "sqlite"))
"""Databases that say with every form of UPDATE and DELETE which rows those have changed."""


def is_loose(criteria: Iterable[Any], table: Table, *, locks_joined: bool = False) -> bool:
    """Whether it may choose others of the table's rows, while these are locked, and with them what is joined or not."""
    for part in (each for criterion in criteria for each in iterate(criterion)):
        if isinstance(part, (SelectBase, TextClause)):
            return True
        if isinstance(part, FunctionElement) and getattr(part, "name", "") not in _STEADY:
            return True
        if isinstance(part, ColumnClause) and not locks_joined and getattr(part.table, "name", None) != table.name:
            return True
    return False


def certain(element: W, table: Table, dialect: Dialect, *, is_single: bool) -> W:
    """The same statement, which tells the rows that it has changed where that is not certain; whoever sent it sees no more."""
    can_tell = dialect.delete_returning if isinstance(element, Delete) else dialect.update_returning
    if (
        not is_single
        or not can_tell
        or dialect.name not in _TELLING
        or element._returning
        or element._return_defaults
        or not table.primary_key.columns
        or not is_loose(element._where_criteria, table)
    ):
        return element
    return element.return_defaults(*table.primary_key.columns)
