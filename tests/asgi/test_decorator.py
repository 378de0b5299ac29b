"""`@cached` marks an endpoint and changes nothing else about it."""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, cached
from tests.support import RawClient


def test_the_very_same_function_comes_back() -> None:
    async def asynchronous(a: int, b: str = "x") -> str:
        """Its docstring."""
        return f"{a}{b}"

    def synchronous() -> None: ...

    for function in (asynchronous, synchronous):
        signature = inspect.signature(function)
        assert cached(ttl=60)(function) is function
        assert inspect.signature(function) == signature
        assert not hasattr(function, "__wrapped__")
    assert inspect.iscoroutinefunction(asynchronous)
    assert not inspect.iscoroutinefunction(synchronous)


async def test_without_a_middleware_nothing_changes() -> None:
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("as ever")

    answer = await RawClient(Starlette(routes=[Route("/", endpoint)])).get("/")
    assert answer.text == "as ever"
    assert answer.cache is None


@pytest.mark.parametrize(
    "settings",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": float("nan")},
        {"ttl": "abc"},
        {"tags": "user:1"},
        {"vary": "*"},
        {"vary": ["*"]},
        {"cookies": "theme"},
        {"cookies": ["not a name"]},
        {"statuses": [206]},
        {"statuses": 200},
        {"client_ttl": 0},
        {"guard": "nobody"},
        {"query": "page"},
        {"enabled": "yes"},
    ],
    ids=repr,
)
def test_impossible_options_are_refused_where_they_are_written(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        cached(**settings)


def test_an_asynchronous_key_by_is_refused_where_it_is_written() -> None:
    async def whose(request: Request) -> str:
        return "x"

    with pytest.raises(ConfigurationError, match="guard"):
        cached(key_by=whose)


def test_forgotten_parentheses_are_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="parentheses"):

        @cached  # type: ignore[arg-type]
        async def endpoint() -> None: ...


def test_two_marks_on_one_function_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="twice"):

        @cached(ttl=60)
        @cached(ttl=30)
        async def endpoint() -> None: ...


def test_a_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="methods"):

        @cached(ttl=60)
        class Endpoint(HTTPEndpoint): ...


@pytest.mark.parametrize("wrong", [5, "name", None, object()])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        cached(ttl=60)(wrong)


def test_a_static_method_is_marked_beneath_its_decorator() -> None:
    """What the class hands out is the function inside, so a mark on the outside would be lost without a word."""
    with pytest.raises(ConfigurationError, match="staticmethod"):

        class Pages:
            @cached(ttl=60)
            @staticmethod
            async def page(request: Request) -> Response: ...


async def test_sync_and_async_endpoints_are_cached(cache: Cache) -> None:
    @cached(ttl=60)
    async def asynchronous(request: Request) -> Response:
        return PlainTextResponse("async")

    @cached(ttl=60)
    def synchronous(request: Request) -> Response:
        return PlainTextResponse("sync")

    app = Starlette(routes=[Route("/async", asynchronous), Route("/sync", synchronous)])
    client = RawClient(CacheMiddleware(app, cache=cache))
    for path in ("/async", "/sync"):
        first, second = await client.get(path), await client.get(path)
        assert first.is_stored
        assert second.is_hit
        assert first.body == second.body == path[1:].encode()


async def test_the_method_of_an_http_endpoint_is_cached_and_its_others_are_not(cache: Cache) -> None:
    runs = []

    class Page(HTTPEndpoint):
        @cached(ttl=60)
        async def get(self, request: Request) -> Response:
            runs.append("get")
            return PlainTextResponse("page")

        async def post(self, request: Request) -> Response:
            runs.append("post")
            return PlainTextResponse("posted")

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", Page)]), cache=cache))
    for method in ("GET", "POST", "GET", "POST"):
        await client.request(method, "/")
    assert runs == ["get", "post", "get", "post"]  # a success of POST purges what GET answers (RFC 9111 §4.4)


async def test_a_mark_on_another_method_of_an_http_endpoint_is_an_error(cache: Cache) -> None:
    class Page(HTTPEndpoint):
        async def get(self, request: Request) -> Response: ...

        @cached(ttl=60)
        async def post(self, request: Request) -> Response: ...

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", Page)]), cache=cache))
    with pytest.raises(ConfigurationError, match="post"):
        await client.get("/")


async def test_methods_of_objects_and_partials_are_cached(cache: Cache) -> None:
    class Pages:
        def __init__(self, text: str) -> None:
            self.text = text

        @cached(ttl=60)
        async def page(self, request: Request) -> Response:
            return PlainTextResponse(self.text)

    @cached(ttl=60)
    async def shown(request: Request, text: str) -> Response:
        return PlainTextResponse(text)

    routes = [
        Route("/a", Pages("a").page),
        Route("/b", Pages("b").page),
        Route("/partial", functools.partial(shown, text="partial")),
    ]
    client = RawClient(CacheMiddleware(Starlette(routes=routes), cache=cache))
    for path in ("/a", "/b", "/partial"):
        assert (await client.get(path)).is_stored
        second = await client.get(path)
        assert second.is_hit
        assert second.text == path[1:]


async def test_an_object_that_is_called_is_cached_by_the_mark_on_its_call(cache: Cache) -> None:
    class Page:
        @cached(ttl=60)
        async def __call__(self, name: str = "x") -> dict[str, str]:
            return {"name": name}

    app = FastAPI()
    app.get("/")(Page())
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).is_hit


async def test_a_mark_shines_through_what_wraps_the_endpoint(cache: Cache) -> None:
    def loud(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(request: Request) -> Response:
            response: Response = await function(request)
            response.headers["x-loud"] = "yes"
            return response

        return wrapper

    @loud
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok")

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache))
    assert (await client.get("/")).is_stored
    second = await client.get("/")
    assert second.is_hit
    assert second.get("x-loud") == "yes"


@pytest.mark.parametrize("is_above", [True, False])
async def test_either_order_with_the_route_decorator_works(cache: Cache, is_above: bool) -> None:
    app = FastAPI()

    async def endpoint(name: str) -> dict[str, str]:
        return {"name": name}

    if is_above:
        cached(ttl=60, tags=["name:{name}"])(app.get("/{name}")(endpoint))
    else:
        app.get("/{name}")(cached(ttl=60, tags=["name:{name}"])(endpoint))
    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/x")).is_stored
    assert (await client.get("/x")).is_hit
    assert (await cache.invalidate("name:x")).entries == 1
    assert (await client.get("/x")).is_stored


class _Item(BaseModel):
    name: str
    price: float = 0.0


def _fastapi_application(*, is_marked: bool) -> FastAPI:
    def mark(**settings: Any) -> Any:
        return cached(**settings) if is_marked else lambda function: function

    app = FastAPI(title="shop")
    router = APIRouter(prefix="/items", tags=["items"])

    def page(number: int = 1, size: int = 10) -> dict[str, int]:
        return {"number": number, "size": size}

    @router.get("/{item_id}", response_model=_Item, summary="One item")
    @mark(ttl=60, tags=["item:{item_id}"])
    async def read_item(item_id: int, q: str | None = None) -> Any:
        """Docs of the endpoint."""
        return {"name": f"item {item_id} {q}", "price": 1.5, "secret": "not in the model"}

    @router.get("/")
    @mark(ttl=60, tags=["items:{number}"])
    def list_items(page: dict[str, int] = Depends(page)) -> list[_Item]:
        return [_Item(name=str(page["number"]))]

    app.include_router(router)
    return app


async def test_the_openapi_schema_is_the_same_byte_by_byte(cache: Cache) -> None:
    plain, marked = _fastapi_application(is_marked=False), _fastapi_application(is_marked=True)
    marked.add_middleware(CacheMiddleware, cache=cache)
    assert json.dumps(plain.openapi()) == json.dumps(marked.openapi())
    assert (await RawClient(plain).get("/openapi.json")).body == (await RawClient(marked).get("/openapi.json")).body


async def test_response_models_and_dependencies_work_on_misses_and_hits(cache: Cache) -> None:
    plain, marked = _fastapi_application(is_marked=False), _fastapi_application(is_marked=True)
    marked.add_middleware(CacheMiddleware, cache=cache)
    for target in ("/items/7?q=a", "/items/?number=3"):
        expected = await RawClient(plain).get(target)
        miss, hit = await RawClient(marked).get(target), await RawClient(marked).get(target)
        assert miss.is_stored
        assert hit.is_hit
        assert expected.body == miss.body == hit.body
        assert expected.get("content-type") == miss.get("content-type") == hit.get("content-type")


async def test_an_invalid_parameter_is_answered_by_the_application_and_not_stored(cache: Cache) -> None:
    app = _fastapi_application(is_marked=True)
    app.add_middleware(CacheMiddleware, cache=cache)
    for _ in range(2):
        answer = await RawClient(app).get("/items/seven")
        assert answer.status == 422
        assert not answer.is_hit
        assert not answer.is_stored


@pytest.mark.parametrize("methods", [["POST"], ["PUT", "DELETE"]])
async def test_an_endpoint_that_never_answers_get_is_an_error(cache: Cache, methods: list[str]) -> None:
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response: ...

    client = RawClient(CacheMiddleware(Starlette(routes=[Route("/x", endpoint, methods=methods)]), cache=cache))
    with pytest.raises(ConfigurationError, match=methods[0]):
        await client.get("/")


async def test_a_websocket_endpoint_is_an_error(cache: Cache) -> None:
    @cached(ttl=60)
    async def endpoint(websocket: Any) -> None: ...

    client = RawClient(CacheMiddleware(Starlette(routes=[WebSocketRoute("/x", endpoint)]), cache=cache))
    with pytest.raises(ConfigurationError, match="WebSocket"):
        await client.get("/")


async def test_an_endpoint_of_get_and_post_is_cached_for_get(cache: Cache) -> None:
    @cached(ttl=60)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(request.method)

    route = Route("/", endpoint, methods=["GET", "POST"])
    client = RawClient(CacheMiddleware(Starlette(routes=[route]), cache=cache))
    assert (await client.get("/")).is_stored
    posted = await client.request("POST", "/")
    assert posted.text == "POST"
    assert posted.cache is None
    assert (await client.get("/")).is_stored  # what POST changed was purged (RFC 9111 §4.4)
    assert (await client.get("/")).is_hit


async def test_a_disabled_mark_wins_over_rules_and_default_ttl(cache: Cache) -> None:
    @cached(enabled=False)
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("never kept")

    app = Starlette(routes=[Route("/", endpoint)])
    client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/", ttl=60)], default_ttl=60))
    for _ in range(2):
        assert (await client.get("/")).cache is None
