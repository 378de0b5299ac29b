"""A writer under chaos: raises versions in PostgreSQL, and publishes them on the board as soon as rcache's promise begins.

Items with an odd number are written through a tracked ORM session, some by hand inside `cache.writing`: the promise (P2) begins
with the COMMIT. Those with an even number are invalidated after it: the promise begins when `invalidate` has returned (P1).
`on_outage="abort"`: what cannot be held is not committed, what has not landed raises, and nothing was promised. The process
kills itself at a step now and then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import asyncpg
from sqlalchemy.exc import DBAPIError

from rcache import BackendError, Cache
from tests.chaos.board import GROUP, ITEMS, Board, is_held
from tests.chaos.events import EventHandler, Events
from tests.chaos.orm import RolledBackError, Tracked
from tests.chaos.ways import lead_through_links

TASKS = 3
BY_HAND = 0.2  # of what is held
UPDATE = "UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version"


class Writer:
    """Several tasks that write, each on a connection of its own."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.board = Board(Path(os.environ["CHAOS_BOARD"]))
        self.events = Events(Path(os.environ["CHAOS_EVENTS"]), f"writer{column}")
        self.longest_commit = float(os.environ["CHAOS_COMMIT"])
        self.pause = float(os.environ["CHAOS_WRITER_PAUSE"])
        self.forgets = bool(os.environ["CHAOS_FORGETS"])
        self.kills = float(os.environ["CHAOS_WRITER_KILLS"])
        self.cache = Cache(
            namespace="chaos",
            near="strict",
            near_lease=float(os.environ["CHAOS_LEASE"]),
            commit_timeout=self.longest_commit,
            on_outage="abort",
        )
        self.tracked = Tracked(self, os.environ["CHAOS_POSTGRES"])

    async def run(self) -> None:
        """Until the board says that it is over."""
        await asyncio.gather(*(self._work() for _ in range(TASKS)))
        await self.tracked.close()
        await self.cache.close()

    async def _work(self) -> None:
        connection = await asyncpg.connect(os.environ["CHAOS_POSTGRES"], command_timeout=20)
        while not self.board.is_over:
            item = random.randrange(ITEMS)
            try:
                if not is_held(item):
                    await self._invalidate(connection, item)
                elif random.random() < BY_HAND:
                    await self._hold(connection, item)
                else:
                    await self._track(item)
            except BackendError as error:
                self.events.note(f"outage ({str(error)[:80]}) items={item}")
                await asyncio.sleep(0.1)
            except RolledBackError:
                self.events.note(f"rolled back items={item}")
            except (TimeoutError, asyncpg.DeadlockDetectedError, DBAPIError) as error:
                # Others have locked rows, one after the other or each other's, while they wait for the cache. Where SQLAlchemy
                # tells of it, asyncpg's errors are of no kind; what went wrong otherwise stands in the events.
                self.events.note(f"locked out ({str(error)[:80]!r}) items={item}")
            await asyncio.sleep(self.pause * 2 * random.random())
        await connection.close()

    async def _invalidate(self, connection: asyncpg.Connection, item: int) -> None:
        version = await connection.fetchval(UPDATE, item)
        self.events.note(f"committed {version} items={item}")
        self.perhaps_die()
        if self.forgets:
            self.board.publish(self.column, item, version)
            return
        if random.random() < 0.8:
            purged = await self.cache.invalidate(f"item:{item}")
        else:
            purged = await asyncio.to_thread(self.cache.invalidate_sync, f"item:{item}")
        if purged.landed:
            self.board.publish(self.column, item, version)
            self.events.note(f"invalidated {version} as {purged.sequence} items={item}")

    async def _track(self, item: int) -> None:
        first = item - item % GROUP
        same_page = [other for other in range(first, first + GROUP) if is_held(other) and other != item]
        await self.tracked.write([item, *random.sample(same_page, random.choice((0, 1)))])
        self.perhaps_die()
        self.events.note(f"purged for a session items={item}")

    def committed(self, item: int, version: int, began: float) -> None:
        """A session's COMMIT has landed, and nobody has purged yet."""
        self._landed(item, version, began)
        self.events.note(f"tracked {version} items={item}")

    def _landed(self, item: int, version: int, began: float) -> None:
        if time.monotonic() - began < self.longest_commit:
            self.board.publish(self.column, item, version)
        else:  # longer than what the writer told rcache: nothing was promised
            self.events.note(f"late commit {version} items={item}")

    async def _hold(self, connection: asyncpg.Connection, item: int) -> None:
        async with self.cache.writing(f"item:{item}") as write:
            self.events.note(f"holds {write.hold.transaction} items={item}")
            transaction = connection.transaction()
            await transaction.start()
            try:
                self.perhaps_die()
                version = await connection.fetchval(UPDATE, item)
                if random.random() < 0.05:
                    raise RolledBackError
                began = time.monotonic()
                await write.confirm()
            except BaseException:
                await transaction.rollback()
                raise
            self.perhaps_die()
            write.unknown()
            await transaction.commit()
            self._landed(item, version, began)
            self.events.note(f"committed {version}, held by {write.hold.transaction} items={item}")
            self.perhaps_die()
            if random.random() < 0.1:
                await asyncio.sleep(0.1 * random.random())
        self.events.note(f"purged {version} as {write.purged and write.purged.sequence} items={item}")

    def perhaps_die(self) -> None:
        """It kills itself now and then."""
        if random.random() < self.kills:
            self.events.note("kills itself")
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """One writer, in the column that it is told."""
    lead_through_links()
    writer = Writer(int(sys.argv[1]))
    logging.getLogger("rcache").addHandler(EventHandler(writer.events))
    logging.getLogger("rcache").setLevel(logging.INFO)
    asyncio.run(writer.run())


if __name__ == "__main__":
    main()
