"""An application of which nobody wrote down what its pages depend on: each write flushes exactly those that it changes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, selectinload

from rcache import Cache, CacheMiddleware, StrictError, capture
from rcache.integrations.sqlalchemy import track
from tests.integrations.sqlalchemy.harness import enforce_foreign_keys
from tests.integrations.sqlalchemy.library import Base, Book, Org, User, fill
from tests.servers import RedisServer
from tests.support import RawClient

_numbers = itertools.count()


class Queries:
    """What the pages ask for; each is called with a session."""

    @staticmethod
    def user(session: Session, key: int) -> str | None:
        user = session.get(User, key)
        return user and user.name

    @staticmethod
    def members(session: Session, key: int) -> list[str]:
        return [user.name for user in session.scalars(select(User).where(User.org_id == key).order_by(User.id))]

    @staticmethod
    def count(session: Session, key: int) -> int | None:
        return session.scalar(select(func.count()).select_from(User).where(User.org_id == key))

    @staticmethod
    def shelf(session: Session, key: int) -> list[str]:
        user = session.scalar(select(User).where(User.id == key).options(selectinload(User.books)))
        return [f"{user.name}: {book.title}" for book in user.books] if user else []

    @staticmethod
    def watched(session: Session, key: int) -> list[str]:
        """The same, and somebody looks on for a while."""
        kept = session.get_one(User, key)  # the session forgets what nobody holds
        with capture() as seen:
            shelf = Queries.shelf(session, key)
        assert seen.refused
        Queries.members(session, kept.org_id)
        return shelf

    @staticmethod
    def search(session: Session, key: str) -> list[str]:
        return list(session.scalars(select(User.name).where(User.name.like(f"{key}%"))))

    @staticmethod
    def dice(session: Session, key: int) -> Any:
        return session.scalar(select(func.random()).select_from(User))

    @staticmethod
    def elsewhere(session: Session, key: int) -> Any:
        return session.scalar(text("SELECT count(*) FROM sqlite_master"))

    @staticmethod
    def raw(session: Session, key: int) -> Any:
        raw = session.get_bind().engine.raw_connection()
        raw.close()
        return Queries.user(session, key)

    @staticmethod
    def nothing(session: Session, key: int) -> str:
        return "nothing"

    @staticmethod
    def visit(session: Session, key: int) -> str | None:
        session.execute(update(User).where(User.id == key).values(name=User.name))
        session.commit()
        return Queries.user(session, key)


class Writes:
    """What changes them."""

    @staticmethod
    def rename(session: Session) -> None:
        session.get_one(User, 1).name = "new"

    @staticmethod
    def join_the_empty(session: Session) -> None:
        session.add(User(id=4, org_id=3, name="Dee"))

    @staticmethod
    def move(session: Session) -> None:
        session.get_one(User, 2).org_id = 1

    @staticmethod
    def add_book(session: Session) -> None:
        session.add(Book(id=4, author_id=3, title="D"))

    @staticmethod
    def rename_book(session: Session) -> None:
        session.execute(update(Book).where(Book.title == "C").values(title="c"))

    @staticmethod
    def remove(session: Session) -> None:
        session.delete(session.get_one(User, 3))

    @staticmethod
    def nothing(session: Session) -> None:
        session.get_one(User, 1).name = "unseen"
        session.flush()
        session.rollback()


PAGES = [
    *("/user/1", "/user/2", "/user/3", "/user/4"),
    *("/members/1", "/members/2", "/members/3"),
    *("/count/1", "/count/2", "/count/3"),
    *("/shelf/1", "/shelf/2", "/shelf/3"),
    "/search/A",
]

FLUSHED: list[tuple[Any, set[str]]] = [
    (Writes.rename, {"/user/1", "/members/1", "/shelf/1", "/search/A"}),
    (Writes.join_the_empty, {"/user/4", "/members/3", "/count/3", "/search/A"}),
    (Writes.move, {"/user/2", "/members/1", "/members/2", "/count/1", "/count/2", "/shelf/2"}),
    (Writes.add_book, {"/shelf/3"}),
    (Writes.rename_book, {"/shelf/2"}),
    (Writes.remove, {"/user/3", "/members/2", "/count/2", "/shelf/3", "/search/A"}),
    (Writes.nothing, set()),
]
"""Each write, and the pages that it changes; a row's page also goes when columns change that it loads and does not show."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "library.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.add(Org(id=3, name="empty"))
        session.commit()
    engine.dispose()
    return path


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    url = "memory://"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    async with Cache(url, namespace=f"auto-{next(_numbers)}", deadline=5) as cache:
        yield cache


def asynchronous(path: Path) -> tuple[FastAPI, Any]:
    app, engine = FastAPI(), create_async_engine(f"sqlite+aiosqlite:///{path}")

    async def opened() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/{query}/{key}")
    async def read(query: str, key: str, session: AsyncSession = Depends(opened)) -> Any:
        return await session.run_sync(getattr(Queries, query), int(key) if key.isdecimal() else key)

    @app.post("/{write}")
    async def make(write: str, session: AsyncSession = Depends(opened)) -> None:
        await session.run_sync(getattr(Writes, write))
        await session.commit()

    return app, engine


def synchronous(path: Path) -> tuple[FastAPI, Any]:
    app, engine = FastAPI(), create_engine(f"sqlite:///{path}")

    def opened() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    @app.get("/{query}/{key}")
    def read(query: str, key: str, session: Session = Depends(opened)) -> Any:
        return getattr(Queries, query)(session, int(key) if key.isdecimal() else key)

    @app.post("/{write}")
    def make(write: str, session: Session = Depends(opened)) -> None:
        getattr(Writes, write)(session)
        session.commit()

    return app, engine


@pytest.fixture(params=[asynchronous, synchronous], ids=["async", "sync"])
async def app(request: pytest.FixtureRequest, path: Path, cache: Cache) -> AsyncIterator[FastAPI]:
    app, engine = request.param(path)
    event.listen(getattr(engine, "sync_engine", engine), "connect", enforce_foreign_keys)
    tracking = track(engine, Base.metadata, cache=cache)
    yield app
    tracking.untrack()
    if request.param is asynchronous:
        await engine.dispose()
    else:
        engine.dispose()


async def test_each_write_flushes_exactly_the_pages_that_it_changes(app: FastAPI, cache: Cache) -> None:
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl="1h"))
    plain = RawClient(app)
    for write, expected in FLUSHED:
        for page in PAGES:
            await client.get(page)
            assert (await client.get(page)).is_hit, page
        assert (await client.request("POST", f"/{write.__name__}")).status == 200
        answers = {page: await client.get(page) for page in PAGES}
        assert {page: answer.text for page, answer in answers.items()} == {
            page: (await plain.get(page)).text for page in PAGES
        }, write.__name__
        assert {page for page, answer in answers.items() if not answer.is_hit} == expected, write.__name__


async def test_what_cannot_be_followed_is_not_stored_and_says_why(
    app: FastAPI, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl="1h"))
    told = {}
    with caplog.at_level(logging.WARNING, "rcache"):
        for page in ("dice", "elsewhere", "raw", "nothing", "visit"):
            answer = await client.get(f"/{page}/1")
            assert not answer.is_stored
            told[page] = (answer.cache or "").partition("detail=")[2]
    assert "random" in told["dice"]
    assert told["elsewhere"]
    assert told["raw"] == '"a raw connection"'
    assert (told["nothing"], told["visit"]) == ("no-dependencies", "uncommitted")
    assert len([record for record in caplog.records if "is not cached" in record.getMessage()]) == 5


async def test_looking_on_for_a_while_changes_nothing(app: FastAPI, cache: Cache) -> None:
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl="1h", strict=True))
    assert (await client.get("/watched/1")).is_stored


async def test_strict_mode_raises_at_the_statement(app: FastAPI, cache: Cache) -> None:
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl="1h", strict=True))
    for page in PAGES:
        assert (await client.get(page)).is_stored
    for page in ("dice", "elsewhere", "raw"):
        with pytest.raises(StrictError, match="depends_on"):
            await client.get(f"/{page}/1")
    assert (await client.get("/visit/1")).status == 200


def test_a_capture_shows_what_a_block_depends_on_outside_any_request(path: Path) -> None:
    engine, cache = create_engine(f"sqlite:///{path}"), Cache("memory://")
    tracking = track(engine, Base.metadata, cache=cache)
    with Session(engine) as session, capture() as outer:
        with capture() as row:
            kept = session.get_one(User, 1)  # the session forgets what nobody holds
        with capture() as dice:
            Queries.dice(session, 1)
        with capture() as written:
            Queries.visit(session, 2)
    assert isinstance(kept, User)
    assert "user:1" in row.tags
    assert not row.refused
    assert any("random" in reason for reason in dice.refused)
    assert "uncommitted" in written.refused
    assert "a session that had loaded objects before" in dice.refused
    assert "a session that had loaded objects before" not in outer.refused
    assert set(outer.tags) == {*row.tags, *dice.tags, *written.tags}
    tracking.untrack()
    engine.dispose()
    cache.close_sync()
