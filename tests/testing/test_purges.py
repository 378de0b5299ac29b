"""What a suite asserts of writes: what a block purged, and what it left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import StaticPool, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, ConfigurationError, cached, invalidate
from rcache.integrations.sqlalchemy import track
from rcache.testing import HandClock, assert_hit, assert_purged_by


@pytest.fixture
def cache() -> Iterator[Cache]:
    cache = Cache("memory://", clock=HandClock())
    yield cache
    cache.close_sync()


@pytest.fixture
def client(cache: Cache) -> TestClient:
    @cached(ttl=60, tags=["book:{number}", "book"])
    async def book(request: Request) -> Response:
        return PlainTextResponse("book")

    async def write(request: Request) -> Response:
        await invalidate(f"book:{request.path_params['number']}")
        return PlainTextResponse("written")

    routes = [
        Route("/books/{number}", book),
        Route("/books/{number}", write, methods=["PUT"]),
    ]
    client = TestClient(CacheMiddleware(Starlette(routes=routes), cache))
    for number in (1, 2):
        client.get(f"/books/{number}?page=3")
    return client


def test_a_block_that_purges_what_it_should_passes(client: TestClient):
    with assert_purged_by("book:1") as purges:
        client.put("/books/1")
    assert purges.tags == ["book:1"]
    with assert_purged_by("book:1", exactly=True):
        client.put("/books/1")
    client.get("/books/1?page=3")
    with assert_purged_by("book:1", urls=["/books/1?page=3"], exactly=True):
        client.put("/books/1")


def test_urls_are_told_apart_by_their_query_and_may_name_their_host(cache: Cache, client: TestClient):
    with assert_purged_by(urls=["http://testserver/books/1?page=3"], cache=cache):
        client.put("/books/1")
    for absent in ("/books/1", "/books/2?page=4", "http://elsewhere/books/2?page=3"):
        told = r"nothing of .* was kept when the block began, but /books/2\?page=3"
        with pytest.raises(AssertionError, match=told), assert_purged_by(urls=[absent], cache=cache):
            pass


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (
            {"tags": ["book:2"]},
            r"^'book:2' was not purged; 'book:1' was, which is another tag\npurged: \['book:1'\]$",
        ),
        ({"tags": ["zebra"]}, r"^'zebra' was not purged\npurged: \['book:1'\]$"),
        ({"tags": [], "exactly": True}, r"^purged as well: \['book:1'\]$"),
        ({"tags": [], "urls": ["/books/2?page=3"]}, r"^what is kept of /books/2\?page=3 was not purged$"),
        (
            {"tags": [], "urls": "/books/2?page=3", "exactly": True},
            r"^purged as well: .*\nwhat is kept of /books/2\?page=3 was not purged\nflushed as well: /books/1\?page=3$",
        ),
    ],
)
def test_a_block_that_does_not_is_told_what_it_purged(client: TestClient, expected: dict, told: str):
    with pytest.raises(AssertionError, match=told), assert_purged_by(*expected.pop("tags"), **expected):
        client.put("/books/1")


def test_nothing_purged_is_said_to_be_nothing(client: TestClient):
    with assert_purged_by(exactly=True):
        assert_hit(client.get("/books/1?page=3"))
    told = "nothing was purged: does the block commit, or call invalidate"
    with pytest.raises(AssertionError, match=told), assert_purged_by("book:1"):
        client.get("/books/1")


def test_what_the_block_raises_is_raised(client: TestClient):
    with pytest.raises(ZeroDivisionError), assert_purged_by("book:1"):
        raise ZeroDivisionError


def test_a_soft_purge_flushes_a_url_too_and_one_cache_may_be_meant(cache: Cache, client: TestClient):
    other = Cache("memory://")
    with assert_purged_by("book:1", urls=["/books/1?page=3"], exactly=True, cache=cache):
        other.invalidate_sync("elsewhere")
        asyncio.run(cache.invalidate("book:1", soft=True))
    with pytest.raises(AssertionError, match="'elsewhere' was not purged"), assert_purged_by("elsewhere", cache=cache):
        other.invalidate_sync("elsewhere")
    other.close_sync()


def test_a_tracked_commit_purges_and_a_rollback_does_not(cache: Cache):
    class Base(DeclarativeBase): ...

    class Book(Base):
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(default="")

    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    track(engine, Base.metadata, cache=cache)
    with Session(engine) as session:
        with assert_purged_by("book:1", "book"):
            session.add(Book(id=1))
            session.commit()
        with assert_purged_by(exactly=True):
            session.scalars(select(Book)).one().title = "x"
            session.flush()
            session.rollback()
    engine.dispose()


def test_urls_need_an_embedded_cache():
    cache = Cache("redis://127.0.0.1:1")
    told = r"put rcache\.testing\.embedded\(cache\) around the test"
    with pytest.raises(ConfigurationError, match=told), assert_purged_by(urls=["/"], cache=cache):
        pass
    cache.close_sync()
