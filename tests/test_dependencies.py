"""`capture` shows what a block depends on; `depends_on` says what nobody could see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, cached, capture, depends_on, depends_on_table, signals, tag
from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.current import current_reads
from rcache.integrations.sqlalchemy.names import Names
from tests.support import RawClient


class Base(DeclarativeBase): ...


class Order(Base):
    __tablename__ = "orders"
    __cache_tag__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int]


BY_CUSTOMER = Scheme("order", ("customer_id",))


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    cache = Cache("memory://")
    yield cache
    await cache.close()


def reads() -> Reads:
    """What a tracked engine would write down where it reads."""
    found = current_reads()
    assert found is not None
    return found


# capture


def test_a_block_shows_what_it_depends_on_and_why_it_could_not_be_stored():
    with capture() as seen:
        assert repr(seen) == "<Capture of nothing>"
        reads().row("order", (7,))
        tag("said")
        reads().refuse("calls random()")
    reads_after = current_reads()
    assert reads_after is None
    assert seen.tags == ("order:7", "said")
    assert seen.refused == ("calls random()",)
    assert repr(seen) == "<Capture of order:7, said, refused: calls random()>"


def test_it_explains_itself_table_by_table():
    with capture() as seen:
        reads().row("order", (7,))
        reads().row("line", (7, 1))
        reads().table("customer")
        reads().rows(Scheme("order", ("customer_id", "closed_at")), {"customer_id": 5, "closed_at": None})
        reads().rows(Scheme("order"), {})
        reads().refuse("calls random()")
    assert seen.explain().splitlines() == [
        "it depends on 5 tags",
        "  customer: anything",
        "  line: row 7:1",
        "  order: row 7",
        "  order: rows with closed_at NULL, customer_id=5",
        "  order: its rows, as far as some columns go",
        "not to be stored: calls random()",
    ]
    with capture() as nothing:
        pass
    assert nothing.explain() == "it depends on no tags"


async def test_captures_in_one_another_both_see_it_also_across_threads_and_tasks():
    async with capture() as outer:
        tag("before")
        async with capture() as inner:
            await asyncio.to_thread(tag, "thread")
            await asyncio.create_task(_tagging("task"))
        tag("after")
    assert inner.tags == ("task", "thread")
    assert outer.tags == ("after", "before", "task", "thread")


async def _tagging(name: str) -> None:
    tag(name)


def test_a_capture_that_is_entered_again_begins_anew():
    seen = capture()
    for name in ("one", "two"):
        with seen:
            tag(name)
    assert seen.tags == ("two",)


def test_it_ends_where_the_block_raises():
    def fails() -> None:
        with seen:
            tag("before")
            raise KeyError

    seen = capture()
    with pytest.raises(KeyError):
        fails()
    assert seen.tags == ("before",)
    assert current_reads() is None


@pytest.mark.parametrize("is_auto", [True, False])
def test_a_capture_around_a_request_sees_into_it_and_takes_nothing_from_it(cache: Cache, is_auto: bool):
    @cached(ttl=60, auto=is_auto, tags=() if is_auto else ("page",))
    async def page(request: Request) -> Response:
        with capture() as inner:
            reads().row("order", (7,))
        assert inner.tags == ("order:7",)
        return PlainTextResponse("page")

    client = TestClient(CacheMiddleware(Starlette(routes=[Route("/", page)]), cache=cache))
    with capture() as seen:
        assert client.get("/").headers["cache-status"].endswith("stored")
    assert seen.tags == ("order:7",)
    cache.invalidate_sync("order:7")
    assert client.get("/").headers["cache-status"].startswith("rcache; hit") is not is_auto


def test_it_shows_that_a_block_wrote(cache: Cache):
    with capture() as seen:
        cache.invalidate_sync("order:7")
    assert (seen.tags, seen.refused) == ((), ("wrote",))


# depends_on


def test_rows_and_values_are_named_as_their_writers_name_them():
    with capture() as seen:
        depends_on("order", 7)
        depends_on("line", 7, 1)
        depends_on("order", customer_id=5)
        depends_on(Order, 8)
        depends_on(Order, customer_id=None)
        depends_on(Table("plain", MetaData(), Column("id", Integer)), 1)
        depends_on_table("v_orders", Order)
    by_values = {BY_CUSTOMER.tag({"customer_id": 5}), BY_CUSTOMER.tag({"customer_id": None})}
    assert set(seen.tags) == {"order:7", "line:7:1", "order:8", "plain:1", "v_orders", "order", *by_values}


@pytest.mark.parametrize("call", [{"pk": ()}, {"pk": (1,), "customer_id": 5}], ids=["neither", "both"])
def test_it_takes_a_key_or_values(call: dict[str, Any]):
    pk = call.pop("pk")
    with pytest.raises(TypeError, match="depends_on_table"):
        depends_on("order", *pk, **call)


def test_outside_it_does_nothing():
    depends_on("order", 7)
    depends_on_table("order")


@pytest.mark.parametrize("is_auto", [True, False])
async def test_under_a_cached_endpoint_it_tags_the_answer_with_the_names_that_the_cache_knows(
    cache: Cache, is_auto: bool
):
    stored: list[set[str]] = []
    cache.changes.tables.append(Names(Base.metadata))

    @cached(ttl=60, auto=is_auto)
    def page(request: Request) -> Response:
        depends_on("orders", 7)
        depends_on("order", customer_id=5)
        depends_on(Base.metadata.tables["orders"], 8)
        depends_on_table("v_orders")
        return PlainTextResponse("page")

    def receiver(sender: Any, *, tags: tuple[str, ...], **_: Any) -> None:
        stored.append(set(tags))

    signals.response_stored.connect(receiver, sender=cache)
    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", page)]), cache=cache))
    assert (await client.get("/")).is_stored
    assert stored == [{"order:7", "order:8", "v_orders", BY_CUSTOMER.tag({"customer_id": 5})}]
