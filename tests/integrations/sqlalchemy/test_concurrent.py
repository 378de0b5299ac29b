"""Random transactions on PostgreSQL that cross each other, and cached results over the same tables: none is ever stale.

Writers keep sessions whose copies grow old, as real ones do. Every result names what it depends on by hand. After each commit
every cached result is compared with the database; one that differs and was not flushed is a defect. How much was flushed beyond
need is counted too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from rcache.core.changes import families
from rcache.core.entry import Found
from tests.contract.support import Question, budget, finish
from tests.integrations.sqlalchemy.harness import World
from tests.integrations.sqlalchemy.library import Book, Loan, Org, Review, User

IDS = range(1, 7)


def results() -> dict[str, tuple[Any, list[str]]]:
    """Queries by name, with the tags of what they depend on."""
    found: dict[str, tuple[Any, list[str]]] = {}
    for number in IDS:
        found[f"book{number}"] = (select(Book.title, Book.author_id).where(Book.id == number), [f"book:{number}"])
        found[f"by{number}"] = (
            select(Book.id, Book.title).where(Book.author_id == number).order_by(Book.id),
            [f"book?author_id={number}"],
        )
        found[f"reviews{number}"] = (
            select(func.count()).select_from(Review).where(Review.book_id == number),
            [f"shelf:{number}"],
        )
        found[f"lent{number}"] = (
            select(Loan.id).where(Loan.book_id == number).order_by(Loan.id),
            [f"lending?book_id={number}"],
        )
    found["orphans"] = (select(func.count()).select_from(Book).where(Book.author_id.is_(None)), ["book?author_id"])
    found["unlent"] = (select(func.count()).select_from(Loan).where(Loan.book_id.is_(None)), ["lending?book_id"])
    found["orgs"] = (select(Org.name).order_by(Org.id), ["org"])
    found["authors"] = (select(User.id, Book.id).join(Book).order_by(User.id, Book.id), ["user", "book"])
    return found


def one(chosen: random.Random) -> int:
    return chosen.choice(IDS)


def through_an_object(s: Session, chosen: random.Random) -> None:
    book = s.get(Book, one(chosen))
    if book is not None:
        book.author_id = chosen.choice([1, 2, 3, None])
        if chosen.random() < 0.5:
            book.title = f"t{chosen.random()}"


def through_core(s: Session, chosen: random.Random) -> None:
    statement = (
        update(Book).where(Book.author_id == chosen.choice([1, 2, 3])).values(author_id=chosen.choice([1, 2, 3]))
    )
    s.execute(statement.execution_options(synchronize_session=False))


def in_bulk(s: Session, chosen: random.Random) -> None:
    present = list(s.scalars(select(Book.id).where(Book.id.in_([one(chosen), one(chosen)]))))
    if present:
        s.execute(update(Book), [{"id": number, "author_id": chosen.choice([1, 2, 3])} for number in present])


def new_rows(s: Session, chosen: random.Random) -> None:
    book = chosen.choice(list(s.scalars(select(Book.id))) or [None])
    if book is not None:
        s.execute(insert(Review), [{"book_id": book}] * chosen.choice([1, 2]))
        s.add(Loan(id=chosen.randrange(1000, 10**9), book_id=book))


def gone(s: Session, chosen: random.Random) -> None:
    s.execute(delete(Book).where(Book.id == one(chosen)).execution_options(synchronize_session=False))


def back(s: Session, chosen: random.Random) -> None:
    number = one(chosen)
    if s.scalar(select(Book.id).where(Book.id == number)) is None:
        s.execute(insert(Book).values(id=number, author_id=chosen.choice([1, 2, 3]), title="back"))


def other_tables(s: Session, chosen: random.Random) -> None:
    s.execute(update(Loan).where(Loan.book_id == one(chosen)).values(book_id=None))
    s.execute(update(Org).where(Org.id == chosen.choice([1, 2])).values(name=f"o{chosen.randrange(3)}"))


WRITES = (through_an_object, through_core, in_bulk, new_rows, gone, back, back, other_tables)


class Run:
    """Writers that cross each other, between checks."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.results = results()
        self.truth: dict[str, str] = {}
        self.tally: Counter[str] = Counter()
        self.stale: list[str] = []

    def read(self, name: str) -> str:
        with self.world.plain.connect() as connection:
            return repr([tuple(row) for row in connection.execute(self.results[name][0])])

    async def check(self) -> None:
        """What is cached is true; and what is not is filled anew."""
        for name, (_, tags) in self.results.items():
            question = Question("/" + name)
            found = await self.world.cache.store.lookup(question, budget())
            now = self.read(name)
            needed = name in self.truth and self.truth[name] != now
            self.truth[name] = now
            self.tally["needed"] += needed
            if isinstance(found, Found):
                if found.entry.body != now.encode():
                    self.stale.append(f"{name}: {found.entry.body!r}, but {now}")
            else:
                self.tally["flushed"] += 1
                if found.start is not None:
                    await finish(self.world.cache.store, question, found, now.encode(), *tags, *families(tags))

    def step(self, session: Session, write: Callable[[Session, random.Random], None], chosen: random.Random) -> None:
        """One write in one session, which may then commit, roll back or go on."""
        try:
            if chosen.random() < 0.3:
                with session.begin_nested() as savepoint:
                    write(session, chosen)
                    if chosen.random() < 0.3:
                        savepoint.rollback()
            else:
                write(session, chosen)
            end = chosen.random()
            if end < 0.6:
                session.commit()
                self.tally["commits"] += 1
            elif end < 0.75:
                session.rollback()
        except (DBAPIError, StaleDataError, ObjectDeletedError):
            session.rollback()

    async def writer(self, rounds: int) -> None:
        """A session that lives on, whose objects do not expire."""
        chosen = random.Random(self.random.random())
        session = Session(self.world.engine, expire_on_commit=False)
        session.connection().exec_driver_sql("SET lock_timeout = '300ms'")
        for _ in range(rounds):
            await asyncio.to_thread(self.step, session, chosen.choice(WRITES), chosen)
        await asyncio.to_thread(session.rollback)
        with contextlib.suppress(DBAPIError):
            session.close()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("rounds", [12, pytest.param(250, marks=pytest.mark.long)])
async def test_random_transactions_that_cross_leave_nothing_stale(make_world: Any, level: str, rounds: int) -> None:
    world: World = make_world("psycopg", isolation_level=level)
    for seed in range(rounds):
        run = Run(world, seed)
        await run.check()
        run.tally.clear()
        await asyncio.gather(*[run.writer(3) for _ in range(4)])
        await run.check()
        assert run.stale == [], (seed, run.stale)
        world.tally.update(run.tally)
    assert world.tally["commits"] >= rounds
    assert world.tally["needed"] <= world.tally["flushed"]
    print(level, dict(world.tally), world.tracking.table_level)
