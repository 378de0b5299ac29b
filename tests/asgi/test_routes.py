"""The middleware finds its rules wherever it stands, and whatever the application is made of."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, cached, tag
from tests.support import RawClient


@cached(ttl=60, tags=["item:{id}"])
async def item(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"], "params": sorted(request.path_params)})


@cached(ttl=60)
async def page(request: Request) -> Response:
    return PlainTextResponse("page")


async def plain(request: Request) -> Response:
    return PlainTextResponse("plain")


async def stores_and_hits(client: RawClient, target: str, **changes: Any) -> bool:
    """Whether the first request is stored, and the second one a hit with the same body."""
    first, second = await client.get(target, **changes), await client.get(target, **changes)
    assert first.status == second.status == 200, (first, second)
    return first.is_stored and second.is_hit and first.body == second.body


async def carries(cache: Cache, *tags: str) -> bool:
    """Whether each of the tags is carried by one entry."""
    return (await cache.invalidate(*tags)).entries == len(tags)


# Starlette


async def test_routes_with_convertors(cache: Cache) -> None:
    app = Starlette(routes=[Route("/items/{id:int}", item)])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/items/7")
    assert await carries(cache, "item:7")


async def test_mounts_with_parameters(cache: Cache) -> None:
    @cached(ttl=60, tags=["{tenant}:{id}"])
    async def endpoint(request: Request) -> Response:
        return JSONResponse(request.path_params)

    app = Starlette(routes=[Mount("/t/{tenant}", routes=[Mount("/deep", routes=[Route("/{id:int}", endpoint)])])])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/t/acme/deep/042")
    assert await carries(cache, "acme:42")


async def test_a_mounts_own_parameters_are_the_routes_not_those_of_a_namesake_outside(cache: Cache) -> None:
    """Starlette moves root_path in the scope it was given while the application runs; tags are made after that."""
    app = Starlette(
        routes=[Mount("/v2", routes=[Route("/items/{id:int}", item)]), Route("/items/{id}", item)],
    )
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/v2/items/042")
    assert await carries(cache, "item:42")


async def test_an_unknown_template_name_is_refused_under_a_mount_too(cache: Cache) -> None:
    @cached(ttl=60, tags=["{nowhere}"])
    async def endpoint(request: Request) -> Response: ...

    app = Starlette(routes=[Mount("/t/{tenant}", routes=[Route("/{id}", endpoint)])])
    with pytest.raises(ConfigurationError, match="nowhere") as caught:
        await RawClient(CacheMiddleware(app, cache=cache)).get("/")
    assert "id" in str(caught.value)
    assert "tenant" in str(caught.value)


async def test_a_mounts_path_tail_is_no_parameter(cache: Cache) -> None:
    @cached(ttl=60, tags=["{path}"])
    async def endpoint(request: Request) -> Response: ...

    app = Starlette(routes=[Mount("/files", routes=[Route("/x", endpoint)])])
    with pytest.raises(ConfigurationError, match="path"):
        await RawClient(CacheMiddleware(app, cache=cache)).get("/")


async def test_hosts_choose_among_routes(cache: Cache) -> None:
    @cached(ttl=60, tags=["site:{name}"])
    async def site(request: Request) -> Response:
        return PlainTextResponse(request.path_params["name"])

    app = Starlette(
        routes=[
            Host("{name}.shop.test", Router([Route("/", site)])),
            Host("plain.test", Router([Route("/", plain)])),
            Route("/", page),
        ]
    )
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/", headers={"host": "a.shop.test"})
    assert await stores_and_hits(client, "/", headers={"host": "b.shop.test"})
    assert (await client.get("/", {"host": "plain.test"})).cache is None
    assert await stores_and_hits(client, "/", headers={"host": "elsewhere.test"})
    assert await carries(cache, "site:a", "site:b")


async def test_the_first_route_that_matches_decides(cache: Cache) -> None:
    app = Starlette(routes=[Route("/x", plain), Route("/{id}", item)])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/x")).cache is None
    assert await stores_and_hits(client, "/y")


async def test_a_post_route_before_it_does_not_hide_the_get_route(cache: Cache) -> None:
    app = Starlette(routes=[Route("/x", plain, methods=["POST"]), Route("/x", page)])
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/x")
    assert (await client.request("POST", "/x")).cache is None


async def test_a_mounted_application_behind_middleware_is_found(cache: Cache) -> None:
    inner = GZipMiddleware(Starlette(routes=[Route("/{id}", item)]))
    client = RawClient(CacheMiddleware(Starlette(routes=[Mount("/m", app=inner)]), cache=cache))
    assert await stores_and_hits(client, "/m/1")
    assert await carries(cache, "item:1")


async def test_middleware_of_a_mount_of_a_route_and_inside_both(cache: Cache) -> None:
    here = [Middleware(CacheMiddleware, cache=cache)]
    app = Starlette(
        routes=[
            Route("/route/{id}", item, middleware=here),
            Mount("/mount", routes=[Route("/{id}", item)], middleware=here),
            Mount("/both", routes=[Route("/{id}", item, middleware=here)]),
            Mount("/app", app=Starlette(routes=[Route("/{id}", item)], middleware=here)),
            Mount("/bare", app=CacheMiddleware(Router([Route("/{id}", item)]), cache=cache)),
            Route("/outside", page),
        ]
    )
    client = RawClient(app)
    for number, path in enumerate(("route", "mount", "both", "app", "bare")):
        assert await stores_and_hits(client, f"/{path}/{number}"), path
        assert await carries(cache, f"item:{number}")
    assert (await client.get("/outside")).cache is None


@pytest.mark.parametrize("root_path", ["", "/api", "/api/v1"])
async def test_a_servers_root_path_as_uvicorn_gives_it(cache: Cache, root_path: str) -> None:
    app = Starlette(routes=[Route("/items/{id:int}", item), Mount("/m", routes=[Route("/{id}", item)])])
    client = RawClient(CacheMiddleware(app, cache=cache), root_path=root_path)
    assert await stores_and_hits(client, f"{root_path}/items/07")
    assert await stores_and_hits(client, f"{root_path}/m/8")
    assert await carries(cache, "item:7", "item:8")


@pytest.mark.parametrize("is_inside", [True, False])
@pytest.mark.parametrize("server_root", ["", "/elsewhere"])
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_fastapis_own_root_path(cache: Cache, is_inside: bool, server_root: str, prefix: str) -> None:
    """It wins over the server's, and a proxy may have stripped it from the path or not."""
    app = FastAPI(root_path="/api")

    @app.get("/items/{item_id}")
    @cached(ttl=60, tags=["item:{item_id}"])
    async def endpoint(item_id: int) -> int:
        return item_id

    rules = [Rule("/ruled/{n}", ttl=60, tags=["n:{n}"])]

    @app.get("/ruled/{n}")
    async def ruled(n: int) -> int:
        return n

    if is_inside:
        app.add_middleware(CacheMiddleware, cache=cache, rules=rules)
    client = RawClient(app if is_inside else CacheMiddleware(app, cache=cache, rules=rules), root_path=server_root)
    assert await stores_and_hits(client, f"{prefix}/items/042")
    assert await stores_and_hits(client, f"{prefix}/ruled/5")
    assert await carries(cache, "item:42", "n:5")


async def test_a_route_added_later_is_found(cache: Cache) -> None:
    app = Starlette(routes=[Route("/x", page), Mount("/m", routes=[Route("/x", page)])])
    client = RawClient(CacheMiddleware(app, cache=cache))
    await client.get("/x")
    assert (await client.get("/later/1")).status == 404
    app.routes.append(Route("/later/{id}", item))
    assert await stores_and_hits(client, "/later/1")
    app.routes[1].routes.append(Route("/nested/{id}", item))  # type: ignore[attr-defined]
    assert await stores_and_hits(client, "/m/nested/2")
    assert await carries(cache, "item:1", "item:2")


async def test_a_route_added_to_an_included_router_later_is_found(cache: Cache) -> None:
    app, outer, inner = FastAPI(), APIRouter(prefix="/outer"), APIRouter(prefix="/inner")
    outer.include_router(inner)
    app.include_router(outer)
    client = RawClient(CacheMiddleware(app, cache=cache))
    await client.get("/nothing")

    @inner.get("/{item_id}")
    @cached(ttl=60, tags=["item:{item_id}"])
    async def endpoint(item_id: int) -> int:
        return item_id

    assert await stores_and_hits(client, "/outer/inner/7")
    assert await carries(cache, "item:7")


# FastAPI


async def test_included_routers_nested_with_prefixes_and_parameters(cache: Cache) -> None:
    app, outer, inner = FastAPI(), APIRouter(prefix="/o/{org}"), APIRouter(prefix="/teams")

    @inner.get("/{team}")
    @cached(ttl=60, tags=["{org}/{team}"])
    async def endpoint(org: str, team: int) -> list[Any]:
        return [org, team]

    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/v1")
    app.include_router(outer, prefix="/v2")
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/v1/o/acme/inner/teams/042")
    assert await carries(cache, "acme/42")
    assert await stores_and_hits(client, "/v2/o/acme/inner/teams/43")
    assert await carries(cache, "acme/43")


async def test_an_included_routers_dependencies_count(cache: Cache) -> None:
    app, router = FastAPI(), APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))])

    @router.get("/x")
    @cached(ttl=60)
    async def endpoint() -> str:
        return "x"

    app.include_router(router)
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/x")).cache == "rcache; fwd=bypass; detail=security"


async def test_a_mounted_fastapi_application(cache: Cache) -> None:
    app, sub = FastAPI(), FastAPI()

    @sub.get("/items/{item_id}")
    @cached(ttl=60, tags=["item:{item_id}"])
    async def endpoint(item_id: int) -> int:
        return item_id

    app.mount("/sub/{tenant}", sub)
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/sub/acme/items/042")
    assert await carries(cache, "item:42")


async def test_a_router_with_a_mount_that_is_included(cache: Cache) -> None:
    app, router = FastAPI(), APIRouter()
    router.mount("/files", Starlette(routes=[Route("/{id}", item)]))
    app.include_router(router, prefix="/p")
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert await stores_and_hits(client, "/p/files/1")
    assert await carries(cache, "item:1")


@pytest.mark.parametrize("way", ["rule", "default_ttl"])
async def test_fastapis_declarations_count_without_a_mark(cache: Cache, way: str) -> None:
    """Who writes no @cached must not get less care: a key in a header of its own is nobody else's answer."""
    app = FastAPI()

    @app.get("/secured")
    async def secured(key: Annotated[str, Depends(APIKeyHeader(name="x-key"))]) -> str:
        return f"for {key}"

    @app.get("/headed")
    async def headed(x_tenant: Annotated[str, Header()]) -> str:
        return f"for {x_tenant}"

    @app.get("/themed")
    async def themed(theme: Annotated[str, Cookie()]) -> str:
        return f"in {theme}"

    rules = [Rule("/{path:path}", ttl=60)] if way == "rule" else []
    client = RawClient(
        CacheMiddleware(app, cache=cache, rules=rules, default_ttl=None if rules else 60),
    )
    assert (await client.get("/secured", {"x-key": "a"})).cache == "rcache; fwd=bypass; detail=security"
    for tenant in ("a", "b"):
        assert (await client.get("/headed", {"x-tenant": tenant})).text == f'"for {tenant}"'
        assert (await client.get("/headed", {"x-tenant": tenant})).is_hit
    for theme in ("dark", "light"):
        assert (await client.get("/themed", {"cookie": f"theme={theme}"})).text == f'"in {theme}"'
        assert (await client.get("/themed", {"cookie": f"theme={theme}"})).is_hit


async def test_a_rule_over_a_fastapi_route_is_filled_with_what_the_endpoint_gets(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/users/{user_id}")
    async def endpoint(user_id: int) -> int:
        return user_id

    rules = [Rule("/users/{user_id}", ttl=60, tags=["user:{user_id}"])]
    client = RawClient(CacheMiddleware(app, cache=cache, rules=rules))
    for spelling in ("42", "042", "4_2"):
        assert await stores_and_hits(client, f"/users/{spelling}")
    assert (await cache.invalidate("user:42")).entries == 3


async def test_default_ttl_tells_of_each_route_why_it_is_not_cached(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    app = Starlette(routes=[Route("/a", plain), Route("/b", plain)])
    client = RawClient(CacheMiddleware(app, cache=cache, default_ttl=60))
    with caplog.at_level(logging.WARNING, "rcache"):
        for _ in range(2):
            await client.get("/a", {"authorization": "Basic x"})
            await client.get("/b", {"authorization": "Basic x"})
    assert [record.getMessage().split(" is not")[0] for record in caplog.records] == ["GET /a", "GET /b"]


# Other applications


class OtherFramework:
    """An application of another framework: it has routes, but not Starlette's, and attributes that lead nowhere."""

    def __init__(self) -> None:
        self.routes = [object(), object()]
        self.app = self
        self.runs = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("lifespan is not spoken here")
        self.runs += 1
        tag(f"seen:{scope['path'][:20]}")
        await PlainTextResponse(scope["path"])(scope, receive, send)


async def test_any_asgi_application_by_rule(cache: Cache) -> None:
    rules = [Rule("/reports/{id:int}", ttl=60, tags=["report:{id}"])]
    app = OtherFramework()
    client = RawClient(CacheMiddleware(app, cache=cache, rules=rules))
    assert await stores_and_hits(client, "/reports/042")
    assert await carries(cache, "report:42", "seen:/reports/042")
    assert (await client.get("/reports/x")).cache is None
    assert (await client.get("/")).cache is None
    lifespan = await client.lifespan()  # the framework speaks none
    await lifespan.shutdown()
    assert not cache.is_open


async def test_a_rules_path_lies_below_root_path(cache: Cache) -> None:
    client = RawClient(
        CacheMiddleware(OtherFramework(), cache=cache, rules=[Rule("/x/{id}", ttl=60, tags=["x:{id}"])]),
        root_path="/base",
    )
    assert await stores_and_hits(client, "/base/x/1")
    assert await carries(cache, "x:1")


async def test_the_first_rule_that_matches_wins(cache: Cache) -> None:
    rules = [
        Rule("/a/secret", enabled=False),
        Rule("/a/{name}", ttl=60, tags=["first"]),
        Rule("/{rest:path}", ttl=60, tags=["second"]),
    ]
    client = RawClient(CacheMiddleware(OtherFramework(), cache=cache, rules=rules))
    assert await stores_and_hits(client, "/a/x")
    assert await carries(cache, "first")
    assert (await cache.invalidate("second")).entries == 0
    assert await stores_and_hits(client, "/b/x")
    assert await carries(cache, "second")
    assert (await client.get("/a/secret")).cache is None


async def test_a_mark_wins_over_a_rule_and_a_rule_over_default_ttl(cache: Cache) -> None:
    @cached(ttl=60, tags=["mark"])
    async def marked(request: Request) -> Response:
        return PlainTextResponse("marked")

    app = Starlette(routes=[Route("/marked", marked), Route("/ruled", plain), Route("/default", plain)])
    rules = [Rule("/marked", ttl=60, tags=["rule"]), Rule("/ruled", ttl=60, tags=["rule"])]
    client = RawClient(CacheMiddleware(app, cache=cache, rules=rules, default_ttl=60))
    for path in ("/marked", "/ruled", "/default"):
        assert await stores_and_hits(client, path)
    assert await carries(cache, "mark", "rule")
    assert (await client.get("/default")).is_hit


async def test_default_ttl_holds_for_marks_and_rules_without_a_ttl(cache: Cache) -> None:
    @cached()
    async def marked(request: Request) -> Response:
        return PlainTextResponse("marked")

    app = Starlette(routes=[Route("/marked", marked), Route("/ruled", plain)])
    with_default = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/ruled")], default_ttl="1m"))
    for path in ("/marked", "/ruled"):
        assert (await with_default.get(path)).is_stored
        assert (await with_default.get(path)).cache == "rcache; hit; ttl=60"
    await cache.close()
    without = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/ruled")]))
    for path in ("/marked", "/ruled"):
        assert "no-freshness" in str((await without.get(path)).cache)


@pytest.mark.parametrize("path", ["/x/{id:nothing}", "/x/{id}/{id}"])
def test_a_rules_path_that_starlette_refuses_is_a_configuration_error(cache: Cache, path: str) -> None:
    with pytest.raises(ConfigurationError):
        CacheMiddleware(OtherFramework(), cache=cache, rules=[Rule(path, ttl=60)])


def test_a_rules_template_is_checked_where_the_middleware_is_built(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        CacheMiddleware(OtherFramework(), cache=cache, rules=[Rule("/x/{id}", ttl=60, tags=["{nowhere}"])])


@pytest.mark.parametrize("wrong", [{"rules": ["/x"]}, {"default_ttl": 0}, {"default_ttl": "soon"}])
def test_what_the_middleware_cannot_use_is_refused(cache: Cache, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        CacheMiddleware(OtherFramework(), cache=cache, **wrong)
    with pytest.raises(ConfigurationError):
        CacheMiddleware(OtherFramework(), cache="memory://")  # type: ignore[arg-type]


async def test_numbers_too_long_to_read_never_fail_in_the_middleware(cache: Cache) -> None:
    """Python refuses to read more than 4300 digits."""
    digits = "9" * 5000

    async def guard(request: Request) -> str:
        return str(request.path_params)

    rules = [Rule("/x/{id:int}", ttl=60, tags=["x:{id}"], guard=guard)]
    client = RawClient(CacheMiddleware(OtherFramework(), cache=cache, rules=rules))
    assert (await client.get(f"/x/{digits}")).status == 200

    async def handled(request: Request, error: Exception) -> Response:
        return PlainTextResponse("handled", status_code=500)

    app = Starlette(routes=[Route("/x/{id:int}", item)], exception_handlers={Exception: handled})
    exchange = RawClient(CacheMiddleware(app, cache=cache)).start(f"/x/{digits}")
    with pytest.raises(ValueError):
        await exchange.finish()  # Starlette answers, and raises for the server's log
    assert exchange.answer.text == "handled"


# The stack


class Transparent(BaseHTTPMiddleware):
    """The classic that runs the application in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-through"] = "yes"
        return response


OTHERS: dict[str, Middleware] = {
    "base": Middleware(Transparent),
    "gzip": Middleware(GZipMiddleware, minimum_size=10),
    "cors": Middleware(CORSMiddleware, allow_origins=["https://a.test", "https://b.test"], allow_credentials=True),
    "cors-any": Middleware(CORSMiddleware, allow_origins=["*"]),
    "session": Middleware(SessionMiddleware, secret_key="secret"),
    "cache": Middleware(CacheMiddleware, cache=None),
}


@pytest.mark.parametrize("is_inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
async def test_other_middlewares_stand_anywhere(cache: Cache, framework: str, name: str, is_inside: bool) -> None:
    @cached(ttl=60, tags=["item:{id}"])
    async def endpoint(request: Request) -> Response:
        tag("said")
        return PlainTextResponse("x" * 5000)

    ours, other = Middleware(CacheMiddleware, cache=cache), OTHERS[name]
    if name == "cache":
        other = Middleware(CacheMiddleware, cache=cache)
    middleware = [ours, other] if is_inside else [other, ours]
    if framework == "starlette":
        app: Any = Starlette(routes=[Route("/{id:int}", endpoint)], middleware=middleware)
    else:
        app = FastAPI(middleware=middleware)
        app.add_api_route("/{id:int}", endpoint)
    client = RawClient(app)
    for headers in ({}, {"origin": "https://a.test"}, {"accept-encoding": "gzip"}):
        first, second = await client.get("/042", headers), await client.get("/042", headers)
        assert first.status == 200
        assert second.is_hit
        assert first.body == second.body
        assert {pair for pair in first.headers if pair[0].startswith(b"access")} == {
            pair for pair in second.headers if pair[0].startswith(b"access")
        }
    entries = len(cache.store)  # type: ignore[arg-type]
    assert (await cache.invalidate("item:42", "said")).entries == 2 * entries
    assert not (await client.get("/042")).is_hit


async def test_gzip_inside_gives_each_client_what_it_accepts(cache: Cache) -> None:
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("x" * 5000)

    inside = [Middleware(CacheMiddleware, cache=cache), Middleware(GZipMiddleware, minimum_size=10)]
    client = RawClient(Starlette(routes=[Route("/", endpoint)], middleware=inside))
    for accepted, coding in (("gzip", "gzip"), ("identity", None), ("gzip, br", "gzip"), ("", None), ("br", None)):
        miss = await client.get("/", {"accept-encoding": accepted})
        hit = await client.get("/", {"accept-encoding": accepted})
        assert hit.is_hit
        assert miss.get("content-encoding") == hit.get("content-encoding") == coding
        assert miss.body == hit.body
        assert len(hit.body) == int(hit.get("content-length") or 0)
    assert (await client.get("/")).get("content-encoding") is None


@pytest.mark.parametrize("origins", [["*"], ["https://a.test"]])
async def test_cors_inside_never_leaves_a_browser_without_its_fields(cache: Cache, origins: list[str]) -> None:
    """Starlette's CORS middleware says nothing, not even Vary, to a request without Origin."""
    inside = [Middleware(CacheMiddleware, cache=cache), Middleware(CORSMiddleware, allow_origins=origins)]
    client = RawClient(Starlette(routes=[Route("/", page)], middleware=inside))
    for _ in range(2):
        assert (await client.get("/")).get("access-control-allow-origin") is None
    for _ in range(2):
        answer = await client.get("/", {"origin": "https://a.test"})
        assert answer.get("access-control-allow-origin") == origins[0]
    assert answer.is_hit


async def test_a_session_that_is_used_is_not_shared(cache: Cache) -> None:
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return PlainTextResponse(str(request.session["visits"]))

    inside = [Middleware(CacheMiddleware, cache=cache), Middleware(SessionMiddleware, secret_key="secret")]
    client = RawClient(Starlette(routes=[Route("/", endpoint)], middleware=inside))
    first = await client.get("/")
    assert not first.is_stored
    assert "set-cookie" in str(first.cache)
    cookie = str(first.get("set-cookie")).partition(";")[0]
    assert (await client.get("/", {"cookie": cookie})).text == "2"
    assert (await client.get("/", {"cookie": cookie})).text == "2"
    assert len(cache.store) == 0  # type: ignore[arg-type]


async def test_two_middlewares_in_one_stack_act_once(cache: Cache) -> None:
    """The outer one answers; the inner one must not hide what the endpoint tells it."""

    @cached(ttl=60, tags=["item:{id}"])
    async def endpoint(request: Request) -> Response:
        tag("said")
        return PlainTextResponse("ok")

    inner = Cache("memory://")
    twice = [Middleware(CacheMiddleware, cache=cache), Middleware(CacheMiddleware, cache=inner)]
    client = RawClient(Starlette(routes=[Route("/{id}", endpoint)], middleware=twice))
    first = await client.get("/1")
    assert first.all("cache-status") == ["rcache; fwd=miss; stored"]
    second = await client.get("/1")
    assert second.all("cache-status") == ["rcache; hit; ttl=60"]
    assert (await inner.invalidate("item:1")).entries == 0
    assert await carries(cache, "item:1", "said")
    await inner.close()


async def test_an_inner_middleware_serves_what_the_outer_has_no_rule_for(cache: Cache) -> None:
    sub = CacheMiddleware(OtherFramework(), cache=cache, rules=[Rule("/x", ttl=60)])
    outer = Cache("memory://")
    client = RawClient(CacheMiddleware(Starlette(routes=[Mount("/sub", app=sub), Route("/", page)]), cache=outer))
    assert await stores_and_hits(client, "/sub/x")
    assert await stores_and_hits(client, "/")
    await outer.close()


async def test_websockets_pass_untouched(cache: Cache) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text((await websocket.receive_text()) + str(sorted(websocket.path_params)))
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/ws/{id}", echo), Route("/{id}", item)])
    wrapped = CacheMiddleware(app, cache=cache, rules=[Rule("/{rest:path}", ttl=60)], default_ttl=60)
    with TestClient(wrapped).websocket_connect("/ws/1") as session:
        session.send_text("hello")
        assert session.receive_text() == "hello['id']"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_pass_untouched(cache: Cache, method: str) -> None:
    app = Starlette(routes=[Route("/", page, methods=["GET", method])])
    client = RawClient(CacheMiddleware(app, cache=cache, default_ttl=60))
    assert await stores_and_hits(client, "/")
    answer = await client.request(method, "/")
    assert answer.cache is None
    assert answer.get("etag") is None
    assert answer.text == "page"


async def test_a_url_without_a_rule_passes_untouched(cache: Cache) -> None:
    app = Starlette(routes=[Route("/plain", plain), Route("/page", page)])
    wrapped, bare = RawClient(CacheMiddleware(app, cache=cache)), RawClient(app)
    for target in ("/plain", "/nowhere"):
        assert (await wrapped.get(target)).messages == (await bare.get(target)).messages
    assert cache.stats.misses == cache.stats.passes == 0


# Start-up and shut-down


def _unknown_name() -> Starlette:
    @cached(ttl=60, tags=["user:{user}"])
    async def endpoint(request: Request) -> Response: ...

    return Starlette(routes=[Route("/{user_id}", endpoint)])


def test_an_unknown_template_name_fails_the_start(cache: Cache) -> None:
    app = _unknown_name()
    app.add_middleware(CacheMiddleware, cache=cache)
    with pytest.raises(ConfigurationError, match="user_id"), TestClient(app):
        pass


async def test_a_failing_start_is_reported_as_the_protocol_says(cache: Cache) -> None:
    client = RawClient(CacheMiddleware(_unknown_name(), cache=cache))
    sent: list[Any] = []

    async def receive() -> Any:
        assert not sent  # a failure is the answer to a question
        sent.append({"type": "lifespan.startup"})
        return sent[0]

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(ConfigurationError):
        await client.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup", "lifespan.startup.failed"]
    assert "user_id" in sent[1]["message"]


def test_without_a_lifespan_it_fails_every_request(cache: Cache) -> None:
    client = TestClient(CacheMiddleware(_unknown_name(), cache=cache))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="user_id"):
            client.get("/1")


async def test_an_application_that_fails_to_start_is_reported_as_without_us(cache: Cache) -> None:
    @asynccontextmanager
    async def failing(app: Any) -> Any:
        raise RuntimeError("no database")
        yield

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", page)], lifespan=failing), cache=cache))
    lifespan = await client.lifespan()
    assert lifespan.sent[0]["type"] == "lifespan.startup.failed"
    assert lifespan.task is not None
    with pytest.raises(RuntimeError, match="no database"):
        await lifespan.task


async def test_shut_down_closes_the_cache_and_the_application_can_be_started_again() -> None:
    cache = Cache("memory://")
    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", page)]), cache=cache))
    for _ in range(2):
        lifespan = await client.lifespan()
        assert await stores_and_hits(client, "/")
        assert cache.is_open
        assert (await lifespan.shutdown())["type"] == "lifespan.shutdown.complete"
        assert not cache.is_open
        assert len(cache.store) == 0  # type: ignore[arg-type]


async def test_requests_after_shut_down_open_the_cache_again() -> None:
    cache = Cache("memory://")
    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", page)]), cache=cache))
    await (await client.lifespan()).shutdown()
    assert await stores_and_hits(client, "/")
    assert cache.is_open
    await cache.close()


async def test_lifespan_state_reaches_the_application(cache: Cache) -> None:
    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield {"pool": "here"}

    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(request.state.pool)

    app = CacheMiddleware(Starlette(routes=[Route("/", endpoint)], lifespan=lifespan), cache=cache)
    with TestClient(app) as client:
        assert [client.get("/").text for _ in range(2)] == ["here", "here"]


async def test_threads_that_find_the_first_rules_at_once_agree(cache: Cache) -> None:
    app = Starlette(routes=[Host("a.test", Router([Route("/", page)])), Route("/", plain)])
    for _ in range(20):
        client = RawClient(CacheMiddleware(app, cache=cache))

        def ask(host: str, client: RawClient = client) -> Any:
            return asyncio.run(client.get("/", {"host": host})).cache

        answers = await asyncio.gather(*(asyncio.to_thread(ask, host) for host in ("a.test", "b.test") * 3))
        assert all(answers[::2])
        assert not any(answers[1::2])


async def test_long_paths_are_served_and_do_not_fill_the_table(cache: Cache) -> None:
    app = Starlette(routes=[Route("/{id}", item)])
    middleware = CacheMiddleware(app, cache=cache)
    for path in ("/short", "/" + "x" * 400, "/" + "y" * 1000):
        assert (await RawClient(middleware).get(path)).status == 200
    assert len(middleware._routes._table) == 2


async def test_the_table_of_paths_is_bounded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcache.asgi.routes.TABLE_SIZE", 10)
    middleware = CacheMiddleware(Starlette(routes=[Route("/{id}", item)]), cache=cache)
    for number in range(35):
        assert await stores_and_hits(RawClient(middleware), f"/{number}")
    assert len(middleware._routes._table) <= 10
