"""Random transactions on PostgreSQL that cross each other, and cached endpoints over the same tables, asked all the while.

Writers keep sessions whose copies grow old, as real ones do. Every endpoint names what it depends on by hand. Two nodes on one
Redis answer, one of them with a strict near cache. Whoever asks notes before what the database says, and its snapshot; where it
still has the same one afterwards, nothing was committed in between, and an answer that differs is stale. So is one that does
when all writers pause. How much was flushed beyond need is counted too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from typing import Any

from sqlalchemy import Text, cast, create_engine, delete, func, insert, literal_column, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, tag
from rcache.integrations.sqlalchemy import track
from tests.integrations.sqlalchemy import library
from tests.integrations.sqlalchemy.library import Base, Book, Loan, Org, Review, User
from tests.postgres import PostgresServer
from tests.support import RawClient

LEVELS = ("READ COMMITTED", "REPEATABLE READ")
WRITERS, READERS = 4, 3
ROUND = 1.5  # seconds between two pauses
COUNTED = ("commits", "refused", "answers", "hits", "crossed", "flushed", "needed")

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
    number = one(chosen)
    book = s.get(Book, number)
    s.info[number] = book  # a session lets go of what nobody else keeps, and would read it anew
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


def tidy(s: Session, chosen: random.Random) -> None:
    s.execute(delete(Review).where(Review.book_id == one(chosen)).execution_options(synchronize_session=False))
    s.execute(delete(Loan).where(Loan.book_id.is_(None)).execution_options(synchronize_session=False))


WRITES = (through_an_object, through_core, in_bulk, new_rows, gone, back, back, other_tables, tidy)


class Crossing:
    """One database, its writers and its nodes."""

    def __init__(self, url: str, async_url: str, redis: str, *, level: str, images: Any = "strict") -> None:
        self.stale: list[str] = []
        self.tally: Counter[str] = Counter()
        self._pages = {name: _page(query) for name, (query, _) in results().items()}
        self._stored: dict[str, str] = {}
        self._looking = create_async_engine(async_url, isolation_level="AUTOCOMMIT")
        namespace = f"crossing-{secrets.token_hex(6)}"
        self._caches = [Cache(redis, namespace=namespace, near=near, deadline=5.0) for near in (None, "strict")]  # type: ignore[arg-type]
        self._clients = [RawClient(self._application(cache)) for cache in self._caches]
        impatient = {"options": "-c lock_timeout=300"}
        self.engine = create_engine(url, isolation_level=level, connect_args=impatient)  # type: ignore[arg-type]
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session:
            library.fill(session)
            session.execute(select(func.setval("review_id_seq", 100)))
            session.commit()
        self.tracking = track(self.engine, Base.metadata, cache=self._caches[0], images=images)

    def _application(self, cache: Cache) -> Starlette:
        tags = {name: tags for name, (_, tags) in results().items()}

        @cached(ttl="1h")
        async def show(request: Request) -> PlainTextResponse:
            name = request.path_params["name"]
            tag(*tags[name])
            return PlainTextResponse((await self._look(name))[1])

        app = Starlette(routes=[Route("/{name}", show)])
        app.add_middleware(CacheMiddleware, cache=cache)
        return app

    async def _look(self, name: str) -> tuple[str, str]:
        """The database's snapshot, and what the page shows in it."""
        async with self._looking.connect() as connection:
            snapshot, shown = (await connection.execute(self._pages[name])).one()
            return str(snapshot), str(shown)

    # Readers

    async def _ask(self, name: str, node: int) -> None:
        snapshot, before = await self._look(name)
        answer = await self._clients[node].get(f"/{name}")
        self.tally["answers"] += 1
        self.tally["hits"] += answer.is_hit
        if answer.is_stored:
            former = self._stored.get(name)
            self.tally["flushed"] += former is not None
            self.tally["needed"] += former is not None and former != answer.text
            self._stored[name] = answer.text
        if answer.text != before:
            now, after = await self._look(name)
            if now == snapshot:
                self.stale.append(f"{name} on node {node}: {answer.text}, but {before} ({answer.cache})")
            else:
                self.tally["crossed"] += answer.text != after

    async def _reader(self, chosen: random.Random, until: float) -> None:
        names = list(self._pages)
        while time.monotonic() < until:
            await self._ask(chosen.choice(names), chosen.randrange(len(self._clients)))

    async def _check_all(self) -> None:
        for name in self._pages:
            for node in range(len(self._clients)):
                await self._ask(name, node)

    # Writers

    def _step(self, session: Session, chosen: random.Random) -> None:
        """One write in one session, which may then commit, roll back or go on."""
        try:
            write = chosen.choice(WRITES)
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
            self.tally["refused"] += 1

    async def _writer(self, session: Session, chosen: random.Random, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.to_thread(self._step, session, chosen)
            await asyncio.sleep(chosen.random() * 0.02)
        await asyncio.to_thread(session.rollback)

    async def run(self, seconds: float, seed: int) -> None:
        """Rounds of writing and asking; after each, everything is compared."""
        chosen = random.Random(seed)
        sessions = [Session(self.engine, expire_on_commit=False) for _ in range(WRITERS)]
        over = time.monotonic() + seconds
        await self._check_all()
        while time.monotonic() < over and not self.stale:
            until = time.monotonic() + ROUND
            working = [self._writer(session, random.Random(chosen.random()), until) for session in sessions]
            asking = [self._reader(random.Random(chosen.random()), until) for _ in range(READERS)]
            await asyncio.gather(*working, *asking)
            await self._check_all()
        for session in sessions:
            with contextlib.suppress(DBAPIError):
                session.close()

    async def close(self) -> None:
        """Ends it."""
        self.tracking.untrack()
        self.engine.dispose()
        await self._looking.dispose()
        for cache in self._caches:
            await cache.close()


def _page(query: Any) -> Any:
    """The snapshot, and all rows in one text."""
    rows = query.subquery("shown")
    return select(
        cast(func.pg_current_snapshot(), Text), cast(func.json_agg(literal_column("shown")), Text)
    ).select_from(rows)


async def cross(
    postgres: PostgresServer, redis: str, *, level: str, seconds: float, seed: int = 1, **options: Any
) -> dict[str, Any]:
    """What was counted, with the stale answers."""
    database = postgres.create_database(f"crossing_{secrets.token_hex(4)}")
    crossing = Crossing(
        postgres.url("psycopg", database), postgres.url("asyncpg", database), redis, level=level, **options
    )
    began = time.monotonic()
    try:
        await crossing.run(seconds, seed)
    finally:
        await crossing.close()
    counted = {what: crossing.tally[what] for what in COUNTED}
    return {
        "level": level,
        "seconds": round(time.monotonic() - began),
        **counted,
        "stale": crossing.stale[:9],
        "table_level": crossing.tracking.table_level,
    }
