"""Whatever a client sends: never an error, never somebody else's answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from rcache.core.vary import normalise
from tests.support import Answer, RawClient

READ = ("accept-language", "x-tenant")
"""What the endpoint reads."""

MALFORMED: list[list[tuple[bytes, bytes]]] = [
    *(
        [(name, value)]
        for name in (
            b"if-none-match",
            b"if-modified-since",
            b"accept-encoding",
            b"accept-language",
            b"cookie",
            b"host",
            b"x-tenant",
            b"cache-control",
            b"range",
            b"authorization",
            b"content-length",
        )
        for value in (b"", b"\xff\xfe\x00", b"," * 2000, b'"', b'W/"', b"=;=;=", b"a" * 20_000, b"\t \t", b";q=;q=")
    ),
    [(b"", b"")],
    [(b"", b"x"), (b"", b"y")],
    [(b"host", b"a"), (b"host", b"b"), (b"host", b"")],
    [(b"cookie", b"a=1"), (b"cookie", b"")] * 50,
    [(b"if-none-match", b'"a"')] * 500,
    [(b"x-%d" % n, b"v") for n in range(2000)],
    [(b"\x00", b"\x00")],
    [(b"Host", b"Upper-Case"), (b"COOKIE", b"session=1")],
    [(b"vary", b"*")],
    [(b"accept-encoding", b'gzip;q="1,2", *;q=0.0000, ;q=1')],
]


def read(request: Request) -> dict[str, str | None]:
    """What the endpoint makes of them: spellings that ask for the same (RFC 9111 §4.1) are the same to it."""
    values = {name: [value.encode("latin-1") for value in request.headers.getlist(name)] for name in READ}
    texts = {name: normalise(name, values[name]) for name in READ}
    return {name: None if text is None else text.decode("latin-1") for name, text in texts.items()}


def application(cache: Cache) -> Any:
    async def page(request: Request) -> Response:
        return JSONResponse(read(request), headers={"vary": ", ".join(READ)})

    app = Starlette(routes=[Route("/", cached(ttl=60, vary=["accept-encoding"], cookies=["a"])(page))])
    return CacheMiddleware(app, cache=cache)


async def sent(app: Any, headers: list[tuple[bytes, bytes]]) -> Answer:
    """The answer to a request with exactly these headers."""

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "headers": headers}, receive, send)

    return await RawClient(raw).get("/")


def expected(headers: list[tuple[bytes, bytes]]) -> bytes:
    """What the application itself would answer."""
    return JSONResponse(read(Request({"type": "http", "headers": headers}))).body


def test_there_are_a_hundred_of_them() -> None:
    assert len(MALFORMED) >= 100


@pytest.mark.parametrize("headers", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_headers_are_answered_as_by_the_application(
    cache: Cache, headers: list[tuple[bytes, bytes]]
) -> None:
    app = application(cache)
    await sent(app, [])
    for _ in range(3):
        answer = await sent(app, headers)
        if answer.status == 304:
            assert any(name.startswith(b"if-") for name, _ in headers)
        else:
            assert (answer.status, answer.body) == (200, expected(headers))
    assert (await sent(app, [])).body == expected([])


NAMES = st.sampled_from(
    [b"accept-language", b"x-tenant", b"accept-encoding", b"cookie", b"if-none-match", b"host", b"authorization"]
)
VALUES = st.one_of(st.binary(max_size=12), st.sampled_from([b"gzip", b"de", b"*", b"a=1", b"a", b"b", b'"x"', b"a, b"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=5), min_size=1, max_size=6))
async def test_any_headers_are_answered_as_by_the_application(requests: list[list[tuple[bytes, bytes]]]) -> None:
    async with Cache("memory://") as cache:
        app = application(cache)
        for headers in [*requests, *requests]:
            answer = await sent(app, headers)
            if answer.status == 304:
                assert any(name == b"if-none-match" for name, _ in headers)
            else:
                assert (answer.status, answer.body) == (200, expected(headers))
