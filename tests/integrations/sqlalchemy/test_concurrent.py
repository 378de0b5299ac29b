"""Random transactions on PostgreSQL that cross each other: no cached endpoint over the same tables answers anything stale."""

from __future__ import annotations

import pytest

from tests.integrations.sqlalchemy.crossing import LEVELS, cross
from tests.postgres import PostgresServer
from tests.servers import RedisServer


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
async def test_random_transactions_that_cross_leave_nothing_stale(
    postgres_server: PostgresServer, redis_server: RedisServer, level: str, seconds: float
) -> None:
    told = await cross(postgres_server, redis_server.url, level=level, seconds=seconds)
    assert told["stale"] == []
    assert told["commits"]
    assert told["hits"]
    assert told["flushed"] >= told["needed"] > 0


@pytest.mark.long
async def test_what_sessions_remember_leaves_something_stale(
    postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    """Else a run without stale answers would show nothing."""
    told = await cross(postgres_server, redis_server.url, level="READ COMMITTED", seconds=900, images="memory")
    assert told["stale"]
