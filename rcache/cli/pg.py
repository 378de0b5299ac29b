"""`rcache pg`: PostgreSQL tells of every write, and somebody follows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rcache.cache import Cache
from rcache.cli.options import Where, log_to_stderr, named, takes
from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.settings import seconds


def add(app: typer.Typer) -> None:
    """`pg install` and `pg drain`."""
    nested = typer.Typer(
        help="PostgreSQL: triggers that tell of every write, and following them.", no_args_is_help=True
    )
    nested.command()(takes(install, extra="postgresql"))
    nested.command()(takes(drain, extra="postgresql"))
    app.add_typer(nested, name="pg")


Dsn = Annotated[str | None, typer.Option(help="postgresql://user@host/database (else what RCACHE_DSN says).")]
Metadata = Annotated[str | None, typer.Option(metavar="MODULE:NAME", help="The models: a MetaData of SQLAlchemy.")]


def _found(dsn: str | None) -> str:
    dsn = dsn or os.environ.get("RCACHE_DSN")
    if dsn is None:
        raise ConfigurationError("which database is meant? --dsn postgresql://user@host/database or RCACHE_DSN")
    return dsn


def install(
    *,
    tables: Annotated[
        str | None, typer.Option(help='book,shop.line,"odd, name": as the database spells them.', metavar="LIST")
    ] = None,
    metadata: Metadata = None,
    schema: Annotated[str, typer.Option(help="Of the outbox, and of tables that name none.")] = "public",
    max_rows: Annotated[int | None, typer.Option(help="Rows of one statement that are told apart (500).")] = None,
    no_notify: Annotated[
        bool, typer.Option("--no-notify", help="Wake nobody: who follows looks now and then.")
    ] = False,
    down: Annotated[bool, typer.Option("--down", help="The way back.")] = False,
    output: Annotated[Path | None, typer.Option(help="The file to write, in place of standard output.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Run it on the database that --dsn names.")] = False,
    dsn: Dsn = None,
) -> None:
    """The SQL of outbox and triggers, to be reviewed, or applied."""
    from rcache.integrations.postgresql.migration import MOST_ROWS, Migration, script, table_names

    if (tables is None) == (metadata is None):
        raise ConfigurationError(
            "which tables are meant? --tables book,shop.line or --metadata MODULE:NAME, one of them"
        )
    chosen = table_names(tables, schema) if tables is not None else _tables_of(metadata, schema)
    most = MOST_ROWS if max_rows is None else max_rows
    migration = Migration(tuple(chosen), schema, most, not no_notify)
    statements = migration.down() if down else migration.up()
    if apply:
        asyncio.run(_apply(_found(dsn), statements))
    elif output is not None:
        output.write_text(script(statements))
    else:
        sys.stdout.write(script(statements))


def _tables_of(where: str | None, schema: str) -> list[Any]:
    from sqlalchemy import MetaData

    from rcache.integrations.postgresql.migration import OUTBOX, TableName

    tables = named(where or "", MetaData).sorted_tables
    return [TableName(table.schema or schema, table.name) for table in tables if table.name != OUTBOX]


async def _apply(dsn: str, statements: list[str]) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from rcache.integrations.postgresql.drain import open_engine

    engine = open_engine(dsn)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                # A percent sign in a name is no place for a parameter.
                await connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    except SQLAlchemyError as error:
        raise RCacheError(f"nothing was changed: {getattr(error, 'orig', error)}") from error
    finally:
        await engine.dispose()


async def drain(
    *,
    dsn: Dsn = None,
    where: Where,
    schema: Annotated[str, typer.Option(help="Of the outbox.")] = "public",
    poll: Annotated[str, typer.Option(help="Look again after so long, though nobody has woken it.")] = "1s",
    no_listen: Annotated[bool, typer.Option("--no-listen", help="Do not ask to be woken: behind a pooler.")] = False,
    tag_name: Annotated[list[str], typer.Option(metavar="TABLE=NAME", help="Its name in tags; may be repeated.")] = [],  # noqa: B006 (read only)
    metadata: Metadata = None,
    once: Annotated[bool, typer.Option("--once", help="Purge what is there now, and end.")] = False,
) -> int:
    """Purge what the triggers tell, until it is interrupted. 1 where --once has left something that could not be purged."""
    from sqlalchemy import MetaData

    from rcache.integrations.postgresql import drain as following

    how: dict[str, Any] = {
        "schema": schema,
        "names": dict(map(_tag_name, tag_name)),
        "metadata": None if metadata is None else named(metadata, MetaData),
    }
    every = seconds(poll, "--poll")
    log_to_stderr()
    async with where.open() as cache:
        if once:
            return await _once(_found(dsn), cache, how)
        told_to_end = asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # on Windows, which has no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
        async with following(_found(dsn), cache, poll=every, listen=not no_listen, **how):
            await told_to_end.wait()
    return 0


async def _once(dsn: str, cache: Cache, how: dict[str, Any]) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from rcache.integrations.postgresql.drain import opened

    async with opened(dsn, cache, **how) as drain:
        try:
            is_empty = await drain.once()
        except SQLAlchemyError as error:
            raise RCacheError(f"the outbox cannot be read: {getattr(error, 'orig', error)}") from error
    sys.stderr.write(f"{drain.rows} rows drained{'' if is_empty else ', others could not be purged'}\n")
    return 0 if is_empty else 1


def _tag_name(text: str) -> tuple[str, str]:
    table, _, name = text.rpartition("=")
    if not (table and name):
        raise ConfigurationError(f"--tag-name {text!r} is not TABLE=NAME")
    return table, name
