"""Which tags an answer carries: templates, callables, and what the code under the endpoint says."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import date
from enum import Enum, IntEnum
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Path, Query
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule, cached, signals, tag
from tests.support import RawClient, shown


@pytest.fixture
def stored(cache: Cache) -> Any:
    """The tags of each stored answer, as they come."""
    found: list[tuple[str, ...]] = []

    def receiver(sender: Any, *, tags: tuple[str, ...], **_: Any) -> None:
        found.append(tuple(sorted(tags)))

    signals.response_stored.connect(receiver, sender=cache)
    yield found
    signals.response_stored.disconnect(receiver, sender=cache)


def serving(cache: Cache, endpoint: Callable[..., Any], path: str = "/", **settings: Any) -> RawClient:
    """A Starlette application of one cached endpoint."""
    app = Starlette(routes=[Route(path, cached(ttl=60, **settings)(endpoint))])
    return RawClient(CacheMiddleware(app, cache=cache))


def fine() -> Callable[..., Any]:
    """An endpoint, new each time, since a function is marked once."""

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("fine")

    return endpoint


# Templates


async def test_strings_and_templates_together(cache: Cache, stored: Any) -> None:
    client = serving(cache, fine(), "/{a}/{b:int}", tags=["all", "{a}", "{a}/{b}", "{{a}}", "page:{query.page}"])
    await client.get("/x/07?page=2&page=3")
    assert stored == [tuple(sorted(["all", "x", "x/7", "{a}", "page:3"]))]


async def test_every_spelling_of_a_number_carries_its_tag_under_fastapi(cache: Cache, stored: Any) -> None:
    app = FastAPI()

    @app.get("/users/{user_id}")
    @cached(ttl=60, tags=["user:{user_id}"])
    async def endpoint(user_id: int) -> int:
        return user_id

    client = RawClient(CacheMiddleware(app, cache=cache))
    for spelling in ("42", "042", "4_2", "+42", "%2042", "42.0", "%34%32"):
        answer = await client.get(f"/users/{spelling}")
        assert answer.text == "42"
        assert answer.is_stored
    assert stored == [("user:42",)] * 7


async def test_every_spelling_of_a_number_carries_its_tag_under_starlette(cache: Cache, stored: Any) -> None:
    client = serving(cache, fine(), "/users/{id:int}", tags=["user:{id}"])
    for spelling in ("42", "042", "%34%32"):
        assert (await client.get(f"/users/{spelling}")).is_stored
    assert stored == [("user:42",)] * 3


class Colour(Enum):
    """By value."""

    RED = "red"


class Size(IntEnum):
    """By number."""

    LARGE = 3


class Page(BaseModel):
    """Parameters grouped in a model."""

    number: int = 1
    order: Annotated[str, Query(alias="sort-by")] = "name"


def _nested(depth: int = 5) -> int:
    return depth


def _dependency(nested: Annotated[int, Depends(_nested)], since: date = date(2026, 1, 1)) -> Any:
    return since


UID = "00000000-0000-0000-0000-00000000000a"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"/c/red/{UID.upper()}?size=3", f"red/{UID}/3/1/name"),
        (f"/c/red/{UID.replace('-', '')}?size=03", f"red/{UID}/3/1/name"),
        (f"/c/red/{UID}?size=3&number=07&sort-by=price", f"red/{UID}/3/7/price"),
    ],
)
async def test_values_are_those_the_endpoint_gets(cache: Cache, stored: Any, target: str, expected: str) -> None:
    app = FastAPI()

    @app.get("/c/{colour}/{uid}")
    @cached(ttl=60, tags=["{colour}/{uid}/{size}/{number}/{order}"])
    async def endpoint(colour: Colour, uid: UUID, size: Size, page: Annotated[Page, Query()]) -> str:
        return f"{colour.value}/{uid}/{size.value}/{page.number}/{page.order}"

    answer = await RawClient(CacheMiddleware(app, cache=cache)).get(target)
    assert answer.text == f'"{expected}"'
    assert stored == [(expected,)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", "1:10:2026-01-01:5"), ("?p=2&size=020&since=2026-02-03&depth=+6", "2:20:2026-02-03:6")],
)
async def test_declared_query_parameters_with_defaults_aliases_and_dependencies(
    cache: Cache, stored: Any, query: str, expected: str
) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60, tags=["{page}:{size}:{since}:{depth}"])
    async def endpoint(
        since: Annotated[Any, Depends(_dependency)],
        page: Annotated[int, Query(alias="p")] = 1,
        size: int = 10,
    ) -> str:
        return "ok"

    assert (await RawClient(CacheMiddleware(app, cache=cache)).get(f"/{query}")).is_stored
    assert stored == [(expected,)]


async def test_an_aliased_path_parameter_goes_by_its_name_in_code(cache: Cache, stored: Any) -> None:
    app = FastAPI()

    @app.get("/{id}")
    @cached(ttl=60, tags=["user:{user_id}"])
    async def endpoint(user_id: Annotated[int, Path(alias="id")]) -> int:
        return user_id

    assert (await RawClient(CacheMiddleware(app, cache=cache)).get("/07")).is_stored
    assert stored == [("user:7",)]


@pytest.mark.parametrize(
    ("template", "target"),
    [
        ("page:{query.page}", "/"),
        ("page:{query.page}", "/?page=%0a"),
        ("{query.page}", "/?page="),
        ("{query.page}", "/?page=" + "x" * 513),
        ("{query.page}", "/?page=%00"),
    ],
)
async def test_an_absent_or_illegal_value_is_served_and_not_stored(
    cache: Cache, template: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = serving(cache, fine(), tags=[template])
    with caplog.at_level(logging.WARNING, "rcache"):
        for _ in range(2):
            answer = await client.get(target)
            assert (answer.status, answer.text) == (200, "fine")
            assert answer.cache == "rcache; fwd=miss; detail=tag"
    assert len(caplog.records) == 1


async def test_an_optional_parameter_that_is_absent_is_served_and_not_stored(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60, tags=["q:{q}"])
    async def endpoint(q: str | None = None) -> str:
        return "ok"

    client = RawClient(CacheMiddleware(app, cache=cache))
    assert (await client.get("/")).cache == "rcache; fwd=miss; detail=tag"
    assert (await client.get("/?q=x")).is_stored


async def test_a_list_has_no_plain_text_for_a_tag(cache: Cache) -> None:
    app = FastAPI()

    @app.get("/")
    @cached(ttl=60, tags=["q:{q}"])
    async def endpoint(q: Annotated[list[int], Query()]) -> str:
        return "ok"

    answer = await RawClient(CacheMiddleware(app, cache=cache)).get("/?q=1&q=2")
    assert (answer.status, answer.cache) == (200, "rcache; fwd=miss; detail=tag")


# Callables


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("one", ("one",)),
        (["one", "two"], ("one", "two")),
        (("one",), ("one",)),
        ({"one", "two"}, ("one", "two")),
        (None, ()),
        ([], ()),
        ({"one": 1}.keys(), ("one",)),
    ],
    ids=shown,
)
async def test_callables_of_the_request(cache: Cache, stored: Any, returned: Any, expected: tuple[str, ...]) -> None:
    client = serving(cache, fine(), tags=[lambda request: returned])
    assert (await client.get("/")).is_stored
    assert stored == [expected]


async def test_a_callable_sees_path_query_headers_and_state(cache: Cache, stored: Any) -> None:
    def tags(request: Request) -> list[str]:
        return [request.path_params["id"], request.query_params["q"], request.headers["x-h"], request.app.state.name]

    app = Starlette(routes=[Route("/{id}", cached(ttl=60, tags=[tags])(fine()))])
    app.state.name = "shop"
    await RawClient(CacheMiddleware(app, cache=cache)).get("/1?q=2", {"x-h": "3"})
    assert stored == [("1", "2", "3", "shop")]


@pytest.mark.parametrize(
    "returned", [5, [5], [None], "", "a\nb", ["ok", ""], b"bytes", [b"bytes"], object()], ids=shown
)
async def test_what_a_callable_must_not_return_is_served_and_not_stored(cache: Cache, returned: Any) -> None:
    client = serving(cache, fine(), tags=[lambda request: returned])
    answer = await client.get("/")
    assert (answer.status, answer.cache) == (200, "rcache; fwd=miss; detail=tag")


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError, AttributeError])
async def test_a_callable_that_raises_is_served_and_not_stored(cache: Cache, error: type[Exception]) -> None:
    def tags(request: Request) -> str:
        raise error("no")

    answer = await serving(cache, fine(), tags=[tags]).get("/")
    assert (answer.status, answer.cache) == (200, "rcache; fwd=miss; detail=tag")


async def test_a_callable_may_be_a_generator(cache: Cache, stored: Any) -> None:
    def tags(request: Request) -> Any:
        yield "one"
        yield "two"

    client = serving(cache, fine(), tags=[tags])
    await client.get("/")
    assert stored == [("one", "two")]


async def test_a_generator_that_raises_midway_is_served_and_not_stored(cache: Cache) -> None:
    def tags(request: Request) -> Any:
        yield "one"
        raise RuntimeError("no")

    answer = await serving(cache, fine(), tags=[tags]).get("/")
    assert (answer.status, answer.cache) == (200, "rcache; fwd=miss; detail=tag")


# tag()


async def test_tag_in_an_async_endpoint_in_what_it_calls_and_in_tasks(cache: Cache, stored: Any) -> None:
    async def deeper() -> None:
        tag("deeper")

    async def endpoint(request: Request) -> Response:
        tag("one", "two")
        tag()
        await deeper()
        await asyncio.create_task(deeper())
        await asyncio.to_thread(tag, "thread")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(tag, "grouped"))
        return PlainTextResponse("ok")

    await serving(cache, endpoint, tags=["own"]).get("/")
    assert stored == [("deeper", "grouped", "one", "own", "thread", "two")]


async def test_tag_in_a_sync_endpoint(cache: Cache, stored: Any) -> None:
    def endpoint(request: Request) -> Response:
        assert threading.current_thread() is not threading.main_thread()
        tag("from-thread")
        return PlainTextResponse("ok")

    await serving(cache, endpoint).get("/")
    assert stored == [("from-thread",)]


async def test_tag_in_dependencies_sync_and_async(cache: Cache, stored: Any) -> None:
    app = FastAPI()

    def sync_dependency() -> None:
        tag("sync")

    async def async_dependency() -> Any:
        tag("async")
        yield
        tag("too-late-or-not")

    @app.get("/", dependencies=[Depends(sync_dependency), Depends(async_dependency)])
    @cached(ttl=60)
    def endpoint() -> str:
        tag("endpoint")
        return "ok"

    await RawClient(CacheMiddleware(app, cache=cache)).get("/")
    assert {"sync", "async", "endpoint"} <= set(stored[0])


async def test_tag_under_base_http_middleware(cache: Cache, stored: Any) -> None:
    async def dispatch(request: Request, call_next: Any) -> Response:
        tag("before")
        response: Response = await call_next(request)
        tag("after")
        return response

    async def endpoint(request: Request) -> Response:
        tag("endpoint")
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", cached(ttl=60)(endpoint))])
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    app.add_middleware(CacheMiddleware, cache=cache)
    await RawClient(app).get("/")
    assert stored == [("after", "before", "endpoint")]


async def test_tag_while_a_body_is_streamed(cache: Cache, stored: Any) -> None:
    async def endpoint(request: Request) -> Response:
        async def body() -> Any:
            yield b"a"
            tag("late")
            yield b"b"

        return StreamingResponse(body())

    await serving(cache, endpoint).get("/")
    assert stored == [("late",)]


def test_outside_a_request_tag_does_nothing_and_still_checks() -> None:
    tag("anything")
    with pytest.raises(ValueError):
        tag("control\x00character")


async def test_in_requests_that_are_not_cached_tag_does_nothing(cache: Cache, stored: Any) -> None:
    async def endpoint(request: Request) -> Response:
        tag("unheard")
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])
    client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/other", ttl=60)]))
    for method in ("GET", "POST"):
        assert (await client.request(method, "/")).text == "ok"
    assert stored == []


@pytest.mark.parametrize("illegal", ["", "a\nb", "\x1f", "\x85", "x" * 513, "\ud800", "\u2028"], ids=ascii)
async def test_an_illegal_tag_raises_in_the_code_that_says_it(cache: Cache, illegal: str) -> None:
    caught: list[type[Exception]] = []

    async def endpoint(request: Request) -> Response:
        try:
            tag("fine", illegal)
        except ValueError as error:
            caught.append(type(error))
        return PlainTextResponse("ok")

    assert (await serving(cache, endpoint).get("/")).status == 200
    assert len(caught) == 1


@pytest.mark.parametrize("wrong", [5, None, b"bytes", ["list"]])
def test_a_tag_that_is_no_string_is_an_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        tag(wrong)


async def test_requests_at_the_same_time_do_not_mix_their_tags(cache: Cache, stored: Any) -> None:
    reached = asyncio.Barrier(10)

    async def endpoint(request: Request) -> Response:
        tag(request.path_params["n"])
        await reached.wait()
        tag(request.path_params["n"] + "!")
        return PlainTextResponse("ok")

    client = serving(cache, endpoint, "/{n}")
    await asyncio.gather(*(client.get(f"/{n}") for n in range(10)))
    assert sorted(stored) == [(f"{n}", f"{n}!") for n in range(10)]


async def test_what_a_background_task_says_comes_too_late_and_breaks_nothing(cache: Cache, stored: Any) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(tag, "too-late"))

    client = serving(cache, endpoint)
    await client.get("/")
    assert (await client.get("/")).is_hit
    assert stored == [()]


async def test_more_than_a_thousand_tags_are_served_and_not_stored(
    cache: Cache, stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def endpoint(request: Request) -> Response:
        tag(*(f"t{n}" for n in range(int(request.path_params["n"]))))
        return PlainTextResponse("ok")

    client = serving(cache, endpoint, "/{n}")
    assert (await client.get("/1000")).is_stored
    with caplog.at_level(logging.WARNING, "rcache"):
        answer = await client.get("/1001")
    assert (answer.text, answer.cache) == ("ok", "rcache; fwd=miss; detail=too-many-tags")
    assert "too-many-tags" in caplog.text


async def test_a_guard_and_a_path_tag_see_the_same_parameters(cache: Cache, stored: Any) -> None:
    """Under FastAPI a guard gets what stands in the path, since nothing was validated yet."""
    seen = []

    async def guard(request: Request) -> None:
        seen.append(dict(request.path_params))

    client = serving(cache, fine(), "/{id:int}", tags=["{id}"], guard=guard)
    await client.get("/07")
    assert seen == [{"id": 7}]
    assert stored == [("7",)]
