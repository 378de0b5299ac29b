"""What it costs to find what queries depend on, beside the same queries on the same engine with nobody to see them read.

PostgreSQL with psycopg, an engine whose writes are tracked throughout. *Unseen*: the hooks that follow reads are taken off.
*Idle*: they are there, and nobody gathers, as for every statement outside of a miss. *Gathering*: as under `auto=True`. They take
turns, and a ratio is formed within each round, of the CPU that the client has spent: what the database does meanwhile would only
make the ratios look smaller. A miss is one request to a Starlette application whose answer is stored in memory, with a tag that
was written down and with `auto=True`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from sqlalchemy import Engine, ForeignKey, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from benchmarks.inprocess import discard, new_urls, receive
from benchmarks.payload import PATH
from benchmarks.spread import Spread
from rcache import Cache, CacheMiddleware, Rule, capture
from rcache.integrations.sqlalchemy import Tracking, track
from tests.postgres import PostgresServer

REPEATS: Final = 8
"""Questions in one sample."""


class Base(DeclarativeBase):
    """The tables'."""


class Author(Base):
    """A row that others refer to."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country: Mapped[str]
    about: Mapped[str]


class Book(Base):
    """A row of six columns."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    shelf_id: Mapped[int]
    title: Mapped[str]
    price: Mapped[int]
    note: Mapped[str]
    author: Mapped[Author] = relationship()


Question = Callable[[Session], Any]


def the_list(session: Session) -> list[dict[str, Any]]:
    """50 rows, each with the row that it refers to."""
    query = select(Book).options(joinedload(Book.author)).where(Book.shelf_id == 1).order_by(Book.id).limit(50)
    return [{"title": book.title, "author": book.author.name} for book in session.scalars(query)]


def one_row(session: Session) -> Any:
    """A row by its key."""
    book = session.get(Book, 7)
    return book.title if book is not None else None


def two_columns(session: Session) -> list[Any]:
    """50 rows of two columns, which become no objects."""
    return list(session.execute(select(Book.id, Book.title).where(Book.shelf_id == 1).order_by(Book.id).limit(50)))


QUESTIONS: Final[tuple[tuple[str, Question], ...]] = (
    ("50 rows with a joinedload", the_list),
    ("one row by its key", one_row),
    ("50 rows of two columns", two_columns),
)


def measure(rounds: int) -> dict[str, Any]:
    """The section of the results."""
    print("reads", flush=True)
    server = PostgresServer()
    try:
        engine, cache = create_engine(server.url("psycopg")), Cache("memory://")
        _fill(engine)
        tracking = track(engine, Base.metadata, cache=cache)
        rows = [_row(name, question, engine, tracking, rounds) for name, question in QUESTIONS]
        miss = asyncio.run(_miss(engine, cache, rounds))
        engine.dispose()
    finally:
        server.stop()
    return {"settings": {"rounds": rounds, "repeats": REPEATS}, "rows": rows, "miss": miss}


def _fill(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Author(id=number, name=f"n{number}", country="x", about="y" * 60) for number in range(1, 31)])
        session.flush()
        for number in range(1, 201):
            values = {"title": f"t{number}", "price": number, "note": "z" * 40}
            session.add(Book(id=number, author_id=number % 30 + 1, shelf_id=number % 2, **values))
        session.commit()


def _row(name: str, question: Question, engine: Engine, tracking: Tracking, rounds: int) -> dict[str, Any]:
    subjects: dict[str, Callable[[], None]] = {
        "unseen": lambda: _ask(engine, question),
        "idle": lambda: _ask(engine, question),
        "gathering": lambda: _gather(engine, question),
    }
    samples: dict[str, list[float]] = {subject: [] for subject in subjects}
    names = list(subjects)
    for turn in range(-2, rounds):
        for offset in range(len(names)):
            subject = names[(turn + offset) % len(names)]
            with _unseen(tracking) if subject == "unseen" else nullcontext():
                subjects[subject]()
                spent = _cpu(subjects[subject])
            if turn >= 0:  # before that they get warm
                samples[subject].append(spent)
    base = samples["unseen"]
    ratios = {each: _ratio(samples[each], base) for each in names[1:]}
    return {"name": name, "unseen_us": round(Spread.of(base).median * 1e6, 1), "ratios": ratios}


@contextmanager
def _unseen(tracking: Tracking) -> Iterator[None]:
    """The engine is followed for its writes alone."""
    followed = tracking._followed
    reader = followed._reader
    reader.uninstall()
    event.remove(followed.engine, "before_cursor_execute", reader.before_cursor_execute)
    yield
    event.listen(followed.engine, "before_cursor_execute", reader.before_cursor_execute)
    reader.install()


def _ratio(samples: list[float], base: list[float]) -> Spread:
    return Spread.of([one / other for one, other in zip(samples, base, strict=True)]).rounded(3)


def _cpu(ask: Callable[[], None]) -> float:
    """CPU seconds of one question."""
    gc.collect()
    before = time.thread_time()
    for _ in range(REPEATS):
        ask()
    return (time.thread_time() - before) / REPEATS


def _ask(engine: Engine, question: Question) -> None:
    with Session(engine) as session:
        question(session)


def _gather(engine: Engine, question: Question) -> None:
    with capture(), Session(engine) as session:
        question(session)


async def _miss(engine: Engine, cache: Cache, rounds: int) -> dict[str, Any]:
    async def books(request: Request) -> JSONResponse:
        with Session(engine) as session:
            return JSONResponse(the_list(session))

    def application(**options: Any) -> ASGIApp:
        rules = [Rule(PATH, ttl=3600, **options)]
        return Starlette(
            routes=[Route(PATH, books)], middleware=[Middleware(CacheMiddleware, cache=cache, rules=rules)]
        )

    subjects = {"tags": application(tags=("book",)), "auto": application(auto=True)}
    urls = {name: new_urls() for name in subjects}
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(-2, rounds):
        for name in ("tags", "auto") if turn % 2 else ("auto", "tags"):
            gc.collect()
            before = time.thread_time()
            for _ in range(REPEATS):
                scope = urls[name]()
                scope["query_string"] = name.encode() + b"&" + scope["query_string"]
                await subjects[name](scope, receive, discard)
            if turn >= 0:
                samples[name].append((time.thread_time() - before) / REPEATS)
    ratio = _ratio(samples["auto"], samples["tags"])
    return {"tags_us": round(Spread.of(samples["tags"]).median * 1e6, 1), "ratio": ratio}
