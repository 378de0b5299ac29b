"""However a transaction is shaped: flushed is what committed, when it has committed, and held from before it does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy import MetaData, delete, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from rcache import BackendError, Cache, Change, ConfigurationError, signals, touch, touch_sync, touch_table
from rcache.current import RequestScope, request_scope
from rcache.integrations.sqlalchemy import track, untrack
from tests.contract.support import body_of
from tests.integrations.sqlalchemy.harness import ASYNC, World, plain_engine
from tests.integrations.sqlalchemy.library import PAGES, Base, Book, Loan, Org, Review, User

BOOK_1 = {"book", "book:1", "book?author_id=1"}
BOOK_2 = {"book", "book:2", "book?author_id=1"}


def retitle(session: Session, book: int = 1) -> None:
    session.execute(update(Book).where(Book.id == book).values(title=Book.title + "!"))


async def test_of_two_savepoints_the_one_that_stays_is_flushed(world: World) -> None:
    def work(s: Session) -> None:
        savepoint = s.begin_nested()
        retitle(s, 3)
        savepoint.rollback()
        with s.begin_nested():
            retitle(s, 1)
        s.commit()

    await world.run(work)
    assert await world.flushed() == BOOK_1


async def test_a_session_inside_somebody_else_s_transaction_flushes_with_that(world: World) -> None:
    """`session.commit()` ends nothing there, whichever way it has joined."""

    def work(connection: Any) -> None:
        transaction = connection.begin()
        for mode in ("create_savepoint", "rollback_only"):
            with Session(connection, join_transaction_mode=mode) as session:
                retitle(session)
                session.commit()
            assert "rcache_pending" in connection.info
            assert connection.info["rcache_pending"].is_dirty
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            retitle(session, 3)
            session.rollback()
        assert not world.cache.stats.purges
        transaction.commit()

    await world.run_on_connection(work)
    assert await world.flushed() == BOOK_1


async def test_a_transaction_around_sessions_that_is_rolled_back_flushes_nothing(world: World) -> None:
    def work(connection: Any) -> None:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            retitle(session)
            session.commit()
        transaction.rollback()

    await world.run_on_connection(work)
    assert await world.flushed() == set()


async def test_two_sessions_on_one_connection_commit_together(world: World) -> None:
    def work(connection: Any) -> None:
        one = Session(connection, join_transaction_mode="control_fully")
        other = Session(connection, join_transaction_mode="control_fully")
        retitle(one, 1)
        retitle(other, 2)
        one.commit()
        one.close()
        other.close()

    await world.run_on_connection(work)
    assert await world.flushed() == BOOK_1 | BOOK_2


async def test_the_stale_copy_of_a_session_hides_nothing(world: World) -> None:
    """The session still believes that book 1 is by author 1; it has gone to 2 and now goes to 3."""

    def work(s: Session) -> None:
        book = s.get(Book, 1)
        s.commit()
        s.expire_on_commit = False
        s.refresh(book)
        s.commit()
        with Session(world.plain) as elsewhere:
            elsewhere.get(Book, 1).author_id = 2
            elsewhere.commit()
        assert book.author_id == 1
        book.author_id = 3
        s.commit()

    await world.run(work)
    assert await world.flushed() == {"book", "book:1", "book?author_id=2", "book?author_id=3"}


@pytest.mark.parametrize("driver", ["sqlite", "psycopg"])
async def test_a_writer_between_image_and_write_waits(make_world: Any, driver: str) -> None:
    """SQLite takes no row locks, and its driver opens no transaction for a SELECT: the write lock comes first."""
    world: World = make_world(driver)
    await world.warm()
    impatient = {"options": "-c lock_timeout=50"} if driver == "psycopg" else {"timeout": 0}
    other = plain_engine(world.sync_url, connect_args=impatient)

    def meddle(connection: Any, element: Any, *_: Any) -> None:
        if getattr(element, "is_select", False):
            with pytest.raises(DBAPIError, match="lock"), other.begin() as connection_of_another:
                connection_of_another.execute(update(Book).where(Book.id == 1).values(author_id=3))
            meddled.append(element)

    meddled: list[Any] = []
    event.listen(world.engine, "after_execute", meddle)
    await world.run(lambda s: (s.execute(update(Book).where(Book.id == 1).values(author_id=2)), s.commit()))
    assert len(meddled) == 2, "one image before, one after"
    assert await world.flushed() == BOOK_1 | {"book?author_id=2"}
    other.dispose()


async def test_a_row_that_came_between_image_and_write_makes_it_a_change_of_the_table(make_world: Any) -> None:
    """Locks hold what is there; what another has inserted meanwhile, an UPDATE under READ COMMITTED changes as well."""
    world: World = make_world("psycopg")
    await world.warm()

    def meddle(connection: Any, element: Any, *_: Any) -> None:
        if getattr(element, "is_select", False) and not meddled:
            meddled.append(element)
            with world.plain.begin() as connection_of_another:
                connection_of_another.execute(insert(Book).values(id=4, author_id=1, title="between"))

    meddled: list[Any] = []
    event.listen(world.engine, "after_execute", meddle)
    statement = update(Book).where(Book.author_id == 1).values(title="x").execution_options(synchronize_session=False)
    await world.run(lambda s: (s.execute(statement), s.commit()))
    assert world.tracking.table_level == {"another number of rows than imaged": 1}
    assert "book:4" in await world.flushed()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg", "pymysql"])
@pytest.mark.parametrize("form", ["joined", "subquery", "returning", "deleted"])
async def test_other_rows_that_another_table_chose_meanwhile_are_not_missed(
    make_world: Any, driver: str, form: str
) -> None:
    """One row was imaged and one was changed, and it is another one: the number alone does not tell."""
    if driver == "pymysql" and form in ("returning", "joined"):
        pytest.skip("MariaDB has no UPDATE ... RETURNING, and locks what is joined as well")
    world: World = make_world(driver)
    with world.plain.begin() as connection:
        connection.execute(insert(Book).values(id=4, author_id=3, title="of Cy"))
    await world.warm()
    meddled: list[Any] = []

    def meddle(connection: Any, element: Any, *_: Any) -> None:
        if getattr(element, "is_select", False) and not meddled:
            meddled.append(element)
            with world.plain.begin() as other:
                other.execute(update(User).where(User.id == 2).values(name="Bert"))
                other.execute(update(User).where(User.id == 3).values(name="Bob"))

    event.listen(world.sync_engine, "after_execute", meddle)
    joined = (Book.author_id == User.id) & (User.name == "Bob")
    within = Book.author_id.in_(select(User.id).where(User.name == "Bob"))
    statement: Any = {
        "joined": update(Book).where(joined).values(title="x"),
        "subquery": update(Book).where(within).values(title="x"),
        "returning": update(Book).where(within).values(title="x").returning(Book.title),
        "deleted": delete(Book).where(within),
    }[form]
    options = {"synchronize_session": False}
    await world.run(lambda s: (s.execute(statement, execution_options=options), s.commit()))
    with Session(world.plain) as session:
        book = session.get(Book, 4)
        assert book is None or book.title == "x", "the other one"
    assert "book:4" in await world.flushed()
    assert set(world.tracking.table_level) == {"a WHERE that other rows decide"}


async def test_a_row_that_came_between_takes_along_what_refers_to_it(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()

    def meddle(connection: Any, element: Any, *_: Any) -> None:
        if getattr(element, "is_select", False) and not meddled:
            meddled.append(element)
            with world.plain.begin() as connection_of_another:
                connection_of_another.execute(insert(Book).values(id=4, author_id=2, title="between"))
                connection_of_another.execute(update(Review).where(Review.id == 1).values(book_id=4))

    meddled: list[Any] = []
    event.listen(world.engine, "after_execute", meddle)
    statement = delete(Book).where(Book.author_id == 2).execution_options(synchronize_session=False)
    await world.run(lambda s: (s.execute(statement), s.commit()))
    assert {"book:4", "review:1"} <= await world.flushed()


async def test_engines_with_options_of_their_own_are_tracked_with_the_one_they_come_from(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()
    with Session(world.engine.execution_options(isolation_level="REPEATABLE READ")) as session:
        retitle(session)
        session.commit()
    assert await world.flushed() == BOOK_1


async def test_rows_that_refer_to_one_which_is_updated_may_be_inserted_meanwhile(make_world: Any) -> None:
    """The image takes no stronger lock than the UPDATE itself."""
    world: World = make_world("psycopg")
    impatient = plain_engine(world.sync_url, connect_args={"options": "-c lock_timeout=50"})

    def work(s: Session) -> None:
        retitle(s)
        with impatient.begin() as connection:
            connection.execute(insert(Review).values(id=50, book_id=1))
        s.commit()

    await world.run(work)
    impatient.dispose()


async def test_the_release_of_a_savepoint_commits_nothing(world: World) -> None:
    """SQLite's driver opens no transaction for a savepoint, and then its release is the COMMIT."""

    def work(s: Session) -> None:
        with s.begin_nested():
            retitle(s)
        with Session(world.plain) as elsewhere:
            assert elsewhere.get(Book, 1).title == "A"
        s.commit()

    await world.run(work)
    assert await world.flushed() == BOOK_1


# Held, then purged


async def test_the_tags_are_held_while_commit_is_under_way(world: World) -> None:
    seen: list[set[str]] = []
    commit = world.sync_engine.dialect.do_commit

    def work(s: Session) -> None:
        retitle(s)
        followed = world.tracking._followed
        original = followed._originals["do_commit"]

        def looking(connection: Any) -> None:
            seen.append({tag for guard in world.cache.store._guards.values() for tag in guard.holds})  # type: ignore[attr-defined]
            original(connection)
            seen.append({tag for guard in world.cache.store._guards.values() for tag in guard.holds})  # type: ignore[attr-defined]

        followed._originals["do_commit"] = looking
        try:
            s.commit()
        finally:
            followed._originals["do_commit"] = original

    await world.run(work)
    assert commit is not None
    assert seen[0] == seen[1] >= BOOK_1
    assert not world.cache.holds.renewals._due
    assert await world.flushed() == BOOK_1


async def test_a_commit_that_fails_is_purged_and_stays_held(world: World) -> None:
    def work(s: Session) -> None:
        retitle(s)
        followed = world.tracking._followed
        original = followed._originals["do_commit"]

        def failing(connection: Any) -> None:
            raise ConnectionResetError

        followed._originals["do_commit"] = failing
        try:
            with pytest.raises(ConnectionResetError):
                s.commit()
        finally:
            followed._originals["do_commit"] = original

    await world.run(work)
    held = {tag for guard in world.cache.store._guards.values() for tag in guard.holds}  # type: ignore[attr-defined]
    assert held >= BOOK_1
    assert not world.cache.holds.renewals._due
    assert await world.flushed() == BOOK_1


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg"])
async def test_a_commit_that_the_database_refused_flushes_nothing(make_world: Any, driver: str) -> None:
    """A constraint that is checked at COMMIT: the answer is an error, and so there is no doubt what became of it."""
    world: World = make_world(driver)
    await world.warm()
    with world.plain.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS late (x INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        connection.execute(text("TRUNCATE late"))

    def work(s: Session) -> None:
        retitle(s)
        s.execute(text("INSERT INTO late VALUES (1), (1)"))
        with pytest.raises(IntegrityError):
            s.commit()
        s.rollback()

    await world.run(work)
    assert await world.flushed() == set()
    assert not world.cache.holds.renewals._due


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg"])
async def test_a_connection_lost_in_commit_leaves_the_hold(make_world: Any, driver: str) -> None:
    """A trigger that runs at COMMIT ends its own session: whether the change is there the writer is not told."""
    world: World = make_world(driver)
    await world.warm()
    with world.plain.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS fatal (x INTEGER)"))
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
            )
        )
        connection.execute(text("DROP TRIGGER IF EXISTS die ON fatal"))
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON fatal DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION die()"
            )
        )

    def work(s: Session) -> None:
        retitle(s)
        s.execute(text("INSERT INTO fatal VALUES (1)"))
        with pytest.raises(DBAPIError):
            s.commit()
        s.rollback()

    await world.run(work)
    assert await world.flushed() == BOOK_1
    held = {tag for guard in world.cache.store._guards.values() for tag in guard.holds}  # type: ignore[attr-defined]
    assert held >= BOOK_1


async def test_where_it_aborts_commit_is_not_sent_without_a_hold(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.cache._purger, "on_outage", "abort")

    def down(*_: Any) -> None:
        raise BackendError("down")

    async def down_async(*_: Any) -> None:
        raise BackendError("down")

    monkeypatch.setattr(world.cache.store, "hold_sync", down)
    monkeypatch.setattr(world.cache.store, "hold", down_async)

    def work(s: Session) -> None:
        retitle(s)
        with pytest.raises(BackendError, match="nothing is to be committed"):
            s.commit()

    await world.run(work)
    with Session(world.plain) as session:
        assert session.get(Book, 1).title == "A"
    assert await world.flushed() == set()


async def test_where_it_proceeds_the_commit_lands_and_its_purge_is_sent_until_it_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise BackendError("down")

    async def down_async(*_: Any, **__: Any) -> None:
        raise BackendError("down")

    monkeypatch.setattr(world.cache._purger, "timeout", 0.05)
    for name in ("hold_sync", "purge_sync"):
        monkeypatch.setattr(world.cache.store, name, down)
    for name in ("hold", "purge"):
        monkeypatch.setattr(world.cache.store, name, down_async)
    await world.run(lambda s: (retitle(s), s.commit()))
    assert world.cache.forbids(("book:1",)) == "purge-pending"
    monkeypatch.undo()
    await world.cache._purger.aclose()
    assert await world.flushed() == BOOK_1 | {tag for tag in world.tags if tag.startswith("book?")}, (
        "its schemes are unknown"
    )


# Shapes of connections


async def test_autocommit_flushes_with_each_statement(world: World) -> None:
    def work(connection: Any) -> None:
        connection.execute(insert(Org).values(id=3, name="c"))
        assert world.cache.stats.purges == 1
        connection.execute(text("UPDATE line SET quantity = 4"))
        assert world.cache.stats.purges == 2
        connection.execute(update(User).where(User.id == 1).values(name="x"))
        assert world.cache.stats.purges == 3
        with pytest.raises(IntegrityError):
            connection.execute(insert(Review).values(id=1, book_id=1))

    await world.run_on_connection(work, isolation_level="AUTOCOMMIT")
    flushed = await world.flushed()
    # What is read before such an UPDATE may have changed when it runs, so it is told of the table.
    assert {"org", "org:3", "line", "line:a:1", "user", "user:1", "user:2"} <= flushed
    assert world.tracking.table_level == {"SQL in text form": 1, "AUTOCOMMIT": 1}
    assert not flushed & {"org:1", "book", "review", "review:1"}
    assert not world.cache.holds.renewals._due


async def test_what_a_delete_takes_along_is_flushed_under_autocommit_too(world: World) -> None:
    statement = delete(Book).where(Book.id == 3)
    await world.run_on_connection(lambda c: c.execute(statement), isolation_level="AUTOCOMMIT")
    assert {"book", "book:3", "review", "review:2", "shelf:3", "lending", "lending:2"} <= await world.flushed()


async def test_autocommit_is_held_while_the_statement_runs(world: World) -> None:
    held: list[set[str]] = []

    def look(*_: Any) -> None:
        held.append({tag for guard in world.cache.store._guards.values() for tag in guard.holds})  # type: ignore[attr-defined]

    event.listen(world.sync_engine, "before_cursor_execute", look)
    await world.run_on_connection(lambda c: c.execute(insert(Org).values(id=3, name="c")), isolation_level="AUTOCOMMIT")
    assert {"org", "org:*"} <= set().union(*held)
    assert {tag for guard in world.cache.store._guards.values() for tag in guard.holds} == set()  # type: ignore[attr-defined]


async def test_a_transaction_begun_in_text_form_under_autocommit_is_flushed_with_its_end(world: World) -> None:
    def work(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")
        connection.execute(update(Book).where(Book.id == 1).values(title="x"))
        assert not world.cache.stats.purges
        connection.exec_driver_sql("COMMIT")
        assert world.cache.stats.purges == 1
        connection.exec_driver_sql("BEGIN")
        connection.execute(update(User).where(User.id == 1).values(name="x"))
        connection.exec_driver_sql("ROLLBACK")

    await world.run_on_connection(work, isolation_level="AUTOCOMMIT")
    assert await world.flushed() == BOOK_1
    assert not world.cache.holds.renewals._due


async def test_a_request_that_wrote_under_autocommit_is_not_stored(world: World) -> None:
    scope = RequestScope(world.cache, set())
    token = request_scope.set(scope)
    try:
        await world.run_on_connection(lambda c: c.execute(select(Org)), isolation_level="AUTOCOMMIT")
        assert scope.refusal is None
        statement = insert(Org).values(id=3, name="c")
        await world.run_on_connection(lambda c: c.execute(statement), isolation_level="AUTOCOMMIT")
        assert scope.refusal == "uncommitted"
    finally:
        request_scope.reset(token)


async def test_a_commit_in_text_form_is_held_and_purged(world: World) -> None:
    def work(connection: Any) -> None:
        connection.execute(update(Book).where(Book.id == 1).values(title="x"))
        connection.exec_driver_sql("COMMIT")
        assert world.cache.stats.purges == 1

    await world.run_on_connection(work)
    assert await world.flushed() == BOOK_1


async def test_what_is_written_after_a_commit_in_text_form_is_flushed_when_that_has_committed(world: World) -> None:
    """asyncpg keeps its transaction in an object of its own: after such a COMMIT each statement commits by itself."""

    def work(connection: Any) -> None:
        connection.execute(update(Book).where(Book.id == 1).values(title="x"))
        connection.exec_driver_sql("COMMIT")
        connection.execute(update(User).where(User.id == 1).values(name="x"))
        with Session(world.plain) as elsewhere:
            has_committed = elsewhere.get(User, 1).name == "x"
        assert has_committed is (world.driver == "asyncpg")
        assert world.cache.stats.purges == 1 + has_committed
        connection.commit()

    await world.run_on_connection(work)
    assert await world.flushed() >= BOOK_1 | {"user", "user:1", "user?name=Ada"}
    assert "book:2" not in await world.flushed()


async def test_ddl_flushes_everything_that_is_tracked(world: World) -> None:
    def work(connection: Any) -> None:
        connection.execute(text("CREATE TABLE scratch (id INTEGER)"))
        connection.execute(text("DROP TABLE scratch"))
        connection.commit()

    await world.run_on_connection(work)
    assert set(world.tags) - await world.flushed() == {"other", "other:1"}


async def test_two_phases_flush_with_the_second(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()
    with world.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(update(Book).where(Book.id == 1).values(title="x"))
        transaction.prepare()
        assert not world.cache.stats.purges
        assert await body_of(world.cache.store, world.page("book:1")) is None, "held"
        assert await body_of(world.cache.store, world.page("book:2")) is not None
        transaction.commit()
        assert world.cache.stats.purges == 1
    assert await world.flushed() == BOOK_1


async def test_two_phases_that_are_rolled_back_flush_nothing(make_world: Any) -> None:
    world: World = make_world("psycopg")
    await world.warm()
    with world.engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(update(Book).where(Book.id == 1).values(title="x"))
        transaction.prepare()
        transaction.rollback()
    assert await world.flushed() == set()
    assert not world.cache.holds.renewals._due


async def test_a_statement_of_many_that_fails_in_the_middle_is_not_forgotten(make_world: Any) -> None:
    """SQLite keeps what the first of them did, and whoever catches the error may commit it."""
    world: World = make_world("sqlite")
    await world.warm()

    def work(connection: Any) -> None:
        with pytest.raises(IntegrityError):
            connection.execute(insert(Loan), [{"id": 9, "book_id": 1}, {"id": 1, "book_id": 1}])
        connection.commit()

    await world.run_on_connection(work)
    with Session(world.plain) as session:
        kept = session.get(Loan, 9) is not None
    assert ("lending" in await world.flushed()) or not kept


# invalidate() and touch()


async def test_invalidate_joins_a_transaction_that_has_written(world: World) -> None:
    if world.is_async:
        async with AsyncSession(world.engine) as session:
            await session.run_sync(retitle)
            assert not (await world.cache.invalidate("other")).landed
            assert await world.flushed() == set()
            await session.commit()
    else:
        with Session(world.engine) as session:
            retitle(session)
            assert not world.cache.invalidate_sync("other").landed
            assert await world.flushed() == set()
            session.commit()
    assert await world.flushed() == BOOK_1 | {"other"}


async def test_what_joined_is_forgotten_on_rollback(world: World) -> None:
    if world.is_async:
        async with AsyncSession(world.engine) as session:
            await session.run_sync(retitle)
            await world.cache.invalidate("other")
            await session.rollback()
    else:
        with Session(world.engine) as session:
            retitle(session)
            world.cache.invalidate_sync("other")
            session.rollback()
    assert await world.flushed() == set()
    assert (await world.cache.invalidate("other")).landed


async def test_invalidate_acts_at_once_in_a_transaction_that_merely_reads(world: World) -> None:
    """The usual pattern: commit, refresh what is answered with, invalidate by hand; the new transaction is rolled back."""
    if world.is_async:
        async with AsyncSession(world.engine) as session:
            await session.run_sync(retitle)
            await session.commit()
            await session.execute(select(Book))
            assert (await world.cache.invalidate("other")).landed
    else:
        with Session(world.engine) as session:
            retitle(session)
            session.commit()
            session.execute(select(Book))
            assert world.cache.invalidate_sync("other").landed
    assert await world.flushed() == BOOK_1 | {"other"}


async def test_invalidate_of_another_task_acts_at_once(make_world: Any) -> None:
    world: World = make_world("aiosqlite")
    await world.warm()
    async with AsyncSession(world.engine) as session:
        await session.run_sync(retitle)
        purged = await asyncio.create_task(world.cache.invalidate("other"))
        assert purged.landed
        assert await asyncio.to_thread(lambda: world.cache.invalidate_sync("org").landed)
        assert await world.flushed() == {"other", "org"}
        await session.rollback()


async def test_changes_from_elsewhere_feed_the_same_path(world: World) -> None:
    await world.cache.apply([Change("loan", (1,), "update", {"id": 1, "book_id": 1}, {"id": 1, "book_id": 3})])
    assert await world.flushed() == {"lending", "lending:1", "lending?book_id=1", "lending?book_id=3"}
    world.cache.apply_sync([Change("review", None)])
    assert {"review", "review:2", "shelf:1", "shelf:3"} <= await world.flushed()


async def test_touch_belongs_to_the_session_s_transaction_where_it_is_named(world: World) -> None:
    token = request_scope.set(RequestScope(world.cache, None))
    try:
        if world.is_async:
            async with AsyncSession(world.engine) as session:
                await session.connection()
                await touch(Book, [1], connection=session)
                assert await world.flushed() == set()
                await session.commit()
        else:
            with Session(world.engine) as session:
                session.connection()
                touch_sync(Book, [1], connection=session)
                assert await world.flushed() == set()
                session.commit()
        # No value is known, so all that depends on values goes; of the rows only this one.
        by_value = {page for page in world.tags if page.startswith("book?")}
        assert await world.flushed() == {"book", "book:1"} | by_value
        await touch_table(Loan)
        assert {"lending", "lending:2"} <= await world.flushed()
    finally:
        request_scope.reset(token)


# Signals


async def test_entities_are_told_after_the_commit_and_nothing_is_purged_twice(world: World) -> None:
    told: list[tuple[Any, ...]] = []

    def saved(sender: Any, **said: Any) -> None:
        told.append(("saved", sender, said["identity"], said["old"], said["new"]))

    def deleted(sender: Any, **said: Any) -> None:
        told.append(("deleted", sender, said["identity"], said["old"], said["new"]))

    signals.entity_saved.connect(saved)
    signals.entity_deleted.connect(deleted)

    def work(s: Session) -> None:
        s.execute(update(Org).where(Org.id == 1).values(name="new"))
        s.execute(Review.__table__.delete().where(Review.id == 1))
        assert told == []
        s.commit()

    try:
        await world.run(work)
    finally:
        signals.entity_saved.disconnect(saved)
        signals.entity_deleted.disconnect(deleted)
    assert told == [
        ("saved", Org, 1, {"id": 1, "name": "a"}, {"id": 1, "name": "new"}),
        ("deleted", Review, 1, {"id": 1, "book_id": 1}, None),
    ]
    assert world.cache.stats.purges == 1


# Several


async def test_another_cache_of_the_same_engine_is_flushed_too_and_no_more_once_untracked(world: World) -> None:
    other = Cache("memory://")
    tracking = track(world.engine, Base.metadata, cache=other)
    await world.run(lambda s: (retitle(s), s.commit()))
    assert (world.cache.stats.purges, other.stats.purges) == (1, 1)
    tracking.untrack()
    tracking.untrack()
    await world.run(lambda s: (retitle(s), s.commit()))
    assert (world.cache.stats.purges, other.stats.purges) == (2, 1)
    await other.close()


async def test_one_session_on_two_databases_flushes_what_each_has_committed(make_world: Any) -> None:
    one: World = make_world("sqlite")
    other: World = make_world("psycopg")
    await one.warm()
    tracking = track(other.engine, Base.metadata, cache=one.cache)
    with Session(binds={Book: one.engine, Org: other.engine}) as session:
        retitle(session)
        session.execute(update(Org).where(Org.id == 1).values(name="x"))
        session.commit()
    assert await one.flushed() == BOOK_1 | {"org", "org:1"}
    assert one.cache.stats.purges == 2
    tracking.untrack()


async def test_a_cache_that_tracks_other_tables_is_not_concerned(make_world: Any) -> None:
    world: World = make_world("sqlite")
    other = Cache("memory://")
    tracking = track(world.engine, MetaData(), cache=other)
    await world.run(lambda s: (retitle(s), s.commit()))
    assert (world.cache.stats.purges, other.stats.purges) == (1, 0)
    tracking.untrack()
    await other.close()


@pytest.mark.parametrize(
    ("engine", "metadata", "settings"),
    [
        (None, Base.metadata, {}),
        ("sqlite://", Base.metadata, {}),
        (plain_engine("sqlite://"), Base, {}),
        (plain_engine("sqlite://"), Base.metadata, {"images": "blurred"}),
    ],
    ids=["no engine", "a URL", "no metadata", "images"],
)
def test_what_cannot_be_tracked_is_refused(engine: Any, metadata: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        track(engine, metadata, cache=Cache("memory://"), **settings)


async def test_untracked_the_engine_is_as_it_was(make_world: Any) -> None:
    world: World = make_world("sqlite")
    await world.warm()
    world.engine.dispose()  # with its pool, whose listeners went along
    untrack(world.engine)
    assert "do_commit" not in vars(world.engine.dialect)
    assert not world.engine.dispatch.before_execute
    await world.run(lambda s: (retitle(s), s.commit()))
    assert await world.flushed() == set()


async def test_what_is_told_of_a_table_is_logged_once_with_its_statement(
    make_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world: World = make_world("sqlite")
    with caplog.at_level(logging.WARNING, "rcache"):
        for _ in range(3):
            await world.run(lambda s: (s.execute(text("UPDATE line SET quantity = 3")), s.commit()))
    assert caplog.text.count("UPDATE line SET quantity = 3") == 1
    assert world.tracking.table_level == {"SQL in text form": 3}


async def test_a_session_s_memory_is_trusted_where_that_was_chosen(make_world: Any) -> None:
    world: World = make_world("sqlite", images="memory")
    await world.warm()
    sent: list[str] = []

    def note(connection: Any, cursor: Any, sql: str, *_: Any) -> None:
        sent.append(sql.split()[0])

    def work(s: Session) -> None:
        book = s.get(Book, 1)
        sent.clear()
        book.author_id = 2
        s.commit()

    event.listen(world.engine, "before_cursor_execute", note)
    await world.run(work)
    assert sent == ["BEGIN", "UPDATE"]
    assert await world.flushed() == BOOK_1 | {"book?author_id=2"}


async def test_a_transaction_of_very_many_changes_tells_of_the_table(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rcache.integrations.sqlalchemy.pending.MOST_CHANGES", 2)
    world: World = make_world("sqlite")
    await world.warm()

    def work(s: Session) -> None:
        for book in (1, 2, 3):
            retitle(s, book)
        s.execute(update(Org).where(Org.id == 1).values(name="x"))
        s.commit()

    await world.run(work)
    flushed = await world.flushed()
    assert flushed == {page for page in world.tags if page.startswith("book") and "label" not in page} | {
        "org",
        "org:1",
    }
    assert world.tracking.table_level == {"too many rows of a transaction": 1}


async def test_a_transaction_of_very_many_tags_tells_of_rows_without_values_and_then_of_tables(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: World = make_world("sqlite")

    def work(s: Session) -> None:
        s.execute(update(Book).where(Book.author_id == 1).values(title=Book.title + "!"))
        s.execute(update(Org).where(Org.id == 1).values(name=Org.name + "!"))
        s.commit()

    books = {"book", "book:1", "book:2"}
    for most, flushed in [
        (100, books | {"book?author_id=1", "org", "org:1"}),
        (9, books | {page for page in PAGES if page.startswith("book?")} | {"org", "org:1"}),
        (5, {page for page in PAGES if page.startswith("book") and "label" not in page} | {"org", "org:1"}),
    ]:
        monkeypatch.setattr("rcache.integrations.sqlalchemy.bounds.MOST_TAGS", most)
        await world.warm()
        await world.run(work)
        assert await world.flushed() == flushed, most


@pytest.mark.parametrize("images", ["strict", "memory"])
async def test_over_500_rows_of_one_statement_are_told_of_the_table(make_world: Any, images: str) -> None:
    world: World = make_world("sqlite", images=images)
    for work in (
        lambda s: s.add_all([Org(id=number, name="x") for number in range(100, 700)]),
        lambda s: [setattr(org, "name", "y") for org in s.scalars(select(Org)).all()],
        lambda s: s.execute(update(Org).values(name="z")),
    ):
        before = sum(world.tracking.table_level.values())
        await world.run(lambda s, work=work: (work(s), s.commit()))
        assert sum(world.tracking.table_level.values()) == before + 1
    assert set(world.tracking.table_level) == {"more than 500 rows"}


# Cancelled


@pytest.mark.parametrize("driver", sorted(ASYNC))
@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_turn_of_a_commit_nothing_stale_is_left(
    make_world: Any, driver: str, turns: int
) -> None:
    world: World = make_world(driver)
    await world.warm()
    reached = asyncio.Event()

    async def work() -> None:
        async with AsyncSession(world.engine) as session:
            await session.run_sync(retitle)
            reached.set()
            await session.commit()

    task = asyncio.create_task(work())
    await reached.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with Session(world.plain) as session:
        is_committed = session.get(Book, 1).title == "A!"
    if is_committed:
        assert await world.flushed() >= BOOK_1
    # Otherwise it was released, or nobody could know and it is held.
    assert not world.cache.holds.renewals._due
