"""`auto`: what an answer depends on is gathered while it is made, by whoever sees the application read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

import rcache
from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, cached, capture, depends_on, signals, tag
from rcache.asgi import keeper, plan
from rcache.asgi.plan import REMEDIES, UNFOLLOWED, WRITING
from rcache.core.reads import Reads
from rcache.core.schemes import Scheme
from rcache.current import current_reads, request_scope
from tests.asgi.origin import Reply, standing
from tests.support import HandClock, RawClient

OPEN = Scheme("order", ("customer_id", "is_open"), frozenset(("customer_id", "is_open", "total")))


@pytest.fixture
def stored(cache: Cache) -> Any:
    """The tags of each stored answer."""
    found: list[set[str]] = []

    def receiver(sender: Any, *, tags: tuple[str, ...], **_: Any) -> None:
        found.append(set(tags))

    signals.response_stored.connect(receiver, sender=cache)
    yield found
    signals.response_stored.disconnect(receiver, sender=cache)


def reads() -> Reads:
    """What a tracked engine would write down where it reads."""
    found = current_reads()
    assert found is not None, "nobody asks"
    return found


def show(*pks: int) -> Response:
    for pk in pks:
        reads().row("order", (pk,))
    return PlainTextResponse(f"{pks}")


def serving(cache: Cache, endpoint: Callable[..., Any], path: str = "/{name}", **settings: Any) -> RawClient:
    """An application of one endpoint without a mark, `auto` for all of it."""
    app = Starlette(routes=[Route(path, endpoint)])
    return RawClient(CacheMiddleware(app, cache=cache, **{"auto": True, "default_ttl": 60, **settings}))


async def order(request: Request) -> Response:
    return show(7)


async def nothing(request: Request) -> Response:
    return PlainTextResponse("nothing")


# What is gathered


async def test_an_answer_carries_what_was_read_while_it_was_made(cache: Cache, stored: list[set[str]]) -> None:
    async def page(request: Request) -> Response:
        show(7)
        reads().table("customer")
        reads().rows(OPEN, {"customer_id": 5, "is_open": True})
        return PlainTextResponse("page")

    client = serving(cache, page)
    assert (await client.get("/a")).is_stored
    assert (await client.get("/a")).is_hit
    by_scheme = OPEN.tag({"customer_id": 5, "is_open": True})
    assert stored == [{"order:7", "customer", by_scheme}]
    for flushing in ("order:7", "customer", by_scheme, "order:*", "order?*"):
        await client.get("/a")
        await cache.invalidate(str(flushing))
        assert not (await client.get("/a")).is_hit, flushing
    await cache.invalidate("order:8")
    assert (await client.get("/a")).is_hit


async def test_written_tags_and_found_ones_add_up(cache: Cache, stored: list[set[str]]) -> None:
    @cached(ttl=60, tags=["page:{name}"], auto=True)
    async def page(request: Request) -> Response:
        tag("said")
        depends_on("line", 1, 2)
        return show(7)

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/{name}", page)]), cache=cache))
    assert (await client.get("/a")).is_stored
    assert stored == [{"page:a", "said", "line:1:2", "order:7"}]


async def test_two_answers_at_once_gather_apart(cache: Cache, stored: list[set[str]]) -> None:
    both = asyncio.Barrier(2)

    async def page(request: Request) -> Response:
        number = request.path_params["n"]
        show(number)
        await both.wait()
        return show(number + 10)

    client = serving(cache, page, "/{n:int}")
    await asyncio.gather(client.get("/1"), client.get("/2"))
    assert sorted(stored, key=str) == [{"order:1", "order:11"}, {"order:12", "order:2"}]


def in_thread() -> Callable[..., Any]:
    def endpoint(request: Request) -> Response:
        return show(7)

    return endpoint


def in_task() -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return await asyncio.create_task(run_in_threadpool(show, 7))

    return endpoint


def in_stream() -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        async def pieces() -> Any:
            yield "one"
            show(7)
            yield "two"

        return StreamingResponse(pieces())

    return endpoint


def in_greenlet() -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        from sqlalchemy.util import greenlet_spawn

        response: Response = await greenlet_spawn(show, 7)
        return response

    return endpoint


@pytest.mark.parametrize("made", [in_thread, in_task, in_stream, in_greenlet])
@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "BaseHTTPMiddleware"])
async def test_it_is_gathered_wherever_the_application_reads(
    cache: Cache, stored: list[set[str]], made: Callable[..., Any], is_wrapped: bool
) -> None:
    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=passing)] if is_wrapped else []
    app = Starlette(routes=[Route("/", made())], middleware=middleware)
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl=60))
    await client.get("/")
    assert stored == [{"order:7"}]


async def test_nobody_asks_outside_a_fill_or_where_the_rule_does_not(cache: Cache) -> None:
    asked = []

    @cached(ttl=60, auto=False)
    async def page(request: Request) -> Response:
        asked.append(current_reads())
        return PlainTextResponse("page")

    client = serving(cache, page)
    assert (await client.get("/a")).is_stored
    assert (await client.request("POST", "/a")).status == 405
    assert asked == [None]
    assert current_reads() is None
    assert request_scope.get() is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_nobody_asks_any_more_once_it_is_made(cache: Cache, method: str) -> None:
    client = serving(cache, order)

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        assert message

    await client.app(client.scope("/a", method=method), receive, send)  # in this very task
    assert current_reads() is None


async def test_what_validates_a_former_answer_adds_to_what_it_depends_on(
    cache: Cache, clock: HandClock, stored: list[set[str]]
) -> None:
    async def page(request: Request) -> Response:
        etag = request.headers.get("if-none-match")
        show(2 if etag else 1)
        return Response(status_code=304) if etag else PlainTextResponse("page", headers={"etag": '"v"'})

    client = serving(cache, page)
    await client.get("/a")
    clock.advance(61)
    assert (await client.get("/a")).cache == "rcache; fwd=stale; fwd-status=304; stored"
    assert stored == [{"order:1"}, {"order:1", "order:2"}]


async def test_a_head_freshens_what_it_does_not_contradict(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(
        cache,
        Reply(headers=[("cache-control", "max-age=60"), ("etag", '"v"'), ("cache-groups", '"g"')]),
        auto=True,
        cache_groups=True,
        default_ttl=60,
    )
    await client.get("/")
    clock.advance(61)
    assert (await client.head("/")).is_stored
    assert (await client.get("/")).is_hit


async def test_what_a_head_reads_the_freshened_answer_depends_on_too(
    cache: Cache, clock: HandClock, stored: list[set[str]]
) -> None:
    async def page(request: Request) -> Response:
        show(2 if request.method == "HEAD" else 1)
        return PlainTextResponse("page", headers={"etag": '"v"'})

    client = serving(cache, page)
    await client.get("/a")
    clock.advance(61)
    assert (await client.head("/a")).is_stored
    assert stored == [{"order:1"}, {"order:1", "order:2"}]


async def test_an_answer_of_very_many_rows_depends_on_their_table(
    cache: Cache, stored: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "MAX_READS", 5)

    async def page(request: Request) -> Response:
        reads().row("customer", (1,))
        return show(*range(10))

    client = serving(cache, page)
    assert (await client.get("/a")).is_stored
    assert stored == [{"customer:1", "order"}]


# What is not stored, and why


async def test_what_depends_on_nothing_is_not_stored(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    client = serving(cache, nothing)
    with caplog.at_level(logging.WARNING, "rcache"):
        answers = [await client.get(path) for path in ("/a", "/b", "/b")]
    assert [answer.cache for answer in answers] == [
        "rcache; fwd=miss; detail=no-dependencies",
        "rcache; fwd=miss; detail=no-dependencies",
        "rcache; fwd=bypass; detail=no-dependencies",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"GET /{{name}} is not cached (no-dependencies): {REMEDIES['no-dependencies']}"
    ]


async def test_tags_that_were_written_down_are_dependencies_enough(cache: Cache) -> None:
    client = serving(cache, cached(tags=["static"])(lambda request: PlainTextResponse("page")))
    assert (await client.get("/a")).is_stored


async def test_without_auto_nothing_has_to_be_depended_on(cache: Cache) -> None:
    assert (await serving(cache, nothing, auto=False).get("/a")).is_stored


async def test_what_cannot_be_followed_is_not_stored_and_told_once_per_route(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    async def page(request: Request) -> Response:
        reads().refuse('calls "random()"')
        reads().refuse("and more")
        return show(7)

    client = serving(cache, page)
    with caplog.at_level(logging.WARNING, "rcache"):
        answers = [await client.get(path) for path in ("/a", "/b")]
    assert [answer.cache for answer in answers] == ['rcache; fwd=miss; detail="calls \\"random()\\""'] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f'GET /{{name}} is not cached (calls "random()"): {UNFOLLOWED}'
    ]


async def test_reasons_that_name_themselves_do_not_fill_the_log(
    cache: Cache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MOST_TOLD", 3)

    async def page(request: Request) -> Response:
        reads().refuse(request.path_params["name"])
        return show(7)

    client = serving(cache, page)
    for name in range(5):
        await client.get(f"/{name}")
    assert len(caplog.records) == 3


async def test_why_it_is_not_stored_stands_in_the_start_of_a_stream_too(cache: Cache) -> None:
    async def page(request: Request) -> Response:
        reads().refuse("unseen")
        return StreamingResponse(iter(["one", "two"]))

    answer = await serving(cache, page).get("/a")
    assert (answer.cache, answer.text) == ("rcache; fwd=miss; detail=unseen", "onetwo")


async def test_a_refusal_after_the_start_of_a_stream_still_counts(cache: Cache, stored: list[set[str]]) -> None:
    async def page(request: Request) -> Response:
        async def pieces() -> Any:
            show(7)
            yield "one"
            reads().refuse("unseen")
            yield "two"

        return StreamingResponse(pieces())

    client = serving(cache, page)
    assert [(await client.get("/a")).text for _ in range(2)] == ["onetwo"] * 2
    assert not stored


async def test_a_rule_that_names_its_tags_itself_refuses_nothing(cache: Cache) -> None:
    @cached(ttl=60, tags=["page"], auto=False)
    async def page(request: Request) -> Response:
        with capture():
            reads().refuse("unseen")
        return PlainTextResponse("page")

    assert (await serving(cache, page).get("/a")).is_stored


async def _invalidate(cache: Cache) -> None:
    await cache.invalidate("else")


async def _invalidate_sync(cache: Cache) -> None:
    rcache.invalidate_sync("else")


async def _touch(cache: Cache) -> None:
    await rcache.touch("else", [1])


async def _touch_sync(cache: Cache) -> None:
    rcache.touch_table_sync("else")


async def _write(cache: Cache) -> None:
    async with cache.writing("else"):
        pass


async def _write_sync(cache: Cache) -> None:
    with cache.writing_sync("else"):
        pass


async def _signal(cache: Cache) -> None:
    signals.entity_saved.send("else", identity=5)


WRITES = [_invalidate, _invalidate_sync, _touch, _touch_sync, _write, _write_sync, _signal]


@pytest.mark.parametrize("write", WRITES)
async def test_a_request_that_wrote_does_not_store(
    cache: Cache, write: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def page(request: Request) -> Response:
        await write(cache)
        return show(7)

    client = serving(cache, page)
    answers = [(await client.get("/a")).cache for _ in range(2)]
    assert answers == ["rcache; fwd=miss; detail=wrote"] * 2
    assert [record.getMessage() for record in caplog.records] == [f"GET /{{name}} is not cached (wrote): {WRITING}"]


# For all routes


@pytest.mark.parametrize("settings", [{}, {"rules": [Rule("/a", ttl=60)]}, {"standard": False}])
def test_auto_for_all_routes_needs_to_know_how_long(cache: Cache, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"auto=True needs default_ttl=.*default_ttl=\"1h\".*standard=True"):
        CacheMiddleware(Starlette(), cache=cache, auto=True, **settings)


async def test_with_standard_the_answers_say_how_long_themselves(cache: Cache) -> None:
    async def page(request: Request) -> Response:
        response = show(7)
        if request.path_params["name"] == "a":
            response.headers["cache-control"] = "max-age=60"
        return response

    client = serving(cache, page, default_ttl=None, standard=True)
    assert (await client.get("/a")).is_stored
    assert (await client.get("/b")).cache == "rcache; fwd=miss; detail=no-freshness"


async def test_rules_and_marks_override(cache: Cache, clock: HandClock) -> None:
    app = Starlette(
        routes=[
            Route("/plain", order),
            Route("/never", cached(enabled=False)(lambda request: show_quietly())),
            Route("/short", cached(ttl=5)(in_thread())),
            Route("/by-rule", in_thread()),
            Mount("/below", routes=[Route("/plain", order)]),
        ]
    )
    rules = [Rule("/by-rule", ttl=5)]
    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl=60, rules=rules))
    paths = ("/plain", "/never", "/short", "/by-rule", "/below/plain")
    for path in paths:
        await client.get(path)
    assert [(await client.get(path)).is_hit for path in paths] == [True, False, True, True, True]
    clock.advance(6)
    assert [(await client.get(path)).is_hit for path in paths] == [True, False, False, False, True]
    await cache.invalidate("order:7")
    assert [(await client.get(path)).is_hit for path in paths] == [False] * 5


def show_quietly() -> Response:
    assert current_reads() is None
    return PlainTextResponse("never")


async def test_each_session_has_its_own_pages_where_key_by_is_said_for_all(cache: Cache) -> None:
    async def page(request: Request) -> Response:
        show(7)
        return PlainTextResponse(request.cookies.get("session", "nobody"))

    client = serving(cache, page, key_by="cookie:session")
    for _ in range(2):
        for session in ("ann", "bob"):
            assert (await client.get("/a", {"cookie": f"session={session}"})).text == session
        assert (await client.get("/a")).text == "nobody"
    assert [(await client.get("/a", {"cookie": f"session={who}"})).is_hit for who in ("ann", "bob", "cy")] == [
        True,
        True,
        False,
    ]


async def test_a_guard_for_all_runs_before_every_look_up(cache: Cache) -> None:
    asked = []

    async def guard(request: Request) -> str:
        asked.append(request.url.path)
        return request.headers["x-tenant"]

    async def page(request: Request) -> Response:
        show(7)
        return PlainTextResponse(request.headers["x-tenant"])

    client = serving(cache, page, guard=guard)
    for _ in range(2):
        for tenant in ("one", "two"):
            assert (await client.get("/a", {"x-tenant": tenant})).text == tenant
    assert (asked, cache.stats.hits) == (["/a"] * 4, 2)


async def test_a_rule_says_that_it_is_nobody_s_though_the_others_are_keyed(cache: Cache) -> None:
    def guard(request: Request) -> str:
        return request.headers["x-tenant"]

    client = serving(cache, cached(key_by=False, guard=False)(in_thread()), key_by="x-user", guard=guard)
    await client.get("/a", {"x-user": "ann", "x-tenant": "one"})
    assert (await client.get("/a")).is_hit


@pytest.mark.parametrize("own", [{"key_by": "x-own"}, {"cookies": ["own"]}, {"query": ["own"]}])
async def test_what_a_rule_says_itself_comes_first(cache: Cache, own: dict[str, Any]) -> None:
    """The default names something that all requests share; the rule, what tells them apart."""
    client = serving(cache, cached(**own)(in_thread()), key_by="x-all", cookies=["all"], query=["all"])
    await client.get("/a?own=1", {"x-own": "1", "cookie": "own=1"})
    assert (await client.get("/a?own=1", {"x-own": "1", "cookie": "own=1"})).is_hit
    assert not (await client.get("/a?own=2", {"x-own": "2", "cookie": "own=2"})).is_hit


async def test_defaults_for_all_hold_without_auto_too(cache: Cache) -> None:
    client = serving(
        cache, nothing, auto=False, vary=["accept-language"], client_ttl=30, cookies="ignore", query=["page"]
    )
    first = await client.get("/a?x=1", {"cookie": "theme=dark"})
    assert (first.is_stored, first.get("cache-control")) == (True, "max-age=30")
    assert (await client.get("/a?x=2")).is_hit
    assert not (await client.get("/a?page=2")).is_hit
    assert not (await client.get("/a", {"accept-language": "de"})).is_hit


@pytest.mark.parametrize(
    "wrong",
    [
        {"auto": "yes"},
        {"strict": "raise"},
        {"vary": "*"},
        {"query": "page"},
        {"cookies": "theme"},
        {"key_by": 5},
        {"key_by": False},
        {"guard": "nobody"},
        {"guard": False},
        {"client_ttl": 0},
    ],
    ids=repr,
)
def test_defaults_that_cannot_work_are_refused(cache: Cache, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        CacheMiddleware(Starlette(), cache=cache, default_ttl=60, **wrong)


async def test_a_guard_that_both_of_two_middlewares_ask_is_asked_once(cache: Cache) -> None:
    asked = []

    def guard(request: Request) -> str:
        asked.append(1)
        return "same"

    inner = CacheMiddleware(Starlette(routes=[Route("/", order)]), cache=cache, auto=True, default_ttl=60, guard=guard)
    client = RawClient(CacheMiddleware(inner, cache=cache, auto=True, default_ttl=60, guard=guard))
    assert (await client.get("/")).is_stored
    assert len(asked) == 1


async def test_a_guard_that_only_the_inner_middleware_has_for_all_is_asked_there(cache: Cache) -> None:
    """Both find the same rule, and only one of them adds the guard."""
    asked = []

    def guard(request: Request) -> str:
        asked.append(1)
        return "same"

    app = Starlette(routes=[Route("/", cached(ttl=60)(in_thread()))])
    inner = CacheMiddleware(app, cache=cache, auto=True, default_ttl=60, guard=guard)
    client = RawClient(CacheMiddleware(inner, cache=cache, auto=True, default_ttl=60))
    assert (await client.get("/")).cache == "rcache; fwd=miss; detail=inner-key"
    assert len(asked) == 1


async def test_a_route_with_security_is_cached_where_a_key_is_said_for_all(cache: Cache) -> None:
    from fastapi import Depends
    from fastapi.security import APIKeyHeader

    app = FastAPI()

    @app.get("/mine")
    async def mine(key: str = Depends(APIKeyHeader(name="x-key"))) -> str:
        show(7)
        return key

    client = RawClient(CacheMiddleware(app, cache=cache, auto=True, default_ttl=60, key_by="x-key"))
    for _ in range(2):
        for key in ("ann", "bob"):
            assert (await client.get("/mine", {"x-key": key})).text == f'"{key}"'
    assert cache.stats.hits == 2
