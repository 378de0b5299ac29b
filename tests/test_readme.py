"""What the README shows is run, and what its tables say is compared with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import StaticPool, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import rcache
from rcache.core.cache_status import FORWARD_REASONS
from rcache.core.configuration import CHECKS
from rcache.core.policy import Options, RuleSettings
from rcache.core.settings import size
from rcache.settings import CACHE, DEFAULTS, MIDDLEWARE
from tests.support import RawClient

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(word: str) -> str:
    """The one block of code that holds this."""
    (found,) = [each for each in BLOCKS if word in each]
    return found


async def test_the_first_application_caches_and_flushes():
    """Just as it stands in the README."""
    space: dict[str, Any] = {}
    exec(block("FastAPI()"), space)
    client = RawClient(space["app"])
    lifespan = await client.lifespan()

    assert (await client.get("/users/1")).is_stored
    assert (await client.get("/users/2")).is_stored
    assert (await client.get("/users/1")).text == '{"name":"Ada"}'
    assert (await client.get("/users/1")).is_hit

    assert (await client.request("PUT", "/users/1?name=Ada+L")).status == 200
    assert (await client.get("/users/1")).text == '{"name":"Ada L"}'
    assert (await client.get("/users/2")).is_hit
    await lifespan.shutdown()  # which closes its cache


async def test_a_write_inside_writing_is_held_and_purged():
    cache = rcache.Cache("memory://")
    held = []

    async def commit_somewhere() -> None:
        held.extend(cache.store._guards[0].holds)

    body = block("cache.writing").replace("\n", "\n    ")
    space: dict[str, Any] = {"cache": cache, "commit_somewhere": commit_somewhere}
    exec(f"async def write():\n    {body}", space)
    await space["write"]()
    assert held == ["user:42"]
    assert cache.stats.purges == 1
    assert not cache.store._guards[0].holds
    await cache.close()


async def test_an_application_that_is_cached_whole_finds_what_its_pages_depend_on():
    class Base(DeclarativeBase): ...

    class Book(Base):
        __tablename__ = "book"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    cache = rcache.Cache("memory://")
    names = {"app": FastAPI(), "engine": engine, "Base": Base, "cache": cache}
    space: dict[str, Any] = {**names, "CacheMiddleware": rcache.CacheMiddleware}
    exec(block("from rcache.integrations.sqlalchemy import track"), space)
    exec(block("auto=True"), space)

    @space["app"].get("/books")
    async def books() -> list[int]:
        with Session(engine) as session:
            return list(session.scalars(select(Book.id)))

    client = RawClient(space["app"])
    assert (await client.get("/books")).text == "[]"
    assert (await client.get("/books")).is_hit
    with Session(engine) as session:
        session.add(Book(id=1))
        session.commit()
    assert (await client.get("/books")).text == "[1]"
    assert (await client.get("/books")).is_hit
    assert len(BLOCKS) == 4, "each block is run by a test"
    await cache.close()


@pytest.mark.parametrize(
    ("heading", "names"),
    [("`Cache(url=None", CACHE), ("`CacheMiddleware(app, cache=None", MIDDLEWARE)],
)
def test_the_table_of_settings_names_them_all_with_their_defaults(heading: str, names: tuple[str, ...]):
    rows = _table(heading)
    assert set(rows) == set(names)
    for name, said in rows.items():
        assert written(name, said) == DEFAULTS[name], name


def written(name: str, said: str) -> Any:
    """The value that a table tells, as the setting's own check takes it."""
    said = said.strip("`")
    return said if name == "url" else CHECKS[name](eval(said), name)


def test_the_table_of_a_rules_settings_names_them_all_with_their_defaults():
    rows = _table("For `@cached(...)` and `Rule(path, ...)`")
    assert set(rows) == {"ttl", "tags", *RuleSettings.__annotations__}
    plain = {name: _plain(getattr(Options(), name, ())) for name in rows}  # tags are kept in two parts
    assert {name: _plain(eval(said.strip("`"))) for name, said in rows.items()} == plain


def _table(heading: str) -> dict[str, str]:
    table = README[README.index(heading) :].split("\n\n")[1]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))


def _plain(value: Any) -> Any:
    return (
        tuple(sorted(value)) if isinstance(value, frozenset | tuple) else size(value, "") if value == "64KiB" else value
    )


def test_every_reason_that_the_code_gives_is_explained():
    """The words that stand in `detail=`, as far as they can be read off the sources."""
    sources = "".join(path.read_text() for path in (Path(rcache.__file__).parent / "asgi").glob("*.py"))
    sources += (Path(rcache.__file__).parent / "core" / "storing.py").read_text()
    before = r'(?:_bypass\(|reason = |_give_up\(|_unstored\(|return (?:\(\), \()?|_pass\("request", |field\()'
    told = set(re.findall(before + r'"([a-z-]+)"', sources))
    told -= set(FORWARD_REASONS) - {"stale", "partial"}
    section = README[README.index("## Why was this not a hit?") : README.index("## Examples")]
    assert told >= {
        "outage",
        "target",
        "tag",
        "too-large",
        "set-cookie",
        "disconnect",
        "precondition",
        "stale-if-error",
    }
    assert {reason for reason in told if f"{reason}`" not in section} == set()
