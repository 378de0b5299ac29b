"""A world for each driver: SQLite in a file of its own, PostgreSQL in a database that the module's tests empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.sqlalchemy.harness import DRIVERS, World
from tests.postgres import PostgresServer

Make = Callable[..., World]


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """The name of a database on PostgreSQL, made when somebody asks."""
    made: list[str] = []

    def make() -> str:
        if not made:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            made.append(server.create_database(request.module.__name__.replace(".", "_")))
        return made[0]

    return make


@pytest.fixture
async def make_world(
    request: pytest.FixtureRequest, tmp_path: Path, database: Callable[[], str]
) -> AsyncIterator[Make]:
    """Makes a world on a driver; it goes with the test."""
    worlds: list[World] = []

    def make(driver: str, **options: Any) -> World:
        if "sqlite" in driver:
            path = tmp_path / "library.sqlite3"
            urls = (f"sqlite:///{path}", f"sqlite+aiosqlite:///{path}")
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            urls = (server.url("psycopg", database()), server.url(driver.removesuffix("_async"), database()))
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
