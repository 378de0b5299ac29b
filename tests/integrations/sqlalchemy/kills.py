"""Writers that are killed, and what nodes then answer: one without a near cache, two with strict ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import create_engine, insert, select

from tests.integrations.sqlalchemy.writer import counters, metadata, write
from tests.nodes.processes import Node
from tests.postgres import PostgresServer

DRIVERS = ("psycopg", "asyncpg")
NEAR = ("", "strict", "strict")
ROWS = 1000
MOMENTS = 0.05  # seconds after its first COMMIT within which a writer is killed
APPLICATION = "tests.integrations.sqlalchemy.counting:app"

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.integrations.sqlalchemy.writer", "asyncpg", "psycopg"])


class Scene:
    """Rows in PostgreSQL, and nodes that show them."""

    def __init__(self, postgres: PostgresServer, database: str, redis: str, namespace: str) -> None:
        self._urls = {driver: postgres.url(driver, database) for driver in DRIVERS}
        self._redis = redis
        self._namespace = namespace
        engine = create_engine(self._urls["psycopg"], isolation_level="AUTOCOMMIT")
        metadata.create_all(engine)
        self._connection = engine.connect()
        self._connection.execute(insert(counters), [{"id": row, "version": 0} for row in range(ROWS)])
        environment = {"RCACHE_URL": redis, "NAMESPACE": namespace, "DATABASE": self._urls["asyncpg"]}
        with ThreadPoolExecutor() as pool:
            self._nodes = list(pool.map(lambda near: Node(APPLICATION, **environment, NEAR=near), NEAR))
        self.tally: Counter[str] = Counter()
        self.stale: list[tuple[int, int, int]] = []
        """Node, version, and the one that had been committed when it was asked."""

    def version(self, row: int) -> int:
        """What is committed."""
        return int(self._connection.execute(select(counters.c.version).where(counters.c.id == row)).scalar_one())

    def ask(self, row: int) -> None:
        """Each node answers: with nothing that is older than what had been committed before it was asked."""
        for number, node in enumerate(self._nodes):
            committed = self.version(row)
            reply = node.get(f"/counters/{row}")
            assert reply.status == 200, reply.body
            self.tally["answers"] += 1
            self.tally["hits"] += "; hit" in reply.cache
            if int(reply.body) < committed:
                self.stale.append((number, int(reply.body), committed))

    def start(
        self, driver: str, row: int, *, step: str | None = None, with_hold: bool = True
    ) -> tuple[BaseProcess, Any]:
        """A writer, and a pipe that tells of each COMMIT that has been purged."""
        mine, theirs = processes.Pipe()
        arguments = (self._redis, self._namespace, self._urls[driver], row, step, with_hold, theirs)
        process = processes.Process(target=write, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return process, mine

    def kill_one(self, row: int, moment: float, *, with_hold: bool) -> None:
        """Kills a writer some time after its first COMMIT, while readers ask."""
        process, pipe = self.start(DRIVERS[row % 2], row, with_hold=with_hold)
        assert pipe.poll(60), "it never committed"
        until = time.monotonic() + moment
        while time.monotonic() < until:
            self.ask(row)
        process.kill()
        for _ in range(3):  # the database may still be at it
            self.ask(row)
        process.join(60)
        self.ask(row)
        self.tally["kills"] += 1

    def close(self) -> None:
        """Ends the nodes."""
        for node in self._nodes:
            node.stop()
        self._connection.close()
        self._connection.engine.dispose()


@contextlib.contextmanager
def scene(postgres: PostgresServer, database: str, redis: str, namespace: str) -> Iterator[Scene]:
    """For a while."""
    made = Scene(postgres, postgres.create_database(database), redis, namespace)
    try:
        yield made
    finally:
        made.close()


def kill(place: Scene, first: int, times: int, *, with_hold: bool) -> dict[str, Any]:
    """Kills as many writers at random moments, each on a row of its own; what was counted."""
    place.tally.clear()
    place.stale.clear()
    chosen = random.Random(times)
    for row in range(first, first + times):
        place.kill_one(row, chosen.random() * MOMENTS, with_hold=with_hold)
    return {"with_hold": with_hold, **place.tally, "stale": len(place.stale)}
