"""What every test may use: real servers, started once."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakSet

import pytest
from hypothesis import HealthCheck, settings

from tests.clusters import Cluster
from tests.mariadb import MariadbServer
from tests.postgres import PostgresServer
from tests.sentinels import Sentinels
from tests.servers import RedisServer

# A busy machine is no defect: no example has a time to keep to. What is drawn is the same in each run, so that a change which
# fails is to blame for it; the long tests draw anew (--hypothesis-profile=random).
settings.register_profile("random", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("random"), derandomize=True)
settings.load_profile("same")


@pytest.fixture
def no_other_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caches of this process are those that the test makes, whatever other tests have left open."""
    monkeypatch.setattr("rcache.cache._caches", WeakSet())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that tests share; each takes a namespace of its own, and none stops it."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sentinels() -> Iterator[Sentinels]:
    """A primary with replicas and sentinels that tests share; none makes it fail over."""
    made = Sentinels()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Cluster that tests share; none moves its slots or stops a node."""
    made = Cluster()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A MariaDB that tests share; each takes a database of its own, and none stops it."""
    server = MariadbServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that tests share; each takes a database of its own, and none stops it."""
    server = PostgresServer()
    yield server
    server.stop()
