"""Answers are made and stored while nobody waits: by the same rules as for a request, and never against a purge."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule, cached
from rcache.asgi.lifespan import running
from rcache.asgi.renderer import Renderer
from rcache.asgi.rendition import ALWAYS
from rcache.core.recipe import recipe_for
from tests.asgi.origin import Origin, Reply
from tests.support import Gate, HandClock, RawClient, settle

OLD = Reply(body=b"old", headers=[("etag", '"v1"')])
NEW = Reply(body=b"new", headers=[("etag", '"v2"')])
PAGE = recipe_for("http://testserver/")


def rendering(cache: Cache, *replies: Reply, **settings: Any) -> tuple[Renderer, RawClient, Origin]:
    origin = Origin(list(replies))
    rules = [Rule("/private", ttl=60, key_by="x-user"), Rule("/", ttl=60, tags=["page"], **settings)]
    app = CacheMiddleware(origin, cache=cache, rules=rules)
    return Renderer(app), RawClient(app), origin


async def test_what_was_rendered_answers_the_next_request(cache: Cache) -> None:
    renderer, client, origin = rendering(cache, OLD)
    assert await renderer.render(PAGE) == ("stored", "")
    answer = await client.get("/")
    assert (answer.body, answer.is_hit, len(origin.requests)) == (b"old", True, 1)
    assert await renderer.render(PAGE) == ("fresh", "")
    assert len(origin.requests) == 1


async def test_what_is_fresh_is_made_anew_only_where_that_was_wished(cache: Cache, clock: HandClock) -> None:
    renderer, client, origin = rendering(cache, OLD, NEW, Reply(body=b"third"))
    await renderer.render(PAGE)
    stored_at = clock.now
    clock.advance(10)
    assert (await renderer.render(PAGE, left=49)).outcome == "fresh"
    assert (await renderer.render(PAGE, than=stored_at)).outcome == "stored"
    assert (await renderer.render(PAGE, than=stored_at)).outcome == "fresh", "another has made it since"
    assert (await client.get("/")).body == b"new"
    clock.advance(10)
    assert (await renderer.render(PAGE, left=50)).outcome == "stored"
    assert (await client.get("/")).body == b"third"
    assert len(origin.requests) == 3
    assert (await renderer.render(PAGE, than=ALWAYS)).outcome == "stored"


async def test_a_render_validates_what_it_makes_anew(cache: Cache, clock: HandClock) -> None:
    renderer, client, origin = rendering(cache, OLD, Reply(304), stale_while_revalidate=60)
    await renderer.render(PAGE)
    clock.advance(61)
    assert (await renderer.render(PAGE)).outcome == "stored"
    assert origin.last.get("if-none-match") == '"v1"'
    assert (await client.get("/")).body == b"old"


@pytest.mark.parametrize("is_soft", [False, True])
async def test_a_render_that_a_purge_overtakes_is_not_stored_and_runs_again(cache: Cache, is_soft: bool) -> None:
    gate = Gate()
    renderer, client, origin = rendering(
        cache, Reply(body=b"outdated", gate=gate), NEW, stale_while_revalidate=60 if is_soft else None
    )
    task = asyncio.ensure_future(renderer.render(PAGE))
    await gate.reached()
    await cache.invalidate("page", soft=is_soft)
    gate.open()
    assert (await task).outcome == "stored"
    answer = await client.get("/")
    assert (answer.body, answer.cache, len(origin.requests)) == (b"new", "rcache; hit; ttl=60", 2)


async def test_what_is_purged_all_the_time_is_not_made_all_the_time(cache: Cache) -> None:
    purging = Reply(gate=lambda: cache.invalidate("page"))  # type: ignore[arg-type, return-value]
    renderer, _client, origin = rendering(cache, purging)
    assert (await renderer.render(PAGE)).outcome == "outdated"
    assert len(origin.requests) == 3


async def test_a_render_leaves_to_a_request_what_that_is_making(cache: Cache) -> None:
    gate = Gate()
    renderer, client, origin = rendering(cache, Reply(body=b"once", gate=gate))
    asked = asyncio.ensure_future(client.get("/"))
    await gate.reached()
    render = asyncio.ensure_future(renderer.render(PAGE))
    await settle()
    gate.open()
    assert (await asked).body == b"once"
    assert (await render).outcome == "elsewhere"
    assert len(origin.requests) == 1


async def test_a_request_joins_the_run_of_a_render(cache: Cache) -> None:
    gate = Gate()
    renderer, client, origin = rendering(cache, Reply(body=b"once", gate=gate))
    task = asyncio.ensure_future(renderer.render(PAGE))
    await gate.reached()
    asked = asyncio.ensure_future(client.get("/"))
    await asyncio.sleep(0)
    gate.open()
    assert ((await asked).body, (await task).outcome, len(origin.requests)) == (b"once", "stored", 1)


async def test_what_belongs_to_somebody_is_not_rendered(cache: Cache) -> None:
    renderer, _client, origin = rendering(cache, OLD)
    assert await renderer.render(recipe_for("http://testserver/private")) == ("private", "key")
    assert await renderer.render(recipe_for("http://testserver/elsewhere")) == ("unruled", "")
    assert not origin.requests, "the application was not called at all"
    with pytest.raises(ValueError, match="belongs to one client"):
        recipe_for("http://testserver/", [("Cookie", "session=1")])


@pytest.mark.parametrize(
    ("reply", "outcome", "detail"),
    [
        (Reply(headers=[("cache-control", "no-store")]), "uncacheable", "no-store"),
        (Reply(headers=[("set-cookie", "a=b")]), "uncacheable", "set-cookie"),
        (Reply(404), "uncacheable", "status"),
        (Reply(503), "failed", "status 503"),
        (Reply(error=RuntimeError("broken")), "failed", "RuntimeError: broken"),
        (Reply(silent=True), "failed", "no answer"),
        (Reply(pieces=[b"a", b"b"]), "stored", ""),
    ],
)
async def test_a_render_says_why_nothing_was_stored(cache: Cache, reply: Reply, outcome: str, detail: str) -> None:
    renderer, _client, _origin = rendering(cache, reply)
    assert await renderer.render(PAGE) == (outcome, detail)


async def test_a_render_that_takes_too_long_has_failed(cache: Cache) -> None:
    gate = Gate()
    renderer, _client, _origin = rendering(cache, Reply(gate=gate), hard_timeout=0.01)
    assert await renderer.render(PAGE) == ("failed", "timeout")


async def test_a_render_that_is_cancelled_ends(cache: Cache) -> None:
    gate = Gate()
    renderer, client, _origin = rendering(cache, Reply(gate=gate), OLD)
    task = asyncio.ensure_future(renderer.render(PAGE))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.get("/")).body == b"old", "nobody waits for it"


async def test_a_render_passes_all_middlewares_and_finds_what_the_start_up_has_left(cache: Cache) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        seen.append("up")
        yield {"greeting": "hello"}
        seen.append("down")

    @cached(ttl=60)
    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.state.greeting)

    class Outer:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                seen.append(scope["path"])
            await self.app(scope, receive, send)

    app = Starlette(
        routes=[Route("/", page)],
        middleware=[Middleware(Outer), Middleware(CacheMiddleware, cache=cache)],
        lifespan=lifespan,
    )
    async with running(app) as state:
        assert (await Renderer(app, state=state).render(PAGE)).outcome == "stored"
        assert (await RawClient(app).get("/")).body == b"hello"
    assert seen == ["up", "/", "/", "down"]
