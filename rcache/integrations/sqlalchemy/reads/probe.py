"""Watches SQLAlchemy write a statement down, and so sees what is really in it.

What an application has written is not what is sent: joins of relationships, criteria of loaders and of classes, eager loads and
auto-correlation are found by the compiler. So the statement is compiled a second time, by the same compiler with eyes: every
column, table, function and text that is written passes here, and every SELECT with the FROM that was left to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.visitors import iterate


class UnlikeError(Exception):
    """What was seen is not what is sent."""


@dataclass(slots=True, eq=False)
class Block:
    """One SELECT as it is written.

    `froms`: without what it takes from an enclosing one. `shows_all`: its columns are `*`.
    """

    select: Any = None
    froms: tuple[Any, ...] = ()
    is_whole: bool = False
    is_exists: bool = False
    shows_all: bool = False


@dataclass(slots=True, eq=False)
class Sight:
    """What was seen.

    - `tables`, `columns`: that were written, the columns with the table or alias that they belong to.
    - `functions`: their names. `texts`: pieces of SQL in text form.
    - `opaque`: constructs of the application's own.
    """

    blocks: list[Block] = field(default_factory=list)
    tables: dict[Any, None] = field(default_factory=dict)
    columns: list[Any] = field(default_factory=list)
    functions: dict[str, None] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    opaque: dict[str, None] = field(default_factory=dict)
    binds: dict[Any, str] = field(default_factory=dict)
    state: Any = None


class _Eyes:
    """What the compiler is given besides; mixed into its class."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sight = Sight()
        self._open: list[Block] = []
        self._asks_existence = False
        super().__init__(*args, **options)

    def visit_select(self, select_stmt: Any, *args: Any, **kw: Any) -> Any:
        block = Block(is_whole=not self._open, is_exists=self._asks_existence)
        self._asks_existence = False
        self._open.append(block)
        try:
            return super().visit_select(select_stmt, *args, **kw)  # type: ignore[misc]
        finally:
            self._open.pop()

    def _compose_select_body(self, text: Any, select: Any, state: Any, inner: Any, froms: Any, *args: Any) -> Any:
        block = self._open[-1]
        block.select, block.froms = select, tuple(froms)
        self.sight.blocks.append(block)
        self._look_for_own(select)
        return super()._compose_select_body(text, select, state, inner, froms, *args)  # type: ignore[misc]

    def _look_for_own(self, element: Any) -> None:
        for each in iterate(element):
            if hasattr(type(each), "_compiler_dispatcher"):
                name = getattr(each, "name", None)
                self.sight.opaque[name if isinstance(name, str) else type(each).__name__] = None

    def visit_unary(self, unary: Any, *args: Any, **kw: Any) -> Any:
        self._asks_existence = unary.operator is operators.exists
        return super().visit_unary(unary, *args, **kw)  # type: ignore[misc]

    def visit_table(self, table: Any, *args: Any, **kw: Any) -> Any:
        self.sight.tables[table] = None
        return super().visit_table(table, *args, **kw)  # type: ignore[misc]

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> Any:
        if column.table is not None and not column.is_literal:
            self.sight.columns.append(column)
        elif column.name == "*" and self._open:
            self._open[-1].shows_all = True
        else:
            self.sight.texts.append(column.name)
        return super().visit_column(column, *args, **kw)  # type: ignore[misc]

    def visit_function(self, func: Any, *args: Any, **kw: Any) -> Any:
        self.sight.functions[".".join((*func.packagenames, func.name)).lower()] = None
        if func.name.lower() == "count" and self._open and not self._open[-1].shows_all:
            text = super().visit_function(func, *args, **kw)  # type: ignore[misc]
            self._open[-1].shows_all = False  # count(*) shows none
            return text
        return super().visit_function(func, *args, **kw)  # type: ignore[misc]

    def visit_next_value_func(self, *args: Any, **kw: Any) -> Any:
        self.sight.functions["nextval"] = None
        return super().visit_next_value_func(*args, **kw)  # type: ignore[misc]

    def visit_tablesample(self, *args: Any, **kw: Any) -> Any:
        self.sight.functions["tablesample"] = None
        return super().visit_tablesample(*args, **kw)  # type: ignore[misc]

    def visit_textclause(self, textclause: Any, *args: Any, **kw: Any) -> Any:
        self.sight.texts.append(textclause.text)
        return super().visit_textclause(textclause, *args, **kw)  # type: ignore[misc]

    def visit_tstring(self, *args: Any, **kw: Any) -> Any:
        text = super().visit_tstring(*args, **kw)  # type: ignore[misc]
        self.sight.texts.append(text)
        return text


_watched: dict[Any, Any] = {}


def _with_eyes(compiler: Any) -> Any:
    """A dialect's compiler that sees; there are as many as there are dialects."""
    found = _watched.get(compiler)
    if found is None:
        found = _watched[compiler] = type(f"Watched{compiler.__name__}", (_Eyes, compiler), {})
    return found


def look(compiled: Any) -> Sight:
    """What is in the statement. Raises UnlikeError where it was not written as it was for the database."""
    watched = _with_eyes(type(compiled))(
        compiled.dialect,
        compiled.statement,
        cache_key=compiled.cache_key,
        column_keys=compiled.column_keys,
        for_executemany=compiled.for_executemany,
        schema_translate_map=compiled.schema_translate_map,
        render_schema_translate=False,
    )
    if watched.string != compiled.string or [*watched.bind_names.values()] != [*compiled.bind_names.values()]:
        raise UnlikeError(watched.string)
    sight: Sight = watched.sight
    sight.binds = watched.bind_names
    sight.state = getattr(watched, "compile_state", None)
    return sight
