"""What a transaction costs with `track()` on its engine, beside the same transaction on an engine that nobody tracks.

PostgreSQL with psycopg, one connection; per transaction 1, 100 or 10,000 rows, changed through a unit of work, inserted in bulk or
updated by one statement. The engines take turns, and a ratio is formed within each round. "Besides" are the statements that
tracking sends on top, counted by the engine itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine, create_engine, delete, event, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.servers import redis_process
from benchmarks.spread import Spread
from rcache import Cache
from rcache.integrations.sqlalchemy import track
from tests.postgres import PostgresServer

SIZES: Final = (1, 100, 10_000)
ENGINES: Final = ("untracked", "embedded", "on Redis", "on Redis, images from memory")


class Base(DeclarativeBase):
    """The table's."""


class Item(Base):
    """A row of six columns."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int]
    name: Mapped[str]
    price: Mapped[int]
    stock: Mapped[int]
    note: Mapped[str]


def row(number: int) -> dict[str, Any]:
    """A row that is like others in its shelf, price and stock."""
    return {"id": number, "shelf_id": number % 9, "name": f"n{number}", "price": 100, "stock": 5, "note": "x" * 40}


def by_objects(session: Session, size: int) -> None:
    """Loads rows, and changes each."""
    for item in session.scalars(select(Item).where(Item.id <= size)):
        item.stock += 1


def by_one_statement(session: Session, size: int) -> None:
    """Changes the rows by one UPDATE."""
    session.execute(update(Item).where(Item.id <= size).values(stock=Item.stock + 1))


def in_bulk(session: Session, size: int) -> None:
    """Inserts new rows."""
    session.execute(insert(Item), [row(1_000_000 + number) for number in range(size)])


WRITES: Final[tuple[tuple[str, Callable[[Session, int], None]], ...]] = (
    ("objects changed", by_objects),
    ("one UPDATE", by_one_statement),
    ("bulk INSERT", in_bulk),
)


def measure(rounds: int) -> dict[str, Any]:
    """The section of the results."""
    print("commits", flush=True)
    server = PostgresServer()
    try:
        with redis_process() as (redis, _):
            engines = _engines(server.url("psycopg"), redis)
            Base.metadata.create_all(engines["untracked"])
            with Session(engines["untracked"]) as session:
                session.execute(insert(Item), [row(number) for number in range(1, max(SIZES) + 1)])
                session.commit()
            rows = [
                _row(name, write, size, engines, max(3, rounds // (10 if size > 1000 else 1)))
                for name, write in WRITES
                for size in SIZES
            ]
            for engine in engines.values():
                engine.dispose()
    finally:
        server.stop()
    return {"settings": {"rounds": rounds, "engines": list(ENGINES)}, "rows": rows}


def _engines(url: str, redis: str) -> dict[str, Engine]:
    engines = {name: create_engine(url) for name in ENGINES}
    track(engines["embedded"], Base.metadata, cache=Cache("memory://"))
    cache = Cache(redis)
    track(engines["on Redis"], Base.metadata, cache=cache)
    track(engines["on Redis, images from memory"], Base.metadata, cache=cache, images="memory")
    return engines


def _row(
    name: str, write: Callable[[Session, int], None], size: int, engines: dict[str, Engine], rounds: int
) -> dict[str, Any]:
    samples: dict[str, list[float]] = {engine: [] for engine in engines}
    sent = {engine: _statements(engines[engine], write, size) for engine in engines}
    for turn in range(rounds):
        for offset in range(len(ENGINES)):
            engine = ENGINES[(turn + offset) % len(ENGINES)]
            samples[engine].append(_seconds(engines[engine], write, size))
    base = samples["untracked"]
    return {
        "name": name,
        "rows": size,
        "untracked_ms": round(Spread.of(base).median * 1e3, 3),
        "ratios": {
            engine: Spread.of([one / other for one, other in zip(samples[engine], base, strict=True)]).rounded(2)
            for engine in ENGINES[1:]
        },
        "besides": {engine: sent[engine] - sent["untracked"] for engine in ENGINES[1:]},
    }


def _seconds(engine: Engine, write: Callable[[Session, int], None], size: int) -> float:
    with Session(engine) as session:
        session.connection()
        began = time.perf_counter()
        write(session, size)
        session.commit()
        taken = time.perf_counter() - began
    _tidy(engine)
    return taken


def _statements(engine: Engine, write: Callable[[Session, int], None], size: int) -> int:
    count = 0

    def counting(*_: Any) -> None:
        nonlocal count
        count += 1

    event.listen(engine, "before_cursor_execute", counting)
    with Session(engine) as session:
        write(session, size)
        session.commit()
    event.remove(engine, "before_cursor_execute", counting)
    _tidy(engine)
    return count


def _tidy(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(delete(Item).where(Item.id >= 1_000_000).execution_options(synchronize_session=False))
        session.commit()
