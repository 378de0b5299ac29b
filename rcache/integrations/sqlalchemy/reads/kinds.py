"""Types whose equal values have one form: only their equality is told by a tag.

`5 = 5.0` in a database, `a = A` under some collations, and a time of day is equal to itself in another zone; then what was asked
for and what a changed row is called would be two names of one thing. A value that was bound must also be just what the column is
read as: `"5"` is asked of an integer column on SQLite, and is not 5 in a tag.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Dialect, types

_BINARY: Final = frozenset(("BINARY", "C", "POSIX", "UCS_BASIC", "C.UTF-8", "C.UTF8"))
"""Collations under which equal texts are the same characters."""

_DETERMINISTIC: Final = frozenset(("sqlite", "postgresql"))
"""Databases whose texts are so compared unless a column says otherwise."""

_UNTOUCHED: Final = (
    "process_bind_param",
    "process_result_value",
    "process_literal_param",
    "bind_processor",
    "result_processor",
    "bind_expression",
    "column_expression",
)


class Kind(NamedTuple):
    """Values that can be compared by their tags, and the one class that they have."""

    name: str
    python: type[Any]

    def has(self, value: object) -> bool:
        """Whether the value is as a row of such a column is read."""
        return type(value) is self.python


def kind_of(given: Any, dialect: Dialect) -> Kind | None:
    """The kind of a column's or a parameter's type; None where equal values may look different."""
    kind = getattr(given, "_variant_mapping", {}).get(dialect.name, given)
    if isinstance(kind, types.TypeDecorator):
        if any(getattr(type(kind), name) is not getattr(types.TypeDecorator, name) for name in _UNTOUCHED):
            return None
        kind = kind.impl_instance if hasattr(kind, "impl_instance") else kind.impl
    if not type(kind).__module__.startswith("sqlalchemy."):
        return None  # somebody's own
    if isinstance(kind, types.Enum):
        return _enum(kind, dialect)
    if isinstance(kind, types.Boolean):
        return Kind("bool", bool)
    if isinstance(kind, types.Integer):
        return Kind("int", int)
    if isinstance(kind, types.Uuid):
        return Kind("uuid", UUID) if kind.as_uuid else None
    if isinstance(kind, types.Date):
        return Kind("date", date)
    return Kind("str", str) if _is_binary_text(kind, dialect) else None


def _enum(kind: types.Enum, dialect: Dialect) -> Kind | None:
    chosen = kind.enum_class
    if chosen is None:
        return Kind("enum", str) if dialect.name in _DETERMINISTIC else None
    if any(type(member.value) not in (int, str) for member in chosen):
        return None
    return Kind("enum", chosen)


def _is_binary_text(kind: Any, dialect: Dialect) -> bool:
    if not isinstance(kind, types.String) or isinstance(kind, (types.CHAR, types.NCHAR)):
        return False  # CHAR pads
    if dialect.name not in _DETERMINISTIC or type(kind).__name__ == "CITEXT":
        return False
    return kind.collation is None or kind.collation.upper() in _BINARY
