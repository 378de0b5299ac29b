"""Writes through tracked sessions: nobody calls rcache, and what was committed is promised from the COMMIT on (P2).

It is published as soon as the database has answered the COMMIT, before rcache hears of that: the dialect's `do_commit`, which
`track` wraps, is wrapped before it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, create_engine, event, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from rcache import Cache
from rcache.integrations.sqlalchemy import track
from tests.chaos.events import Events

RAISED, BEGAN = "chaos_raised", "chaos_began"  # of a connection


class RolledBackError(Exception):
    """The writer changed its mind."""


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]


class Teller(Protocol):
    """Whom the sessions belong to."""

    events: Events
    cache: Cache
    forgets: bool

    def committed(self, item: int, version: int, began: float) -> None:
        """The database has said so; `began`: when COMMIT was about to be sent."""
        ...

    def perhaps_die(self) -> None:
        """It kills itself now and then."""
        ...


class Tracked:
    """An AsyncSession's engine on asyncpg, and a Session's on psycopg."""

    def __init__(self, teller: Teller, url: str) -> None:
        self._teller = teller
        _, _, where = url.partition("://")
        self._async_engine = create_async_engine(f"postgresql+asyncpg://{where}", connect_args={"command_timeout": 20})
        self._engine = create_engine(f"postgresql+psycopg://{where}", pool_size=3)
        for engine in (self._async_engine.sync_engine, self._engine):
            dialect: Any = engine.dialect
            dialect.do_commit = self._telling(dialect.do_commit)
            if not teller.forgets:
                track(engine, Base.metadata, cache=teller.cache)
            event.listen(engine, "commit", self._on_commit)  # after rcache's own: it is held

    async def write(self, items: Sequence[int]) -> None:
        """Raises their versions in one transaction."""
        if random.random() < 0.7:
            async with AsyncSession(self._async_engine) as session:
                await session.run_sync(self._raise, items)
                await session.commit()
        else:
            await asyncio.to_thread(self._write_sync, items)

    def _write_sync(self, items: Sequence[int]) -> None:
        with Session(self._engine) as session:
            self._raise(session, items)
            session.commit()

    def _raise(self, session: Session, items: Sequence[int]) -> None:
        raised = session.connection().info[RAISED] = {}
        for item in sorted(items):
            self._teller.perhaps_die()
            if random.random() < 0.5:
                row = session.get_one(Item, item, with_for_update=True)
                row.version += 1
                session.flush()
                raised[item] = row.version
            else:
                statement = update(Item).where(Item.id == item).values(version=Item.version + 1)
                raised[item] = session.scalars(statement.returning(Item.version)).one()
        if random.random() < 0.05:
            raise RolledBackError

    def _on_commit(self, connection: Connection) -> None:
        if connection.info.get(RAISED):
            connection.info[BEGAN] = time.monotonic()
            self._teller.events.note(f"holds for a session items={','.join(map(str, connection.info[RAISED]))}")
            self._teller.perhaps_die()

    def _telling(self, commit: Callable[[Any], None]) -> Callable[[Any], None]:
        def told(connection: Any) -> None:
            commit(connection)
            for item, version in connection.info.pop(RAISED, {}).items():
                self._teller.committed(item, version, connection.info[BEGAN])
                self._teller.perhaps_die()

        return told

    async def close(self) -> None:
        """Its connections are closed."""
        await self._async_engine.dispose()
        self._engine.dispose()
