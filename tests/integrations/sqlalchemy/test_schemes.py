"""What was asked for in some way is flushed by the COMMITs that change what it shows, though their engine never saw it asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from rcache import Change
from rcache.core.changes import families
from rcache.core.schemes import Scheme
from tests.contract.support import TIMEOUT, Question, begin, body_of, budget, made
from tests.integrations.sqlalchemy import library
from tests.integrations.sqlalchemy.harness import World
from tests.integrations.sqlalchemy.library import Book, Manager

TITLES = Scheme("book", ("author_id",), frozenset({"author_id", "title"}))
COUNTS = Scheme("book", ("author_id",), frozenset({"author_id"}))
EVERY_TITLE = Scheme("book", (), frozenset({"title"}))
STAFF = Scheme("employee", (), None)
BUDGETS = Scheme("manager", ("budget",), frozenset({"budget"}))

ASKED: dict[str, tuple[Scheme, Mapping[str, object]]] = {
    "titles of 1": (TITLES, {"author_id": 1}),
    "titles of 2": (TITLES, {"author_id": 2}),
    "number of 1": (COUNTS, {"author_id": 1}),
    "number of 2": (COUNTS, {"author_id": 2}),
    "titles of nobody": (TITLES, {"author_id": None}),
    "all titles": (EVERY_TITLE, {}),
    "staff": (STAFF, {}),
    "budgets of 1": (BUDGETS, {"budget": 1}),
    "budgets of 9": (BUDGETS, {"budget": 9}),
}
DRIVERS = ("sqlite", "aiosqlite", "asyncpg")


@pytest.fixture(params=DRIVERS)
async def world(request: pytest.FixtureRequest, make_world: Any) -> World:
    made: World = make_world(request.param)
    await ask(made)
    return made


def page(name: str) -> Question:
    return Question(f"/{name.replace(' ', '-')}")


def tags_of(name: str) -> tuple[str, ...]:
    scheme, values = ASKED[name]
    tag = scheme.tag(values)
    assert tag is not None
    return (tag, *families([tag]))


async def ask(world: World) -> None:
    """A page for each is stored."""
    for name, (scheme, _) in ASKED.items():
        miss = await begin(world.cache.store, page(name))
        assert miss.start is not None
        entry = made(page(name), miss.start, miss.now, b"x", *tags_of(name))
        assert await world.cache.store.store(page(name), (), entry, budget(), [scheme])


async def flushed(world: World) -> set[str]:
    return {name for name in ASKED if await body_of(world.cache.store, page(name)) is None}


def retitle(s: Session) -> None:
    s.execute(update(Book).where(Book.id == 1).values(title="new"))


def add(s: Session) -> None:
    s.add(Book(id=7, author_id=2, title="new"))


def move(s: Session) -> None:
    book = s.get(Book, 1)
    assert book is not None
    book.author_id = 2


def orphan(s: Session) -> None:
    s.execute(update(Book).where(Book.id == 3).values(author_id=None))


def spend(s: Session) -> None:
    manager = s.get(Manager, 2)
    assert manager is not None
    manager.budget = 9


@pytest.mark.parametrize(
    ("write", "pages"),
    [
        (retitle, {"titles of 1", "all titles"}),
        (add, {"titles of 2", "number of 2", "all titles"}),
        (move, {"titles of 1", "titles of 2", "number of 1", "number of 2"}),
        (orphan, {"titles of 2", "number of 2", "titles of nobody"}),
        (spend, {"staff", "budgets of 1", "budgets of 9"}),
    ],
    ids=["retitle", "add", "move", "orphan", "spend"],
)
async def test_a_commit_flushes_what_was_asked_for_with_its_old_and_new_values(
    world: World, write: Any, pages: set[str]
) -> None:
    for _ in range(2):  # the second time the schemes are known beforehand
        await world.run(lambda s: (write(s), s.commit()))
        assert await flushed(world) == pages
        world.empty()
        with Session(world.plain) as session:
            library.fill(session)
        world.cache.store.flush_sync(TIMEOUT)  # which forgets no scheme
        await ask(world)


async def test_it_is_held_from_before_the_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[set[str]] = []
    store: Any = world.cache.store
    hold = store.hold_sync
    monkeypatch.setattr(store, "hold_sync", lambda tags, *rest: (held.append(set(tags)), hold(tags, *rest))[1])
    await world.run(lambda s: (retitle(s), s.commit()))
    assert TITLES.tag({"author_id": 1}) in held[-1]
    assert TITLES.tag({"author_id": 2}) not in held[-1]
    assert COUNTS.tag({"author_id": 1}) not in held[-1]


async def test_what_is_told_within_a_transaction_goes_with_its_commit(world: World) -> None:
    old = {"id": 2, "author_id": 1, "title": "B"}
    change = Change("book", (2,), "update", old, {**old, "title": "new"}, frozenset({"title"}))
    cache = world.cache

    def tell(s: Session) -> None:
        with s.begin_nested():
            cache.apply_sync([change], connection=s)
        s.commit()

    await world.run(tell)
    assert await flushed(world) == {"titles of 1", "all titles"}


async def test_statements_that_commit_by_themselves_flush_it_too(world: World) -> None:
    new = insert(Book).values(id=7, author_id=2, title="new")
    await world.run_on_connection(lambda c: c.execute(new), isolation_level="AUTOCOMMIT")
    assert await flushed(world) == {"titles of 2", "number of 2", "all titles"}


async def test_it_is_not_served_while_a_transaction_that_never_commits_has_changed_it(make_world: Any) -> None:
    world: World = make_world("sqlite", uncommitted=True)
    await ask(world)

    def write(s: Session) -> None:
        retitle(s)
        assert world.cache.forbids(tags_of("titles of 1")) == "uncommitted"
        assert world.cache.forbids(tags_of("staff")) is None

    await world.run(write)
    assert world.cache.forbids(tags_of("titles of 1")) is None
