"""Follows one engine: what its connections change, when they commit, and how that ends.

The events of sessions and mappers miss bulk forms, Core, association tables and driver SQL, and `after_commit` fires on RELEASE
SAVEPOINT too. So the engine's own events are used, and the dialect's `do_commit`, through which every COMMIT passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, CursorResult, Engine, Insert, Table, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.sql.visitors import iterate

from rcache import logs
from rcache.cache import Cache
from rcache.core.changes import Change
from rcache.integrations.sqlalchemy.criteria import certain
from rcache.integrations.sqlalchemy.endings import KEY, RUNNING, WRAPPED, Endings
from rcache.integrations.sqlalchemy.images import OWN, Images
from rcache.integrations.sqlalchemy.memory import Memory
from rcache.integrations.sqlalchemy.pending import Pending
from rcache.integrations.sqlalchemy.reads.reader import Reader
from rcache.integrations.sqlalchemy.sql import read
from rcache.integrations.sqlalchemy.statement import Statement, Vague, Written, dependents, keepers, keyed
from rcache.integrations.sqlalchemy.states import begin_writing, commits_by_itself, in_transaction
from rcache.integrations.sqlalchemy.target import Joiner, Target
from rcache.integrations.sqlalchemy.telling import tell

FOLLOWED: Final = "_rcache_followed"
"""Where a dialect keeps who follows its engine: both go together."""

_DML: Final = frozenset(("insert", "update", "delete"))
_TEXTS: Final = frozenset(("textclause", "textual_select"))
_OPENING: Final = frozenset(("insert", "update", "delete", "replace"))

_LOSSES: Final = ("invalidate", "close")

MOST_TOLD: Final = 1000
"""Statements that are named in the log, each once."""


class Followed(Endings):
    """One engine, with everything that was asked of it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._pool = engine.pool  # one that takes its place takes its listeners along
        self.table_level: dict[str, int] = {}
        """How often a statement could only be told as a change of its whole table, by reason."""
        self._told: set[str] = set()
        self._memory: Memory | None = None
        self._reader = Reader(engine, self.find, self.targets)
        self._listeners: list[tuple[str, Callable[..., Any], bool]] = [
            ("before_execute", self._before_execute, True),
            ("after_execute", self._after_execute, False),
            ("before_cursor_execute", self._before_cursor_execute, False),
            ("before_cursor_execute", self._reader.before_cursor_execute, False),
            ("after_cursor_execute", self._after_cursor_execute, False),
            ("handle_error", self._on_error, False),
            ("commit", self._on_commit, False),
            ("prepare_twophase", self._on_twophase, False),
            ("commit_twophase", self._on_twophase, False),
            ("rollback_savepoint", self._on_savepoint_rollback, False),
            ("release_savepoint", self._on_savepoint_release, False),
        ]
        self._install()

    # Coming and going

    def add(self, target: Target) -> None:
        """From here on changes go there too."""
        target.joiner = Joiner(self, target)
        self.targets.append(target)
        target.cache.changes.tables.append(target.names)
        target.cache.changes.transactions.append(target.joiner)
        self._choose_images()
        self._reader.forget()

    def drop(self, target: Target) -> None:
        """Changes go there no more; where they go nowhere, the engine is as it was before."""
        if target in self.targets:
            self.targets.remove(target)
            target.cache.changes.tables.remove(target.names)
            target.cache.changes.transactions.remove(target.joiner)
            self._choose_images()
            self._reader.forget()
            if not self.targets:
                self._uninstall()

    def _install(self) -> None:
        for name, listener, replaces in self._listeners:
            event.listen(self.engine, name, listener, **({"retval": True} if replaces else {}))
        for name in _LOSSES:
            event.listen(self._pool, name, self._on_lost)
        dialect: Any = self.engine.dialect
        for name in WRAPPED:
            setattr(dialect, name, getattr(self, f"_{name}"))
        setattr(dialect, FOLLOWED, self)
        self._reader.install()

    def _uninstall(self) -> None:
        self._reader.uninstall()
        for name, listener, _ in self._listeners:
            event.remove(self.engine, name, listener)
        for name in _LOSSES:
            event.remove(self._pool, name, self._on_lost)
        for name in (*WRAPPED, FOLLOWED):
            vars(self.engine.dialect).pop(name, None)

    def _choose_images(self) -> None:
        """Sessions' memories are kept where one of those who asked trusts them."""
        is_wanted = any(not target.is_strict for target in self.targets)
        if is_wanted and self._memory is None:
            self._memory = Memory()
        elif not is_wanted and self._memory is not None:
            self._memory.remove()
            self._memory = None

    # Questions

    def _withholding(self) -> list[Cache]:
        return list({id(each.cache): each.cache for each in self.targets if each.is_uncommitted}.values())

    def find(self, table: Any) -> tuple[Table, Target] | None:
        """The tracked table that a statement names, and whom it concerns first."""
        name, schema = getattr(table, "name", None), getattr(table, "schema", None)
        if isinstance(name, str):
            for target in self.targets:
                found = target.names.find(name, schema)
                if found is not None:
                    return found, target
        return None

    def _tables(self) -> list[Table]:
        return [table for target in self.targets for table in target.names.tables()]

    # Statements that SQLAlchemy knows the meaning of

    def _before_execute(
        self, connection: Connection, element: Any, several: Any, single: Any, options: Mapping[str, Any]
    ) -> tuple[Any, Any, Any]:
        if getattr(element, "__visit_name__", None) in _DML and not options.get(OWN):
            found = self.find(element.table)
            if found is not None:
                element = self._prepare(connection, element, *found, several or ([single] if single else []), options)
            elif not isinstance(element.table, Table):
                self._vague(connection, self._within(element.table), "another form of table", _shown(element))
        return element, several, single

    def _prepare(
        self,
        connection: Connection,
        element: Any,
        table: Table,
        target: Target,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> Any:
        """Images and locks what the statement is about to change; the statement itself, or one that tells more."""
        if isinstance(element, Insert):
            element = keyed(element, table, parameters, connection.dialect)
        else:
            element = certain(element, table, connection.dialect, is_single=len(parameters) <= 1)
        memory = self._memory if not target.is_strict else None
        recalled = partial(memory.recalled, connection) if memory is not None else None
        statement = Statement(element, table, target.names.tables(), parameters, recalled)
        pending = self.pending(connection.info)
        pending.mark()
        acquit: Callable[[], None] | None = None
        if commits_by_itself(connection):
            statement.give_up("AUTOCOMMIT")
            self._hold_statement(pending, statement.reach())
        else:
            begin_writing(connection)
            statement.prepare(Images(connection, options))
            if statement.is_partial_when_it_fails:
                acquit = pending.levels[-1].suspect(statement.reach())
        connection.info[RUNNING] = _Running(element, statement, acquit)
        return element

    def _after_execute(
        self,
        connection: Connection,
        element: Any,
        several: Any,
        single: Any,
        options: Mapping[str, Any],
        result: CursorResult[Any],
    ) -> None:
        running: _Running | None = connection.info.get(RUNNING)
        if running is None or running.element is not element:
            return
        del connection.info[RUNNING]
        pending = self.pending(connection.info)
        acquit = running.acquit or pending.levels[-1].suspect(running.statement.reach())
        written = running.statement.written(Images(connection, options), result)
        acquit()
        self._count(written, result.context.statement or "")
        if pending.ends_with_statement:
            self._end_statement(pending, written.changes)
        else:
            for name in pending.add(written.changes, self._withholding()):
                vague = Vague(running.statement.named(name), "too many rows of a transaction")
                self._count(Written([], [vague]), result.context.statement or "")

    def _within(self, table: Any) -> list[Table]:
        """The tracked tables in an alias or a join."""
        parts = [each for each in iterate(table) if isinstance(each, Table)]
        return [found[0] for part in parts if (found := self.find(part)) is not None]

    # Statements whose words alone tell

    def _before_cursor_execute(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if context.execution_options.get(OWN):
            return
        pending: Pending | None = connection.info.get(KEY)
        if pending is not None and pending.is_dirty:
            pending.mark()
        compiled = context.compiled
        if context.isddl:
            self._schema(connection, sql)
        elif compiled is None or getattr(compiled.statement, "__visit_name__", "") in _TEXTS:
            self._text(connection, sql)
        elif getattr(compiled, "ctes", None):
            writing = [cte.element.table for cte in compiled.ctes if getattr(cte.element, "is_dml", False)]
            tables = [found[0] for table in writing if (found := self.find(table)) is not None]
            self._vague(connection, tables, "a CTE that writes", sql)

    def _text(self, connection: Connection, sql: str) -> None:
        reading = read(sql)
        if reading.kind == "read":
            return
        pending = self.pending(connection.info)
        if reading.kind == "schema":
            self._schema(connection, sql)
        elif reading.kind == "anything":
            self._vague(connection, self._tables(), "a procedure", sql)
        elif reading.kind == "write":
            named = [table for table in self._tables() if table.name.lower() in reading.words]
            if reading.deletes:
                named += [each for table in named for each in dependents(self._tables(), table)]
            if reading.updates:
                named += [each for table in named for each in keepers(self._tables(), table)]
            # The driver opens a transaction for these words only.
            opens = connection.dialect.name != "sqlite" or reading.first in _OPENING
            self._vague(connection, named, "SQL in text form", sql, by_itself=not opens)
        elif reading.kind == "commit" and pending.is_dirty:
            pending.hold(self._caches(), for_statement=True)

    def _schema(self, connection: Connection, sql: str) -> None:
        """DDL: a migration may change whatever it likes. Some databases commit it by itself, and with it what came before."""
        self._reader.forget()
        by_itself = connection.dialect.name in ("mysql", "mariadb", "oracle", "sqlite")
        self._vague(connection, self._tables(), "DDL", sql, by_itself=by_itself)

    def _vague(
        self, connection: Connection, tables: Sequence[Table], reason: str, sql: str, *, by_itself: bool = False
    ) -> None:
        """Everything about the tables is to be purged: at the COMMIT, or after the statement where it commits by itself."""
        if not tables:
            return
        changes = [Change(table.key, None) for table in dict.fromkeys(tables)]
        self._count(Written(changes, [Vague(table, reason) for table in tables]), sql)
        pending = self.pending(connection.info)
        pending.mark()
        is_open = in_transaction(connection) and connection.dialect.name not in ("mysql", "mariadb", "oracle")
        pending.add(changes, self._withholding())
        if commits_by_itself(connection) or (by_itself and not is_open):
            pending.hold(self._caches(), for_statement=True)

    def _after_cursor_execute(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        pending: Pending | None = connection.info.get(KEY)
        if pending is None or context.execution_options.get(OWN) or RUNNING in connection.info:
            return
        if pending.ends_with_statement:
            self._committed(pending)
        elif pending.is_dirty and context.compiled is None and read(sql).kind == "rollback":
            pending.forget()

    def _on_error(self, context: ExceptionContext) -> None:
        """A statement that commits by itself, or the COMMIT in text form, has failed."""
        connection = context.connection
        if connection is None or connection.closed or connection.invalidated:
            return
        running = connection.info.pop(RUNNING, None)
        pending: Pending | None = connection.info.get(KEY)
        if pending is None or not pending.ends_with_statement or context.statement is None:
            return
        is_refused = context.sqlalchemy_exception is not None and not context.is_disconnect
        is_atomic = running is not None and not running.statement.is_partial_when_it_fails
        if is_refused and is_atomic:  # nothing was changed
            pending.release()
        else:
            pending.leave()
            pending.forget()

    def _hold_statement(self, pending: Pending, changes: list[Change]) -> None:
        """Held before it runs, since it commits by itself; which rows it changes is known afterwards."""
        acquit = pending.levels[-1].suspect(changes)
        try:
            pending.hold(self._caches(), for_statement=True)
        finally:
            acquit()

    def _end_statement(self, pending: Pending, changes: list[Change]) -> None:
        try:
            pending.end_statement(changes, self._caches())
        finally:
            tell([target.names for target in self.targets], changes)

    def _count(self, written: Written, sql: str) -> None:
        for vague in written.vague:
            self.table_level[vague.reason] = self.table_level.get(vague.reason, 0) + 1
            if sql not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(sql)
                logs.WHOLE_TABLE.tell(table=vague.table.name, reason=vague.reason, statement=sql)


def _shown(element: Any) -> str:
    try:
        return str(element)
    except Exception:  # only its own dialect can write it
        return type(element).__name__


class _Running(NamedTuple):
    """A statement under way on a connection."""

    element: Any
    statement: Statement
    acquit: Callable[[], None] | None
