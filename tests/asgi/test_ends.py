"""Where an answer, a request or an application ends."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import rcache.cache
from rcache import Cache, CacheMiddleware, Rule, cached
from tests.support import RawClient


@cached(ttl=60)
async def page(request: Request) -> Response:
    return PlainTextResponse("page")


@cached(ttl=60)
async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def untouched(request: Request, call_next: Any) -> Response:
    return await call_next(request)


def client_of(*, inside: tuple[Middleware, ...] = ()) -> RawClient:
    around = [Middleware(CacheMiddleware, cache=Cache("memory://")), *inside]
    return RawClient(Starlette(routes=[Route("/", page), Route("/nothing", nothing)], middleware=around))


async def test_a_body_whose_end_comes_in_a_message_of_its_own_is_stored_with_its_first():
    client = client_of(inside=(Middleware(BaseHTTPMiddleware, dispatch=untouched),))
    first = await client.get("/")
    assert first.is_stored
    assert first.chunks == [b"page", b""]
    second = await client.get("/")
    assert second.is_hit
    assert second.get("etag") == first.get("etag") is not None


async def test_such_a_body_becomes_one_304_and_nothing_after_it():
    client = client_of(inside=(Middleware(BaseHTTPMiddleware, dispatch=untouched),))
    etag = (await client_of().get("/")).get("etag")
    answer = await client.get("/", {"if-none-match": etag})
    assert (answer.status, answer.chunks) == (304, [b""])
    assert answer.is_stored
    assert (await client.get("/")).body == b"page"


async def test_an_application_without_a_lifespan_has_its_cache_closed_all_the_same():
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"

    cache = Cache("memory://")
    lifespan = await RawClient(CacheMiddleware(app, cache=cache)).lifespan()
    assert (lifespan.sent[-1]["type"], cache.is_open) == ("lifespan.startup.complete", True)
    await lifespan.shutdown()
    assert (lifespan.sent[-1]["type"], cache.is_open) == ("lifespan.shutdown.complete", False)


async def test_an_application_whose_start_fails_is_not_taken_for_one_without():
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        await CacheMiddleware(app, cache=Cache("memory://"))({"type": "lifespan"}, _startup, _nowhere)


async def _startup() -> Message:
    return {"type": "lifespan.startup"}


async def _nowhere(message: Message) -> None: ...


async def test_an_answer_that_cannot_have_a_body_says_that_it_was_stored():
    client = client_of()
    assert (await client.get("/nothing")).is_stored
    assert (await client.get("/nothing")).is_hit


async def test_a_second_call_with_the_same_scope_is_a_request_like_any_other():
    """A wrapper outside that tries again must not get past a guard."""
    guarded = []

    def guard(request: Request) -> None:
        guarded.append(request.url.path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("page")(scope, receive, send)

    around = CacheMiddleware(app, cache=Cache("memory://"), rules=[Rule("/", ttl=60, guard=guard)])
    client = RawClient(around)
    scope = client.scope("/")
    for _ in range(3):
        messages: list[Message] = []

        async def send(message: Message, kept: list[Message] = messages) -> None:
            kept.append(message)

        await around(scope, None, send)  # type: ignore[arg-type]
    assert guarded == ["/"] * 3
    assert b"hit" in dict(messages[0]["headers"])[b"cache-status"]


async def test_an_application_that_fails_to_start_leaves_no_cache_behind():
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    cache = Cache("memory://")
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    await CacheMiddleware(app, cache=cache)({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert cache not in rcache.cache._caches


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_a_head_request_is_answered_from_what_a_get_stored(path: str):
    client = client_of()
    stored = await client.get(path)
    head = await client.head(path)
    assert (head.status, head.is_hit, head.body) == (stored.status, True, b"")
