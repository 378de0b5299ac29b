"""What a statement depends on: found once, for all the parameters that it will ever be sent with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Protocol

from sqlalchemy import Dialect, Table
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import Alias, TableClause

from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.integrations.sqlalchemy.names import is_binary
from rcache.integrations.sqlalchemy.reads.functions import KNOWN
from rcache.integrations.sqlalchemy.reads.keyed import keyed_parts
from rcache.integrations.sqlalchemy.reads.kinds import Kind, kind_of
from rcache.integrations.sqlalchemy.reads.probe import Block, Sight, look
from rcache.integrations.sqlalchemy.reads.scopes import Field, Scope, Values, alternatives, values
from rcache.integrations.sqlalchemy.reads.terms import Bound, Constant, Node, Reader
from rcache.integrations.sqlalchemy.reads.words import names_in, read_words

MOST_VALUES: Final = 200
"""Combinations of values that one alternative asks for; with more, columns are left out of it."""


class Known(Protocol):
    """What is known of the names in a statement."""

    def table(self, element: Any) -> Table | None:
        """The tracked table that an element of FROM names."""
        ...

    def tables(self) -> Iterable[Table]:
        """All that are tracked."""
        ...

    def tag(self, table: Table) -> str:
        """The table's name in tags."""
        ...

    def behind(self, name: str) -> tuple[str, ...] | None:
        """The names in tags of the tables that a view reads, or one that it was declared for; None where it was not."""
        ...

    def behind_function(self, name: str) -> tuple[str, ...] | None:
        """Likewise of a function: none where it reads nothing and gives the same each time."""
        ...

    def is_view(self, name: str) -> bool:
        """Whether the database calls it a view."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column and the values that it must have; `None` among them: NULL."""

    column: str
    kind: Kind | None
    sources: tuple[Bound | Constant, ...]

    def found(self, parameters: Mapping[str, object]) -> tuple[object, ...] | None:
        """The values of one of its sources, none where nothing can equal them; None where they have no name in tags."""
        chosen: tuple[object, ...] | None = None
        for source in self.sources:
            if isinstance(source, Constant):
                return (source.value,)
            if source.name not in parameters:
                continue
            given: Any = parameters[source.name]
            each = tuple([value for value in (given if source.is_list else (given,)) if value is not None])
            if not each:  # NULL equals nothing
                return ()
            if self.kind is not None and all(map(self.kind.has, each)) and (chosen is None or len(each) < len(chosen)):
                chosen = tuple(dict.fromkeys(each))
        return chosen


@dataclass(slots=True, eq=False)
class Asked:
    """What one part of FROM asks its table for.

    - `used`: the columns whose change is seen; None: all.
    - `choices`: the alternatives of values by which rows count; one without columns: every row.
    - `key`: the primary key's columns.
    - `is_keyed`: the tags of loaded rows are enough, where foreign keys are enforced.
    """

    name: str
    used: frozenset[str] | None
    choices: list[tuple[Wanted, ...]]
    key: tuple[str, ...]
    is_keyed: bool = False
    _schemes: dict[tuple[str, ...], Scheme] = field(default_factory=dict)

    def tell(self, reads: Reads, parameters: Mapping[str, object]) -> None:
        """Adds what it depends on with these parameters."""
        for choice in self.choices:
            columns, rows = _rows(choice, parameters)
            if not columns and self.used is None and rows:
                reads.table(self.name)
            elif self.used is None and self.key and set(self.key) <= set(columns):
                at = [columns.index(column) for column in self.key]
                for row in rows:
                    reads.row(self.name, tuple([row[index] for index in at]))
            else:
                scheme = self._scheme(columns)
                for row in rows:
                    reads.rows(scheme, dict(zip(columns, row, strict=True)))

    def _scheme(self, columns: tuple[str, ...]) -> Scheme:
        found = self._schemes.get(columns)
        if found is None:
            found = self._schemes[columns] = Scheme(self.name, columns, self.used)
        return found


def _rows(
    choice: tuple[Wanted, ...], parameters: Mapping[str, object]
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The columns that can be told, and the combinations of values; no combination where nothing can match."""
    columns, lists = [], []
    for wanted in choice:
        found = wanted.found(parameters)
        if found is None:
            continue
        if not found:
            return (), []
        columns.append(wanted.column)
        lists.append(found)
    count = 1
    for each in lists:
        count *= len(each)
    while count > MOST_VALUES:
        longest = max(range(len(lists)), key=lambda index: len(lists[index]))
        count //= len(lists[longest])
        del columns[longest], lists[longest]
    return tuple(columns), list(product(*lists))


@dataclass(slots=True, eq=False)
class Plan:
    """One statement's: what it asks, the whole tables that it reads besides, and why what it reads cannot be followed."""

    asked: list[Asked] = field(default_factory=list)
    tables: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def needs_foreign_keys(self) -> bool:
        """Whether it matters that the database enforces them."""
        return any(asked.is_keyed for asked in self.asked)

    def tell(self, reads: Reads, parameters: Mapping[str, object], *, is_enforced: bool) -> None:
        """Adds what the statement depends on with these parameters."""
        for asked in self.asked:
            if not (asked.is_keyed and is_enforced):
                asked.tell(reads, parameters)
        for name in self.tables:
            reads.table(name)
        for reason in self.refusals:
            reads.refuse(reason)


def plan_of_words(text: str, known: Known) -> Plan:
    """By the words of a text alone: every table that it names."""
    return _Texts(known).plan([text])


def plan_of(compiled: Any, known: Known) -> Plan:
    """By what is seen in it. Raises whatever it raises where SQLAlchemy is not as it was."""
    return _Planning(look(compiled), known, compiled.dialect).plan()


class _Texts:
    """What texts tell."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.tables: dict[str, None] = {}
        self.refusals: dict[str, None] = {}

    def plan(self, texts: Iterable[str]) -> Plan:
        """Of whole statements."""
        for text in texts:
            self.read(text)
        return Plan([], tuple(self.tables), tuple(self.refusals))

    def read(self, text: str, *, is_part: bool = False) -> None:
        """One more text."""
        words = read_words(text, is_part=is_part)
        if words.is_silent:
            return
        if not words.is_query:
            first = (text.split(maxsplit=1) or [""])[0]
            self.refusals[f"SQL that is no query: {first.upper()[:20]}"] = None
            return
        tracked = {table.name.lower() for table in self._known.tables()}
        for table in self._known.tables():
            if names_in(words.words, text, table.name):
                self.name(table)
        for source in sorted(words.sources - tracked):
            self.view(source)
        for function in sorted(words.functions):
            self.function(function)

    def name(self, table: Table) -> None:
        """A tracked table, or a view that was declared as one."""
        behind = self._known.behind(table.name)
        if behind is not None:
            self.tables.update(dict.fromkeys(behind))
        elif self._known.is_view(table.name):
            self.refusals[f"view {table.name}"] = None
        else:
            self.tables[self._known.tag(table)] = None

    def view(self, name: str) -> None:
        """What is no tracked table."""
        behind = self._known.behind(name)
        if behind is None:
            self.refusals[f"untracked table {name}"] = None
        else:
            self.tables.update(dict.fromkeys(behind))

    def function(self, name: str) -> None:
        """What is called."""
        behind = self._known.behind_function(name)
        if behind is not None:
            self.tables.update(dict.fromkeys(behind))
        elif name not in KNOWN:
            self.refusals[f"function {name}"] = None


class _Planning:
    """Makes the plan of one statement."""

    def __init__(self, sight: Sight, known: Known, dialect: Dialect) -> None:
        self._sight = sight
        self._known = known
        self._dialect = dialect
        self._texts = _Texts(known)
        self._reader = Reader(self._node, self._bind, lambda given: kind_of(given, dialect))
        self._used: dict[Any, set[str]] = {}
        self._seen_whole: set[Any] = set()
        self._asked: list[Asked] = []
        self._covered: set[str] = set()

    def plan(self) -> Plan:
        """All that was seen, put together."""
        sight = self._sight
        for name in sight.opaque:
            self._texts.function(name)
        for name in sight.functions:
            self._texts.function(name)
        for text in sight.texts:
            if not _is_literal(text):
                self._texts.read(text, is_part=bool(sight.blocks))
        for column in sight.columns:
            self._note_used(column)
        for block in sight.blocks:
            self._block(block)
        self._rest()
        return Plan(self._merged(), tuple(self._texts.tables), tuple(self._texts.refusals))

    # Names

    def _table(self, part: Any) -> Table | None:
        """The tracked table that a part of FROM is, under whatever alias; no view."""
        while isinstance(part, Alias):
            part = part.element
        if not isinstance(part, TableClause):
            return None
        table = self._known.table(part)
        return None if table is None or self._is_view(table) else table

    def _is_view(self, table: Table) -> bool:
        return self._known.behind(table.name) is not None or self._known.is_view(table.name)

    def _node(self, column: Any) -> Node | None:
        if not isinstance(column, ColumnClause) or column.table is None or column.is_literal:
            return None
        source, key = column.table, str(column.key)
        table = self._table(source)
        if table is None:
            return Node(source, key, kind_of(column.type, self._dialect))
        if key not in table.columns:
            return None
        return Node(source, key, kind_of(table.columns[key].type, self._dialect))

    def _bind(self, bind: Any) -> str | None:
        return self._sight.binds.get(bind)

    # Columns

    def _note_used(self, column: Any) -> None:
        table = self._table(column.table)
        if table is not None:
            if column.key not in table.columns or is_binary(table.columns[column.key].type):
                self._seen_whole.add(column.table)  # no change of what is never imaged is told
            self._used.setdefault(column.table, set()).add(column.key)

    def _used_of(self, part: Any, table: Table) -> frozenset[str] | None:
        if part in self._seen_whole or any(not _is_literal(text) for text in self._sight.texts):
            return None
        used = frozenset(self._used.get(part, ()))
        return None if len(used) >= len(table.columns) else used

    # FROM

    def _block(self, block: Block) -> None:
        """One SELECT."""
        field = Field(Scope())
        for each in block.froms:
            field.add(each, field.root)
        field.root.conditions += block.select._where_criteria
        tables = {part: table for part in field.parts if (table := self._table(part)) is not None}
        if block.shows_all and not block.is_exists:
            self._seen_whole.update(tables)
        keyed = keyed_parts(self._sight, block, field, tables, self._is_view) if len(tables) > 1 else set()
        known: dict[int, Any] = {}
        for part, table in tables.items():
            scope = field.parts[part]
            if id(scope) not in known:
                known[id(scope)] = alternatives(scope, self._reader)
            found = [values(alternative, part) for alternative in known[id(scope)]]
            choices = list(dict.fromkeys(_choice(each, table, self._dialect) for each in found))
            if () in choices:
                choices = [()]
            key = tuple(column.key for column in table.primary_key.columns)
            used = self._used_of(part, table)
            self._asked.append(Asked(self._known.tag(table), used, choices, key, is_keyed=part in keyed))
            self._covered.add(table.key)

    def _rest(self) -> None:
        """What was written, but stands in no FROM that was understood."""
        for element in self._sight.tables:
            table = self._known.table(element)
            if table is None:
                self._texts.view(str(element.name))
            elif table.key not in self._covered:
                self._texts.name(table)

    def _merged(self) -> list[Asked]:
        """Without what the whole table, read besides, tells anyway."""
        return [asked for asked in self._asked if asked.name not in self._texts.tables]


def _choice(found: tuple[Values, frozenset[str]], table: Table, dialect: Dialect) -> tuple[Wanted, ...]:
    fixed, empty = found
    chosen = [Wanted(column, kind_of(table.columns[column].type, dialect), each) for column, each in fixed.items()]
    # A writer cannot tell the values of other kinds, and would have to flush whatever was asked by such a column.
    kinds = {column: kind_of(table.columns[column].type, dialect) for column in empty}
    chosen += [Wanted(column, None, (Constant(None),)) for column, kind in kinds.items() if kind is not None]
    return tuple(sorted(chosen, key=lambda wanted: wanted.column))


def _is_literal(text: str) -> bool:
    """A number, or a text in quotes without another in it: it names nothing."""
    return text.strip().isdigit() or (len(text) > 1 and text[0] == text[-1] == "'" and "'" not in text[1:-1])
