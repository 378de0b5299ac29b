"""What a trigger tells of a row makes the same tags as what the tracker tells of it, whatever the types of its columns."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    create_engine,
    delete,
    insert,
    update,
)
from sqlalchemy.dialects.postgresql import DOMAIN, INT4RANGE, JSONB, Range
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rcache import Cache, signals
from rcache.core.changes import Change
from rcache.core.schemes import Effect
from rcache.integrations.postgresql import Migration, TableName
from rcache.integrations.postgresql.drain import opened
from rcache.integrations.sqlalchemy import track
from tests.postgres import PostgresServer


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Shouted(TypeDecorator[str]):
    """Read otherwise than it is stored."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.upper() + "!"


class Badge(TypeDecorator[str]):
    """Made of the text that its type is to give, not of what drivers do."""

    impl = Uuid(as_uuid=False)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else "badge " + value[:8]


metadata = MetaData()
things = Table(
    "thing",
    metadata,
    # The database will have the key the other way round: a number that it may choose comes first.
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name_of_it", String(20), key="name"),
    Column("code", DOMAIN("code", Text)),
    Column("small", SmallInteger),
    Column("flag", Boolean),
    Column("uid", Uuid),
    Column("uid_text", Uuid(as_uuid=False)),
    Column("badge", Badge),
    Column("day", Date),
    Column("moment", DateTime),
    Column("instant", DateTime(timezone=True)),
    Column("clock", Time),
    Column("span", Interval),
    Column("price", Numeric(12, 2)),
    Column("rate", Numeric(12, 2, asdecimal=False)),
    Column("weight", Float),
    Column("colour", Enum(Colour)),
    Column("level", Enum(Level, native_enum=False)),
    Column("shout", Shouted),
    Column("data", JSON),
    Column("datab", JSONB),
    Column("labels", ARRAY(Text)),
    Column("colours", ARRAY(Enum(Colour))),
    Column("range", INT4RANGE),
    info={"cache_tags_of": ("day:{day}", "price:{price}", "rate:{rate}", "colour:{colour}", "moment:{moment}:{name}")},
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**31), 2**31 - 1)
json_values = st.none() | st.booleans() | integers | text | st.lists(integers, max_size=3)
days = st.dates(datetime.date(1, 1, 1))
moments = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))  # noqa: DTZ001
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": text,
    "code": text,
    "small": st.integers(-(2**15), 2**15 - 1),
    "flag": st.booleans(),
    "uid": st.uuids(),
    "uid_text": st.uuids().map(str),
    "badge": st.uuids().map(str),
    "day": days,
    "moment": moments,
    "instant": moments.map(lambda moment: moment.replace(tzinfo=datetime.UTC)),
    "clock": st.times(),
    "span": st.timedeltas(datetime.timedelta(-1000), datetime.timedelta(1000)),
    "price": st.decimals(-(10**9), 10**9, places=2),
    "rate": st.decimals(-(10**9), 10**9, places=2),
    "weight": st.floats(allow_nan=False),
    "colour": st.sampled_from(Colour),
    "level": st.sampled_from(Level),
    "shout": text,
    "data": json_values,
    "datab": json_values,
    "labels": st.lists(text, max_size=2),
    "colours": st.lists(st.sampled_from(Colour), max_size=2),
    "range": st.just(Range(1, 5)),
}
rows = st.fixed_dictionaries({name: st.none() | strategy for name, strategy in VALUES.items()})
keys = st.fixed_dictionaries({"kind": text, "number": integers})


class Both:
    """A tracked engine on a table with triggers."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(url)
        self.cache = Cache("memory://")
        self.tracking = track(self.engine, metadata, cache=self.cache)
        self.heard: list[set[str]] = []
        self.told: set[tuple[Any, ...]] = set()
        self.effect = self.cache.changes.effect
        self.cache.changes.effect = self._effect  # type: ignore[method-assign]
        signals.tags_invalidated.connect(self._hear, sender=self.cache)

    def _hear(self, sender: Cache, tags: tuple[str, ...], **_: Any) -> None:
        self.heard.append(set(tags))

    def _effect(self, changes: Iterable[Change]) -> Effect:
        several = list(changes)
        self.told.update((each.table, each.pk, each.op, each.changed) for each in several)
        return self.effect(several)

    async def compare(self, statement: Any, *parameters: Any) -> set[str]:
        """The tags that both purge."""
        self.heard.clear()
        self.told.clear()
        async with self.engine.begin() as connection:
            await connection.execute(statement, *parameters)
        told = set(self.told)
        self.told.clear()
        async with opened(self.engine, self.cache) as drain:
            assert await drain.once()
        assert self.told == told
        by_tracker, by_triggers = self.heard or (set(), set())
        assert by_triggers == by_tracker
        return by_triggers

    async def empty(self) -> None:
        """After an example that has failed."""
        async with self.engine.begin() as connection:
            for table in ("thing", "rcache_outbox"):
                await connection.exec_driver_sql(f"DELETE FROM {table}")

    async def close(self) -> None:
        self.tracking.untrack()
        await self.engine.dispose()
        await self.cache.close()


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    name = postgres.create_database("types")
    engine = create_engine(postgres.url("psycopg", name))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE DOMAIN inner_code AS smallint")
        connection.exec_driver_sql("CREATE DOMAIN outer_code AS inner_code")
        connection.exec_driver_sql("ALTER TABLE thing ALTER small TYPE outer_code")
    engine.dispose()
    postgres.execute(*Migration((TableName("public", "thing"),)).up(), database=name)
    return name


@pytest.fixture(params=["asyncpg", "psycopg"])
async def both(request: pytest.FixtureRequest, postgres: PostgresServer, database: str) -> AsyncIterator[Both]:
    both = Both(postgres.url(request.param, database))
    yield both
    await both.close()


ROW: dict[str, Any] = {
    "name": "Ann",
    "code": "c",
    "small": 7,
    "flag": True,
    "uid": uuid.UUID("6f1c0d3e-0f0e-4b53-b8c4-1a2b3c4d5e6f"),
    "badge": "6f1c0d3e-0f0e-4b53-b8c4-1a2b3c4d5e6f",
    "day": datetime.date(2026, 2, 3),
    "moment": datetime.datetime(2026, 2, 3, 4, 5),  # noqa: DTZ001
    "price": Decimal("12.50"),
    "rate": Decimal("12.50"),
    "colour": Colour.RED,
    "level": Level.HIGH,
    "shout": "hey",
    "weight": 1.5,
}


async def test_each_type_is_written_as_the_model_reads_it(both: Both) -> None:
    """`Colour.RED` is `r` in a tag, and `RED` in the database."""
    tags = await both.compare(insert(things), {"kind": "a", "number": 1, **ROW})
    assert {tag for tag in tags if not tag.startswith("thing?") or "=" in tag} == {
        "thing",
        "thing:a:1",
        "thing?kind=a",
        "thing?number=1",
        "thing?name=Ann",
        "thing?code=c",
        "thing?small=7",
        "thing?flag=True",
        "thing?uid=6f1c0d3e-0f0e-4b53-b8c4-1a2b3c4d5e6f",
        "thing?badge=badge 6f1c0d3e",
        "thing?day=2026-02-03",
        "thing?colour=r",
        "thing?level=2",
        "thing?shout=HEY!",
        "day:2026-02-03",
        "price:12.50",
        "rate:12.5",
        "colour:r",
        "moment:2026-02-03 04:05:00:Ann",
    }
    await both.compare(delete(things))


@given(keys, rows, rows)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_a_trigger_and_the_tracker_tell_the_same(
    both: Both, key: dict[str, Any], row: dict[str, Any], other: dict[str, Any]
) -> None:
    await both.empty()
    await both.compare(insert(things), {**key, **row})
    await both.compare(update(things).values(other))
    await both.compare(update(things).values(name=things.c.name))
    await both.compare(delete(things))
