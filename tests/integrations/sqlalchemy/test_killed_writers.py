"""kill -9 of a process that commits through SQLAlchemy: whatever had been committed, nobody is answered from before it."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, select

from rcache.core.entry import Found
from rcache.stores.redis import RedisStore
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, budget, finish
from tests.integrations.sqlalchemy.writer import STEPS, counters, metadata, write
from tests.postgres import PostgresServer
from tests.servers import RedisServer

DRIVERS = ("psycopg", "asyncpg")
ROWS = 1000
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.integrations.sqlalchemy.writer", "asyncpg", "psycopg"])


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    name = postgres_server.create_database("killed")
    engine = create_engine(postgres_server.url("psycopg", name))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(counters), [{"id": row, "version": 0} for row in range(ROWS)])
    engine.dispose()
    return name


@pytest.fixture
def engine(postgres_server: PostgresServer, database: str) -> Iterator[Engine]:
    engine = create_engine(postgres_server.url("psycopg", database), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RedisHarness]:
    harness = RedisHarness(redis_server)
    yield harness
    await harness.close()


class Readers:
    """Two nodes that answer from the cache, and fill it from the database."""

    def __init__(self, engine: Engine, nodes: list[RedisStore]) -> None:
        self.engine = engine
        self.nodes = nodes
        self.answers = 0
        self.stale: list[tuple[int, int]] = []

    def version(self, row: int) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(counters.c.version).where(counters.c.id == row)).scalar_one())

    async def ask(self, row: int) -> None:
        """Each node answers: with nothing that is older than what had been committed before it was asked."""
        question = Question(f"/counter/{row}")
        for node in self.nodes:
            committed = self.version(row)
            found = await node.lookup(question, budget())
            if isinstance(found, Found):
                self.answers += 1
                if int(found.entry.body) < committed:
                    self.stale.append((int(found.entry.body), committed))
            elif found.start is not None:
                body = str(self.version(row)).encode()
                await finish(node, question, found, body, f"counter:{row}", "counter:*", lifetime=3600.0)


def start(
    harness: RedisHarness, server: PostgresServer, redis: RedisServer, database: str, driver: str, row: int, **how: Any
) -> tuple[BaseProcess, Any]:
    mine, theirs = processes.Pipe()
    namespace = harness.store.names.namespace
    arguments = (
        redis.url,
        namespace,
        server.url(driver, database),
        row,
        how.get("step"),
        how.get("with_hold", True),
        theirs,
    )
    process = processes.Process(target=write, args=arguments, daemon=True)
    process.start()
    theirs.close()
    return process, mine


async def readers(harness: RedisHarness, engine: Engine) -> Readers:
    return Readers(engine, [await harness.make(), await harness.second()])


@pytest.mark.parametrize("with_hold", [True, False], ids=["held", "unheld"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_killed_at_each_step_of_a_commit_it_leaves_nothing_stale(
    harness: RedisHarness,
    engine: Engine,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    database: str,
    driver: str,
    step: str,
    with_hold: bool,
) -> None:
    """Without the hold, one that is killed between COMMIT and purge leaves what nobody will ever flush."""
    nodes = await readers(harness, engine)
    row = DRIVERS.index(driver) * 100 + STEPS.index(step) * 10 + with_hold
    before = nodes.version(row)
    await nodes.ask(row)
    await nodes.ask(row)
    assert nodes.answers >= 2
    process, _ = start(harness, postgres_server, redis_server, database, driver, row, step=step, with_hold=with_hold)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert nodes.version(row) == before + (step in ("committed", "purged"))
    await nodes.ask(row)
    assert bool(nodes.stale) is (step == "committed" and not with_hold)


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.long)])
async def test_killed_at_any_moment_it_leaves_nothing_stale(
    harness: RedisHarness,
    engine: Engine,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    database: str,
    times: int,
) -> None:
    nodes = await readers(harness, engine)
    chosen = random.Random(times)
    for time_ in range(times):
        row = 300 + time_
        process, pipe = start(harness, postgres_server, redis_server, database, DRIVERS[time_ % 2], row)
        assert pipe.poll(30), "it never committed"
        until = time.monotonic() + chosen.random() * 0.05
        while time.monotonic() < until:
            await nodes.ask(row)
        process.kill()
        for _ in range(3):  # the database may still be at it
            await nodes.ask(row)
        process.join(30)
        await nodes.ask(row)
    assert nodes.stale == []
