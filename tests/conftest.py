"""What every test may use: real servers, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that tests share; each takes a namespace of its own, and none stops it."""
    server = RedisServer()
    yield server
    server.stop()
