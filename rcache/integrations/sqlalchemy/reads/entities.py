"""Rows that were loaded as objects: each adds its own tag, for each table that it has a part in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakMethod

from sqlalchemy import Table, event
from sqlalchemy.orm import Mapper

from rcache.core.reads import Reads
from rcache.current import gathering

Finder = Callable[[Table], str | None]
"""The name in tags of a table that is tracked."""


class Part(NamedTuple):
    """A table that objects of a class have a part in.

    - `name`: its name in tags.
    - `attributes`: those that hold its primary key; None where that is the object's identity, and of one column.
    """

    name: str
    attributes: tuple[str, ...] | None


class Entities:
    """Follows what sessions load, for every engine that is tracked."""

    def __init__(self) -> None:
        self._finders: list[WeakMethod[Finder]] = []  # an engine that nobody holds any more goes, though it was tracked
        self._parts: dict[Any, tuple[Part, ...]] = {}
        self._prefixes: dict[Any, str] = {}
        """What stands before the key in the tag of an object's only row."""

    def add(self, finder: Finder) -> None:
        """Tables that it knows count from here on."""
        if not self._finders:
            event.listen(Mapper, "load", self._on_load, raw=True)
            event.listen(Mapper, "refresh", self._on_refresh, raw=True)
        self._finders = [*[each for each in self._finders if each() is not None], WeakMethod(finder)]
        self.forget()

    def remove(self, finder: Finder) -> None:
        """They count no more."""
        self._finders.remove(WeakMethod(finder))
        self.forget()
        if not self._finders:
            event.remove(Mapper, "load", self._on_load)
            event.remove(Mapper, "refresh", self._on_refresh)

    def forget(self) -> None:
        """What tables are called may have changed."""
        self._parts, self._prefixes = {}, {}

    def _on_load(self, state: Any, context: Any) -> None:
        reads = gathering.get()
        if reads is None:
            return
        prefix = self._prefixes.get(state.manager.class_)
        if prefix is not None and type(key := state.key[1][0]) is int:  # nearly always, and a legal tag without a look
            reads.add(f"{prefix}{key}")
        else:
            self._note(reads, state)

    def _on_refresh(self, state: Any, context: Any, names: Any) -> None:
        self._on_load(state, context)

    def _note(self, reads: Reads, state: Any) -> None:
        kind = state.manager.class_
        parts = self._parts.get(kind)
        if parts is None:
            parts = self._parts[kind] = self._parts_of(state.mapper)
            if len(parts) == 1 and parts[0].attributes is None:
                self._prefixes[kind] = f"{parts[0].name}:"
        for name, attributes in parts:
            values = state.key[1] if attributes is None else tuple([state.dict.get(each) for each in attributes])
            if None in values:
                reads.table(name)
            else:
                reads.row(name, values)

    def _parts_of(self, mapper: Mapper[Any]) -> tuple[Part, ...]:
        """The tables of a class, and the attributes that hold their primary keys."""
        found = []
        for table in mapper.tables:
            if not isinstance(table, Table):
                continue
            finders = [finder for each in self._finders if (finder := each()) is not None]
            name = next((name for finder in finders if (name := finder(table)) is not None), None)
            if name is not None:
                found.append(Part(name, _attributes(mapper, table)))
        return tuple(found)


def _attributes(mapper: Mapper[Any], table: Table) -> tuple[str, ...] | None:
    columns = list(table.primary_key.columns)
    if not all(column in mapper._columntoproperty for column in columns):
        return ("",)  # which no object has: its whole table, then
    keys = [mapper.get_property_by_column(column).key for column in columns]
    identity = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    return None if keys == identity and len(keys) == 1 else tuple(keys)


entities = Entities()
"""The process's own: mappers belong to no engine."""
