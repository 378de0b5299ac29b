"""A world for each driver: SQLite in a file of its own, the others in a database that the module's tests empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.sqlalchemy.harness import DRIVERS, MARIADB, World
from tests.mariadb import MariadbServer
from tests.postgres import PostgresServer

Make = Callable[..., World]


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """The URL of a database on a server, made when somebody asks."""
    made: set[str] = set()
    name = request.module.__name__.replace(".", "_")

    def url(fixture: str, driver: str) -> str:
        server: PostgresServer | MariadbServer = request.getfixturevalue(fixture)
        if fixture not in made:
            server.create_database(name)
            made.add(fixture)
        return server.url(driver, name)

    return url


@pytest.fixture
async def make_world(
    request: pytest.FixtureRequest, tmp_path: Path, database: Callable[[str, str], str]
) -> AsyncIterator[Make]:
    """Makes a world on a driver; it goes with the test."""
    worlds: list[World] = []

    def make(driver: str, **options: Any) -> World:
        if "sqlite" in driver:
            path = tmp_path / "library.sqlite3"
            urls = (f"sqlite:///{path}", f"sqlite+aiosqlite:///{path}")
        elif driver in MARIADB:
            urls = (database("mariadb_server", "pymysql"), database("mariadb_server", driver))
        else:
            urls = (database("postgres_server", "psycopg"), database("postgres_server", driver.removesuffix("_async")))
        worlds.append(World(driver, *urls, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture(params=DRIVERS)
async def world(request: pytest.FixtureRequest, make_world: Make) -> World:
    """On each driver."""
    made = make_world(request.param)
    await made.warm()
    return made
