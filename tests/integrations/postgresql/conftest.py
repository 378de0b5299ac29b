"""A PostgreSQL as it comes, which prepares no transactions: so its triggers notify."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integrations.postgresql.bookshop import Bookshop
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of its own: the one that other tests share may prepare transactions, and is not told so while it runs."""
    server = PostgresServer(max_prepared_transactions="0")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bookshop(request: pytest.FixtureRequest, postgres: PostgresServer) -> Bookshop:
    """A database with triggers, and writers that know nothing of rcache."""
    return Bookshop(postgres, postgres.create_database(request.module.__name__.rpartition(".")[2]))


@pytest.fixture
async def shop(bookshop: Bookshop) -> AsyncIterator[Bookshop]:
    """As it was at first: a few rows, an empty outbox, an empty cache."""
    bookshop.open()
    yield bookshop
    await bookshop.close()
