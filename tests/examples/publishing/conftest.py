"""The site on each database and with each data layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from rcache import Cache
from tests.postgres import PostgresServer

from .site import Site, Visitor
from .twice import Tally, Twice

DRIVERS = ("sqlite+aiosqlite", "sqlite", "postgresql+asyncpg", "postgresql+psycopg")

SITES = [
    *DRIVERS,
    "sqlite+aiosqlite cached",
    "postgresql+psycopg cached",
    pytest.param("sqlite cached", marks=pytest.mark.long),
    pytest.param("postgresql+asyncpg cached", marks=pytest.mark.long),
]


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The URL of the database for a driver."""
    urls: dict[str, str] = {}

    def make(driver: str) -> str:
        if driver not in urls:
            if driver.startswith("sqlite"):
                urls[driver] = f"{driver}:///{tmp_path_factory.mktemp('publishing') / 'site.sqlite3'}"
            else:
                server: PostgresServer = request.getfixturevalue("postgres_server")
                name = driver.partition("+")[2]
                urls[driver] = server.url(name, server.create_database(f"publishing_{name}"))
        return urls[driver]

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SITES)
async def shared_site(request: pytest.FixtureRequest, database_url: Callable[[str], str]) -> AsyncIterator[Site]:
    """A site for the tests of a module. Where it has a cache, each GET is sent twice, and nearly all repeats are hits."""
    driver, _, mode = request.param.partition(" ")
    url = database_url(driver)
    if not mode:
        made = await Site.open(url)
        yield made
        await made.close()
        return
    cache = Cache("memory://")
    if driver.startswith("postgresql"):
        redis, namespace = request.getfixturevalue("redis_server"), f"{request.module.__name__}:{driver}"
        cache = Cache(redis.url, namespace=namespace, deadline=30, purge_timeout=30)
    made, tally = await Site.open(url, cache), Tally()
    made.truth = await Site.open(url)
    made.transport = Twice(made.app, made.truth.app, tally)
    yield made
    await made.close()
    await made.truth.close()
    await cache.close()
    assert tally.share() > 0.98, tally


@pytest_asyncio.fixture(loop_scope="module")
async def site(shared_site: Site) -> Site:
    """A site where nobody is yet."""
    await shared_site.empty()
    return shared_site


@pytest_asyncio.fixture(loop_scope="module")
async def reader(site: Site) -> Visitor:
    """Somebody who is not logged in."""
    return site.visit()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(site: Site) -> Visitor:
    """A user."""
    return await site.join("ada")


@pytest_asyncio.fixture(loop_scope="module")
async def ben(site: Site) -> Visitor:
    """Another user."""
    return await site.join("ben")
