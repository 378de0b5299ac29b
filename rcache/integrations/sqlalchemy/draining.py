"""Draining an outbox: its rows are purged and deleted in one transaction, so that a row goes only when its purge has landed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from rcache.cache import Cache
from rcache.integrations.sqlalchemy.outbox import Batch, Outbox


class Drained(NamedTuple):
    """How many rows went, and whether none that could be had was left."""

    rows: int
    is_empty: bool


async def drain_async(engine: AsyncEngine, outbox: Outbox, cache: Cache, names: Mapping[str, str]) -> Drained:
    """Purges what is in the outbox until nothing is left, or a purge does not land: then its rows stay."""
    drained = 0
    while True:
        async with engine.begin() as connection:
            batch = await connection.run_sync(outbox.left, cache, names)
            if not batch.ids:
                return Drained(drained, is_empty=True)
            if not await _purge(cache, batch):
                return Drained(drained, is_empty=False)
            await connection.run_sync(outbox.delete, batch.ids)
        drained += len(batch.ids)


async def _purge(cache: Cache, batch: Batch) -> bool:
    has_landed = not batch.tags or (await cache.purge(batch.tags, cause="drain")).landed
    return has_landed and (not batch.changes or (await cache.apply(batch.changes, cause="drain")).landed)


def drain_sync(engine: Engine, outbox: Outbox, cache: Cache, names: Mapping[str, str]) -> Drained:
    """`drain_async` of an Engine that is not asynchronous."""
    drained = 0
    while True:
        with engine.begin() as connection:
            batch = outbox.left(connection, cache, names)
            if not batch.ids:
                return Drained(drained, is_empty=True)
            if not _purge_sync(cache, batch):
                return Drained(drained, is_empty=False)
            outbox.delete(connection, batch.ids)
        drained += len(batch.ids)


def _purge_sync(cache: Cache, batch: Batch) -> bool:
    has_landed = not batch.tags or cache.purge_sync(batch.tags, cause="drain").landed
    return has_landed and (not batch.changes or cache.apply_sync(batch.changes, cause="drain").landed)
