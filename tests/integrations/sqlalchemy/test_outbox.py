"""`durable="outbox"`: a purge that was lost with its process is made by whoever drains."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from rcache import BackendError, Cache, ConfigurationError
from rcache.integrations.sqlalchemy import track
from rcache.integrations.sqlalchemy.outbox import outbox_table
from tests.contract.support import body_of
from tests.integrations.sqlalchemy.harness import DRIVERS, World
from tests.integrations.sqlalchemy.library import Base, Book

BOOK_1 = {"book", "book:1", "book?author_id=1"}


@pytest.fixture(params=DRIVERS)
async def world(request: pytest.FixtureRequest, make_world: Any) -> Any:
    made: World = make_world(request.param, durable="outbox")
    outbox_table(Base.metadata).create(made.plain, checkfirst=True)
    made.empty_outbox()
    await made.warm()
    yield made
    Base.metadata.remove(outbox_table(Base.metadata))


def retitle(session: Session) -> None:
    session.execute(update(Book).where(Book.id == 1).values(title="new"))
    session.commit()


def rows(world: World) -> int:
    with world.plain.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(outbox_table(Base.metadata))).scalar_one())


async def drain(world: World) -> int:
    return await world.tracking.drain() if world.is_async else world.tracking.drain_sync()


async def test_what_is_flushed_is_committed_with_the_change_and_goes_once_it_has_landed(world: World) -> None:
    await world.run(retitle)
    assert await world.flushed() == BOOK_1
    assert rows(world) == 1
    for _ in range(3):
        await world.run(retitle_again)
    assert rows(world) == 1, "each takes the row of the one before along"


def retitle_again(session: Session) -> None:
    session.execute(update(Book).where(Book.id == 2).values(title=Book.title + "!"))
    session.commit()


async def test_a_rollback_leaves_no_row(world: World) -> None:
    await world.run(lambda s: (s.execute(update(Book).values(title="x")), s.rollback()))
    assert rows(world) == 0


async def test_a_purge_that_died_with_its_process_is_made_by_whoever_drains(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis could not be reached, so there was no hold; and then the process died with its journal."""

    def down(*_: Any, **__: Any) -> None:
        raise BackendError("down")

    async def down_async(*_: Any, **__: Any) -> None:
        raise BackendError("down")

    with monkeypatch.context() as outage:
        outage.setattr(world.cache._purger, "timeout", 0.01)
        for name in ("hold", "purge"):
            outage.setattr(world.cache.store, name, down_async)
            outage.setattr(world.cache.store, f"{name}_sync", down)
        await world.run(retitle)
        assert await drain(world) == 0, "it stays while it cannot land"
        world.cache.journal.waiting.clear()
    assert await body_of(world.cache.store, world.page("book:1")) == b"old"
    assert rows(world) == 1
    assert await drain(world) == 1
    assert await world.flushed() == BOOK_1 | {tag for tag in world.tags if tag.startswith("book?")}, (
        "its schemes are unknown"
    )
    assert rows(world) == 0
    assert await drain(world) == 0


async def test_without_an_outbox_nothing_can_be_drained(make_world: Any) -> None:
    world: World = make_world("sqlite")
    with pytest.raises(ConfigurationError, match="no outbox"):
        world.tracking.drain_sync()
    with pytest.raises(ConfigurationError, match="durable"):
        track(world.engine, Base.metadata, cache=Cache("memory://"), durable="safe")  # type: ignore[arg-type]
