"""Triggers in an Alembic migration: `op.install_rcache_triggers("book", "line")`, and back.

`import rcache.integrations.alembic` in `env.py`, or in the migration itself, teaches Alembic the two operations. Each is the
other's reverse. `alembic revision --autogenerate` writes them where the metadata says which tables are to have triggers:
`MetaData(info={"rcache_triggers": ["book", "line"]})`, or True for all of them.
"""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import UpgradeOps
from alembic.util import DispatchPriority
from sqlalchemy import MetaData, text

from rcache.integrations.postgresql.migration import FUNCTION, MOST_ROWS, OUTBOX, Migration, TableName

KEY = "rcache_triggers"

Table = str | tuple[str, str]


class TriggersOp(MigrateOperation):
    """One of the two: the migration that it carries out, or undoes."""

    name: str

    def __init__(self, migration: Migration) -> None:
        self.migration = migration

    def to_diff_tuple(self) -> tuple[str, Migration]:
        """How `alembic check` tells of it."""
        return self.name, self.migration


@Operations.register_operation("install_rcache_triggers")
class InstallTriggersOp(TriggersOp):
    """From here on the tables tell of their writes."""

    name = "install_rcache_triggers"

    @classmethod
    def install_rcache_triggers(
        cls,
        operations: Operations,
        *tables: Table,
        schema: str = "public",
        max_rows: int = MOST_ROWS,
        notify: bool = True,
    ) -> None:
        """Makes the tables tell of every write; what is there already is renewed.

        - `tables`: their names, or `(schema, name)`.
        - `schema`: of the outbox, and of tables that name none.
        - `max_rows`: rows of one statement that are told apart; beyond it everything about the table is purged.
        - `notify`: whether those who follow are woken.
        """
        operations.invoke(cls(_migration(tables, schema, max_rows, notify)))

    def reverse(self) -> DropTriggersOp:
        """What undoes it."""
        return DropTriggersOp(self.migration)


@Operations.register_operation("drop_rcache_triggers")
class DropTriggersOp(TriggersOp):
    """The tables tell no more."""

    name = "drop_rcache_triggers"

    @classmethod
    def drop_rcache_triggers(
        cls,
        operations: Operations,
        *tables: Table,
        schema: str = "public",
        max_rows: int = MOST_ROWS,
        notify: bool = True,
    ) -> None:
        """Undoes `install_rcache_triggers` with the same arguments; function and outbox go with the last trigger."""
        operations.invoke(cls(_migration(tables, schema, max_rows, notify)))

    def reverse(self) -> InstallTriggersOp:
        """What undoes it."""
        return InstallTriggersOp(self.migration)


def _migration(tables: tuple[Table, ...], schema: str, max_rows: int, notify: bool) -> Migration:
    named = [TableName(schema, each) if isinstance(each, str) else TableName(*each) for each in tables]
    return Migration(tuple(named), schema, max_rows, notify)


@Operations.implementation_for(InstallTriggersOp)
def _install(operations: Operations, operation: InstallTriggersOp) -> None:
    _run(operations, operation.migration.up())


@Operations.implementation_for(DropTriggersOp)
def _drop(operations: Operations, operation: DropTriggersOp) -> None:
    _run(operations, operation.migration.down())


def _run(operations: Operations, statements: list[str]) -> None:
    """As they are: what looks like a parameter in a name is none."""
    context = operations.get_context()
    for statement in statements:
        if context.as_sql:
            context.impl.static_output(statement + context.impl.command_terminator)
        else:
            operations.get_bind().exec_driver_sql(statement, execution_options={"no_parameters": True})


@renderers.dispatch_for(InstallTriggersOp)
@renderers.dispatch_for(DropTriggersOp)
def _render(context: AutogenContext, operation: TriggersOp) -> str:
    context.imports.add("import rcache.integrations.alembic")
    migration = operation.migration
    tables = [table.table if table.schema == migration.schema else tuple(table) for table in migration.tables]
    arguments = [*map(repr, tables)]
    if migration.schema != "public":
        arguments.append(f"schema={migration.schema!r}")
    if migration.max_rows != MOST_ROWS:
        arguments.append(f"max_rows={migration.max_rows!r}")
    if not migration.notify:
        arguments.append("notify=False")
    return f"op.{operation.name}({', '.join(arguments)})"


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def _compare(context: AutogenContext, upgrade: UpgradeOps, schemas: Any) -> None:
    """What the metadata asks for and the database does not have, and the other way round."""
    metadata = context.metadata
    if not isinstance(metadata, MetaData) or KEY not in metadata.info or context.connection is None:
        return
    schema = metadata.schema or "public"
    wanted = _wanted(metadata, schema)
    found = context.connection.execute(_INSTALLED, {"function": FUNCTION, "schema": schema})
    present = {TableName(*row) for row in found}
    # After a table is made and before it is dropped, and then the other way round.
    if gone := present - wanted:
        upgrade.ops.insert(0, DropTriggersOp(Migration(tuple(sorted(gone)), schema)))
    if missing := wanted - present:
        upgrade.ops.append(InstallTriggersOp(Migration(tuple(sorted(missing)), schema)))


_INSTALLED = text("""
SELECT DISTINCT tables.nspname, c.relname
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace tables ON tables.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace functions ON functions.oid = p.pronamespace
WHERE p.proname = :function AND functions.nspname = :schema
""")


def _wanted(metadata: MetaData, schema: str) -> set[TableName]:
    chosen = metadata.info[KEY]
    if chosen is True:
        chosen = [(table.schema or schema, table.name) for table in metadata.tables.values() if table.name != OUTBOX]
    return {TableName(schema, each) if isinstance(each, str) else TableName(*each) for each in chosen}
