"""A database that is written to by psql, and a cache that hears what was purged."""

from __future__ import annotations

from typing import Any

from rcache import Cache, signals
from rcache.integrations.postgresql import Migration, table_names
from rcache.integrations.postgresql.drain import opened
from rcache.integrations.postgresql.migration import script
from tests.postgres import PostgresServer

SCHEMA = """
CREATE TABLE author (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE book (
    id int PRIMARY KEY, author_id int REFERENCES author ON DELETE CASCADE ON UPDATE CASCADE, title text NOT NULL
);
CREATE TABLE line ("order" int, product text, amount int, PRIMARY KEY (product, "order"));
CREATE TABLE diary (entry text);
CREATE TABLE "Odd ""table"", 50% off: $rcache$" (id uuid PRIMARY KEY, "r" int, rcache_new int, counted int);
CREATE SCHEMA "other.one";
CREATE TABLE "other.one".book (id text PRIMARY KEY);
"""
ODD = '"Odd ""table"", 50% off: $rcache$"'
TABLES = f'author,book,line,diary,{ODD},"other.one".book'

ROWS = """
TRUNCATE author, book, line, diary, "other.one".book, "Odd ""table"", 50% off: $rcache$";
INSERT INTO author VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO book VALUES (1, 1, 'One'), (2, 1, 'Two'), (3, 2, 'Three');
INSERT INTO line VALUES (7, 'a:b', 1);
INSERT INTO diary VALUES ('Dear diary');
INSERT INTO "other.one".book VALUES ('x');
TRUNCATE rcache_outbox;
"""


class Bookshop:
    """One database, and whoever follows its outbox."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.cache: Cache
        self.purged: list[set[str]] = []
        self.run(SCHEMA, script(Migration(tuple(table_names(TABLES))).up()))

    def open(self) -> None:
        """All rows as they were, nothing purged yet."""
        self.run(ROWS)
        self.cache = Cache("memory://")
        self.purged.clear()
        signals.tags_invalidated.connect(self._hear, sender=self.cache)

    async def close(self) -> None:
        """Forgets the cache."""
        await self.cache.close()

    def _hear(self, sender: Cache, tags: tuple[str, ...], **_: Any) -> None:
        self.purged.append(set(tags))

    def url(self, driver: str = "asyncpg") -> str:
        """Where the database is."""
        return self.server.url(driver, self.database)

    def run(self, *statements: str) -> str:
        """In psql, each for itself; what it printed."""
        return self.server.execute(*statements, database=self.database)

    @property
    def rows(self) -> int:
        """How many there are in the outbox."""
        return int(self.run("SELECT count(*) FROM rcache_outbox"))

    async def drained(self, **options: Any) -> set[str]:
        """The tags that are purged of what the outbox holds."""
        self.purged.clear()
        async with opened(self.url(), self.cache, **options) as drain:
            assert await drain.once()
        return set().union(*self.purged)
