"""Where the site's tables are: one class per data layer, told apart by the driver that the URL names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from starlette.concurrency import run_in_threadpool

from .async_data import AsyncData
from .seed import fill
from .sync_data import SyncData
from .tables import Base


class AsyncDatabase:
    """The tables behind a driver that does not block."""

    def __init__(self, url: str) -> None:
        self.engine = create_async_engine(url)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        _configure(self.engine.sync_engine)

    async def open(self, is_seeded: bool) -> None:
        """The tables exist, and hold something to read where they were empty and that is wanted."""
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        if is_seeded:
            async with self._sessions.begin() as session:
                await session.run_sync(fill)

    async def close(self) -> None:
        """Every connection is closed."""
        await self.engine.dispose()

    @asynccontextmanager
    async def data(self) -> AsyncIterator[AsyncData]:
        """The data layer for one request."""
        async with self._sessions() as session:
            yield AsyncData(session)


class SyncDatabase:
    """The tables behind a driver that blocks: whatever is asked of it is asked in a thread."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        _configure(self.engine)

    async def open(self, is_seeded: bool) -> None:
        """The tables exist, and hold something to read where they were empty and that is wanted."""
        await run_in_threadpool(self._open, is_seeded)

    def _open(self, is_seeded: bool) -> None:
        Base.metadata.create_all(self.engine)
        if is_seeded:
            with self._sessions.begin() as session:
                fill(session)

    async def close(self) -> None:
        """Every connection is closed."""
        await run_in_threadpool(self.engine.dispose)

    @asynccontextmanager
    async def data(self) -> AsyncIterator[Threaded]:
        """The data layer for one request."""
        session = self._sessions()
        try:
            yield Threaded(SyncData(session))
        finally:
            await run_in_threadpool(session.close)


class Threaded:
    """A SyncData whose methods are awaited, as an AsyncData's are."""

    def __init__(self, data: SyncData) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(run_in_threadpool, getattr(self._data, name))


Database = AsyncDatabase | SyncDatabase


def connect(url: str) -> Database:
    """The database of this URL: `postgresql+asyncpg://`, `postgresql+psycopg://`, `sqlite+aiosqlite:///`, `sqlite:///`."""
    return (AsyncDatabase if make_url(url).get_dialect().is_async else SyncDatabase)(url)


def _configure(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)


def _configure_sqlite(connection: Any, _record: object) -> None:
    # Foreign keys are enforced only where that is asked for. With a write-ahead log readers do not wait for a writer, and a
    # writer waits for another instead of failing.
    cursor = connection.cursor()
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
