"""`durable="outbox"`: what a COMMIT flushes is committed with it, so that it outlives the writer and an outage of Redis together.

A hold covers a writer that dies; where Redis could not be reached before COMMIT there is none, and the purge waits in a process
that may die too. So the tags are a row of the writer's own transaction. The row goes with a later transaction once its purge has
landed, and `drain` purges what was left.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, delete, insert, select

from rcache.integrations.sqlalchemy.images import OWN

NAME: Final = "rcache_outbox"
BATCH: Final = 100
"""Rows that one transaction deletes, and that one step of a drain purges."""

_OWN: Final = {OWN: True}


def outbox_table(metadata: MetaData) -> Table:
    """The table, which is made with the metadata's others."""
    found = metadata.tables.get(NAME)
    if found is not None:
        return found
    return Table(NAME, metadata, Column("id", String(32), primary_key=True), Column("tags", Text, nullable=False))


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
            connection.execute(delete(self.table).where(self.table.c.id.in_(done)), execution_options=_OWN)
        row = {"id": secrets.token_hex(16), "tags": json.dumps(sorted(tags))}
        connection.execute(insert(self.table).values(row), execution_options=_OWN)
        return row["id"]

    def landed(self, row: str) -> None:
        """Its purge has landed."""
        self._landed.append(row)

    def left(self, connection: Connection) -> dict[str, list[str]]:
        """A batch of rows, with their tags; nobody else is given the same ones meanwhile."""
        query = select(self.table.c.id, self.table.c.tags).limit(BATCH).with_for_update(skip_locked=True)
        rows = connection.execute(query, execution_options=_OWN).fetchall()
        return {row.id: json.loads(row.tags) for row in rows}

    def delete(self, connection: Connection, rows: Sequence[str]) -> None:
        """They were purged."""
        connection.execute(delete(self.table).where(self.table.c.id.in_(rows)), execution_options=_OWN)
