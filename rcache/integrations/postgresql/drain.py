"""Following the outbox: what commits to a table with triggers is purged shortly after, whoever wrote it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine, MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rcache import logs
from rcache.cache import Cache, only_cache
from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds
from rcache.integrations.postgresql.listening import Listening
from rcache.integrations.sqlalchemy.draining import Drained, drain_async, drain_sync
from rcache.integrations.sqlalchemy.names import Names
from rcache.integrations.sqlalchemy.outbox import Outbox

FIRST_PAUSE: Final = 0.1  # seconds after a failure, doubled up to LONGEST_PAUSE
LONGEST_PAUSE: Final = 10.0

_DRIVERS: Final = ("asyncpg", "psycopg")


class Drain:
    """One who follows an outbox. `rows`: how many rows of it have been purged here."""

    def __init__(self, engine: Engine | AsyncEngine, cache: Cache, outbox: Outbox, names: Mapping[str, str]) -> None:
        # Under a stricter level a row that somebody else has just drained would be an error.
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._cache = cache
        self._outbox = outbox
        self._names = names
        self.rows = 0

    async def once(self) -> bool:
        """Purges what has been committed so far. Whether all of it has landed: what has not stays in the outbox."""
        drained = await self._drain()
        self.rows += drained.rows
        return drained.is_empty

    async def _drain(self) -> Drained:
        if isinstance(self._engine, AsyncEngine):
            return await drain_async(self._engine, self._outbox, self._cache, self._names)
        work = asyncio.create_task(asyncio.to_thread(drain_sync, self._engine, self._outbox, self._cache, self._names))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # a thread cannot be stopped, and is not to outlive its engine
            await asyncio.wait([work])
            raise

    async def run(self, poll: float = 1.0, *, listen: bool = True) -> None:
        """Purges what is committed until it is cancelled; whatever fails is tried again. See `drain`."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._ear(listen) as ear:
                    while True:
                        await self.once()
                        pause = FIRST_PAUSE
                        await (asyncio.sleep(poll) if ear is None else ear.wait(poll))
            except Exception as error:
                logs.OUTBOX_NOT_FOLLOWED.tell(pause=pause, error=repr(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _ear(self, listen: bool) -> AbstractAsyncContextManager[Listening | None]:
        return Listening(self._engine) if listen else nullcontext()


@asynccontextmanager
async def drain(
    source: Engine | AsyncEngine | str,
    cache: Cache | None = None,
    *,
    schema: str = "public",
    poll: float | str | timedelta = 1.0,
    listen: bool = True,
    names: Mapping[str, str] | None = None,
    metadata: MetaData | None = None,
) -> AsyncIterator[Drain]:
    """While the block lasts, what commits to tables with triggers is purged: `async with drain(engine, cache): ...`.

    Each row of the outbox at least once, also those of before; as many as like may follow the same outbox, and share the work.

    - `source`: an engine, or the database's URL.
    - `cache`: the one in the process, where there is only one.
    - `schema`: where the outbox is.
    - `poll`: seconds after which it looks into the outbox though nobody has woken it.
    - `listen`: whether it asks to be woken; not through a pooler that gives a connection to somebody else after each transaction.
    - `names`: what tables are called in tags, `{"users": "user", "shop.line": "line"}`; else as `metadata` says, the models' of a
      table that is tracked for the cache, and the table's own name.
    - `metadata`: the tables of models that say more of their tags than their names.

    Raises ConfigurationError for what cannot work.
    """
    seconds_ = seconds(poll, "poll")
    async with opened(source, cache, schema=schema, names=names, metadata=metadata) as follower:
        task = asyncio.create_task(follower.run(seconds_, listen=listen), name="rcache-drain")
        try:
            yield follower
        finally:
            # Once is not always enough: wait_for() of Python 3.11 loses a cancellation that comes as its event does, and where
            # a connection that is gone fails to close, that error takes the cancellation's place.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1)


@asynccontextmanager
async def opened(
    source: Engine | AsyncEngine | str,
    cache: Cache | None = None,
    *,
    schema: str = "public",
    names: Mapping[str, str] | None = None,
    metadata: MetaData | None = None,
) -> AsyncIterator[Drain]:
    """`drain` that does nothing by itself: to be told `once()` or `run()`."""
    chosen = cache or only_cache()
    engine = open_engine(source) if isinstance(source, str) else source
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(f"drain() follows PostgreSQL, not {engine.dialect.name}")
    models = [] if metadata is None else [Names(metadata)]
    chosen.changes.tables += models
    try:
        yield Drain(engine, chosen, Outbox(MetaData(schema=schema)), names or {})
    finally:
        for each in models:
            chosen.changes.tables.remove(each)
        if isinstance(source, str) and isinstance(engine, AsyncEngine):
            await engine.dispose()


def open_engine(dsn: str) -> AsyncEngine:
    """An engine for `postgresql://user:password@host/database`, with whichever driver there is, or the one that it names.

    Raises ConfigurationError.
    """
    try:
        url = make_url(dsn)
    except ArgumentError as error:  # it would show the password
        raise ConfigurationError("the database's URL cannot be read: write postgresql://user@host/database") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername=f"postgresql+{_driver()}")
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(f"{url.drivername}:// is not PostgreSQL: write postgresql://user@host/database")
    try:
        return create_async_engine(url)
    except (ImportError, InvalidRequestError) as error:
        raise ConfigurationError(f"{url.drivername}:// cannot be followed: install psycopg or asyncpg") from error


def _driver() -> str:
    for name in _DRIVERS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise ConfigurationError("no driver for PostgreSQL is installed: pip install 'rcache[postgresql]'")
