"""The identity lookups = hits + stale + misses + passes: every request to a rule counts once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule, cached
from rcache.core.errors import BackendError
from rcache.core.views import Counters
from rcache.stores.memory import MemoryStore
from tests.support import Gate, HandClock, RawClient, settle

KINDS = ("plain", "vary", "fails", "refuses", "streams", "private", "keyed", "guarded", "slow", "posted", "untouched")
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"accept-language": "de"},
    {"cookie": "session=1"},
    {"authorization": "x"},
    {"cache-control": "only-if-cached"},
    {"cache-control": "no-store"},
    {"cache-control": "no-cache"},
    {"cache-control": "max-stale=1000"},
    {"if-match": '"x"'},
    {"range": "bytes=0-1"},
    {"x-user": "1"},
)


class Flaky(MemoryStore):
    """A store that cannot be reached when a test says so."""

    is_out = False

    def at_hand(self, key: Any) -> Any:
        return None if self.is_out else super().at_hand(key)

    async def lookup(self, ask: Any, budget: Any) -> Any:
        if self.is_out:
            raise BackendError("out")
        return await super().lookup(ask, budget)

    async def store(self, *arguments: Any, **named: Any) -> bool:
        if self.is_out:
            raise BackendError("out")
        return await super().store(*arguments, **named)


class Site:
    """An application with a route of each kind, and what was asked of it."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.cache = Cache("memory://", clock=self.clock)
        self.store = Flaky(clock=self.clock)
        self.cache.store = self.store
        self.gate = Gate()
        self.is_failing = False
        self.asked: dict[str, int] = {}
        how: dict[str, Any] = {"ttl": 60, "tags": ["page"], "stale_on_error": 600, "stale_while_revalidate": 30}
        special: dict[str, dict[str, Any]] = {
            "vary": {"vary": ["accept-language"]},
            "keyed": {"key_by": "x-user"},
            "guarded": {"guard": self._told},
            "posted": {"methods": ("POST",)},
        }
        endpoints = {name: getattr(self, f"_{name}", self._page) for name in KINDS}
        app = Starlette(
            routes=[Route(f"/{name}/{{n}}", each, methods=["GET", "POST"]) for name, each in endpoints.items()]
        )
        rules = [Rule(f"/{name}/{{n}}", **how, **special.get(name, {})) for name in KINDS if name != "untouched"]
        self.app = CacheMiddleware(app, self.cache, rules=rules, client_may_refresh=True)
        self.client = RawClient(self._counted)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request that has come: who left before is nobody's to count."""
        kind = scope["path"].split("/")[1]
        if kind != "untouched":
            route = f"/{kind}/{{n}}"
            self.asked[route] = self.asked.get(route, 0) + 1
        await self.app(scope, receive, send)

    async def _page(self, request: Request) -> Response:
        return PlainTextResponse("page")

    async def _fails(self, request: Request) -> Response:
        if self.is_failing:
            raise RuntimeError("it fails")
        return PlainTextResponse("page")

    async def _refuses(self, request: Request) -> Response:
        return PlainTextResponse("no", status_code=503 if self.is_failing else 200)

    async def _streams(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return StreamingResponse(chunks())

    async def _private(self, request: Request) -> Response:
        return PlainTextResponse("mine", headers={"cache-control": "private"})

    async def _slow(self, request: Request) -> Response:
        if self.is_failing:
            await self.gate()
        return PlainTextResponse("page")

    def _told(self, request: Request) -> str:
        if "x-user" not in request.headers:
            raise HTTPException(403)
        return request.headers["x-user"]

    def start(self, kind: str, number: int, headers: dict[str, str], method: str) -> Any:
        """Sends a request that a rule is about, or none."""
        if method == "POST" and kind != "posted":
            method = "HEAD"
        return self.client.start(f"/{kind}/{number}", headers, method)

    def check(self) -> Counters:
        """Each request counted once, under its route."""
        routes = {row.route: row.counters for row in self.cache.stats.routes}
        assert {route: counters.lookups for route, counters in routes.items()} == self.asked
        for counters in routes.values():
            assert counters.collapsed <= counters.misses
            assert counters.seconds == counters.miss_times.seconds
            assert counters.hit_times.count <= counters.hits
            assert counters.stale_times.count == counters.stale
            assert counters.miss_times.count == counters.misses
            assert counters.pass_times.count == counters.passes
        return self.cache.stats.counters


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_every_request_to_a_rule_counts_once_whatever_becomes_of_it(seed: int) -> None:
    asyncio.run(_at_random(random.Random(seed)))


async def _at_random(chance: random.Random) -> None:
    site = Site()
    under_way: list[Any] = []
    for _ in range(60):
        step = chance.random()
        if step < 0.6:
            kind, headers = chance.choice(KINDS), chance.choice(HEADERS)
            under_way.append(
                site.start(kind, chance.randrange(2), headers, chance.choice(("GET", "GET", "HEAD", "POST")))
            )
            if chance.random() < 0.7:
                await settle(chance.randrange(30))
        elif step < 0.7 and under_way:
            chance.choice(under_way).task.cancel()
        elif step < 0.8:
            site.clock.advance(chance.choice((1.0, 40.0, 70.0)))
        elif step < 0.85:
            site.is_failing = not site.is_failing
        elif step < 0.9:
            site.store.is_out = not site.store.is_out
        else:
            await site.cache.invalidate("page", soft=chance.random() < 0.5)
    site.gate.open()
    for exchange in under_way:
        with contextlib.suppress(RuntimeError, asyncio.CancelledError):
            await exchange.finish()
    site.check()
    await site.cache.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site of its own."""
    site = Site()
    yield site
    await site.cache.close()


async def outcome(site: Site, kind: str, headers: dict[str, str] | None = None, method: str = "GET") -> str:
    """What one request counted as."""
    before = site.cache.stats.counters
    with contextlib.suppress(RuntimeError):
        await site.start(kind, 1, headers or {}, method).finish()
    since = site.check() - before
    return " ".join(name for name in ("hits", "stale", "misses", "passes", "collapsed") if getattr(since, name))


async def test_a_fresh_answer_from_the_store_is_a_hit_and_its_body_counts(site: Site) -> None:
    assert [await outcome(site, "plain"), await outcome(site, "plain")] == ["misses", "hits"]
    assert [await outcome(site, "vary"), await outcome(site, "vary"), await outcome(site, "vary", method="HEAD")] == [
        *("misses", "hits", "hits")
    ]
    assert site.cache.stats.counters.size == 3 * len("page")


async def test_a_stale_answer_is_no_hit_whoever_allowed_it(site: Site) -> None:
    for kind in ("plain", "fails", "refuses"):
        assert await outcome(site, kind) == "misses"
    site.clock.advance(70)
    assert await outcome(site, "plain") == "stale", "stale-while-revalidate"
    site.clock.advance(100)
    assert await outcome(site, "plain", {"cache-control": "max-stale=1000"}) in ("stale", "hits")
    site.is_failing = True
    assert await outcome(site, "fails") == "stale", "stale-if-error, after an exception"
    assert await outcome(site, "refuses") == "stale", "stale-if-error, after a 503"
    assert await outcome(site, "refuses", method="HEAD") == "stale"


async def test_what_the_application_answers_is_a_miss_and_what_is_no_matter_of_the_cache_a_pass(site: Site) -> None:
    assert await outcome(site, "plain", method="HEAD") == "misses"
    assert await outcome(site, "private") == "misses"
    assert await outcome(site, "private") == "passes", "it is known by now not to be stored"
    assert await outcome(site, "plain", {"cookie": "session=1"}) == "misses"
    assert await outcome(site, "plain", {"if-match": '"x"'}) == "passes"
    assert await outcome(site, "guarded") == "passes", "refused by the guard"
    assert await outcome(site, "vary", {"cache-control": "only-if-cached"}) == "passes"
    site.store.is_out = True
    assert await outcome(site, "plain") == "passes"
    assert site.cache.stats.outages == 1
    site.store.is_out = False
    site.is_failing = True
    assert await outcome(site, "fails") == "misses", "an exception, and nothing to cover for it"


async def test_a_client_that_leaves_is_counted_as_far_as_it_came(site: Site) -> None:
    site.is_failing = True
    exchange = site.start("slow", 1, {}, "GET")
    await site.gate.reached()
    assert site.cache.stats.lookups == 0, "a request counts when it ends"
    exchange.task.cancel()
    await asyncio.gather(exchange.task, return_exceptions=True)
    assert site.check().misses == 1


async def test_those_who_wait_for_a_run_are_misses_that_collapsed(site: Site) -> None:
    site.is_failing = True
    exchanges = [site.start("slow", 1, {}, "GET") for _ in range(5)]
    await site.gate.reached()
    await settle()
    site.gate.open()
    for exchange in exchanges:
        await exchange.finish()
    counters = site.check()
    assert (counters.misses, counters.collapsed) == (5, 4)


async def test_a_request_that_two_middlewares_see_counts_once() -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse("page")

    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        inner = CacheMiddleware(Starlette(routes=[Route("/a", cached(ttl=60)(page))]), cache)
        client = RawClient(CacheMiddleware(inner, cache, rules=[Rule("/{rest:path}", ttl=60)]))
        for _ in range(3):
            await client.get("/a")
        assert (cache.stats.misses, cache.stats.hits, cache.stats.lookups) == (1, 2, 3)
        assert [row.route for row in cache.stats.routes] == ["/a"], "as the application spells it"


async def test_a_rule_over_no_route_counts_under_its_own_path() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("page")(scope, receive, send)

    async with Cache("memory://", clock=HandClock()) as cache:
        client = RawClient(CacheMiddleware(bare, cache, rules=[Rule("/reports/{n}", ttl=60)], default_ttl=5))
        for path in ("/reports/1", "/reports/2", "/other"):
            await client.get(path)
        assert {row.route: row.counters.misses for row in cache.stats.routes} == {"/reports/{n}": 2, "(no route)": 1}


async def test_an_answer_that_is_late_and_covered_by_a_stale_one_is_stale(clock: HandClock, cache: Cache) -> None:
    gate = Gate()
    runs = 0

    async def page(request: Request) -> Response:
        nonlocal runs
        runs += 1
        if runs > 1:
            await gate()
        return PlainTextResponse("page")

    rules = [Rule("/a", ttl=60, stale_on_error=600, timeout="1ms")]
    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/a", page)]), cache, rules=rules))
    await client.get("/a")
    clock.advance(70)
    assert (await client.get("/a")).cache == "rcache; fwd=stale; detail=timeout"
    assert (cache.stats.misses, cache.stats.stale, cache.stats.lookups) == (1, 1, 2)
    gate.open()
    await cache.refreshes.wait()
    assert cache.stats.lookups == 2, "what went on in the background is no request"
