"""SQLModel: its sessions and models are SQLAlchemy's, so its commits are flushed by the same hooks.

Without postponed annotations, which its relationships cannot read.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Field, Relationship, Session, SQLModel, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from rcache import Cache
from rcache.core.changes import families
from rcache.integrations.sqlalchemy import track
from tests.contract.support import Question, body_of, fill


class Team(SQLModel, table=True):
    __tablename__ = "team"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    heroes: list["Hero"] = Relationship(back_populates="team", cascade_delete=True)


class Hero(SQLModel, table=True):
    __tablename__ = "hero"
    __cache_tag__ = "champion"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    team_id: int | None = Field(default=None, foreign_key="team.id", ondelete="CASCADE")
    team: Team | None = Relationship(back_populates="heroes")


PAGES = ["team", "team:1", "team:2", "champion", "champion:1", "champion:2", "champion:3"]
PAGES += ["champion?team_id=1", "champion?team_id=2"]


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    """With a page for each tag; the database is not tracked yet."""
    engine = create_engine(f"sqlite:///{tmp_path / 'heroes.sqlite3'}")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Team(id=1, name="a"), Team(id=2, name="b")])
        session.add_all([Hero(id=1, name="x", team_id=1), Hero(id=2, name="y", team_id=2)])
        session.commit()
    engine.dispose()
    cache = Cache("memory://")
    for tag in PAGES:
        await fill(cache.store, page(tag), b"old", tag, *families([tag]))
    yield cache
    await cache.close()


def page(tag: str) -> Question:
    return Question("/" + tag.replace("?", "~"))


async def flushed(cache: Cache) -> set[str]:
    return {tag for tag in PAGES if await body_of(cache.store, page(tag)) is None}


async def test_a_session_of_sqlmodel_flushes_what_it_commits(cache: Cache, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'heroes.sqlite3'}")
    tracking = track(engine, SQLModel.metadata, cache=cache)
    with Session(engine) as session:
        hero = session.exec(select(Hero).where(Hero.id == 1)).one()
        hero.name = "new"
        session.add(hero)
        session.commit()
        session.refresh(hero)
        assert await flushed(cache) == {"champion", "champion:1", "champion?team_id=1"}
        session.add(Hero(name="z", team_id=2))
        session.rollback()
        assert await flushed(cache) == {"champion", "champion:1", "champion?team_id=1"}
        session.add(Hero(name="z", team_id=2))
        session.commit()
        assert await flushed(cache) == {tag for tag in PAGES if "champion" in tag} - {"champion:2"}
        session.delete(session.get_one(Team, 2))
        session.commit()
        assert await flushed(cache) == set(PAGES) - {"team:1"}
    tracking.untrack()
    engine.dispose()


async def test_an_async_session_of_sqlmodel_flushes_what_it_commits(cache: Cache, tmp_path: Path) -> None:
    engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'heroes.sqlite3'}")
    tracking = track(engine, SQLModel.metadata, cache=cache)
    async with AsyncSession(engine) as session:
        hero = (await session.exec(select(Hero).where(Hero.id == 1))).one()
        hero.team_id = 2
        session.add(hero)
        await session.commit()
        assert await flushed(cache) == {"champion", "champion:1", "champion?team_id=1", "champion?team_id=2"}
        await session.exec(delete(Team).where(Team.name == "a"))
        await session.commit()
        assert await flushed(cache) == set(PAGES) - {"team:2", "champion:2", "champion:3"}
    tracking.untrack()
    await engine.dispose()
