"""A process that commits to a tracked table: to be killed, at a step it is told or while it is at it."""

from __future__ import annotations

import asyncio
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, create_engine, update
from sqlalchemy.ext.asyncio import create_async_engine

from rcache import Cache
from rcache.engine.holds import Hold
from rcache.integrations.sqlalchemy import track

metadata = MetaData()
counters = Table(
    "counter", metadata, Column("id", Integer, primary_key=True), Column("version", Integer, nullable=False)
)

STEPS = ("changed", "held", "committed", "purged")


def write(
    redis: str, namespace: str, database: str, row: int, step: str | None, with_hold: bool, parent: Connection
) -> None:
    """Adds one to the row's version until it is killed; at `step` of the first time, it kills itself."""
    cache = Cache(redis, namespace=namespace)
    if not with_hold:
        _let_go()
    engine: Any = create_async_engine(database) if "asyncpg" in database else create_engine(database)
    tracking = track(engine, metadata, cache=cache)
    _stop_at(step, tracking._followed)
    statement = update(counters).where(counters.c.id == row).values(version=counters.c.version + 1)

    async def work() -> None:
        while True:
            async with engine.begin() as connection:
                await connection.execute(statement)
                _reach("changed", step)
            _reach("purged", step)
            parent.send(1)

    if "asyncpg" in database:
        asyncio.run(work())
    while True:
        with engine.begin() as connection:
            connection.execute(statement)
            _reach("changed", step)
        _reach("purged", step)
        parent.send(1)


def _reach(step: str, wanted: str | None) -> None:
    if step == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


def _stop_at(step: str | None, followed: Any) -> None:
    original = followed._originals["do_commit"]

    def commit(connection: Any) -> None:
        _reach("held", step)
        original(connection)
        _reach("committed", step)

    followed._originals["do_commit"] = commit


def _let_go() -> None:
    async def nothing(self: Hold, tags: Any = ()) -> None:
        self._note(tags)

    def nothing_sync(self: Hold, tags: Any = ()) -> None:
        self._note(tags)

    Hold.place, Hold.place_sync = nothing, nothing_sync  # type: ignore[method-assign]
