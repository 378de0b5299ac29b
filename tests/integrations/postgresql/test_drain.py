"""Following the outbox: nothing is lost, whoever is away, dies or cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, event, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rcache import Cache, ConfigurationError
from rcache.core.changes import families
from rcache.integrations.postgresql import Drain, drain
from rcache.integrations.postgresql.drain import opened
from rcache.integrations.postgresql.listening import Listening
from rcache.integrations.sqlalchemy import track
from tests.contract.support import Question, body_of, fill
from tests.integrations.postgresql.bookshop import Bookshop
from tests.servers import RedisServer

PATIENCE = 60.0  # seconds; what is waited for is an event
NEVER = 3600.0  # seconds

# One connection is enough: the one that listens is none of the pool's.
SMALL: dict[str, Any] = {"pool_size": 1, "max_overflow": 0}
ENGINES: dict[str, Callable[[Bookshop], Any]] = {
    "asyncpg": lambda shop: create_async_engine(shop.url("asyncpg"), **SMALL),
    "psycopg_async": lambda shop: create_async_engine(shop.url("psycopg"), **SMALL),
    "psycopg": lambda shop: create_engine(shop.url("psycopg"), **SMALL),
}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, shop: Bookshop) -> AsyncIterator[Engine | AsyncEngine]:
    engine = ENGINES[request.param](shop)
    yield engine
    disposed = engine.dispose()
    if disposed is not None:
        await disposed


class Page:
    """An answer in the cache with the tag of a row."""

    def __init__(self, cache: Cache, tag: str = "book:1") -> None:
        self.cache = cache
        self.tag = tag
        self.question = Question(f"/{tag}")

    async def fill(self) -> None:
        await fill(self.cache.store, self.question, b"old", self.tag, *families([self.tag]))

    @property
    async def is_there(self) -> bool:
        return await body_of(self.cache.store, self.question) is not None

    async def gone(self) -> None:
        """Returns once it has been purged."""
        async with asyncio.timeout(PATIENCE):
            while await self.is_there:
                await asyncio.sleep(0.01)


@pytest.fixture
async def page(shop: Bookshop) -> Page:
    page = Page(shop.cache)
    await page.fill()
    return page


async def drained(follower: Drain, rows: int) -> None:
    """Returns once it has drained so many."""
    async with asyncio.timeout(PATIENCE):
        while follower.rows < rows:
            await asyncio.sleep(0.01)
    assert follower.rows == rows


def retitle(shop: Bookshop, row: int = 1) -> None:
    shop.run(f"UPDATE book SET title = title || '!' WHERE id = {row}")


async def test_who_follows_is_woken_when_a_writer_commits(shop: Bookshop, page: Page, engine: Any) -> None:
    async with drain(engine, shop.cache, poll=NEVER) as follower:
        await asyncio.to_thread(retitle, shop)
        await drained(follower, 1)
        await asyncio.to_thread(retitle, shop, 2)
        await drained(follower, 2)
        await page.fill()
        await asyncio.to_thread(retitle, shop)
        await page.gone()
        await drained(follower, 3)
    assert shop.rows == 0


async def test_who_cannot_be_woken_looks_now_and_then(shop: Bookshop, page: Page, engine: Any) -> None:
    async with drain(engine, shop.cache, poll=0.05, listen=False):
        assert "LISTEN" not in shop.run("SELECT string_agg(query, ';') FROM pg_stat_activity")
        for _ in range(2):
            await asyncio.to_thread(retitle, shop)
            await page.gone()
            await page.fill()


async def test_where_listening_is_refused_it_looks_now_and_then(
    shop: Bookshop, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(shop.url("psycopg"))

    @event.listens_for(engine, "before_cursor_execute")
    def refuse(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("LISTEN"):
            raise RuntimeError("cannot execute LISTEN during recovery")

    async with drain(engine, shop.cache, poll=0.05):
        await asyncio.to_thread(retitle, shop)
        await page.gone()
    assert "during recovery" in caplog.text
    engine.dispose()


async def test_it_ends_though_a_cancellation_was_lost(shop: Bookshop, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def losing(self: Drain) -> bool:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(NEVER)
        return True

    monkeypatch.setattr(Drain, "once", losing)
    async with asyncio.timeout(PATIENCE), drain(shop.url(), shop.cache, poll=NEVER, listen=False):
        await begun.wait()


async def test_it_ends_though_its_connections_are_gone(shop: Bookshop, engine: Any) -> None:
    async with asyncio.timeout(PATIENCE), drain(engine, shop.cache, poll=NEVER) as follower:
        retitle(shop)
        await drained(follower, 1)
        shop.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^LISTEN'")


async def test_a_connection_that_cannot_be_listened_on_is_not_kept(shop: Bookshop) -> None:
    engine = create_engine(shop.url("psycopg"), connect_args={"application_name": "ear"})

    @event.listens_for(engine, "before_cursor_execute")
    def fail(*_: Any) -> None:
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        async with Listening(engine):
            pass
    async with asyncio.timeout(PATIENCE):
        while shop.run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ear'") != "0":
            await asyncio.sleep(0.01)
    engine.dispose()


async def test_what_is_written_while_nobody_follows_is_purged_by_who_comes(
    shop: Bookshop, page: Page, engine: Any
) -> None:
    async with drain(engine, shop.cache, poll=NEVER) as follower:
        retitle(shop)
        await drained(follower, 1)
    await page.fill()
    retitle(shop)
    assert await page.is_there
    async with drain(engine, shop.cache, poll=NEVER) as follower:
        await drained(follower, 1)
    assert not await page.is_there


async def test_who_loses_the_database_comes_back(shop: Bookshop, page: Page, engine: Any) -> None:
    """And finds what was written meanwhile: whether it has lost all connections, or the one that listens."""
    async with drain(engine, shop.cache, poll=NEVER) as follower:
        retitle(shop)
        await drained(follower, 1)
        for lost in ("query ~ '^LISTEN'", "true"):
            await page.fill()
            shop.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND {lost}"
            )
            await asyncio.to_thread(retitle, shop)
            await page.gone()


async def test_many_followers_share_the_work(shop: Bookshop) -> None:
    """No row is purged twice, none is waited for, and none is left."""
    shop.run("DO 'BEGIN FOR n IN 1..400 LOOP INSERT INTO line VALUES (n, ''p'', 1); END LOOP; END'")
    async with contextlib.AsyncExitStack() as exits:
        drains = [await exits.enter_async_context(opened(shop.url(), shop.cache)) for _ in range(3)]
        assert all(await asyncio.gather(*[each.once() for each in drains]))
    assert sum(each.rows for each in drains) == 400
    assert shop.rows == 0


async def test_a_row_that_others_have_just_drained_is_no_error(shop: Bookshop) -> None:
    """As it would be to a transaction that goes on seeing what there was when it began."""
    retitle(shop)
    engine = create_engine(shop.url("psycopg"), isolation_level="REPEATABLE READ")

    @event.listens_for(engine, "begin")
    def look_and_lose(connection: Any) -> None:
        connection.exec_driver_sql("SELECT count(*) FROM rcache_outbox")
        shop.run("DELETE FROM rcache_outbox")

    async with opened(engine, shop.cache) as follower:
        assert await follower.once()
    assert follower.rows == 0
    engine.dispose()


async def test_who_is_busy_keeps_nobody_from_the_rest(shop: Bookshop) -> None:
    retitle(shop)
    engine = create_engine(shop.url("psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM rcache_outbox FOR UPDATE")
        retitle(shop, 2)
        async with opened(shop.url(), shop.cache) as follower, asyncio.timeout(PATIENCE):
            assert await follower.once()
        assert follower.rows == 1
    engine.dispose()
    assert shop.rows == 1


# Redis: real, and to be lost


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One that tests stop and pause."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
async def node(redis: RedisServer) -> AsyncIterator[Cache]:
    """A cache on it."""
    cache = Cache(redis.url, namespace=f"test-{secrets.token_hex(6)}", deadline=10.0, purge_timeout=0.5)
    yield cache
    await cache.close()


async def test_what_cannot_be_purged_stays_until_it_can(shop: Bookshop, node: Cache, redis: RedisServer) -> None:
    page = Page(node)
    await page.fill()
    retitle(shop)
    async with opened(shop.url(), node) as follower:
        redis.pause()
        try:
            assert not await follower.once()
        finally:
            redis.resume()
        assert shop.rows == 1
        assert follower.rows == 0
        async with asyncio.timeout(PATIENCE):
            while not await follower.once():
                pass
    await page.gone()
    assert shop.rows == 0


async def test_who_is_cancelled_has_let_go_of_the_database(shop: Bookshop, node: Cache, redis: RedisServer) -> None:
    """Also where a thread does the work, which cannot be cancelled."""
    engine = create_engine(shop.url("psycopg"))
    retitle(shop)
    async with opened(engine, node) as follower:
        redis.pause()
        try:
            work = asyncio.create_task(follower.once())
            async with asyncio.timeout(PATIENCE):
                while not await asyncio.to_thread(busy, shop):
                    await asyncio.sleep(0.01)
            work.cancel()
            await asyncio.wait([work])
            assert work.cancelled()
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        finally:
            redis.resume()
    engine.dispose()
    assert shop.rows == 1


async def command(shop: Bookshop, node: Cache, redis: RedisServer, *options: str) -> Process:
    where = ("--dsn", shop.url(""), "--url", redis.url, "--namespace", node.store.names.namespace)  # type: ignore[attr-defined]
    arguments = ("-m", "rcache.cli", "pg", "drain", *where, *options)
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=PIPE)


async def test_who_is_killed_in_mid_purge_leaves_the_row_to_others(
    shop: Bookshop, node: Cache, redis: RedisServer
) -> None:
    """It has the row, and waits for Redis."""
    page = Page(node)
    await page.fill()
    follower = await command(shop, node, redis)
    try:
        retitle(shop)
        await page.gone()  # it is at work
        await page.fill()
        redis.pause()
        await asyncio.to_thread(retitle, shop)
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(busy, shop):
                await asyncio.sleep(0.01)
        follower.send_signal(signal.SIGKILL)
        await follower.wait()
    finally:
        redis.resume()
    assert shop.rows == 1
    async with opened(shop.url(), node) as other:
        assert await other.once()
    assert other.rows == 1
    assert not await page.is_there
    assert shop.rows == 0


def busy(shop: Bookshop) -> bool:
    """Whether somebody has a row of the outbox, and does something else."""
    held = "SELECT count(*) FROM rcache_outbox"
    free = f"{held.replace('count(*)', '*')} FOR UPDATE SKIP LOCKED"
    return shop.run(f"SELECT ({held}) - (SELECT count(*) FROM ({free}) AS free)") == "1"


async def test_the_command_ends_when_it_is_told_to(shop: Bookshop, node: Cache, redis: RedisServer) -> None:
    page = Page(node)
    await page.fill()
    follower = await command(shop, node, redis, "--poll", "1h")
    await asyncio.to_thread(retitle, shop)
    await page.gone()
    follower.send_signal(signal.SIGTERM)
    assert (await follower.communicate())[1] == b""
    assert follower.returncode == 0


# Beside the tracker


async def retitle_tracked(engine: AsyncEngine, books: Table) -> None:
    async with engine.begin() as connection:
        await connection.execute(update(books).where(books.c.id == 1).values(title=books.c.title + "?"))


@pytest.fixture
def books() -> Table:
    columns = Column("id", Integer, primary_key=True), Column("author_id", Integer), Column("title", Text)
    return Table("book", MetaData(), *columns, info={"cache_tag": "tome"})


async def test_a_tracked_application_purges_at_its_commit_and_others_are_followed(shop: Bookshop, books: Table) -> None:
    """Under the names that its models have."""
    engine = create_async_engine(shop.url())
    tracking = track(engine, books.metadata, cache=shop.cache)
    page = Page(shop.cache, "tome:1")
    await page.fill()
    async with opened(engine, shop.cache) as follower:
        await retitle_tracked(engine, books)
        assert not await page.is_there
        by_tracker = shop.purged.pop()
        assert await follower.once()
        assert shop.purged.pop() == by_tracker
        await page.fill()
        retitle(shop)
        assert await page.is_there
        assert await follower.once()
        assert not await page.is_there
        assert follower.rows == 2
    tracking.untrack()
    await engine.dispose()


async def test_the_tracker_s_own_rows_are_in_the_same_outbox(shop: Bookshop, books: Table) -> None:
    """Its COMMIT does not wait for somebody who has one of them in hand."""
    impatient = {"server_settings": {"lock_timeout": "2s"}}
    engine = create_async_engine(shop.url(), connect_args=impatient)
    tracking = track(engine, books.metadata, cache=shop.cache, durable="outbox")
    page = Page(shop.cache, "tome:1")
    await retitle_tracked(engine, books)
    other = create_engine(shop.url("psycopg"))
    with other.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM rcache_outbox FOR UPDATE")
        await retitle_tracked(engine, books)
    other.dispose()
    shop.run("DELETE FROM rcache_outbox WHERE tags IS NULL")
    assert shop.rows == 2
    await page.fill()
    assert await tracking.drain() == 2
    assert not await page.is_there
    retitle(shop)
    await page.fill()
    assert await tracking.drain() == 1, "what triggers have written is drained along"
    assert not await page.is_there
    tracking.untrack()
    await engine.dispose()


async def test_models_may_be_named_where_nothing_is_tracked(shop: Bookshop, books: Table) -> None:
    retitle(shop)
    assert await shop.drained(metadata=books.metadata) >= {"tome", "tome:1"}
    assert shop.cache.changes.tables == []


# What cannot work


async def test_what_cannot_work_is_refused(shop: Bookshop) -> None:
    for source in ("sqlite://", "mysql://x", "no url: secret", "postgresql+psycopg2://localhost/x"):
        with pytest.raises(ConfigurationError) as refused:
            async with drain(source, shop.cache):
                pass
        assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="poll"):
        async with drain(shop.url(), shop.cache, poll=0):
            pass
    sqlite = create_engine("sqlite://")
    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        async with drain(sqlite, shop.cache):
            pass


async def test_a_missing_outbox_is_told_and_waited_for(shop: Bookshop, caplog: pytest.LogCaptureFixture) -> None:
    async with drain(shop.url(), shop.cache, schema="other.one", poll=NEVER) as follower:
        async with asyncio.timeout(PATIENCE):
            while "rcache_outbox" not in caplog.text:
                await asyncio.sleep(0.01)
        shop.run(
            'CREATE TABLE "other.one".rcache_outbox (LIKE rcache_outbox)',
            "INSERT INTO \"other.one\".rcache_outbox (id, table_schema, table_name) VALUES (1, 'public', 'book')",
        )
        await drained(follower, 1)
    shop.run('DROP TABLE "other.one".rcache_outbox')
