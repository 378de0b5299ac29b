"""What `track` promises besides: when it may be called, how a hold lives, what is told of statements out of the ordinary."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from rcache import Cache
from rcache.core.changes import families
from rcache.integrations.sqlalchemy import track
from tests.contract.support import Question, body_of, fill
from tests.integrations.sqlalchemy.harness import World, enforce_foreign_keys
from tests.integrations.sqlalchemy.library import PAGES, Base, Book, Loan, Org, User
from tests.integrations.sqlalchemy.writes import all_of
from tests.servers import RedisServer

BOOK_1 = {"book", "book:1", "book?author_id=1"}


def retitle(session: Session, book: int = 1) -> None:
    session.execute(update(Book).where(Book.id == book).values(title=Book.title + "!"))


def instead_of_commit(world: World, commit: Callable[[Callable[[], None]], None]) -> None:
    """Where COMMIT would be sent, this is called with what sends it."""
    originals = world.tracking._followed._originals
    original = originals["do_commit"]
    originals["do_commit"] = lambda connection: commit(lambda: original(connection))


async def stored(cache: Cache, *tags: str) -> None:
    for tag in tags:
        await fill(cache.store, Question("/" + tag.replace("?", "~")), b"old", tag, *families([tag]))


async def gone(cache: Cache, *tags: str) -> set[str]:
    return {tag for tag in tags if await body_of(cache.store, Question("/" + tag.replace("?", "~"))) is None}


# When


async def test_tables_and_models_may_come_after_track(tmp_path: Path) -> None:
    class Later(DeclarativeBase):
        pass

    engine = create_engine(f"sqlite:///{tmp_path / 'later.sqlite3'}")
    cache = Cache("memory://")
    tracking = track(engine, Later.metadata, cache=cache)

    class Note(Later):
        __tablename__ = "note"
        __cache_tag__ = "memo"
        id: Mapped[int] = mapped_column(primary_key=True)

    plain = Table("plain", Later.metadata, Column("id", Integer, primary_key=True))
    Later.metadata.create_all(engine)
    await stored(cache, "memo", "memo:1", "memo:2", "plain", "plain:1", "plain:2")
    with Session(engine) as session:
        session.add(Note(id=1))
        session.execute(plain.insert().values(id=2))
        session.commit()
    assert await gone(cache, "memo", "memo:1", "memo:2", "plain", "plain:1", "plain:2") == {
        "memo",
        "memo:1",
        "plain",
        "plain:2",
    }
    tracking.untrack()
    engine.dispose()
    await cache.close()


async def test_the_same_metadata_may_be_tracked_on_several_engines(make_world: Any) -> None:
    one: World = make_world("sqlite")
    other: World = make_world("psycopg")
    tracking = track(other.engine, Base.metadata, cache=one.cache)
    await one.warm()
    await one.run(lambda s: (retitle(s, 1), s.commit()))
    assert await one.flushed() == BOOK_1
    await other.run(lambda s: (s.execute(update(Org).where(Org.id == 1).values(name="x")), s.commit()))
    assert await one.flushed() == BOOK_1 | {"org", "org:1"}
    tracking.untrack()
    await other.run(lambda s: (s.execute(update(Org).where(Org.id == 2).values(name="x")), s.commit()))
    assert await one.flushed() == BOOK_1 | {"org", "org:1"}
    assert other.cache.stats.purges == 2


# How a hold lives


async def test_a_hold_is_renewed_while_commit_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = threading.Event()
    renewals = world.cache.holds.renewals
    monkeypatch.setattr(renewals, "_interval", 0.01)
    hold_sync = world.cache.store.hold_sync

    def hold(*arguments: Any) -> Any:
        if threading.current_thread() is renewals._thread:
            renewed.set()
        return hold_sync(*arguments)

    monkeypatch.setattr(world.cache.store, "hold_sync", hold)

    def commit(send: Callable[[], None]) -> None:
        renewed.clear()
        assert renewed.wait(30)
        send()
        renewed.clear()
        assert renewed.wait(30), "also after it has landed, until it is purged"

    instead_of_commit(world, commit)
    await world.run(lambda s: (retitle(s), s.commit()))
    assert not renewals._due
    assert await world.flushed() == BOOK_1


async def test_each_transaction_holds_under_an_id_of_its_own(world: World) -> None:
    """One that is released, or has purged, ends no other's hold on the same tag."""
    other = world.cache.holds.begin()
    await other.place(["book:1"])
    await world.run(lambda s: (retitle(s), s.commit()))
    held = {tag: holders for guard in world.cache.store._guards.values() for tag, holders in guard.holds.items()}  # type: ignore[attr-defined]
    assert {tag: set(holders) for tag, holders in held.items()} == {"book:1": {other.transaction}}
    await other.release()


def test_code_without_a_loop_needs_none(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'library.sqlite3'}")
    Base.metadata.create_all(engine)
    cache = Cache(redis_server.url, namespace="no-loop")
    tracking = track(engine, Base.metadata, cache=cache)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an event loop was asked for")

    with monkeypatch.context() as patched:
        for name in ("new_event_loop", "get_event_loop", "run"):
            patched.setattr(asyncio, name, refuse)
        with Session(engine) as session:
            session.add(Org(id=1, name="a"))
            session.commit()
            session.add(Org(id=2, name="a"))
            session.flush()
            session.rollback()
        assert cache.stats.purges == 1
        tracking.untrack()
        engine.dispose()
        cache.close_sync()


# Statements out of the ordinary


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_cte_that_writes_is_told_of_its_table(make_world: Any, driver: str) -> None:
    world: World = make_world(driver)
    await world.warm()
    moved = update(Loan).where(Loan.id == 1).values(book_id=3).returning(Loan.id).cte("moved")
    await world.run(lambda s: (s.execute(select(moved)).all(), s.commit()))
    assert await world.flushed() == set(all_of("lending").split())
    assert world.tracking.table_level == {"a CTE that writes": 1}


async def test_a_procedure_may_write_to_every_table(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()
    await world.run(lambda s: (s.execute(text("DO $$ BEGIN UPDATE line SET quantity = 9; END $$")), s.commit()))
    assert set(PAGES) - await world.flushed() == {"other", "other:1"}


async def test_an_alias_that_is_written_to_is_told_of_its_table(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()
    table = aliased(Loan.__table__, name="l")
    await world.run(lambda s: (s.connection().execute(update(table).values(book_id=3)), s.commit()))
    assert await world.flushed() == set(all_of("lending").split())
    assert world.tracking.table_level == {"another form of table": 1}


async def test_a_prefix_makes_it_a_change_of_the_table(make_world: Any) -> None:
    world: World = make_world("pymysql")
    await world.warm()
    statement = update(Loan).prefix_with("IGNORE").where(Loan.id == 1).values(book_id=3)
    await world.run(lambda s: (s.execute(statement), s.commit()))
    assert await world.flushed() == set(all_of("lending").split())
    assert world.tracking.table_level == {"a prefix": 1}


async def test_a_unique_value_that_others_refer_to_takes_them_along(tmp_path: Path) -> None:
    """Other than by a primary key the row itself can be told; whoever keeps the value is told of its whole table."""
    metadata = MetaData()
    rack = Table(
        "rack", metadata, Column("id", Integer, primary_key=True), Column("code", String, unique=True, nullable=False)
    )
    key = ForeignKey("rack.code", onupdate="CASCADE")
    place = Table("place", metadata, Column("id", Integer, primary_key=True), Column("code", key))
    engine = create_engine(f"sqlite:///{tmp_path / 'racks.sqlite3'}")
    event.listen(engine, "connect", enforce_foreign_keys)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(rack), [{"id": 1, "code": "a"}, {"id": 2, "code": "b"}])
        connection.execute(insert(place), [{"id": 1, "code": "a"}, {"id": 2, "code": "b"}])
    cache = Cache("memory://")
    tracking = track(engine, metadata, cache=cache)
    tags = ("rack", "rack:1", "rack:2", "rack?code=a", "rack?code=c", "place", "place:1", "place:2", "place?code=b")
    await stored(cache, *tags)
    with engine.begin() as connection:
        connection.execute(update(rack).where(rack.c.id == 1).values(code="c"))
    assert await gone(cache, *tags) == set(tags) - {"rack:2"}
    assert tracking.table_level == {"a referenced key changed": 1}
    tracking.untrack()
    engine.dispose()
    await cache.close()


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE line", "ALTER TABLE line ADD COLUMN IF NOT EXISTS more integer", "DROP TABLE IF EXISTS none"],
)
async def test_what_changes_or_empties_tables_flushes_all_that_is_tracked(make_world: Any, statement: str) -> None:
    """On a bare connection, as migrations and restores do."""
    world: World = make_world("psycopg")
    await world.warm()

    def work(connection: Any) -> None:
        connection.exec_driver_sql(statement)
        assert not world.cache.stats.purges
        connection.commit()

    await world.run_on_connection(work)
    assert set(PAGES) - await world.flushed() == {"other", "other:1"}
    with world.plain.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE line DROP COLUMN IF EXISTS more")


async def test_tables_of_a_schema_are_told_apart_from_others_of_their_name(make_world: Any) -> None:
    world: World = make_world("psycopg")
    metadata = MetaData()
    tables = [
        Table("thing", metadata, Column("id", Integer, primary_key=True), schema=schema, info={"cache_tag": tag})
        for schema, tag in (("one", "thing-1"), ("two", "thing-2"))
    ]
    with world.plain.begin() as connection:
        for table in tables:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {table.schema}"))
        metadata.drop_all(connection)
        metadata.create_all(connection)
    cache = Cache("memory://")
    tracking = track(world.engine, metadata, cache=cache)
    tags = ("thing-1", "thing-1:1", "thing-1:2", "thing-2", "thing-2:1")
    await stored(cache, *tags)
    with world.engine.begin() as connection:
        connection.execute(insert(tables[0]).values(id=1))
    assert await gone(cache, *tags) == {"thing-1", "thing-1:1"}
    with world.engine.begin() as connection:
        connection.execute(delete(tables[0]))
        connection.execute(text("DELETE FROM two.thing"))
    assert await gone(cache, *tags) >= {"thing-2", "thing-2:1"}
    tracking.untrack()
    await cache.close()


async def test_a_user_s_table_quoted_in_text_is_found(world: World) -> None:
    quoted = "`user`" if world.driver in ("pymysql", "asyncmy") else '"user"'
    await world.run(lambda s: (s.execute(text(f"UPDATE {quoted} SET name = 'x' WHERE id = 1")), s.commit()))
    assert await world.flushed() == set(all_of("user").split())
    assert User.__tablename__ == "user"


def test_a_class_that_could_not_be_mapped_is_in_nobody_s_way():
    """Its application survived the error, and the registry keeps the class."""

    class Shelf(DeclarativeBase): ...

    class Case(Shelf):
        __tablename__ = "case"
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(InvalidRequestError) as kept:
        type("Again", (Shelf,), {"__tablename__": "case", "id": mapped_column(Integer, primary_key=True)})
    engine = create_engine("sqlite://")
    Shelf.metadata.create_all(engine)
    cache = Cache("memory://")
    track(engine, Shelf.metadata, cache=cache)
    with Session(engine) as session:
        session.add(Case(id=1))
        session.commit()
    assert cache.stats.purges == 1
    cache.close_sync()
    del kept  # its traceback is what still knows the class
