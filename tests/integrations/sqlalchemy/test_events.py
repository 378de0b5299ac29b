"""Whoever asks what purged an entry last is told the rows that changed."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from rcache import Cache
from rcache.integrations.sqlalchemy import track
from tests.contract.support import Question, fill


async def test_a_commit_leaves_an_event_that_names_the_rows_that_changed(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Book(Base):
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    engine = create_engine(f"sqlite:///{tmp_path / 'events.sqlite3'}")
    Base.metadata.create_all(engine)
    cache = Cache("memory://")
    tracking = track(engine, Base.metadata, cache=cache)
    with Session(engine) as session:
        session.add_all([Book(id=1, title="a"), Book(id=2, title="b")])
        session.commit()
        await fill(cache.store, Question("/book/2"), b"old", "book:2")
        session.get_one(Book, 2).title = "c"
        session.commit()
        session.get_one(Book, 2).title = "d"
        session.rollback()
    last, first = await cache.inspector.events()
    assert set(first.changes) == {"insert book:1", "insert book:2"}
    assert (last.kind, last.cause, last.changes, last.node) == (
        *("purge", "commit", ("update book:2",)),
        cache.telemetry.node,
    )
    assert await cache.inspector.last_purge(["book:2"]) == last
    assert "book:2" in last.tags
    assert last.number > first.number > 0
    tracking.untrack()
    engine.dispose()
    await cache.close()
