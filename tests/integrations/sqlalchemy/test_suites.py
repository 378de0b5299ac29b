"""A test suite in the common style runs unchanged: one outer transaction per test, never committed, and the application in it.

`uncommitted=True` is all that it adds: what is not committed, and so cannot be purged for everybody, is not served in this
process while it lasts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import StaticPool, create_engine, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from rcache import Cache, CacheMiddleware, cached
from rcache.integrations.sqlalchemy import track
from tests.contract.support import Question, body_of, fill
from tests.integrations.sqlalchemy.library import Base, Org
from tests.support import RawClient

# The application, as it is written


def get_session() -> Iterator[Session]:
    raise AssertionError("overridden")
    yield


def make_app(cache: Cache) -> FastAPI:
    app = FastAPI()
    app.add_middleware(CacheMiddleware, cache=cache)

    @app.get("/orgs")
    @cached(ttl="1h", tags=["org"])
    def list_orgs(session: Session = Depends(get_session)) -> list[str]:
        return list(session.scalars(select(Org.name).order_by(Org.id)))

    @app.get("/orgs/{org_id}")
    @cached(ttl="1h", tags=["org:{org_id}"], statuses=(200,))
    def read_org(org_id: int, session: Session = Depends(get_session)) -> str | None:
        return session.scalar(select(Org.name).where(Org.id == org_id))

    @app.post("/orgs/{org_id}")
    def write_org(org_id: int, name: str, session: Session = Depends(get_session)) -> None:
        session.merge(Org(id=org_id, name=name))
        session.commit()

    @app.get("/counted")
    @cached(ttl="1h", tags=["counted"])
    def read_and_write(session: Session = Depends(get_session)) -> int:
        session.add(Org(name="seen"))
        session.commit()
        return session.scalar(select(func.count()).select_from(Org)) or 0

    return app


# The suite


@pytest.fixture(params=[True, False], ids=["uncommitted", "plain"])
def is_uncommitted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def cache() -> Iterator[Cache]:
    cache = Cache("memory://")
    yield cache
    cache.close_sync()


@pytest.fixture
def engine(cache: Cache, is_uncommitted: bool) -> Iterator[Any]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Org(id=1, name="a")])
        session.commit()
    tracking = track(engine, Base.metadata, cache=cache, uncommitted=is_uncommitted)
    yield engine
    tracking.untrack()
    engine.dispose()


@pytest.fixture
def session(engine: Any) -> Iterator[Session]:
    connection = engine.connect()
    transaction = connection.begin()
    session = Session(connection, join_transaction_mode="create_savepoint")
    yield session
    session.close()
    if transaction.is_active:
        transaction.rollback()
    connection.close()


@pytest.fixture
def client(cache: Cache, session: Session) -> Iterator[TestClient]:
    app = make_app(cache)
    app.dependency_overrides[get_session] = lambda: session
    with TestClient(app) as client:
        yield client


def is_hit(response: Any) -> bool:
    return "; hit" in response.headers["cache-status"]


def test_what_the_test_wrote_is_shown_at_once(client: TestClient, session: Session, is_uncommitted: bool) -> None:
    assert client.get("/orgs").json() == ["a"]
    assert is_hit(client.get("/orgs"))
    session.add(Org(id=2, name="b"))
    session.commit()
    shown = client.get("/orgs")
    if is_uncommitted:
        assert shown.json() == ["a", "b"]
        assert "detail=uncommitted" in shown.headers["cache-status"]
        assert not is_hit(client.get("/orgs"))
    else:  # nothing has committed, so nothing is flushed: the reason for the setting
        assert shown.json() == ["a"]


@pytest.mark.parametrize("is_uncommitted", [True], indirect=True)
def test_what_the_application_wrote_is_shown_at_once(client: TestClient) -> None:
    assert client.get("/orgs/1").json() == "a"
    assert client.post("/orgs/1?name=z").status_code == 200
    assert client.get("/orgs/1").json() == "z"
    assert client.get("/orgs").json() == ["z"]


def test_nothing_of_it_is_left_for_the_next_test(client: TestClient, session: Session, cache: Cache) -> None:
    client.get("/orgs")
    session.add(Org(id=2, name="b"))
    session.commit()
    client.get("/orgs")
    connection: Any = session.connection()
    transaction = connection.get_transaction()
    session.close()
    transaction.rollback()
    assert not cache.changes.withheld
    assert client.get("/orgs").json() == ["a"]
    assert is_hit(client.get("/orgs"))


def test_a_savepoint_that_is_rolled_back_gives_its_tags_back(
    client: TestClient, session: Session, cache: Cache
) -> None:
    client.get("/orgs")
    session.add(Org(id=2, name="b"))
    session.flush()
    session.rollback()
    assert not cache.changes.withheld
    assert is_hit(client.get("/orgs"))


def test_a_request_that_wrote_is_not_stored(client: TestClient, session: Session) -> None:
    for count in (2, 3):
        response = client.get("/counted")
        assert response.json() == count
        assert response.headers["cache-status"] == "rcache; fwd=miss; detail=uncommitted"


def test_what_is_read_through_the_connection_is_not_stored(client: TestClient, session: Session) -> None:
    session.add(Org(id=2, name="b"))
    session.commit()
    for _ in range(2):
        assert client.get("/orgs/1").headers["cache-status"] == "rcache; fwd=miss; detail=uncommitted"


def test_nobody_shares_a_run_that_began_before_the_write(cache: Cache, is_uncommitted: bool) -> None:
    before = cache.flights.generation
    cache.changes.withhold(["org"])
    between = cache.flights.generation
    assert between is not before
    cache.changes.restore(["org"])
    assert cache.flights.generation is not between


async def test_an_entry_stays_good_while_its_tags_are_withheld(cache: Cache, is_uncommitted: bool) -> None:
    await fill(cache.store, Question("/x"), b"x", "org")
    cache.changes.withhold(["org"])
    cache.changes.withhold(["org"])
    cache.changes.restore(["org"])
    assert cache.forbids(("org",)) == "uncommitted"
    assert cache.forbids(("user",)) is None
    cache.changes.restore(["org"])
    assert cache.forbids(("org",)) is None
    assert await body_of(cache.store, Question("/x")) == b"x"


# The same of an application with an event loop


async def test_an_asynchronous_suite_runs_unchanged_too(tmp_path: Path) -> None:
    """One outer transaction on one connection, a client and a session in it; then it is rolled back."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'suite.sqlite3'}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Org).values(id=1, name="a"))
    cache = Cache("memory://")
    tracking = track(engine, Base.metadata, cache=cache, uncommitted=True)
    app = FastAPI()
    app.add_middleware(CacheMiddleware, cache=cache)

    async def get_async_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @app.get("/orgs")
    @cached(ttl="1h", tags=["org"])
    async def list_orgs(session: AsyncSession = Depends(get_async_session)) -> list[str]:
        return list(await session.scalars(select(Org.name).order_by(Org.id)))

    @app.post("/orgs/{org_id}")
    async def write_org(org_id: int, name: str, session: AsyncSession = Depends(get_async_session)) -> None:
        await session.merge(Org(id=org_id, name=name))
        await session.commit()

    client = RawClient(app)
    assert (await client.get("/orgs")).is_stored
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            app.dependency_overrides[get_async_session] = lambda: session
            assert (await client.get("/orgs")).is_hit
            session.add(Org(id=2, name="b"))
            await session.commit()
            assert (await client.get("/orgs")).text == '["a","b"]'
            assert (await client.request("POST", "/orgs/1?name=z")).status == 200
            shown = await client.get("/orgs")
            assert shown.text == '["z","b"]'
            assert shown.cache is not None
            assert shown.cache.endswith("detail=uncommitted")
        await transaction.rollback()
    app.dependency_overrides.clear()
    assert not cache.changes.withheld
    left = await client.get("/orgs")
    assert (left.text, left.is_hit) == ('["a"]', True)
    tracking.untrack()
    await engine.dispose()
    await cache.close()
