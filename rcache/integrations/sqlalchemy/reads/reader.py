"""The hook of one engine: while somebody gathers, what each statement depends on is added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, inspect
from sqlalchemy.exc import SQLAlchemyError

from rcache import logs
from rcache.current import gathering
from rcache.engine.reading import note_write
from rcache.integrations.sqlalchemy.images import OWN
from rcache.integrations.sqlalchemy.names import mappings_version
from rcache.integrations.sqlalchemy.reads.drivers import Drivers
from rcache.integrations.sqlalchemy.reads.entities import entities
from rcache.integrations.sqlalchemy.reads.plan import Plan, plan_of, plan_of_words
from rcache.integrations.sqlalchemy.reads.sessions import look, sessions
from rcache.integrations.sqlalchemy.reads.trial import is_familiar
from rcache.integrations.sqlalchemy.target import Target

MOST_TEXTS: Final = 1000
"""Texts whose plans are kept."""


class Reader:
    """Follows the reads of one engine. `find`: the tracked table that an element names, and whom it concerns."""

    def __init__(
        self, engine: Engine, find: Callable[[Any], tuple[Table, Target] | None], targets: list[Target]
    ) -> None:
        self._dialect = engine.dialect
        self._find = find
        self._targets = targets
        self._plans: WeakKeyDictionary[Any, Plan] = WeakKeyDictionary()
        self._texts: dict[str, Plan] = {}
        self._version = -1
        self._views: frozenset[str] | None = None
        self._is_enforced: bool | None = None
        self._is_familiar = is_familiar(engine.dialect)
        self._drivers = Drivers(engine, engine.pool)

    def install(self) -> None:
        """Objects that are loaded are noted, and whose session does it."""
        entities.add(self._name)
        sessions.add()
        self._drivers.install()

    def uninstall(self) -> None:
        """No more."""
        entities.remove(self._name)
        sessions.remove()
        self._drivers.uninstall()

    def forget(self) -> None:
        """What is asked of the engine, or what there is in the database, has changed."""
        self._plans.clear()
        self._texts.clear()
        self._views = None
        entities.forget()

    # The hook

    def before_cursor_execute(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        """Adds what the statement reads to what is being gathered."""
        reads = gathering.get()
        if reads is None or context.execution_options.get(OWN):
            return
        if context.isinsert or context.isupdate or context.isdelete or context.isddl:
            note_write()
            return
        look(connection, reads)
        token = gathering.set(None)  # what is asked here is asked for ourselves
        try:
            plan = self._plan(connection, sql, context)
            is_enforced = plan.needs_foreign_keys and self._enforces(connection)
            told = reads.query(sql)
            several: Sequence[Mapping[str, Any]] = context.compiled_parameters or ({},)
            for given in several:
                plan.tell(told, _listed(context, given), is_enforced=is_enforced)
        finally:
            gathering.reset(token)

    def _plan(self, connection: Connection, sql: str, context: Any) -> Plan:
        if self._version != mappings_version():
            self._version = mappings_version()
            self.forget()
        if self._views is None:
            self._views = self._ask_views(connection)
            if self._views is None:
                return Plan(refusals=("views: the database does not tell them",))
        compiled = context.compiled
        if compiled is None or not self._is_familiar:
            return self._by_words(sql)
        plan = self._plans.get(compiled)
        if plan is None:
            plan = self._plans[compiled] = self._make(compiled, sql)
        return plan

    def _make(self, compiled: Any, sql: str) -> Plan:
        try:
            return plan_of(compiled, self)
        except Exception as problem:
            logs.BY_WORDS.tell(error=repr(problem), statement=sql)
            return plan_of_words(sql, self)

    def _by_words(self, sql: str) -> Plan:
        plan = self._texts.get(sql)
        if plan is None:
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            plan = self._texts[sql] = plan_of_words(sql, self)
        return plan

    # What the database says

    def _ask_views(self, connection: Connection) -> frozenset[str] | None:
        try:
            return self._named_views(connection)
        except SQLAlchemyError:
            logs.VIEWS_UNKNOWN.tell(exc_info=True)
            return None

    def _named_views(self, connection: Connection) -> frozenset[str]:
        found: set[str] = set()
        schemas = {table.schema for table in self.tables()}
        inspector = inspect(connection)
        for schema in schemas or {None}:
            for ask in (inspector.get_view_names, inspector.get_materialized_view_names):
                try:
                    found.update(ask(schema=schema))
                except NotImplementedError:  # a dialect that knows no views of this kind
                    continue
        return frozenset(name.lower() for name in found)

    def _enforces(self, connection: Connection) -> bool:
        if self._is_enforced is None:
            if self._dialect.name == "sqlite":
                asked = connection.exec_driver_sql("PRAGMA foreign_keys", execution_options={OWN: True})
                self._is_enforced = bool(asked.scalar())
            else:
                self._is_enforced = self._dialect.name == "postgresql"
        return self._is_enforced

    # What is known of names

    def table(self, element: Any) -> Table | None:
        """The tracked table that an element of FROM names."""
        found = self._find(element)
        return None if found is None else found[0]

    def tables(self) -> Iterable[Table]:
        """All that are tracked."""
        return [table for target in self._targets for table in target.names.tables()]

    def tag(self, table: Table) -> str:
        """The table's name in tags."""
        name = self._name(table)
        return table.name if name is None else name

    def _name(self, table: Table) -> str | None:
        for target in self._targets:
            if target.names.find(table.name, table.schema) is table:
                return target.names.tag(table)
        return None

    def behind(self, name: str) -> tuple[str, ...] | None:
        """The names in tags of the tables that a view reads; None where nobody has said so."""
        for target in self._targets:
            declared = target.views.get(name.lower())
            for table in target.names.tables():
                if declared is None and table.name.lower() == name.lower():
                    declared = target.names.behind(table)
            if declared is not None:
                return self._tags(declared, seen={name.lower()})
        return None

    def behind_function(self, name: str) -> tuple[str, ...] | None:
        """Likewise of a function: none where it reads nothing and gives the same each time."""
        for target in self._targets:
            declared = target.functions.get(name.lower())
            if declared is not None:
                return self._tags(declared, seen=set())
        return None

    def _tags(self, names: Iterable[str], seen: set[str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in names:
            behind = self.behind(name) if name.lower() not in seen else None
            if behind is not None:
                found.update(dict.fromkeys(behind))
                continue
            tables = [table for table in self.tables() if name in (table.name, table.key)]
            found.update(dict.fromkeys([self.tag(table) for table in tables] or [name]))
        return tuple(found)

    def is_view(self, name: str) -> bool:
        """Whether the database calls it a view."""
        return self._views is not None and name.lower() in self._views


def _listed(context: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, with those of each list put together again: they are sent one by one."""
    expanded = getattr(context, "_expanded_parameters", None)
    if not expanded:
        return parameters
    lists = {name: [parameters[each] for each in names] for name, names in expanded.items() if _has(parameters, names)}
    return {**parameters, **lists}


def _has(parameters: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(name in parameters for name in names)
