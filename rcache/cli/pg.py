"""`rcache pg`: PostgreSQL tells of every write, and somebody follows."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rcache.cache import Cache
from rcache.cli.options import add_cache, cache_of, named
from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.settings import seconds


def add(commands: Any) -> None:
    """`pg install` and `pg drain`."""
    parser = commands.add_parser("pg", help="PostgreSQL: triggers that tell of every write, and following them")
    nested = parser.add_subparsers(metavar="ACTION", required=True)
    _add_install(nested.add_parser("install", help="the SQL of outbox and triggers, to be reviewed, or applied"))
    _add_drain(nested.add_parser("drain", help="purge what the triggers tell, until it is interrupted"))


def _add_install(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=install, extra="postgresql")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--tables", help='book,shop.line,"odd, name": as the database spells them')
    chosen.add_argument("--metadata", metavar="MODULE:NAME", help="all tables of these models")
    parser.add_argument("--schema", default="public", help="of the outbox, and of tables that name none (%(default)s)")
    parser.add_argument("--max-rows", type=int, help="rows of one statement that are told apart (500)")
    parser.add_argument("--no-notify", action="store_true", help="wake nobody: who follows looks now and then")
    parser.add_argument("--down", action="store_true", help="the way back")
    parser.add_argument("--output", type=Path, help="the file to write, in place of standard output")
    parser.add_argument("--apply", action="store_true", help="run it on the database that --dsn names")
    _add_dsn(parser)


def _add_drain(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=drain, extra="postgresql")
    _add_dsn(parser)
    add_cache(parser)
    parser.add_argument("--schema", default="public", help="of the outbox (%(default)s)")
    parser.add_argument(
        "--poll", default="1s", help="look again after so long, though nobody has woken it (%(default)s)"
    )
    parser.add_argument("--no-listen", action="store_true", help="do not ask to be woken: behind a pooler")
    parser.add_argument("--tag-name", action="append", default=[], metavar="TABLE=NAME", help="its name in tags")
    parser.add_argument("--metadata", metavar="MODULE:NAME", help="models that say how their rows are named in tags")
    parser.add_argument("--once", action="store_true", help="purge what is there now, and end")


def _add_dsn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dsn", help="postgresql://user@host/database (else what RCACHE_DSN says)")


def _dsn(arguments: argparse.Namespace) -> str:
    dsn: str | None = arguments.dsn or os.environ.get("RCACHE_DSN")
    if dsn is None:
        raise ConfigurationError("which database is meant? --dsn postgresql://user@host/database or RCACHE_DSN")
    return dsn


def install(arguments: argparse.Namespace) -> int:
    """Writes the migration, or runs it."""
    from rcache.integrations.postgresql.migration import MOST_ROWS, Migration, script, table_names

    if arguments.metadata is None:
        tables = table_names(arguments.tables, arguments.schema)
    else:
        tables = _tables_of(arguments.metadata, arguments.schema)
    most = MOST_ROWS if arguments.max_rows is None else arguments.max_rows
    migration = Migration(tuple(tables), arguments.schema, most, not arguments.no_notify)
    statements = migration.down() if arguments.down else migration.up()
    if arguments.apply:
        asyncio.run(_apply(_dsn(arguments), statements))
    elif arguments.output is not None:
        arguments.output.write_text(script(statements))
    else:
        sys.stdout.write(script(statements))
    return 0


def _tables_of(where: str, schema: str) -> list[Any]:
    from sqlalchemy import MetaData

    from rcache.integrations.postgresql.migration import OUTBOX, TableName

    tables = named(where, MetaData).sorted_tables
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


def drain(arguments: argparse.Namespace) -> int:
    """Follows the outbox. 1 where `--once` has left something that could not be purged."""
    return asyncio.run(_drain(arguments))


async def _drain(arguments: argparse.Namespace) -> int:
    from sqlalchemy import MetaData

    from rcache.integrations.postgresql import drain as following

    metadata = None if arguments.metadata is None else named(arguments.metadata, MetaData)
    how: dict[str, Any] = {
        "schema": arguments.schema,
        "names": dict(map(_tag_name, arguments.tag_name)),
        "metadata": metadata,
    }
    poll = seconds(arguments.poll, "--poll")
    async with cache_of(arguments) as cache:
        if arguments.once:
            return await _once(_dsn(arguments), cache, how)
        told_to_end = asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # on Windows, which has no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
        async with following(_dsn(arguments), cache, poll=poll, listen=not arguments.no_listen, **how):
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
