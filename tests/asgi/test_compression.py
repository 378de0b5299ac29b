"""One stored body, kept compressed, serves every Accept-Encoding (RFC 9110 §8.8.3.3, §12.5.3)."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule
from rcache.core.coding import decode
from tests.asgi.origin import Reply, standing
from tests.support import Answer, HandClock, RawClient

TEXT = b"all the same again and again. " * 300
PLAIN = (("content-type", "text/plain"), ("cache-control", "max-age=60"))
TAGGED = (*PLAIN, ("etag", '"v1"'))
GZIP = {"accept-encoding": "gzip"}


def content(answer: Answer, coding: str = "gzip") -> bytes:
    """The body without its coding."""
    assert answer.get("content-length") == str(len(answer.body))
    if answer.get("content-encoding") is None:
        return answer.body
    assert answer.get("content-encoding") == coding
    return decode(coding, answer.body, len(TEXT))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_whoever_takes_the_coding_gets_it_and_the_others_get_the_plain_body(cache: Cache, coding: str) -> None:
    client, origin = standing(cache, Reply(headers=PLAIN, body=TEXT), compress=coding)
    for accept, is_coded in [(coding, True), (None, False), (f"{coding};q=0", False), ("*", True), ("lzma", False)]:
        for _ in range(2):
            answer = await client.get("/", {} if accept is None else {"accept-encoding": accept})
            assert (answer.get("content-encoding") == coding) is is_coded
            assert content(answer, coding) == TEXT
            assert answer.get("vary") == "accept-encoding"
    assert len(origin.requests) == 1


async def test_each_representation_has_an_etag_of_its_own(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=TAGGED, body=TEXT), compress="gzip")
    first, coded, plain = await client.get("/", GZIP), await client.get("/", GZIP), await client.get("/")
    assert first.get("etag") == coded.get("etag") != plain.get("etag") == '"v1"'
    for headers, etag, status in [
        (GZIP, coded.get("etag"), 304),
        (GZIP, '"v1"', 304),  # whoever was sent the plain body while it was made holds that
        ({}, '"v1"', 304),
        ({}, coded.get("etag"), 200),
    ]:
        answer = await client.get("/", {**headers, "if-none-match": str(etag)})
        assert answer.status == status
        assert answer.get("vary") == "accept-encoding"
        assert status == 200 or answer.get("etag") == etag


async def test_ranges_are_taken_from_the_representation_that_is_sent(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=TAGGED, body=TEXT), compress="gzip")
    whole = (await client.get("/", GZIP)).body
    part = await client.get("/", {**GZIP, "range": "bytes=0-9"})
    assert (part.status, part.body, part.get("content-range")) == (206, whole[:10], f"bytes 0-9/{len(whole)}")
    part = await client.get("/", {"range": "bytes=0-9"})
    assert (part.body, part.get("content-range")) == (TEXT[:10], f"bytes 0-9/{len(TEXT)}")


async def test_the_application_is_asked_with_its_own_etag(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=TAGGED, body=TEXT), Reply(304), compress="gzip")
    await client.get("/", GZIP)
    clock.advance(61)
    answer = await client.get("/", GZIP)
    assert origin.last.get("if-none-match") == '"v1"'
    assert content(answer) == TEXT
    assert content(await client.get("/")) == TEXT


@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers=PLAIN, body=b"short"),
        Reply(headers=[("content-type", "image/png"), PLAIN[1]], body=TEXT),
        Reply(headers=[*PLAIN, ("content-encoding", "gzip")], body=gzip.compress(TEXT)),
        Reply(headers=[PLAIN[0], ("cache-control", "max-age=60, no-transform")], body=TEXT),
    ],
    ids=["short", "image", "coded already", "no-transform"],
)
async def test_what_is_not_worth_it_or_not_allowed_is_left_alone(cache: Cache, reply: Reply) -> None:
    client, _ = standing(cache, reply, compress=True)
    for _ in range(2):
        answer = await client.get("/", {"accept-encoding": "gzip, br, zstd"})
        assert answer.body == reply.body
        assert answer.get("vary") is None
    assert answer.is_hit


async def test_a_streamed_answer_is_kept_compressed_as_well(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=PLAIN, pieces=[TEXT[:4000], TEXT[4000:]]), compress="gzip")
    first = await client.get("/", GZIP)
    assert (first.body, first.get("vary")) == (TEXT, "accept-encoding")
    second = await client.get("/", GZIP)
    assert (second.is_hit, second.get("content-encoding"), content(second)) == (True, "gzip", TEXT)
    assert content(await client.get("/")) == TEXT


async def test_a_long_body_is_compressed_beside_the_event_loop(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=PLAIN, body=TEXT * 10), compress="gzip")
    answer = await client.get("/", GZIP)
    assert decode("gzip", answer.body, len(TEXT) * 10) == TEXT * 10
    assert (await client.get("/", GZIP)).is_hit


async def test_head_speaks_of_what_get_would_send(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=PLAIN, body=TEXT), compress="gzip")
    get = await client.get("/", GZIP)
    head = await client.head("/", GZIP)
    assert head.body == b""
    for name in ("content-length", "content-encoding", "etag"):
        assert head.get(name) == get.get(name)


@pytest.mark.parametrize("place", ["inside", "outside"])
async def test_it_lives_with_starlettes_gzip_middleware(cache: Cache, place: str) -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse(TEXT.decode())

    ours: Any = Middleware(CacheMiddleware, cache=cache, rules=[Rule("/", ttl=60, compress="gzip")])
    theirs = Middleware(GZipMiddleware)
    stack = [ours, theirs] if place == "inside" else [theirs, ours]
    client = RawClient(Starlette(routes=[Route("/", page)], middleware=stack))
    for accept in (GZIP, {}):
        for _ in range(2):
            answer = await client.get("/", accept)
            assert content(answer) == TEXT
            assert (answer.get("content-encoding") == "gzip") is bool(accept)
        assert answer.is_hit
