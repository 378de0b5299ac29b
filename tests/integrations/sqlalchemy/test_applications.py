"""An application whose endpoints name what they show, and whose writes just commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from rcache import Cache, CacheMiddleware, cached, tag
from rcache.integrations.sqlalchemy import track
from tests.integrations.sqlalchemy.harness import enforce_foreign_keys
from tests.integrations.sqlalchemy.library import Base, Book, User, fill
from tests.support import Gate, RawClient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "library.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    engine.dispose()
    return path


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture(params=["async", "sync"])
async def client(request: pytest.FixtureRequest, path: Path, gate: Gate) -> AsyncIterator[RawClient]:
    cache = Cache("memory://")
    app, engine = (asynchronous if request.param == "async" else synchronous)(path, gate)
    event.listen(getattr(engine, "sync_engine", engine), "connect", enforce_foreign_keys)
    app.add_middleware(CacheMiddleware, cache=cache)
    tracking = track(engine, Base.metadata, cache=cache)
    yield RawClient(app)
    tracking.untrack()
    if request.param == "async":
        await engine.dispose()
    else:
        engine.dispose()
    await cache.close()


def asynchronous(path: Path, gate: Gate) -> tuple[FastAPI, Any]:
    app, engine = FastAPI(), create_async_engine(f"sqlite+aiosqlite:///{path}")

    async def opened() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/users/{user_id}")
    @cached(ttl="1h", tags=["user:{user_id}"])
    async def read(user_id: int, wait: bool = False, session: AsyncSession = Depends(opened)) -> str | None:
        name = await session.scalar(select(User.name).where(User.id == user_id))
        if wait:
            await gate()
        return name

    @app.get("/users")
    @cached(ttl="1h", tags=["user"])
    async def read_all(session: AsyncSession = Depends(opened)) -> list[str]:
        return list(await session.scalars(select(User.name).order_by(User.id)))

    @app.get("/shelves/{author_id}")
    @cached(ttl="1h", tags=["book?author_id={author_id}"])
    async def read_shelf(author_id: int, session: AsyncSession = Depends(opened)) -> list[str]:
        tag(f"user:{author_id}")
        return list(await session.scalars(select(Book.title).where(Book.author_id == author_id)))

    @app.put("/users/{user_id}")
    async def write(user_id: int, name: str, commit: bool = True, session: AsyncSession = Depends(opened)) -> None:
        user = await session.get_one(User, user_id)
        user.name = name
        await (session.commit() if commit else session.rollback())

    @app.delete("/authors/{author_id}")
    async def remove(author_id: int, session: AsyncSession = Depends(opened)) -> None:
        await session.delete(await session.get_one(User, author_id))
        await session.commit()

    return app, engine


def synchronous(path: Path, gate: Gate) -> tuple[FastAPI, Any]:
    app, engine = FastAPI(), create_engine(f"sqlite:///{path}")

    def opened() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    @app.get("/users/{user_id}")
    @cached(ttl="1h", tags=["user:{user_id}"])
    async def read(user_id: int, wait: bool = False, session: Session = Depends(opened)) -> str | None:
        name = session.scalar(select(User.name).where(User.id == user_id))
        session.rollback()
        if wait:
            await gate()
        return name

    @app.get("/users")
    @cached(ttl="1h", tags=["user"])
    def read_all(session: Session = Depends(opened)) -> list[str]:
        return list(session.scalars(select(User.name).order_by(User.id)))

    @app.get("/shelves/{author_id}")
    @cached(ttl="1h", tags=["book?author_id={author_id}"])
    def read_shelf(author_id: int, session: Session = Depends(opened)) -> list[str]:
        tag(f"user:{author_id}")
        return list(session.scalars(select(Book.title).where(Book.author_id == author_id)))

    @app.put("/users/{user_id}")
    def write(user_id: int, name: str, commit: bool = True, session: Session = Depends(opened)) -> None:
        session.get_one(User, user_id).name = name
        session.flush()
        if commit:
            session.commit()

    @app.delete("/authors/{author_id}")
    def remove(author_id: int, session: Session = Depends(opened)) -> None:
        session.delete(session.get_one(User, author_id))
        session.commit()

    return app, engine


PAGES = ("/users/1", "/users/2", "/users", "/shelves/1", "/shelves/2")


async def warm(client: RawClient) -> None:
    for page in PAGES:
        assert (await client.get(page)).is_stored


async def missed(client: RawClient) -> set[str]:
    return {page for page in PAGES if not (await client.get(page)).is_hit}


async def test_a_write_of_user_1_flushes_user_1_and_the_list(client: RawClient) -> None:
    await warm(client)
    # Asked for under another URL: nothing but the tags tells that these pages show it.
    assert (await client.request("PUT", "/users/1?name=new")).status == 200
    assert await missed(client) == {"/users/1", "/users", "/shelves/1"}
    assert (await client.get("/users")).text == '["new","Bob","Cy"]'


async def test_a_write_that_is_rolled_back_flushes_no_page_of_others(client: RawClient) -> None:
    await warm(client)
    await client.request("PUT", "/users/1?name=new&commit=no")
    assert await missed(client) <= {"/users/1"}, "its own URL goes with a PUT that succeeds"
    assert (await client.get("/users")).is_hit


async def test_what_the_database_deletes_by_itself_is_flushed_too(client: RawClient) -> None:
    await warm(client)
    assert (await client.request("DELETE", "/authors/2")).status == 200
    assert await missed(client) == {"/users/2", "/users", "/shelves/2"}
    assert (await client.get("/shelves/2")).text == "[]"


async def test_a_write_during_a_fill_wins(client: RawClient, gate: Gate) -> None:
    fetch = client.start("/users/3?wait=yes")
    await gate.reached()
    assert (await client.request("PUT", "/users/3?name=new")).status == 200
    gate.open()
    answer = await fetch.finish()
    assert (answer.text, answer.is_stored) == ('"Cy"', False)
    assert (await client.get("/users/3?wait=yes")).text == '"new"'
