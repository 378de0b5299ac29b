"""Lists of URLs are kept warm: functions of every kind name them, and each is rendered once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, warm
from rcache.asgi.lifespan import running
from rcache.core.recipe import recipe_for
from rcache.engine import lists
from rcache.engine.lists import recipes, says, warm_up
from rcache.engine.work import APPLICATION
from rcache.lists import LISTS
from tests.support import PATIENCE, HandClock, RawClient


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, no_other_caches: None) -> None:
    monkeypatch.setattr("rcache.lists.LISTS", LISTS.copy())
    monkeypatch.setattr(APPLICATION, "_functions", {})
    monkeypatch.setattr(APPLICATION, "_schedules", [])


async def _coroutine() -> list[str]:
    return ["/a", "/b"]


async def _async_generator() -> AsyncIterator[str]:
    yield "/a"
    yield "/b"


def _generator() -> Iterator[str]:
    yield "/a"
    yield "/b"


KINDS = [
    ["/a", "/b"],
    ("/a", "/b"),
    lambda: ["/a", "/b"],
    _coroutine,
    _async_generator,
    _generator,
    lambda: _coroutine(),
]


async def urls(source: Any) -> list[str]:
    return [recipe.url async for recipe in recipes(source, base="http://shop", left_out=says("mine"))]


@pytest.mark.parametrize("source", KINDS)
async def test_a_list_is_whatever_yields_urls(source: Any) -> None:
    assert await urls(source) == ["http://shop/a", "http://shop/b"]


async def test_a_list_may_name_header_fields() -> None:
    source = ["/a", ("/a", {"Accept-Language": "de"}), ("/a", [("accept-language", "de")])]
    found = [recipe async for recipe in recipes(source, base="http://shop", left_out=says("mine"))]
    assert found == [recipe_for("http://shop/a"), recipe_for("http://shop/a", [("accept-language", "de")])], "each once"


async def test_what_is_no_url_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert await urls(["nonsense", 7, ("/a", {"cookie": "x"}), "/b"]) == ["http://shop/b"]
    assert len(caplog.records) == 3
    assert await urls("/a") == ["http://shop/a"], "one text is one URL, not many characters"


async def test_a_list_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lists, "MOST", 3)  # what a sync function yields is read in a thread up to there

    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"/{number}"

    found = recipes(endless, base="http://shop", left_out=says("mine"), most=3)
    assert len([recipe async for recipe in found]) == 3
    assert "more than 3 URLs" in caplog.text


async def test_a_few_are_rendered_at_a_time_and_each_outcome_is_counted() -> None:
    running, most = 0, 0

    async def make(recipe: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return type("Rendered", (), {"outcome": "stored" if recipe.path != b"/3" else "failed"})

    told: list[str] = []
    found = recipes([f"/{number}" for number in range(9)], base="http://shop", left_out=says("mine"))
    counts = await warm_up(found, make, at_once=3, told=lambda recipe, _: told.append(recipe.url))
    assert counts == Counter(stored=8, failed=1)
    assert (most, len(told)) == (3, 9)


def site(cache: Cache, **settings: Any) -> tuple[CacheMiddleware, Counter[str]]:
    made: Counter[str] = Counter()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            made[scope["path"]] += 1
            await PlainTextResponse(scope["path"])(scope, receive, send)
        else:
            raise NotImplementedError

    return CacheMiddleware(answer, cache=cache, rules=[Rule("/{page}", ttl=60)], **settings), made


async def test_a_marked_list_is_kept_warm_by_its_schedule(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        app, made = site(cache)

        @warm(cron="*/5 * * * *", base="http://testserver", ahead="30s", name="pages")
        def pages() -> list[str]:
            return ["/a", "/b"]

        assert pages() == ["/a", "/b"], "the function stays what it was"
        (schedule,) = cache.functions.schedules
        assert (schedule.schedule.rhythm, schedule.job.name) == ("*/5 * * * *", "warm:pages")
        with caplog.at_level(logging.INFO):
            await cache.work.run(schedule.job)
            assert "2 stored" in caplog.text
            clock.advance(20)
            await cache.work.run(schedule.job)
            assert made == {"/a": 1, "/b": 1}, "they stay fresh for long enough"
            clock.advance(20)
            await cache.work.run(schedule.job)
        assert made == {"/a": 2, "/b": 2}
        assert (await RawClient(app).get("/a")).is_hit


def test_what_cannot_be_kept_warm_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base="):
        warm(base="shop.example")
    with pytest.raises(ConfigurationError, match="ahead"):
        warm(ahead="soon")
    with pytest.raises(ConfigurationError):
        warm(cron="every now and then")(list)
    warm(name="mine")(_generator)
    with pytest.raises(ConfigurationError, match="two warm lists"):
        warm(name="mine")(_coroutine)


async def test_what_the_middleware_lists_is_warm_soon_after_the_start() -> None:
    async with Cache("memory://") as cache:
        app, made = site(cache, warm=["http://testserver/a", "http://testserver/b"])
        async with running(app), asyncio.timeout(PATIENCE):
            await cache.warming.wait()
            assert made == {"/a": 1, "/b": 1}
            assert (await RawClient(app).get("/a")).is_hit
