"""The log as server-sent events: each once, those that were missed first, and an end before anybody has to wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import orjson
import pytest

from rcache import Cache
from rcache.core.views import Event
from rcache.dashboard import stream
from rcache.dashboard.view import View
from tests.dashboard.conftest import application, yes
from tests.support import PATIENCE, Exchange, RawClient

PLACE = "/_rcache/log/stream"


async def told(exchange: Exchange, count: int) -> list[str]:
    """The first rows of the stream, as HTML."""
    async with asyncio.timeout(PATIENCE):
        while True:
            lines = exchange.answer.body.decode().split("\n")
            rows = [orjson.loads(line[6:]) for line in lines if line.startswith("data: ") and len(line) > 6]
            if len(rows) >= count:
                return rows
            await exchange.arrives(len(exchange.answer.messages) + 1)


async def test_a_purge_is_told_when_it_happens(site, cache):
    exchange = site.start(PLACE)
    await exchange.arrives(2)
    await asyncio.sleep(0)
    await cache.invalidate("<b>book</b>")
    (row,) = await told(exchange, 1)
    exchange.leave()
    answer = await exchange.finish()

    assert answer.get("content-type") == "text/event-stream; charset=utf-8"
    assert answer.get("x-accel-buffering") == "no"
    assert "&lt;b&gt;book&lt;/b&gt;" in row
    assert "<b>" not in row
    assert answer.text.count("\nid: ") == 1


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_what_a_browser_missed_comes_first_and_once(site, cache, monkeypatch, how):
    monkeypatch.setattr(stream, "LATE", 0)
    for book in range(3):
        await cache.invalidate(f"book:{book}")
    seen = (await cache.inspector.events())[-1].number
    headers = [("last-event-id", str(seen))] if how == "header" else []
    exchange = site.start(PLACE if how == "header" else f"{PLACE}?after={seen}", headers)
    await told(exchange, 2)
    await cache.invalidate("book:3")
    rows = await told(exchange, 3)
    exchange.leave()
    await exchange.finish()

    assert [f"book:{book}" in row for book, row in zip((1, 2, 3), rows, strict=True)] == [True] * 3


async def test_what_a_node_tells_late_is_not_missed(cache):
    """Nodes tell of what they did each in its own time: a number may come after a higher one."""

    def event(number: int) -> Event:
        return Event(number, 0.0, "purge", (f"book:{number}",), 1, 1, "node", "invalidate")

    class Late:
        async def events(self, count: int) -> list[Event]:
            return [event(9), event(6), event(5)]

        async def follow(self) -> AsyncIterator[Event]:
            for number in (9, 12, 8, 0, 0):
                yield event(number)

    view = View(cache, "", yes, yes)
    view.cache = SimpleNamespace(inspector=Late(), clock=cache.clock)  # type: ignore[assignment]
    numbers = []
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(stream.Stream(view)._followed(6)) as followed:
        while len(numbers) < 7:
            if (found := await anext(followed)) is not None:
                numbers.append(found.number)

    assert numbers == [5, 6, 9, 12, 8, 0, 0]


async def test_it_ends_by_itself_and_beats_while_nothing_happens(site, monkeypatch):
    monkeypatch.setattr(stream, "LASTS", 0.1)
    monkeypatch.setattr(stream, "BEAT", 0.02)
    answer = await site.get(PLACE)

    assert answer.text.startswith("retry: 1000\n\n")
    assert ":\n\n" in answer.text


async def test_so_many_follow_it_and_no_more(site, monkeypatch):
    monkeypatch.setattr(stream, "MOST", 1)
    first = site.start(PLACE)
    await first.arrives(2)
    refused = await site.get(PLACE)
    first.leave()
    await first.finish()
    again = site.start(PLACE)
    await again.arrives(2)
    again.leave()
    await again.finish()

    assert again.answer.status == 200
    assert refused.status == 503
    assert refused.get("retry-after") == "20"


async def test_a_store_that_is_gone_ends_it_with_a_word():
    async with Cache("redis://127.0.0.1:1") as cache:
        answer = await RawClient(application(cache, access=yes)).get(f"{PLACE}?after=0")
    assert answer.text == "retry: 1000\n\nevent: lost\ndata: \n\n"


async def test_who_may_not_look_is_not_told(cache):
    answer = await RawClient(application(cache)).get(PLACE)
    assert answer.status == 403
