"""Which requests share an answer: scheme, host, path, query, and Vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule, cached
from tests.support import HandClock, RawClient


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with everything about the target that an application can see."""
    request = Request(scope)
    seen = [scope["scheme"], request.headers.get("host"), scope["path"], scope["raw_path"].decode()]
    await JSONResponse([*seen, request.query_params.multi_items(), scope["query_string"].decode()])(
        scope, receive, send
    )


def mirrored(cache: Cache, **rule: Any) -> RawClient:
    return RawClient(CacheMiddleware(mirror, cache=cache, rules=[Rule("/{rest:path}", ttl=60, **rule)]))


def serving(cache: Cache, endpoint: Callable[..., Any], **settings: Any) -> RawClient:
    app = Starlette(routes=[Route("/", cached(**{"ttl": 60, **settings})(endpoint))])
    return RawClient(CacheMiddleware(app, cache=cache))


def entries(cache: Cache) -> int:
    """How many answers are stored."""
    return len(cache.store)  # type: ignore[arg-type]


DIFFERENT = [
    "/a/b",
    "/a%2Fb",
    "/a%2fb",
    "/a%3Fx=1",
    "/a",
    "/a?",
    "/a?a",
    "/a?a=",
    "/a?a=1",
    "/a?a=1&a=2",
    "/a?a=2&a=1",
    "/a?a=1%26a=2",
    "/a?A=1",
    "/a?a=%31",
    "/a/",
    "/A",
    "//a",
    "/a;x=1",
    "/%61",
    "/a?b=1&b",
    "/a?b&b=1",
    "/a?" + "x" * 50_000,
    "/a?" + "x" * 49_999 + "y",
]


async def test_different_targets_have_different_keys(cache: Cache) -> None:
    client = mirrored(cache)
    answers = {}
    for target in DIFFERENT:
        answers[target] = await client.get(target)
        # "/a?" and "/a" look the same to every application: ASGI hands over an empty query for both.
        assert answers[target].is_stored or target == "/a?", target
    for target in DIFFERENT:
        again = await client.get(target)
        assert again.is_hit
        assert again.body == answers[target].body


@pytest.mark.parametrize(
    ("one", "other"),
    [("/?a=1&b=2", "/?b=2&a=1"), ("/?a=1&b=2&a=3", "/?b=2&a=1&a=3"), ("/?a=1&%62=2", "/?%62=2&a=1")],
)
async def test_the_order_of_parameters_does_not_matter(cache: Cache, one: str, other: str) -> None:
    client = mirrored(cache)
    assert (await client.get(one)).is_stored
    assert (await client.get(other)).is_hit


async def test_repeated_values_keep_their_order(cache: Cache) -> None:
    client = mirrored(cache)
    assert (await client.get("/?a=1&b=0&a=2")).is_stored
    assert (await client.get("/?a=2&b=0&a=1")).is_stored


async def test_named_parameters_count_and_the_others_do_not(cache: Cache) -> None:
    client = mirrored(cache, query=("page", "q"))
    assert (await client.get("/?page=1&q=x&utm=1")).is_stored
    assert (await client.get("/?utm=2&q=x&page=1&fbclid")).is_hit
    for target in ("/?page=2&q=x", "/?page=1", "/?page=1&q=x&q=y", "/?page=1&q=", "/"):
        assert (await client.get(target)).is_stored, target
    assert (await client.get("/?only=others")).is_hit


async def test_no_parameter_may_count(cache: Cache) -> None:
    client = mirrored(cache, query=())
    assert (await client.get("/?a=1")).is_stored
    assert (await client.get("/?b=2")).is_hit
    assert (await client.get("/")).is_hit


async def test_scheme_and_host_count(cache: Cache) -> None:
    client = mirrored(cache)
    assert (await client.get("/", {"host": "a.test"})).is_stored
    assert (await client.get("/", {"host": "A.TEST"})).is_hit
    assert (await client.get("/", {"host": "b.test"})).is_stored
    assert (await client.get("/", {"host": "a.test:81"})).is_stored
    assert (await client.get("/", {"host": "a.test"}, scheme="https")).is_stored
    assert (await client.get("/", [("host", "b.test"), ("host", "a.test")])).is_stored
    assert (await client.get("/", [("host", "a.test"), ("host", "b.test")])).is_stored
    assert (await client.get("/")).is_stored  # the client names a host of its own
    assert entries(cache) == 7


async def test_the_host_can_be_left_out_and_the_scheme_still_counts(clock: HandClock) -> None:
    async with Cache("memory://", key_host=False, clock=clock) as cache:
        client = mirrored(cache)
        assert (await client.get("/", {"host": "a.test"})).is_stored
        assert (await client.get("/", {"host": "b.test"})).is_hit
        assert (await client.get("/", {"host": "a.test"}, scheme="https")).is_stored


async def test_requests_without_a_host_are_told_apart_by_the_server_they_reached(cache: Cache) -> None:
    wrapped = mirrored(cache).app
    for server in (("a.test", 80), ("b.test", 80), ("b.test", 81), None, ("/run/socket", None)):

        async def hostless(scope: Scope, receive: Receive, send: Send, server: Any = server) -> None:
            await wrapped({**scope, "headers": [], "server": server}, receive, send)

        assert (await RawClient(hostless).get("/")).is_stored
        assert (await RawClient(hostless).get("/")).is_hit


async def test_a_target_beyond_64_kib_bypasses(cache: Cache) -> None:
    client = mirrored(cache)
    fits, too_long = "/?" + "x" * (64 * 1024 - 1), "/?" + "x" * (64 * 1024)
    assert (await client.get(fits)).is_stored
    assert (await client.get(fits)).is_hit
    for _ in range(2):
        assert (await client.get(too_long)).cache == "rcache; fwd=bypass; detail=target"
    assert (await client.get("/" + "y" * 64 * 1024)).cache == "rcache; fwd=bypass; detail=target"


async def test_a_path_that_was_rewritten_on_the_way_is_its_own_key(cache: Cache) -> None:
    """Middleware that chooses by a cookie or a header changes `path` and leaves `raw_path` as it came."""
    app = CacheMiddleware(mirror, cache=cache, rules=[Rule("/{rest:path}", ttl=60)])

    async def rewriting(scope: Scope, receive: Receive, send: Send) -> None:
        language = dict(scope["headers"]).get(b"x-language", b"").decode()
        await app({**scope, "path": f"/{language}{scope['path']}"}, receive, send)

    client = RawClient(rewriting)
    for language in ("en", "de"):
        first = await client.get("/page", {"x-language": language})
        assert first.is_stored
        assert f"/{language}/page" in first.text
        again = await client.get("/page", {"x-language": language})
        assert again.is_hit
        assert again.body == first.body


async def test_a_server_that_gives_the_bare_minimum_is_served(cache: Cache) -> None:
    """Scheme, raw_path, root_path and server are optional in ASGI."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["path"])(scope, receive, send)

    wrapped = CacheMiddleware(app, cache=cache, rules=[Rule("/{rest:path}", ttl=60)])

    async def minimal(scope: Scope, receive: Receive, send: Send) -> None:
        kept = ("type", "asgi", "http_version", "method", "path", "query_string", "headers")
        await wrapped({key: scope[key] for key in kept}, receive, send)

    client = RawClient(minimal)
    for path in ("/é", "/a b", "/a%2Fb"):
        first, second = await client.get(path), await client.get(path)
        assert first.is_stored
        assert second.is_hit
        assert first.body == second.body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    targets=st.lists(
        st.tuples(
            st.text(st.sampled_from("ab/%2F3D&=?+;."), max_size=8),
            st.text(st.sampled_from("ab%2631&=+;é"), max_size=10),
        ),
        min_size=2,
        max_size=6,
    )
)
async def test_whatever_the_target_a_hit_is_the_answer_the_application_would_give(
    targets: list[tuple[str, str]],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        names = sorted({name for name, _ in request.query_params.multi_items()})
        seen = [scope["path"], [[name, request.query_params.getlist(name)] for name in names]]
        await JSONResponse(seen)(scope, receive, send)

    async with Cache("memory://") as cache:
        client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/{rest:path}", ttl=60)]))
        plain = RawClient(app)
        for path, query in [*targets, *targets]:
            target = f"/{path.replace('?', '')}?{query}"
            assert (await client.get(target)).body == (await plain.get(target)).body


async def test_a_body_in_a_get_is_not_in_the_key_and_so_bypasses(cache: Cache) -> None:
    """Some applications read it; whoever sends one must not choose what everybody else gets."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(await Request(scope, receive).body() or b"none")(scope, receive, send)

    client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/", ttl=60)]))
    for headers in ({"content-length": "6"}, {"transfer-encoding": "chunked"}):
        answer = await client.request("GET", "/", headers, b"poison")
        assert answer.text == "poison"
        assert answer.cache == "rcache; fwd=bypass; detail=body"
    assert (await client.get("/", {"content-length": "0"})).is_stored
    assert (await client.get("/")).is_hit


# HEAD


async def test_head_is_answered_from_a_stored_get(cache: Cache) -> None:
    client = mirrored(cache)
    await client.get("/")
    get, head = await client.get("/"), await client.head("/")
    assert head.is_hit
    assert head.body == b""
    assert head.headers == get.headers
    assert head.get("content-length") == str(len(get.body))


async def test_head_without_a_stored_get_passes_and_stores_nothing(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(request.method)

    client = serving(cache, endpoint)
    for _ in range(2):
        head = await client.head("/")
        assert (head.status, head.cache) == (200, "rcache; fwd=miss")
    assert entries(cache) == 0
    assert (await client.get("/")).text == "GET"


# Vary


def varying(*names: str) -> Callable[..., Any]:
    """An endpoint that tells which headers its answer depends on."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse({name: request.headers.get(name) for name in names}, headers={"vary": ", ".join(names)})

    return endpoint


async def test_vary_is_honoured_without_configuration_and_all_variants_are_hits(cache: Cache) -> None:
    client = serving(cache, varying("x-plan", "accept-language"))
    requests: list[dict[str, str]] = [{}, {"x-plan": "a"}, {"x-plan": "b"}, {"x-plan": ""}, {"accept-language": "de"}]
    answers = [await client.get("/", headers) for headers in requests]
    assert all(answer.is_stored for answer in answers)
    for headers, answer in zip(requests, answers, strict=True):
        again = await client.get("/", headers)
        assert again.is_hit
        assert again.body == answer.body
        assert again.get("vary") == "x-plan, accept-language"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept-encoding", "gzip, br", "br,gzip;q=0.8"),
        ("accept-encoding", "GZIP", "gzip"),
        ("accept-language", "de-DE,de;q=0.9", "DE-de , de;q=0.90"),
    ],
)
async def test_spellings_that_ask_for_the_same_are_one_variant(cache: Cache, name: str, one: str, other: str) -> None:
    client = serving(cache, varying(name))
    assert (await client.get("/", {name: one})).is_stored
    assert (await client.get("/", {name: other})).is_hit


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept-encoding", "gzip", "gzip;q=0"),
        ("accept-encoding", "gzip", "identity"),
        ("accept-language", "de,en", "en,de"),
        ("accept-language", "de;q=0.1", "de;q=0.9"),
        ("x-any", "A", "a"),
    ],
)
async def test_what_asks_for_something_else_is_another_variant(cache: Cache, name: str, one: str, other: str) -> None:
    client = serving(cache, varying(name))
    assert (await client.get("/", {name: one})).is_stored
    assert (await client.get("/", {name: other})).is_stored


async def test_names_that_come_later_are_honoured_from_then_on(cache: Cache) -> None:
    names = ["x-a"]

    async def endpoint(request: Request) -> Response:
        seen = {name: request.headers.get(name) for name in ("x-a", "x-b")}
        return JSONResponse(seen, headers={"vary": ", ".join(names)})

    client = serving(cache, endpoint)
    assert (await client.get("/", {"x-a": "1"})).is_stored
    names.append("x-b")
    assert (await client.get("/", {"x-a": "2", "x-b": "1"})).is_stored
    for b in ("1", "2"):
        for _ in range(2):
            answer = await client.get("/", {"x-a": "2", "x-b": b})
            assert answer.text == f'{{"x-a":"2","x-b":"{b}"}}'
        assert answer.is_hit
    again = await client.get("/", {"x-a": "1", "x-b": "9"})
    assert again.text == '{"x-a":"1","x-b":"9"}'


async def test_vary_of_the_rule_joins_the_key_and_the_answers_vary(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(request.headers.get("x-plan")), headers={"vary": "Accept"})

    client = serving(cache, endpoint, vary=["X-Plan", "accept"])
    for plan in ("a", "b"):
        miss, hit = await client.get("/", {"x-plan": plan}), await client.get("/", {"x-plan": plan})
        assert hit.is_hit
        assert miss.text == hit.text == plan
        for answer in (miss, hit):
            assert answer.all("vary") == ["Accept", "x-plan"]
    assert (await client.get("/", {"x-plan": "b", "accept": "text/html"})).is_stored


async def test_vary_of_everything_is_never_stored(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("x", headers={"vary": "Accept, *"})

    client = serving(cache, endpoint)
    assert (await client.get("/")).cache == "rcache; fwd=miss; detail=vary"
    assert (await client.get("/")).cache == "rcache; fwd=bypass; detail=vary"


async def test_the_variants_of_a_url_are_bounded(clock: HandClock) -> None:
    async with Cache("memory://", max_variants=3, clock=clock) as cache:
        client = serving(cache, varying("x-n"))
        for n in range(10):
            clock.advance(1)
            answer = await client.get("/", {"x-n": str(n)})
            assert answer.text == f'{{"x-n":"{n}"}}'
        assert entries(cache) == 3
        assert (await client.get("/", {"x-n": "9"})).is_hit
        assert (await client.get("/", {"x-n": "0"})).is_stored
