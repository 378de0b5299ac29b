"""Every kind of write, in every shape of transaction, on every driver: exactly what it changed is flushed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from tests.integrations.sqlalchemy.harness import DRIVERS, World
from tests.integrations.sqlalchemy.library import DEPENDENTS, PAGES, Book, Review
from tests.integrations.sqlalchemy.shapes import SHAPES
from tests.integrations.sqlalchemy.writes import KINDS, all_of, kinds_on

SOME = (
    "an_attribute",
    "a_new_object",
    "an_association",
    "a_joined_object_deleted",
    "update_where",
    "update_returning",
    "insert_many",
    "a_cascade",
    "text_form",
    "an_upsert",
    "delete_where",
)
"""Kinds that go ways of their own through the hooks; the long form takes all kinds in every shape."""

TABLE = [
    (shape, driver)
    for shape, (_, _, drivers) in SHAPES.items()
    for driver in DRIVERS
    if drivers is None or driver in drivers
]


@pytest.mark.parametrize("kinds", [SOME, pytest.param(tuple(KINDS), marks=pytest.mark.long)], ids=["some", "all"])
@pytest.mark.parametrize(("shape", "driver"), [each for each in TABLE if each[0] != "committed"])
async def test_in_every_shape_a_commit_flushes_what_it_changed_and_nothing_else(
    make_world: Any, shape: str, driver: str, kinds: tuple[str, ...]
) -> None:
    world: World = make_world(driver)
    assert await differing(world, shape, kinds) == {}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_commit_flushes_what_it_changed_and_nothing_else(make_world: Any, driver: str) -> None:
    world: World = make_world(driver)
    assert await differing(world, "committed", tuple(KINDS)) == {}


async def differing(world: World, name: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The kinds of which too little was flushed, too much, or for another reason."""
    shape = SHAPES[name]
    found: dict[str, Any] = {}
    there = kinds_on(world.driver)
    for kind in (each for each in kinds if each in there):
        write, expected, reason = there[kind]
        await world.warm()
        before = world.tracking.table_level
        await shape.carry_out(world, write)
        flushed = await world.flushed()
        told = {reason for reason, count in world.tracking.table_level.items() if count != before.get(reason)}
        wanted = expected if shape.commits else set()
        if flushed != wanted or told != ({reason} if reason else set()) or world.cache.holds.renewals._due:
            found[kind] = {"missing": wanted - flushed, "besides": flushed - wanted, "told": told}
        if shape.commits or found:
            world.restore()
    return found


@pytest.mark.parametrize("driver", DRIVERS)
async def test_under_autocommit_what_a_statement_changed_goes_and_nothing_of_other_tables(
    make_world: Any, driver: str
) -> None:
    """What is read before an UPDATE or DELETE may have changed when it runs: those are told of the table."""
    world: World = make_world(driver, isolation_level="AUTOCOMMIT")
    found = {}
    for kind, (write, expected, _) in kinds_on(driver).items():
        await world.warm()

        def work(session: Session, write: Any = write) -> None:
            write(session)
            session.commit()

        await world.run(work)
        flushed = await world.flushed()
        names = {page.partition("?")[0].partition(":")[0] for page in expected}
        allowed = set(all_of(*names, *(each for name in names for each in DEPENDENTS.get(name, ()))).split())
        if not expected <= flushed or (expected and not flushed <= allowed):
            found[kind] = {"missing": expected - flushed, "besides": flushed - allowed}
        world.restore()
    assert found == {}
    assert set(PAGES) > await world.flushed()


async def test_a_row_that_is_replaced_takes_along_what_refers_to_it(make_world: Any) -> None:
    """SQLite deletes it first, and what cascades from that."""
    world: World = make_world("sqlite")
    await world.warm()
    statement = insert(Book).prefix_with("OR REPLACE").values(id=3, author_id=2, title="again")
    await world.run(lambda s: (s.execute(statement), s.commit()))
    with Session(world.plain) as session:
        assert session.get(Review, 2) is None
    assert {"book:3", "review:2", "shelf:3", "lending:2"} <= await world.flushed()
