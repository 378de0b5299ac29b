"""An audit of an application that nobody wrote tags for: what was written behind rcache's back is found, with its queries."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session, selectinload

from rcache import Audit, Cache, CacheMiddleware, Finding, signals
from rcache.integrations.sqlalchemy import track
from tests.integrations.sqlalchemy.library import Base, User, fill
from tests.support import RawClient


async def test_what_is_written_past_the_tracked_engine_is_found(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/library.db"
    engine, elsewhere = create_engine(url), create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.commit()
    app = FastAPI()

    @app.get("/shelves/{key}")
    def shelf(key: int) -> list[str]:
        with Session(engine) as session:
            user = session.scalar(select(User).where(User.id == key).options(selectinload(User.books)))
            return [book.title for book in user.books] if user else []

    found: list[Finding] = []

    def hear(sender: object, finding: Finding) -> None:
        found.append(finding)

    async with Cache("memory://") as cache:
        tracking = track(engine, Base.metadata, cache=cache)
        client = RawClient(CacheMiddleware(app, cache, auto=True, default_ttl=60, audit=Audit(1, settle=0)))
        with signals.audit_difference.connected_to(hear):
            before = (await client.get("/shelves/1")).text
            with Session(engine) as session:
                session.get_one(User, 1).books[0].title = "Seen"
                session.commit()
            assert (await client.get("/shelves/1")).text != before
            assert (await client.get("/shelves/1")).is_hit
            await cache.audits.wait()
            assert cache.stats.counters.audits_same == 1
            with elsewhere.begin() as connection:
                connection.execute(text("UPDATE book SET title = 'Unseen'"))
            assert (await client.get("/shelves/1")).is_hit
            await cache.audits.wait()
        tracking.untrack()
    (finding,) = found
    assert finding.route == "/shelves/{key}"
    assert "user:1" in finding.tags
    assert finding.unnamed == ()
    assert finding.unfollowed == ()
    assert "where rcache does not see it" in finding.remedy
    statements = [query for query in finding.queries if "FROM book" in query.statement]
    assert statements
    assert set(statements[0].tags) <= set(finding.tags)
    assert "Unseen" not in caplog.text
    engine.dispose()
    elsewhere.dispose()
