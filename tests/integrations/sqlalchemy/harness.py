"""A tracked engine on any driver, and a cache with a page for every tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from rcache import Cache
from rcache.core.changes import families
from rcache.integrations.sqlalchemy import Tracking, track
from tests.contract.support import Question, body_of, fill
from tests.integrations.sqlalchemy import library
from tests.integrations.sqlalchemy.library import PAGES, Base

DRIVERS = ("sqlite", "aiosqlite", "psycopg", "psycopg_async", "asyncpg", "pymysql", "asyncmy")
ASYNC = frozenset(("aiosqlite", "psycopg_async", "asyncpg", "asyncmy"))
MARIADB = frozenset(("pymysql", "asyncmy"))

Write = Callable[[Session], Any]


def enforce_foreign_keys(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def plain_engine(url: str, **options: Any) -> Engine:
    """An engine that nobody tracks, for looking and preparing."""
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", enforce_foreign_keys)
    return engine


class World:
    """One database, one tracked engine, one cache."""

    def __init__(
        self, driver: str, sync_url: str, async_url: str, isolation_level: str | None = None, **options: Any
    ) -> None:
        level: dict[str, Any] = {"isolation_level": isolation_level} if isolation_level else {}
        self.tally: Counter[str] = Counter()
        self.driver = driver
        self.is_async = driver in ASYNC
        self.sync_url = sync_url
        self.plain = plain_engine(sync_url)
        self.engine: Any = (
            create_async_engine(async_url, **level) if self.is_async else create_engine(sync_url, **level)
        )
        if "sqlite" in driver:
            event.listen(self.sync_engine, "connect", enforce_foreign_keys)
        self.cache = Cache("memory://")
        self.tracking: Tracking = track(self.engine, Base.metadata, cache=self.cache, **options)
        self.tags = PAGES
        Base.metadata.create_all(self.plain)
        self.empty()
        with Session(self.plain) as session:
            library.fill(session)
            if self.plain.dialect.name == "postgresql":  # whose own keys begin after those that were chosen
                session.execute(text("SELECT setval('review_id_seq', 100)"))
            session.commit()
        with self.plain.connect() as connection:
            tables = Base.metadata.sorted_tables
            self._rows = {table: list(map(dict, connection.execute(table.select()).mappings())) for table in tables}

    @property
    def sync_engine(self) -> Engine:
        return self.engine.sync_engine if isinstance(self.engine, AsyncEngine) else self.engine

    def empty(self) -> None:
        with self.plain.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())

    def restore(self) -> None:
        """What there was when it was made."""
        self.empty()
        with self.plain.begin() as connection:
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(table.insert(), rows)

    def empty_outbox(self) -> None:
        with self.plain.begin() as connection:
            connection.execute(Base.metadata.tables["rcache_outbox"].delete())

    async def warm(self, tags: Iterable[str] = PAGES) -> None:
        """A page for each tag is stored."""
        self.tags = list(tags)
        for tag in await self.flushed():
            await fill(self.cache.store, self.page(tag), b"old", tag, *families([tag]))

    @staticmethod
    def page(tag: str) -> Question:
        return Question("/" + tag.replace("?", "~").replace("%", "~"))

    async def flushed(self) -> set[str]:
        """The pages that are there no more."""
        return {tag for tag in self.tags if await body_of(self.cache.store, self.page(tag)) is None}

    async def run(self, work: Write, **options: Any) -> Any:
        """Calls it with a session, which it may commit or not."""
        if self.is_async:
            async with AsyncSession(self.engine, **options) as session:
                return await session.run_sync(work)
        with Session(self.engine, **options) as session:
            return work(session)

    async def run_on_connection(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """Calls it with a connection."""
        if self.is_async:
            async with self.engine.connect() as connection:
                if options:
                    await connection.execution_options(**options)
                return await connection.run_sync(work)
        with self.engine.connect() as connection:
            return work(connection.execution_options(**options) if options else connection)

    async def close(self) -> None:
        self.tracking.untrack()
        if self.is_async:
            await self.engine.dispose()
        else:
            self.engine.dispose()
        self.plain.dispose()
        await self.cache.close()
