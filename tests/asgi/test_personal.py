"""Answers that are somebody's own: credentials, cookies, key_by, guard and FastAPI's security."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, HTTPBasic, HTTPBearer, OAuth2PasswordBearer
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from rcache import Cache, CacheMiddleware, Rule, cached
from tests.support import RawClient, shown

ALICE, BOB = {"authorization": "Bearer alice"}, {"authorization": "Bearer bob"}


def echo(*names: str, control: str | None = None) -> Callable[..., Any]:
    """An endpoint that answers with the request's own headers, the way a leak would show."""

    async def endpoint(request: Request) -> Response:
        headers = {} if control is None else {"cache-control": control}
        return JSONResponse({name: request.headers.get(name) for name in names}, headers=headers)

    return endpoint


def serving(cache: Cache, endpoint: Callable[..., Any], **settings: Any) -> RawClient:
    app = Starlette(routes=[Route("/", cached(**{"ttl": 60, **settings})(endpoint))])
    return RawClient(CacheMiddleware(app, cache=cache))


def entries(cache: Cache) -> int:
    """How many answers are stored."""
    return len(cache.store)  # type: ignore[arg-type]


# Authorization


async def test_a_request_with_authorization_is_neither_stored_nor_answered_from_the_cache(cache: Cache) -> None:
    client = serving(cache, echo("authorization"))
    for headers in (ALICE, BOB, ALICE):
        answer = await client.get("/", headers)
        assert answer.text == f'{{"authorization":"{headers["authorization"]}"}}'
        assert answer.cache == "rcache; fwd=bypass; detail=authorization"
    assert entries(cache) == 0
    assert (await client.get("/")).is_stored
    answer = await client.get("/", ALICE)
    assert "alice" in answer.text
    assert answer.cache == "rcache; fwd=bypass; detail=authorization"
    assert (await client.get("/")).is_hit


@pytest.mark.parametrize("control", ["public", "s-maxage=30", "must-revalidate", "max-age=30, public", "Public, X"])
async def test_an_answer_that_says_so_is_shared_among_credentials(cache: Cache, control: str) -> None:
    client = serving(cache, echo(control=control))
    assert (await client.get("/", ALICE)).is_stored
    for headers in (BOB, ALICE, {}):
        assert (await client.get("/", headers)).is_hit


@pytest.mark.parametrize("personal", [ALICE, {"cookie": "session=1"}], ids=["authorization", "cookie"])
async def test_it_is_stored_whatever_was_stored_before(cache: Cache, personal: dict[str, str]) -> None:
    """The answer for nobody in particular says nothing of who may be given one that says so."""
    controls = iter(["max-age=60", "max-age=60, public"])

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("body", headers={"cache-control": next(controls)})

    client = serving(cache, endpoint)
    assert (await client.get("/")).is_stored
    assert (await client.get("/", personal)).cache == "rcache; fwd=miss; stored"
    for headers in (BOB, personal, {}):
        assert (await client.get("/", headers)).is_hit


@pytest.mark.parametrize(
    "control", ["max-age=30", "proxy-revalidate", "immutable, max-age=5", "private, public", 'x="public"']
)
async def test_an_answer_that_does_not_say_so_is_not(cache: Cache, control: str) -> None:
    client = serving(cache, echo("authorization", control=control))
    for headers in (ALICE, BOB):
        answer = await client.get("/", headers)
        assert headers["authorization"] in answer.text
        assert not answer.is_stored
    assert entries(cache) == 0


async def test_an_empty_authorization_is_one_too(cache: Cache) -> None:
    client = serving(cache, echo("authorization"))
    assert (await client.get("/", {"authorization": ""})).cache == "rcache; fwd=bypass; detail=authorization"


# Cookies


@pytest.mark.parametrize(
    "cookie", ["session=1", "SESSION=1", "theme=dark", "nameless", "=x", "_ga=1; session=1", "_GA=1", "a"]
)
async def test_a_request_with_a_cookie_that_may_matter_bypasses(cache: Cache, cookie: str) -> None:
    client = serving(cache, echo("cookie"))
    for _ in range(2):
        answer = await client.get("/", {"cookie": cookie})
        assert cookie in answer.text
        assert answer.cache == "rcache; fwd=bypass; detail=cookie"
    assert entries(cache) == 0


@pytest.mark.parametrize(
    "cookie", ["", "; ;", "_ga=GA1.2.3; _gid=x", "_ga_ABC=1", "_fbp=1", "__utma=1;_hjid=2", "_pk_id.1.2=3"]
)
async def test_analytics_cookies_do_not_matter(cache: Cache, cookie: str) -> None:
    client = serving(cache, echo())
    assert (await client.get("/", {"cookie": cookie})).is_stored
    assert (await client.get("/", {"cookie": cookie + "4"} if cookie[:1] == "_" else {})).is_hit
    assert (await client.get("/")).is_hit


async def test_cookies_in_several_lines_all_count(cache: Cache) -> None:
    client = serving(cache, echo())
    lines = [("cookie", "_ga=1"), ("cookie", "session=1"), ("cookie", "_gid=1")]
    assert (await client.get("/", lines)).cache == "rcache; fwd=bypass; detail=cookie"


async def test_cookies_may_be_ignored(cache: Cache) -> None:
    client = serving(cache, echo(), cookies="ignore")
    assert (await client.get("/", {"cookie": "session=1"})).is_stored
    assert (await client.get("/", {"cookie": "session=2"})).is_hit


async def test_a_named_cookie_is_part_of_the_key_and_the_others_are_not(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(request.cookies.get("theme")))

    client = serving(cache, endpoint, cookies=("theme",))
    for cookie, text in (("theme=dark", "dark"), ("theme=light", "light"), ("other=1", "None"), ("theme=", "")):
        assert (await client.get("/", {"cookie": cookie})).text == text
        again = await client.get("/", {"cookie": f"session=7; {cookie}"})
        assert (again.text, again.is_hit) == (text, True)
    assert (await client.get("/")).is_hit


async def test_authorization_still_counts_where_cookies_are_ignored(cache: Cache) -> None:
    client = serving(cache, echo("authorization"), cookies="ignore")
    assert (await client.get("/", {**ALICE, "cookie": "a=1"})).cache == "rcache; fwd=bypass; detail=authorization"


async def test_set_cookie_is_never_stored(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(request: Request) -> Response:
        response = PlainTextResponse("x", headers={"cache-control": "public, max-age=60"})
        response.set_cookie("session", "1")
        return response

    client = serving(cache, endpoint)
    with caplog.at_level(logging.WARNING, "rcache"):
        for _ in range(3):
            answer = await client.get("/")
            assert answer.get("set-cookie")
            assert "set-cookie" in str(answer.cache)
    assert [record.message for record in caplog.records] == [
        "GET / is not cached (set-cookie): answers that set a cookie are one client's own: set it elsewhere"
    ]


# The reason is said, once in the log and each time in Cache-Status


@pytest.mark.parametrize(
    ("headers", "reason", "remedy"),
    [(ALICE, "authorization", "key_by="), ({"cookie": "session=1"}, "cookie", 'cookies="ignore"')],
)
async def test_each_reason_is_logged_once_per_route_with_its_remedy(
    cache: Cache, caplog: pytest.LogCaptureFixture, headers: dict[str, str], reason: str, remedy: str
) -> None:
    app = Starlette(routes=[Route("/a/{n}", cached(ttl=60)(echo())), Route("/b", cached(ttl=60)(echo()))])
    client = RawClient(CacheMiddleware(app, cache=cache))
    with caplog.at_level(logging.WARNING, "rcache"):
        for path in ("/a/1", "/a/1", "/a/2", "/b", "/b"):
            assert (await client.get(path, headers)).cache == f"rcache; fwd=bypass; detail={reason}"
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages] == [
        f"GET {path} is not cached ({reason})" for path in ("/a/{n}", "/b")
    ]
    assert all(remedy in message for message in messages)


@pytest.mark.parametrize("control", ["private", "no-store", "no-cache", 'private=""', "max-age=60, no-store"])
async def test_what_the_answer_forbids_is_said(cache: Cache, caplog: pytest.LogCaptureFixture, control: str) -> None:
    client = serving(cache, echo(control=control))
    reason = control.split("=")[0].split(", ")[-1] if "max-age" not in control else "no-store"
    with caplog.at_level(logging.WARNING, "rcache"):
        assert (await client.get("/")).cache == f"rcache; fwd=miss; detail={reason}"
        assert (await client.get("/")).cache == f"rcache; fwd=bypass; detail={reason}"
    assert len(caplog.records) == 1
    assert entries(cache) == 0


# key_by


def _by_user(request: Request) -> str | None:
    return request.headers.get("x-user")


@pytest.mark.parametrize("key_by", ["x-user", "X-User", _by_user], ids=["header", "case", "callable"])
async def test_key_by_gives_each_identity_its_own_answer(cache: Cache, key_by: Any) -> None:
    client = serving(cache, echo("x-user"), key_by=key_by)
    for user in ("alice", "bob"):
        for credentials in ({}, ALICE, {"cookie": "session=1"}):
            answer = await client.get("/", {"x-user": user, **credentials})
            assert answer.text == f'{{"x-user":"{user}"}}'
    assert entries(cache) == 2
    assert (await client.get("/", {"x-user": "bob", **ALICE})).is_hit


async def test_key_by_authorization_gives_each_token_its_own_answer(cache: Cache) -> None:
    client = serving(cache, echo("authorization"), key_by="authorization")
    for _ in range(2):
        for headers in (ALICE, BOB):
            answer = await client.get("/", headers)
            assert headers["authorization"] in answer.text
    assert answer.is_hit


async def test_key_by_a_cookie(cache: Cache) -> None:
    client = serving(cache, echo("cookie"), key_by="cookie:session")
    for session in ("1", "2"):
        for other in ("", "; other=x"):
            answer = await client.get("/", {"cookie": f"session={session}{other}"})
            assert f"session={session}" in answer.text
    assert entries(cache) == 2


@pytest.mark.parametrize("credentials", [ALICE, {"cookie": "other=1"}], ids=["authorization", "cookie"])
@pytest.mark.parametrize("key_by", ["x-user", "cookie:session"])
async def test_without_the_value_other_credentials_stay_personal(
    cache: Cache, key_by: str, credentials: dict[str, str]
) -> None:
    client = serving(cache, echo("authorization", "cookie"), key_by=key_by)
    assert (await client.get("/")).is_stored
    answer = await client.get("/", credentials)
    assert next(iter(credentials.values())) in answer.text
    assert "bypass" in str(answer.cache)
    assert (await client.get("/")).text == '{"authorization":null,"cookie":null}'


async def test_an_empty_value_is_not_an_absent_one(cache: Cache) -> None:
    client = serving(cache, echo("x-user"), key_by="x-user")
    assert (await client.get("/")).text == '{"x-user":null}'
    assert (await client.get("/", {"x-user": ""})).text == '{"x-user":""}'
    assert entries(cache) == 2


@pytest.mark.parametrize("returned", [None, 5, b"bytes", ["x"], object()], ids=shown)
async def test_a_key_that_is_no_string_bypasses(cache: Cache, returned: Any) -> None:
    client = serving(cache, echo("x-user"), key_by=lambda request: returned)
    for user in ("alice", "bob"):
        answer = await client.get("/", {"x-user": user})
        assert user in answer.text
        assert answer.cache == "rcache; fwd=bypass; detail=key"


async def test_a_key_by_that_raises_bypasses_and_is_logged(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> str:
        raise RuntimeError("no")

    answer = await serving(cache, echo(), key_by=broken).get("/")
    assert (answer.status, answer.cache) == (200, "rcache; fwd=bypass; detail=key")
    assert re.search(r"key_by of GET / raised", caplog.text)


@pytest.mark.parametrize("text", ["", "a\x00b", "\ud800", "5:x", "é", "x" * 10_000], ids=ascii)
async def test_any_string_is_a_key(cache: Cache, text: str) -> None:
    client = serving(cache, echo(), key_by=lambda request: text)
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).is_hit


# guard


async def test_a_guard_runs_on_every_request_and_its_answer_joins_the_key(cache: Cache) -> None:
    calls = []

    async def guard(request: Request) -> str:
        calls.append(request.method)
        return request.headers.get("x-tenant", "")

    client = serving(cache, echo("x-tenant"), guard=guard)
    for tenant in ("a", "b", "a", "b"):
        answer = await client.get("/", {"x-tenant": tenant, **ALICE})
        assert answer.text == f'{{"x-tenant":"{tenant}"}}'
    assert answer.is_hit
    assert (await client.head("/", {"x-tenant": "a"})).is_hit
    assert calls == ["GET"] * 4 + ["HEAD"]
    assert entries(cache) == 2


async def test_a_sync_guard_runs_in_a_thread(cache: Cache) -> None:
    threads = []

    def guard(request: Request) -> None:
        threads.append(threading.current_thread())

    client = serving(cache, echo(), guard=guard)
    assert (await client.get("/", ALICE)).is_stored
    assert (await client.get("/", BOB)).is_hit
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_a_guard_and_key_by_together(cache: Cache) -> None:
    client = serving(cache, echo("x-a", "x-b"), guard=lambda request: request.headers.get("x-a"), key_by="x-b")
    for a, b in ((None, "1"), ("1", None), ("1", "1"), ("11", ""), ("1", "11"), ("", "1")):
        headers = {name: value for name, value in (("x-a", a), ("x-b", b)) if value is not None}
        answer = await client.get("/", headers)
        assert answer.is_stored, headers
        assert (await client.get("/", headers)).body == answer.body
    assert entries(cache) == 6


class Role(Enum):
    ADMIN = "admin"
    USER = "user"


@pytest.mark.parametrize(
    "values", [(1, 2), (UUID(int=1), UUID(int=2)), (Role.ADMIN, Role.USER), (True, False), (1.5, 2.5), (b"a", b"b")]
)
async def test_a_guard_may_return_anything_plain(cache: Cache, values: tuple[Any, Any]) -> None:
    client = serving(cache, echo("x-n"), guard=lambda request: values[int(request.headers["x-n"])])
    for _ in range(2):
        for n in ("0", "1"):
            answer = await client.get("/", {"x-n": n})
            assert answer.text == f'{{"x-n":"{n}"}}'
    assert answer.is_hit


async def test_an_object_that_a_guard_returns_is_no_key(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Its text is its address, and the next object at that place is another user."""

    class User: ...

    client = serving(cache, echo("x-user"), guard=lambda request: User())
    for user in ("alice", "bob"):
        answer = await client.get("/", {"x-user": user})
        assert user in answer.text
        assert answer.cache == "rcache; fwd=bypass; detail=key"
    assert len(re.findall(r"guard of GET / returned a User", caplog.text)) == 1, "once for a route"


@pytest.mark.parametrize("is_inside", [True, False])
@pytest.mark.parametrize("error", [HTTPException, StarletteHTTPException])
async def test_a_guards_refusal_is_answered_as_the_application_would(
    cache: Cache, error: type[Exception], is_inside: bool
) -> None:
    async def guard(request: Request) -> None:
        if "x-user" not in request.headers:
            raise error(401, "who are you?", {"www-authenticate": "Bearer"})  # type: ignore[call-arg]

    app = FastAPI()

    @app.get("/cached")
    @cached(ttl=60, guard=guard)
    async def cached_endpoint() -> str:
        return "ok"

    @app.get("/plain", dependencies=[Depends(guard)])
    async def plain_endpoint() -> str:
        return "ok"

    if is_inside:
        app.add_middleware(CacheMiddleware, cache=cache)
    client = RawClient(app if is_inside else CacheMiddleware(app, cache=cache))
    assert (await client.get("/cached", {"x-user": "alice"})).is_stored
    refused, expected = await client.get("/cached"), await client.get("/plain")
    assert (refused.status, refused.body) == (expected.status, expected.body) == (401, b'{"detail":"who are you?"}')
    assert refused.get("www-authenticate") == "Bearer"
    assert "guard" in str(refused.cache)


class Teapot(StarletteHTTPException):
    """Has a handler of its own."""


async def test_the_applications_own_handlers_answer_by_status_and_by_class(cache: Cache) -> None:
    async def by_status(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"status handler, {request.app.state.name}", status_code=403)

    def by_class(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"class handler, {request.path_params['kind']}", status_code=418)

    def guard(request: Request) -> None:
        kind = request.path_params["kind"]
        raise Teapot(418) if kind == "tea" else StarletteHTTPException(int(kind), "plain")

    endpoint = cached(ttl=60, guard=guard)(echo())
    app = Starlette(routes=[Route("/{kind}", endpoint)], exception_handlers={403: by_status, Teapot: by_class})
    app.state.name = "shop"
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/403")).text == "status handler, shop"
    assert (await client.get("/tea")).text == "class handler, tea"
    assert (await client.get("/404")).text == "plain"


@pytest.mark.parametrize("is_guard", [True, False])
async def test_a_handler_for_500_is_not_asked_about_an_exception_of_that_status(cache: Cache, is_guard: bool) -> None:
    """Starlette keeps that one for errors nobody handles, whoever raises."""

    def refuse(request: Request) -> Response:
        raise StarletteHTTPException(500, "said so")

    marked = cached(ttl=60, guard=refuse)(echo()) if is_guard else refuse
    handlers: Any = {500: lambda request, error: PlainTextResponse("unhandled", status_code=500)}
    app = Starlette(routes=[Route("/", marked)], exception_handlers=handlers)
    answer = await RawClient(CacheMiddleware(app, cache=cache)).get("/")
    assert (answer.status, answer.text) == (500, "said so")


async def test_a_handler_added_after_the_first_request_answers_too(cache: Cache) -> None:
    def guard(request: Request) -> None:
        raise StarletteHTTPException(403)

    app = Starlette(routes=[Route("/", cached(ttl=60, guard=guard)(echo()))])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/")).text == "Forbidden"
    app.exception_handlers[403] = lambda request, error: PlainTextResponse("own", status_code=403)
    assert (await client.get("/")).text == "own"


@pytest.mark.parametrize("has_own", [True, False])
async def test_a_sub_applications_handlers_answer_for_its_routes(cache: Cache, has_own: bool) -> None:
    """One without handlers has Starlette's own, and not those of the application around it."""

    def guard(request: Request) -> None:
        raise StarletteHTTPException(403)

    def handler(text: str) -> Any:
        return lambda request, error: PlainTextResponse(text, status_code=403)

    own = {403: handler("inner")} if has_own else {}
    routes = [Route("/", cached(ttl=60, guard=guard)(echo()))]
    app = Starlette(
        routes=[Mount("/sub", app=Starlette(routes=routes, exception_handlers=own)), Mount("/router", routes=routes)],
        exception_handlers={403: handler("outer")},
    )
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/sub/")).text == ("inner" if has_own else "Forbidden")
    assert (await client.get("/router/")).text == "outer"


async def test_a_guard_sees_the_application_that_the_endpoint_sees(cache: Cache) -> None:
    seen = []

    def guard(request: Request) -> None:
        seen.append(request.app)

    routes = [Route("/", cached(ttl=60, guard=guard)(echo()))]
    for is_inside in (True, False):
        sub = Starlette(routes=routes)
        app = Starlette(routes=[Mount("/sub", app=sub), Mount("/router", routes=routes)])
        if is_inside:
            app.add_middleware(CacheMiddleware, cache=cache)
        client = RawClient(app if is_inside else CacheMiddleware(app, cache=cache))
        for path in ("/sub/", "/router/"):
            assert (await client.get(path)).status == 200
        assert seen == [sub, app]
        seen.clear()


@pytest.mark.parametrize("way", ["rule", "around"])
async def test_a_rules_guard_is_answered_by_the_applications_handler(cache: Cache, way: str) -> None:
    def guard(request: Request) -> None:
        raise StarletteHTTPException(403)

    app = Starlette(
        routes=[Route("/", echo())],
        exception_handlers={403: lambda request, error: PlainTextResponse("own", status_code=403)},
    )
    rules = [Rule("/", ttl=60, guard=guard)]
    if way == "around":
        app.add_middleware(CacheMiddleware, cache=cache, rules=rules)
    client = RawClient(app if way == "around" else CacheMiddleware(app, cache=cache, rules=rules))
    assert (await client.get("/")).text == "own"


async def test_a_guard_that_refuses_sees_no_answer_go_out_of_the_cache(cache: Cache) -> None:
    allowed = True

    async def guard(request: Request) -> None:
        if not allowed:
            raise StarletteHTTPException(403)

    client = serving(cache, echo(), guard=guard)
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).is_hit
    allowed = False
    for method in ("GET", "HEAD"):
        assert (await client.request(method, "/")).status == 403
    allowed = True
    assert (await client.get("/")).is_hit


async def test_any_other_error_of_a_guard_is_the_applications(cache: Cache) -> None:
    async def guard(request: Request) -> None:
        raise RuntimeError("broken")

    app = Starlette(
        routes=[Route("/", cached(ttl=60, guard=guard)(echo()))],
        exception_handlers={Exception: lambda request, error: PlainTextResponse("handled", status_code=500)},
    )
    app.add_middleware(CacheMiddleware, cache=cache)
    exchange = RawClient(app).start("/")
    with pytest.raises(RuntimeError, match="broken"):
        await exchange.finish()
    assert exchange.answer.text == "handled"


# FastAPI


SCHEMES: list[Any] = [
    HTTPBearer(auto_error=False),
    HTTPBasic(auto_error=False),
    OAuth2PasswordBearer("token", auto_error=False),
    APIKeyHeader(name="x-key", auto_error=False),
    APIKeyQuery(name="key", auto_error=False),
    APIKeyCookie(name="key", auto_error=False),
]


def secured(scheme: Any, depth: int, **settings: Any) -> FastAPI:
    """An application whose endpoint depends on a security scheme, `depth` dependencies deep."""
    app = FastAPI()
    dependency: Any = scheme
    for _ in range(depth):

        def nested(found: Any = Depends(dependency)) -> Any:
            return found

        dependency = nested

    @app.get("/")
    @cached(**{"ttl": 60, **settings})
    async def endpoint(request: Request, user: Any = Depends(dependency)) -> Any:
        return request.headers.get("x-key")

    return app


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
async def test_a_security_dependency_rules_out_storing(
    cache: Cache, scheme: Any, depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = RawClient(CacheMiddleware(secured(scheme, depth), cache=cache))
    with caplog.at_level(logging.WARNING, "rcache"):
        for key in ("a", "b"):
            answer = await client.get("/", {"x-key": key})
            assert answer.text == f'"{key}"'
            assert answer.cache == "rcache; fwd=bypass; detail=security"
    assert entries(cache) == 0
    assert len(caplog.records) == 1
    assert "guard=" in caplog.text


def _user(request: Request) -> str:
    return request.headers["x-anything"]


class Common(BaseModel):
    """Headers grouped in a model."""

    x_model: str | None = None


def _nested(x_nested: Annotated[str | None, Header()] = None) -> str | None:
    return x_nested


async def test_security_with_scopes_on_a_plain_function_rules_out_storing(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60)
    async def endpoint(who: Annotated[str, Security(_user, scopes=["read"])]) -> str:
        return who

    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/", {"x-anything": "a"})).cache == "rcache; fwd=bypass; detail=security"


@pytest.mark.parametrize("settings", [{"key_by": "x-key"}, {"guard": lambda request: request.headers.get("x-key")}])
async def test_with_key_by_or_guard_a_secured_route_is_cached(cache: Cache, settings: dict[str, Any]) -> None:
    client = RawClient(CacheMiddleware(secured(SCHEMES[0], 1, **settings), cache=cache))
    for key in ("a", "b"):
        assert (await client.get("/", {"x-key": key})).is_stored
        answer = await client.get("/", {"x-key": key})
        assert answer.is_hit
        assert answer.text == f'"{key}"'


async def test_declared_headers_join_the_key_nested_ones_and_models_too(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60)
    async def endpoint(
        found: Annotated[str | None, Depends(_nested)],
        common: Annotated[Common, Header()],
        x_own: Annotated[str | None, Header()] = None,
        aliased: Annotated[str | None, Header(alias="X-Other")] = None,
    ) -> list[str | None]:
        return [found, common.x_model, x_own, aliased]

    client = RawClient(CacheMiddleware(app, cache=cache))
    names = ("x-nested", "x-model", "x-own", "x-other")
    for position, name in enumerate(names):
        expected = [None] * 4
        expected[position] = "1"  # type: ignore[call-overload]
        for _ in range(2):
            answer = await client.get("/", {name: "1"})
            assert answer.text.replace("null", "None").replace('"', "'") == str(expected).replace(" ", "")
        assert answer.is_hit
    assert entries(cache) == 4


async def test_declared_cookies_count_as_named(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60)
    async def endpoint(theme: Annotated[str | None, Cookie()] = None) -> str | None:
        return theme

    client = RawClient(CacheMiddleware(app, cache=cache))
    for theme in ("dark", "light"):
        for _ in range(2):
            answer = await client.get("/", {"cookie": f"theme={theme}; _ga=1"})
            assert answer.text == f'"{theme}"'
        assert answer.is_hit
    assert (await client.get("/", {"cookie": "theme=dark; session=1"})).cache == "rcache; fwd=bypass; detail=cookie"


@pytest.mark.parametrize("place", ["application", "include", "route"])
async def test_security_declared_further_out_rules_out_storing(cache: Cache, place: str) -> None:
    dependencies = [Depends(HTTPBearer(auto_error=False))]
    app, router = FastAPI(dependencies=dependencies if place == "application" else []), APIRouter()

    @router.get("/", dependencies=dependencies if place == "route" else [])
    @cached(ttl=60)
    async def endpoint() -> str:
        return "x"

    app.include_router(router, dependencies=dependencies if place == "include" else [])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/")).cache == "rcache; fwd=bypass; detail=security"


# What caches outside are told


@pytest.mark.parametrize("settings", [{"key_by": "x-user"}, {"guard": lambda request: request.headers.get("x-user")}])
async def test_a_keyed_answer_is_private_to_the_clients_that_are_given_a_max_age(
    cache: Cache, settings: dict[str, Any]
) -> None:
    """Else a cache between us and them would hand one user's page to the next."""
    client = serving(cache, echo("x-user"), client_ttl=30, **settings)
    for _ in range(2):
        answer = await client.get("/", {"x-user": "alice"})
        assert answer.all("cache-control") == ["private", "max-age=30"]
    assert answer.is_hit
    assert (await serving(cache, echo(), client_ttl=30).get("/?other")).all("cache-control") == ["max-age=30"]


async def test_what_selects_is_said_in_vary_to_clients_that_are_given_a_max_age(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60, client_ttl=30, cookies=("theme",), vary=["accept"])
    async def endpoint(x_plan: Annotated[str | None, Header()] = None) -> str | None:
        return x_plan

    client = RawClient(CacheMiddleware(app, cache=cache))
    for _ in range(2):
        assert (await client.get("/")).all("vary") == ["accept, cookie, x-plan"]
