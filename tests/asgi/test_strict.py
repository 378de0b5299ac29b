"""Strict mode: what an endpoint reads of its request and its key does not tell is an error, with its place and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rcache import Cache, CacheMiddleware, RCacheError, StrictError, cached
from rcache.current import current_reads
from tests.support import HandClock, RawClient

Read = Callable[[Request], Any]


def serving(cache: Cache, read: Read, *, middleware: Any = (), answer: Any = None, **settings: Any) -> RawClient:
    """A cached endpoint that reads something."""

    async def endpoint(request: Request) -> Response:
        read(request)
        return PlainTextResponse("page", headers=answer)

    app = Starlette(routes=[Route("/page", endpoint)], middleware=[*middleware])
    return RawClient(CacheMiddleware(app, cache=cache, strict=True, default_ttl=60, **settings))


READINGS: dict[str, Read] = {
    "get": lambda request: request.headers.get("Accept-Language"),
    "[]": lambda request: request.headers["accept-language"],
    "in": lambda request: "accept-language" in request.headers,
    "getlist": lambda request: request.headers.getlist("accept-language"),
    "items": lambda request: request.headers.items(),
    "dict": lambda request: dict(request.headers),
    "raw": lambda request: dict(request.scope["headers"])[b"accept-language"],
    "raw loop": lambda request: [value for name, value in request.headers.raw if name == b"accept-language"],
    "capitals": lambda request: [value for name, value in request.headers.raw if name == b"Accept-Language"],
    "lower": lambda request: [value for name, value in request.headers.raw if name.lower() != b"accept-language"],
}


@pytest.mark.parametrize("reading", READINGS)
async def test_a_header_that_is_not_in_the_key_is_an_error(cache: Cache, reading: str) -> None:
    client = serving(cache, READINGS[reading])
    with pytest.raises(StrictError, match="accept-language") as raised:
        await client.get("/page", {"accept-language": "de"})
    assert "GET /page is cached and reads the header 'accept-language' at " in str(raised.value)
    assert f"{__file__}:" in str(raised.value)
    assert 'vary=("accept-language",)' in str(raised.value)
    assert isinstance(raised.value, RCacheError)
    assert cache.stats.stores == 0


async def test_a_header_that_is_absent_was_read_as_well(cache: Cache) -> None:
    with pytest.raises(StrictError, match="accept-language"):
        await serving(cache, READINGS["get"]).get("/page")


@pytest.mark.parametrize(
    "settings",
    [
        {"vary": ["accept-language"]},
        {"answer": {"vary": "Accept-Language"}},
        {"key_by": "accept-language"},
        {"key_by": lambda request: request.headers.get("accept-language", "")},
        {"guard": lambda request: request.headers.get("accept-language", "")},
    ],
    ids=["vary", "Vary", "key_by", "callable", "guard"],
)
async def test_a_header_that_is_told_apart_is_fine(cache: Cache, settings: dict[str, Any]) -> None:
    client = serving(cache, READINGS["get"], **settings)
    for language in ("de", "en"):
        assert (await client.get("/page", {"accept-language": language})).is_stored
        assert (await client.get("/page", {"accept-language": language})).is_hit


async def test_what_a_guard_reads_says_nothing_of_other_headers(cache: Cache) -> None:
    client = serving(cache, READINGS["get"], guard=lambda request: request.headers["x-tenant"])
    with pytest.raises(StrictError, match="accept-language"):
        await client.get("/page", {"x-tenant": "one"})


async def test_what_is_not_stored_may_read_what_it_likes(cache: Cache) -> None:
    client = serving(cache, READINGS["get"], answer={"cache-control": "no-store"})
    assert (await client.get("/page")).cache == "rcache; fwd=miss; detail=no-store"


async def test_without_strict_it_is_as_ever(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        assert type(request.scope) is dict
        assert {type(each) for pair in request.scope["headers"] for each in pair} == {bytes}
        return PlainTextResponse(request.headers["accept-language"])

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/page", endpoint)]), cache=cache, default_ttl=60))
    assert (await client.get("/page", {"accept-language": "de"})).is_stored


async def test_the_host_and_what_is_judged_by_the_cache_itself_are_fine(cache: Cache) -> None:
    def read(request: Request) -> None:
        assert str(request.url) == "http://testserver/page"
        for name in ("host", "if-none-match", "if-modified-since", "range", "content-length"):
            request.headers.get(name)

    assert (await serving(cache, read).get("/page", {"if-none-match": '"x"'})).is_stored


async def test_the_type_of_a_body_is_in_the_key_where_the_body_is(cache: Cache) -> None:
    def read(request: Request) -> None:
        request.headers.get("content-type")

    with pytest.raises(StrictError, match="content-type"):
        await serving(cache, read).get("/page")

    @cached(ttl=60, tags=["page"], methods=["QUERY"])
    async def endpoint(request: Request) -> Response:
        read(request)
        return PlainTextResponse("page")

    app = Starlette(routes=[Route("/page", endpoint, methods=["QUERY"])])
    client = RawClient(CacheMiddleware(app, cache=cache, strict=True))
    assert (await client.request("QUERY", "/page", {"content-type": "text/plain"}, b"body")).is_stored


# Cookies and who asks


def theme(request: Request) -> Any:
    return request.cookies.get("theme")


async def test_a_cookie_that_is_ignored_and_read_is_an_error(cache: Cache) -> None:
    client = serving(cache, theme, cookies="ignore")
    with pytest.raises(StrictError, match=r"header 'cookie'.*cookies=\(NAME,\)"):
        await client.get("/page")


async def test_another_cookie_than_those_in_the_key_is_an_error(cache: Cache) -> None:
    client = serving(cache, theme, cookies=["lang"])
    with pytest.raises(StrictError, match=r"the cookie 'theme' at .*cookies=\(\"theme\",\)"):
        await client.get("/page", {"cookie": "lang=de; theme=dark"})


async def test_another_cookie_than_the_one_of_key_by_is_an_error(cache: Cache) -> None:
    client = serving(cache, theme, key_by="cookie:session")
    with pytest.raises(StrictError, match="cookie 'theme'"):
        await client.get("/page", {"cookie": "session=ann; theme=dark"})


@pytest.mark.parametrize(
    "settings",
    [
        {"cookies": ["theme"]},
        {"key_by": "cookie:theme"},
        {"key_by": lambda request: request.cookies.get("theme", "")},
        {"answer": {"vary": "Cookie"}, "cookies": "ignore"},
    ],
    ids=["cookies", "key_by", "callable", "Vary"],
)
@pytest.mark.parametrize("cookie", ["theme=dark", "lang=de; theme=light", None])
async def test_a_cookie_that_is_told_apart_is_fine(cache: Cache, settings: dict[str, Any], cookie: str | None) -> None:
    def read(request: Request) -> None:
        value = theme(request)
        assert value in ("dark", "light", None)
        assert type(value) in (str, type(None))

    headers = {} if cookie is None else {"cookie": cookie}
    if "key_by" in settings and cookie is not None and not callable(settings["key_by"]):
        assert (await serving(cache, read, **settings).get("/page", headers)).is_stored
    else:
        answer = await serving(cache, read, **settings).get("/page", headers)
        assert answer.status == 200


async def test_an_answer_for_those_without_credentials_may_look_for_them(cache: Cache) -> None:
    """Who has some is neither answered from it nor stored for."""

    def read(request: Request) -> None:
        request.cookies.get("session")
        request.headers.get("authorization")

    client = serving(cache, read)
    assert (await client.get("/page")).is_stored
    assert (await client.get("/page", {"cookie": "session=ann"})).cache == "rcache; fwd=bypass; detail=cookie"


async def test_unless_it_says_that_those_with_credentials_may_have_it_too(cache: Cache) -> None:
    client = serving(
        cache, lambda request: request.headers.get("authorization"), answer={"cache-control": "public, max-age=60"}
    )
    with pytest.raises(StrictError, match="authorization"):
        await client.get("/page")


def session(request: Request) -> Any:
    return request.session.get("user")


SESSIONS = [Middleware(SessionMiddleware, secret_key="secret")]


class OldSessions:
    """A session as any middleware may put it there, which adds no Vary."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "session": {"user": "ann"}}, receive, send)


@pytest.mark.parametrize("read", [session, lambda request: request.scope.get("session")], ids=["request", "scope"])
async def test_the_session_is_part_of_nobody_s_key(cache: Cache, read: Read) -> None:
    client = serving(cache, read, cookies="ignore")
    client.app = OldSessions(client.app)
    with pytest.raises(StrictError, match=r'scope\["session"\] at .*key_by="cookie:NAME"'):
        await client.get("/page")


@pytest.mark.parametrize(
    "key_by", ["cookie:session", lambda request: request.scope["session"]["user"]], ids=["name", "callable"]
)
async def test_the_session_is_fine_where_the_key_rests_on_it(cache: Cache, key_by: Any) -> None:
    client = serving(cache, session, key_by=key_by)
    client.app = OldSessions(client.app)
    assert (await client.get("/page", {"cookie": "session=ann"})).is_stored


async def test_middleware_that_knows_who_asks_is_no_reader_but_the_endpoint_is(cache: Cache) -> None:
    class Backend:
        async def authenticate(self, conn: Any) -> Any:
            conn.headers.get("x-user")
            return AuthCredentials([]), SimpleUser("ann")

    middleware = [Middleware(AuthenticationMiddleware, backend=Backend())]
    quiet = serving(cache, lambda request: None, middleware=middleware, cookies="ignore")
    assert (await quiet.get("/page")).is_stored
    await cache.invalidate("*")
    loud = serving(cache, lambda request: request.user, middleware=middleware, cookies="ignore", vary=["x-other"])
    with pytest.raises(StrictError, match=r'scope\["user"\]'):
        await loud.get("/page", {"x-other": "1"})


# Who reads


async def test_what_frameworks_and_middleware_read_is_theirs(cache: Cache) -> None:
    async def logging(request: Request, call_next: Any) -> Any:
        request.headers.get("user-agent")
        return await call_next(request)

    middleware = [
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(GZipMiddleware),
        *SESSIONS,
        Middleware(BaseHTTPMiddleware, dispatch=logging),
    ]
    client = serving(cache, lambda request: None, middleware=middleware)
    await client.get("/page", {"user-agent": "x", "accept-encoding": "gzip"})
    assert cache.stats.stores == 1


class Counting:
    """Somebody's own, around a session."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = SessionMiddleware(app, secret_key="secret")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def test_middleware_of_a_mounted_application_is_middleware_too(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("page")

    app = Starlette(routes=[Mount("/below", Counting(Starlette(routes=[Route("/page", endpoint)])))])
    client = RawClient(CacheMiddleware(app, cache=cache, strict=True, default_ttl=60, cookies="ignore"))
    assert (await client.get("/below/page")).is_stored


async def test_what_a_framework_without_middleware_reads_is_its_own(cache: Cache) -> None:
    framework: dict[str, Any] = {"__name__": "starlette.of_its_own", "Request": Request, "Response": PlainTextResponse}
    code = """
async def app(scope, receive, send):
    Request(scope).headers.get("accept-language")
    await Response("page")(scope, receive, send)
"""
    exec(code, framework)
    client = RawClient(CacheMiddleware(framework["app"], cache=cache, strict=True, default_ttl=60))
    assert (await client.get("/")).is_stored


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("is_below", [True, False], ids=["mounted", "plain"])
async def test_an_endpoint_is_found_wherever_it_runs(cache: Cache, is_async: bool, is_below: bool) -> None:
    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    async def endpoint(request: Request) -> Response:
        await run_in_threadpool(READINGS["get"], request)
        return PlainTextResponse("page")

    def sync(request: Request) -> Response:
        READINGS["get"](request)
        return PlainTextResponse("page")

    routes: list[Any] = [Route("/page", endpoint if is_async else sync)]
    app = Starlette(
        routes=[Mount("/below", Starlette(routes=routes))] if is_below else routes,
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)],
    )
    client = RawClient(CacheMiddleware(app, cache=cache, strict=True, default_ttl=60))
    with pytest.raises(StrictError, match="accept-language"):
        await client.get("/below/page" if is_below else "/page")


async def test_a_stream_that_reads_while_it_is_sent_is_not_stored(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        async def pieces() -> Any:
            yield "one"
            request.headers.get("accept-language")
            yield "two"

        return StreamingResponse(pieces())

    client = RawClient(
        CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache, strict=True, default_ttl=60)
    )
    with pytest.raises(StrictError, match="accept-language"):
        await client.get("/")
    assert cache.stats.stores == 0


async def test_what_was_read_before_a_stream_begins_is_told_before_anything_leaves(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        request.headers.get("accept-language")
        return StreamingResponse(iter(["one", "two"]))

    app = Starlette(routes=[Route("/", endpoint)])
    exchange = RawClient(CacheMiddleware(app, cache=cache, strict=True, default_ttl=60)).start("/")
    with pytest.raises(StrictError):
        await exchange.finish()
    assert {message.get("status", 500) for message in exchange.answer.messages} <= {500}


async def test_a_file_may_be_asked_for_in_part(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return FileResponse(__file__)

    client = RawClient(
        CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache, strict=True, default_ttl=60)
    )
    assert (await client.get("/")).is_stored


def fastapi(cache: Cache, **settings: Any) -> RawClient:
    app, router = FastAPI(), APIRouter()

    def language(accept_language: Annotated[str | None, Header()] = None) -> str | None:
        return accept_language

    def agent(request: FastAPIRequest) -> str | None:
        return request.headers.get("user-agent")

    @app.get("/declared")
    def declared(theme: Annotated[str, Cookie()] = "", language: Any = Depends(language)) -> list[Any]:
        return [theme, language]

    @router.get("/hidden")
    async def hidden(request: FastAPIRequest) -> str | None:
        return request.headers.get("accept-language")

    @router.get("/dependency")
    async def dependent(agent: Any = Depends(agent)) -> str | None:
        return str(agent)

    @router.get("/cookie")
    async def cookie(request: FastAPIRequest) -> str | None:
        return request.cookies.get("theme")

    app.include_router(router, prefix="/in")
    return RawClient(CacheMiddleware(app, cache=cache, strict=True, default_ttl=60, **settings))


async def test_what_a_fastapi_route_declares_is_fine(cache: Cache) -> None:
    client = fastapi(cache)
    for theme in ("dark", "light"):
        headers = {"accept-language": "de", "cookie": f"theme={theme}"}
        assert (await client.get("/declared", headers)).text == f'["{theme}","de"]'
        assert (await client.get("/declared", headers)).is_hit


@pytest.mark.parametrize(("path", "what"), [("/in/hidden", "accept-language"), ("/in/dependency", "user-agent")])
async def test_what_a_fastapi_route_reads_without_declaring_it_is_an_error(cache: Cache, path: str, what: str) -> None:
    with pytest.raises(StrictError, match=what):
        await fastapi(cache).get(path)


async def test_a_cookie_that_a_fastapi_route_reads_without_declaring_it_is_an_error(cache: Cache) -> None:
    with pytest.raises(StrictError, match="cookie 'theme'"):
        await fastapi(cache, cookies=["lang"]).get("/in/cookie", {"cookie": "theme=dark"})


# What cannot be followed, and failures


async def test_a_refusal_raises_where_it_is_noted_and_names_the_remedy(cache: Cache) -> None:
    places = []

    def read(request: Request) -> None:
        reads = current_reads()
        assert reads is not None
        try:
            reads.refuse("calls random()")
        except StrictError:
            places.append("here")
            raise

    with pytest.raises(StrictError, match=r"calls random\(\).*depends_on\(\)"):
        await serving(cache, read, auto=True).get("/page")
    assert places == ["here"]


@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "raised and swallowed"])
async def test_a_refusal_that_nobody_raised_is_raised_before_the_answer_leaves(cache: Cache, is_noted: bool) -> None:
    """What takes a connection raw is known only later."""

    def read(request: Request) -> None:
        reads = current_reads()
        assert reads is not None
        reads.table("order")
        if is_noted:
            reads.exclude("unseen")
        else:
            with pytest.raises(StrictError):
                reads.refuse("unseen")

    with pytest.raises(StrictError, match="unseen"):
        await serving(cache, read, auto=True).get("/page")


async def test_a_refusal_at_the_end_of_a_stream_is_raised_too(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        async def pieces() -> Any:
            yield "one"
            reads = current_reads()
            assert reads is not None
            reads.exclude("unseen")

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/", endpoint)])
    with pytest.raises(StrictError, match="unseen"):
        await RawClient(CacheMiddleware(app, cache=cache, strict=True, auto=True, default_ttl=60)).get("/")


async def test_that_a_request_wrote_is_no_error(cache: Cache) -> None:
    answer = await serving(cache, lambda request: cache.invalidate_sync("order"), auto=True).get("/page")
    assert answer.cache == "rcache; fwd=miss; detail=wrote"


async def test_no_stale_answer_covers_for_an_error_of_strict_mode(cache: Cache, clock: HandClock) -> None:
    languages = iter([False, True])

    def read(request: Request) -> None:
        if next(languages):
            request.headers.get("accept-language")

    client = serving(cache, read, stale_on_error="1h")
    assert (await client.get("/page")).is_stored
    clock.advance(61)
    with pytest.raises(StrictError):
        await client.get("/page")


async def test_what_routers_leave_in_the_scope_is_there_for_whoever_stands_outside(cache: Cache) -> None:
    left = {}

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        await inner.app(scope, receive, send)
        left.update(scope)

    inner = serving(cache, lambda request: None)
    await RawClient(outer).get("/page")
    assert "endpoint" in left
    assert {type(each) for pair in left["headers"] for each in pair} == {bytes}


async def test_a_marked_endpoint_is_watched_too(cache: Cache) -> None:
    @cached(ttl=60, tags=["page"])
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(request.headers.get("accept-language", ""))

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache, strict=True))
    with pytest.raises(StrictError, match="accept-language"):
        await client.get("/")
