"""The outbox: what a COMMIT flushes is committed with it, so that it outlives the writer and an outage of Redis together.

A hold covers a writer that dies; where Redis could not be reached before COMMIT there is none, and the purge waits in a process
that may die too. So the tags are a row of the writer's own transaction (`durable="outbox"`). The row goes with a later transaction
once its purge has landed, and whoever drains purges what was left. On PostgreSQL triggers write to the same table, for writers that
rcache is no part of (rcache.integrations.postgresql); their rows tell what has changed, and no tags.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, insert, select

from rcache.cache import Cache
from rcache.core.changes import Change
from rcache.integrations.sqlalchemy.images import OWN
from rcache.integrations.sqlalchemy.triggered import Triggered, changes_of

NAME: Final = "rcache_outbox"
BATCH: Final = 100
"""Rows that one transaction deletes, and that one step of a drain purges."""

_OWN: Final = {OWN: True}


def outbox_table(metadata: MetaData) -> Table:
    """The table, which is made with the metadata's others."""
    found = metadata.tables.get(f"{metadata.schema}.{NAME}" if metadata.schema else NAME)
    if found is not None:
        return found
    told = [Column(name, Text) for name in Triggered._fields]
    return Table(NAME, metadata, Column("id", String(32), primary_key=True), Column("tags", Text), *told)


class Batch(NamedTuple):
    """Rows that are being drained: what they tell of, together."""

    ids: list[str]
    tags: tuple[str, ...]
    changes: list[Change]


class Outbox:
    """One engine's, from this process."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = outbox_table(metadata)
        self._landed: deque[str] = deque()

    def note(self, connection: Connection, tags: Sequence[str]) -> str:
        """Writes what this transaction flushes, and deletes what others' purges have done; the row's id."""
        done = [self._landed.popleft() for _ in range(min(BATCH, len(self._landed)))]
        if done:
            # Where this is rolled back they stay, and are purged once more by a drain.
            theirs = self.table.c.id.in_(done)
            if connection.dialect.name == "postgresql":  # whoever drains one of them now deletes it, once Redis answers
                theirs = self.table.c.id.in_(select(self.table.c.id).where(theirs).with_for_update(skip_locked=True))
            connection.execute(delete(self.table).where(theirs), execution_options=_OWN)
        row = {"id": secrets.token_hex(16), "tags": json.dumps(sorted(tags))}
        connection.execute(insert(self.table).values(row), execution_options=_OWN)
        return row["id"]

    def landed(self, row: str) -> None:
        """Its purge has landed."""
        self._landed.append(row)

    def left(self, connection: Connection, cache: Cache, names: Mapping[str, str]) -> Batch:
        """A batch of rows; nobody else is given the same ones meanwhile. `names`: of tables in tags, for those nobody tracks."""
        query = select(self.table).limit(BATCH).with_for_update(skip_locked=True)
        rows = connection.execute(query, execution_options=_OWN).mappings().fetchall()
        tags = dict.fromkeys(tag for row in rows if row["tags"] for tag in json.loads(row["tags"]))
        told = [Triggered(*[row[name] for name in Triggered._fields]) for row in rows if row["table_name"]]
        return Batch([row["id"] for row in rows], tuple(tags), changes_of(connection, told, cache, names))

    def delete(self, connection: Connection, rows: Sequence[str]) -> None:
        """They were purged."""
        connection.execute(delete(self.table).where(self.table.c.id.in_(rows)), execution_options=_OWN)
