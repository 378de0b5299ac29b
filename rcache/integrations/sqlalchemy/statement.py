"""One INSERT, UPDATE or DELETE of a tracked table: imaged before and after, so that its changes are told row by row.

What cannot be told so is a change of the whole table, with a reason that is counted and logged once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import CursorResult, Delete, Dialect, ForeignKeyConstraint, Insert, Table, Update

from rcache.core.changes import Change
from rcache.integrations.sqlalchemy.criteria import is_loose
from rcache.integrations.sqlalchemy.images import (
    MOST_ROWS,
    Images,
    Row,
    Rows,
    TooManyRowsError,
    following,
    is_whole,
    keys_in,
    referring,
)
from rcache.integrations.sqlalchemy.results import changed_rows, given_values, inserted_keys, peek, returned_keys

Parameters = Sequence[Mapping[str, Any]]
Write = Insert | Update | Delete
Recalled = Callable[[Table, tuple[object, ...]], Row | None]
"""What a session remembers of a row, where that is trusted."""

KEY_CHANGED: Final = "a primary key changed"


class Vague(NamedTuple):
    """A change of a whole table, and why it is not told row by row."""

    table: Table
    reason: str


class Written(NamedTuple):
    """What a statement has changed."""

    changes: list[Change]
    vague: list[Vague]


class Statement:
    """A statement about to run."""

    def __init__(
        self, element: Write, table: Table, tables: Sequence[Table], parameters: Parameters, recalled: Recalled | None
    ) -> None:
        """`tables`: all that are tracked with it. `recalled`: where old values come from in place of the database."""
        self.element = element
        self.table = table
        self._tables = tables
        self._parameters = parameters
        self._recalled = recalled
        self._reason = _too_vague(element, table)
        self._before: Rows = {}
        self._keys: list[tuple[object, ...]] | None = None
        self._changes: list[Change] = []  # by the database's own doing
        self._vague: list[Vague] = []
        self._is_recalled = False
        self._is_loose = False
        self._cascades = isinstance(element, Delete)

    @property
    def is_partial_when_it_fails(self) -> bool:
        """Whether some of its rows may stay changed where it raises."""
        return len(self._parameters) > 1

    def reach(self) -> list[Change]:
        """Whatever it may change, before that is known."""
        along = dependents if isinstance(self.element, Delete) else self._along
        return [Change(table.key, None) for table in (self.table, *along(self._tables, self.table))]

    def _along(self, tables: Sequence[Table], table: Table) -> list[Table]:
        """What the database may change along with unknown rows of the table, which are not deleted but by INSERT OR REPLACE."""
        found = keepers(tables, table) if self._may_change_keys() else []
        return found + (
            dependents(tables, table) if isinstance(self.element, Insert) and self.element._prefixes else []
        )

    def _may_change_keys(self) -> bool:
        """Whether it sets a column that other rows refer to."""
        if isinstance(self.element, Insert):
            return self.element._post_values_clause is not None or bool(self.element._prefixes)
        if isinstance(self.element, Delete) or self._reason == KEY_CHANGED:
            return self._reason == KEY_CHANGED
        values = [
            *(self.element._values or ()),
            *(pair[0] for pair in getattr(self.element, "_ordered_values", ()) or ()),
        ]
        named = {getattr(column, "key", column) for column in values}.union(*self._parameters)
        return bool(named & {each.column.key for one in following(self._tables, self.table) for each in one.elements})

    def named(self, name: str) -> Table:
        """The table of one of its changes."""
        return next(table for table in self._tables if table.key == name)

    def give_up(self, reason: str) -> None:
        """Its rows are not imaged: what is read now may have changed when it runs. An INSERT has no rows before it."""
        if not isinstance(self.element, Insert) and self._reason is None:
            self._reason = reason

    # Before

    def prepare(self, images: Images) -> None:
        """Reads and locks the rows that it is about to change, and those that the database changes along with them."""
        element = self.element
        if self._reason is None and not isinstance(element, Insert):
            try:
                self._before = self._matching(element, images)
            except TooManyRowsError:
                self._reason = f"more than {MOST_ROWS} rows"
        if isinstance(element, Delete) and referring(self._tables, self.table):
            self._cascades = images.cascades()
            if self._cascades and self._reason is None:
                self._cascade(images, self.table, list(self._before.values()))

    def _matching(self, element: Update | Delete, images: Images) -> Rows:
        criteria = list(element._where_criteria)
        subject = element._propagate_attrs.get("plugin_subject")
        single = getattr(subject, "_single_table_criterion", None)
        if single is not None:  # added when the statement is compiled: rows of the other classes stay
            criteria.append(single)
        self._keys = keys_in(self.table, criteria, self._parameters)
        self._is_loose = self._keys is None and is_loose(criteria, self.table, locks_joined=images.locks_joined)
        is_delete = isinstance(element, Delete)
        if self._keys is not None:
            if (recalled := self._recall(self._keys)) is not None:
                return recalled
            if len(self._keys) > 1:
                return images.by_key(self.table, self._keys, lock="row" if is_delete else "values")
        if len(self._parameters) <= 1:
            parameters = self._parameters[0] if self._parameters else {}
            return images.matching(self.table, criteria, parameters, is_delete=is_delete)
        rows: Rows = {}
        for parameters in self._parameters:
            rows |= images.matching(self.table, criteria, parameters, is_delete=is_delete)
            if len(rows) > MOST_ROWS:
                raise TooManyRowsError
        return rows

    def _recall(self, keys: Sequence[tuple[object, ...]]) -> Rows | None:
        """What a session remembers of all these rows; None where it does not of one of them."""
        if self._recalled is None or getattr(self.element, "_ordered_values", None):
            return None  # a unit of work orders nothing
        if len(keys) > MOST_ROWS:
            raise TooManyRowsError
        rows: Rows = {}
        for key in keys:
            row = self._recalled(self.table, key)
            if row is None:
                return None
            rows[key] = row
        self._is_recalled = True
        return rows

    # The database's own doing

    def _cascade(self, images: Images, table: Table, rows: Sequence[Row]) -> None:
        """What a deletion of these rows deletes or nulls."""
        for constraint in referring(self._tables, table):
            child = constraint.table
            assert isinstance(child, Table)  # noqa: S101 (it is one of the tracked)
            columns = [element.parent for element in constraint.elements]
            referred = [element.column.key for element in constraint.elements]
            if not child.primary_key.columns or any(name not in row for row in rows for name in referred):
                self._give_up(child, "no primary key" if not child.primary_key.columns else "unknown values")
                continue
            values = [tuple([row[name] for name in referred]) for row in rows]
            try:
                found = images.by_values(child, columns, values, lock="row")
            except TooManyRowsError:
                self._give_up(child, f"more than {MOST_ROWS} rows")
                continue
            self._follow(images, constraint, child, found)

    def _follow(self, images: Images, constraint: ForeignKeyConstraint, child: Table, found: Rows) -> None:
        known = {change.pk for change in self._changes if change.table == child.key}
        if child is self.table:
            known |= self._before.keys()
        fresh = {key: row for key, row in found.items() if key not in known}
        if (constraint.ondelete or "").upper() == "CASCADE":
            self._changes += [Change(child.key, key, "delete", row, None) for key, row in fresh.items()]
            if fresh:
                self._cascade(images, child, list(fresh.values()))
            return
        columns = frozenset(element.parent.key for element in constraint.elements)
        nulls: dict[str, object] = dict.fromkeys(columns)
        for key, row in fresh.items():
            # A default is the database's own, so it is unknown here.
            is_null = (constraint.ondelete or "").upper() == "SET NULL"
            new = {**row, **nulls} if is_null else {name: row[name] for name in row if name not in columns}
            self._changes.append(Change(child.key, key, "update", row, new, columns))

    def _give_up(self, table: Table, reason: str) -> None:
        self._vague += [Vague(each, reason) for each in (table, *dependents(self._tables, table))]

    # After

    def written(self, images: Images, result: CursorResult[Any]) -> Written:
        """What it has changed. Raises what the database raises."""
        changes: list[Change] = []
        returned = peek(result)  # some drivers count when the last row is fetched
        count = len(returned) if returned is not None else changed_rows(result)
        if self._reason is None:
            try:
                changes = self._told(images, result, returned, count)
            except TooManyRowsError:
                self._reason = f"more than {MOST_ROWS} rows"
        if self._reason is not None and count != 0:
            along = self._along(self._tables, self.table)
            if self._cascades:  # with rows that nobody has imaged
                along += dependents(self._tables, self.table)
            self._vague += [Vague(each, self._reason) for each in dict.fromkeys((self.table, *along))]
            changes = []
        elif self._reason is not None:
            return Written([], [])
        changes += self._changes + [Change(vague.table.key, None) for vague in self._vague]
        return Written(changes, self._vague)

    def _told(
        self, images: Images, result: CursorResult[Any], returned: Sequence[Any] | None, count: int
    ) -> list[Change]:
        if isinstance(self.element, Insert):
            return self._inserted(images, result, returned)
        if count == 0:
            return []
        if not self._is_imaged(count):
            self._reason = "another number of rows than imaged"
            return []
        if self._is_loose and returned_keys(self.table, result, returned) != self._before.keys():
            self._reason = "a WHERE that other rows decide"
            return []
        if isinstance(self.element, Delete):
            return [Change(self.table.key, key, "delete", row, None) for key, row in self._before.items()]
        return self._updated(images)

    def _is_imaged(self, count: int) -> bool:
        """Whether the rows that were imaged are those that it has changed: they are locked, so no other number of them is."""
        if self._keys is None:
            return count == len(self._before)
        if count < 0 and isinstance(self.element, Delete):
            return all(key in self._before for key in self._keys)
        return count < 0 or count == sum(key in self._before for key in self._keys)

    def _updated(self, images: Images) -> list[Change]:
        before = self._before
        if self._is_recalled:
            after = self._expected(before)
        else:
            after = images.by_key(self.table, self._keys if self._keys is not None else before)
        if after.keys() != before.keys():
            self._reason = KEY_CHANGED
            return []
        changes = []
        for key, old in before.items():
            new = after[key]
            changed = _changed(old, new)
            if changed or not is_whole(self.table):
                changes.append(Change(self.table.key, key, "update", old, new, changed or None))
            if any(each.column.key in changed for one in following(self._tables, self.table) for each in one.elements):
                self._vague += [Vague(each, "a referenced key changed") for each in keepers(self._tables, self.table)]
        return changes

    def _expected(self, before: Rows) -> Rows:
        """What the rows are after an update, as its parameters say."""
        after: Rows = {}
        for (key, row), given in zip(before.items(), self._parameters, strict=False):
            written = {name: given[name] for name in given if name in self.table.columns}
            computed = {getattr(column, "key", None) for column in (self.element._values or {})}  # type: ignore[union-attr]
            by_itself = {column.key for column in self.table.columns if column.onupdate or column.server_onupdate}
            unknown = (computed | by_itself) - written.keys()
            after[key] = {name: value for name, value in {**row, **written}.items() if name not in unknown}
        return after

    def _inserted(self, images: Images, result: CursorResult[Any], returned: Sequence[Any] | None) -> list[Change]:
        keys = inserted_keys(self.table, result, returned)
        if keys is None:
            self._reason = "keys that the database made"
            return []
        if len(keys) > MOST_ROWS:
            raise TooManyRowsError
        if self._recalled is not None:
            values = [given_values(self.table, each) for each in result.context.compiled_parameters]
            rows = dict(zip(keys, values, strict=True)) if len(values) == len(keys) else {}
        else:
            rows = images.by_key(self.table, keys)
        return [Change(self.table.key, key, "insert", None, rows.get(key)) for key in keys]


def dependents(tables: Sequence[Table], table: Table) -> list[Table]:
    """The tables that the database may change along when unknown rows of this one go, and so on."""
    return _reached(referring, tables, table)


def keepers(tables: Sequence[Table], table: Table) -> list[Table]:
    """The tables that keep a key of this one, which the database changes along with it, and so on."""
    return _reached(following, tables, table)


def _reached(
    acting: Callable[[Sequence[Table], Table], list[ForeignKeyConstraint]], tables: Sequence[Table], table: Table
) -> list[Table]:
    found: dict[str, Table] = {}
    todo = [table]
    while todo:
        for constraint in acting(tables, todo.pop()):
            child = constraint.table
            if isinstance(child, Table) and child.key not in found and child is not table:
                found[child.key] = child
                todo.append(child)
    return list(found.values())


def _too_vague(element: Write, table: Table) -> str | None:
    """Why it is not told row by row, whatever rows there are."""
    if not table.primary_key.columns:
        return "no primary key"
    if isinstance(element, Insert):
        if element.select is not None:
            return "INSERT ... SELECT"
        if element._post_values_clause is not None or element._prefixes:
            return "an upsert"
    elif element._prefixes:
        return "a prefix"
    return None


def _changed(old: Row, new: Row) -> frozenset[str]:
    """The columns that differ; one whose values cannot be compared counts."""
    found = set()
    for name in old.keys() | new.keys():
        try:
            if name not in old or name not in new or not _is_same(old[name], new[name]):
                found.add(name)
        except Exception:  # a type of the application's own
            found.add(name)
    return frozenset(found)


def _is_same(one: Any, other: Any) -> bool:
    """Whether nobody who is shown them could tell one from the other: 1, 1.0 and True are equal within JSON, and look different."""
    if type(one) is not type(other) or bool(one != other):
        return False
    return isinstance(one, (str, int, bytes)) or repr(one) == repr(other)


def keyed(element: Insert, table: Table, parameters: Parameters, dialect: Dialect) -> Insert:
    """The same INSERT of several rows, which lets the keys be known that the database makes; whoever sent it sees no more."""
    if not 1 < len(parameters) <= MOST_ROWS or not dialect.insert_executemany_returning or _too_vague(element, table):
        return element
    made = [
        column
        for column in table.primary_key.columns
        if column.key not in parameters[0] and column.name not in parameters[0] and column.default is None
    ]
    if not made or element._returning or element._return_defaults:
        return element
    return element.return_defaults(*table.primary_key.columns)
