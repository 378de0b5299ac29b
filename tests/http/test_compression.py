"""One stored body, kept compressed, over real HTTP to whoever takes it and to all others (RFC 9110 §8.8.3.3, §12.5.3)."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache import CacheMiddleware
from rcache.core.coding import decode
from tests.http.client import Answer
from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response

TEXT = "all the same again and again. " * 300
PLAIN = [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")]
TAGGED = [*PLAIN, ("ETag", '"v1"')]
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
GZIP = {"Accept-Encoding": "gzip"}

CODINGS = ["gzip", "br", "zstd"]


def content(answer: Answer) -> str:
    """The body without its coding; its length is told, unless it is a stream or a HEAD."""
    assert answer.get("content-length") in (None, str(len(answer.body)))
    coding = answer.get("content-encoding")
    return answer.text if coding is None else decode(coding, answer.body, len(TEXT)).decode()


def plays(site: Site, lines: list[tuple[str, str]]) -> None:
    """The origin says the text once, in the way that the site is asked to."""
    pieces = [TEXT[:4000], TEXT[4000:]]
    site.origin.plays(chunked(200, lines, pieces) if site.is_streamed else response(200, lines, TEXT))


@pytest.mark.parametrize("coding", CODINGS)
async def test_whoever_takes_the_coding_gets_it_and_the_others_the_plain_body(site: Site, coding: str):
    site.wrap(standard=True, compress=coding)
    plays(site, PLAIN)
    for accept, is_coded in [
        ([], False),  # while it is made, a stream passes as it comes
        ([coding], True),
        ([], False),
        ([f"{coding};q=0"], False),
        (["*"], True),
        (["*;q=0"], False),
        (["lzma", coding.upper()], True),
        ([f"identity;q=0.5, {coding};q=0.4"], False),
        ([f"identity;q=0, {coding};q=0.1"], True),
        ([f"{coding};q=x"], False),
        ([""], False),
        ([f"{coding}, {coding};q=0"], False),
    ]:
        answer = await site.get("/", [("Accept-Encoding", line) for line in accept])
        assert (answer.get("content-encoding") == coding) is is_coded
        assert content(answer) == TEXT
        assert (answer.all("vary"), answer.all("content-type")) == (["accept-encoding"], ["text/plain"])
    assert len(site.origin.requests) == 1


@pytest.mark.parametrize("coding", CODINGS)
async def test_each_representation_has_an_etag_of_its_own(site: Site, coding: str):
    site.wrap(standard=True, compress=coding)
    plays(site, TAGGED)
    accept = {"Accept-Encoding": coding}
    await site.get("/")
    coded, plain = await site.get("/", accept), await site.get("/")
    assert coded.get("etag") != plain.get("etag") == '"v1"'
    for fields, etag, status in [
        (accept, coded.get("etag"), 304),
        (accept, '"v1"', 304),  # whoever was sent the plain body while it was made holds that
        ({}, '"v1"', 304),
        ({}, coded.get("etag"), 200),
        (accept, '"v2"', 200),
    ]:
        answer = await site.get("/", {**fields, "If-None-Match": str(etag)})
        assert (answer.status, answer.get("vary")) == (status, "accept-encoding")
        assert status == 200 or (answer.get("etag"), answer.all("content-encoding")) == (etag, [])


@on_one_server
async def test_a_weak_etag_is_that_of_both(site: Site):
    site.wrap(standard=True, compress="gzip")
    plays(site, [*PLAIN, ("ETag", 'W/"v1"')])
    await site.get("/")
    assert [(await site.get("/", fields)).get("etag") for fields in (GZIP, {})] == ['W/"v1"'] * 2


@pytest.mark.parametrize("coding", CODINGS)
async def test_ranges_are_taken_from_the_representation_that_is_sent(site: Site, coding: str):
    site.wrap(standard=True, compress=coding)
    plays(site, [*TAGGED, ("Last-Modified", MODIFIED)])
    accept = {"Accept-Encoding": coding}
    await site.get("/")
    whole = await site.get("/", accept)
    size, etag = len(whole.body), str(whole.get("etag"))
    for first, last in ((0, 9), (10, size - 1)):
        part = await site.get("/", {**accept, "Range": f"bytes={first}-{last}", "If-Range": etag})
        assert (part.status, part.get("content-range")) == (206, f"bytes {first}-{last}/{size}")
        assert (part.body, part.get("etag")) == (whole.body[first : last + 1], etag)
    part = await site.get("/", {"Range": "bytes=0-9"})
    assert (part.text, part.get("content-range")) == (TEXT[:10], f"bytes 0-9/{len(TEXT)}")
    assert part.all("content-encoding") == []
    # Neither the other's ETag nor a date tells one from the other.
    for condition in ('"v1"', MODIFIED):
        assert (await site.get("/", {**accept, "Range": "bytes=0-9", "If-Range": condition})).status == 200
    assert (await site.get("/", {"Range": "bytes=0-9", "If-Range": etag})).status == 200
    assert (await site.get("/", {**accept, "Range": f"bytes={size}-"})).get("content-range") == f"bytes */{size}"


async def test_head_speaks_of_what_get_would_send(site: Site):
    site.wrap(standard=True, compress="gzip")
    plays(site, TAGGED)
    await site.get("/")
    for fields in (GZIP, {}):
        get, answer = await site.get("/", fields), await site.head("/", fields)
        assert (answer.body, answer.is_hit) == (b"", True)
        for name in ("content-length", "content-encoding", "etag", "vary"):
            assert answer.get(name) == get.get(name)


async def test_the_origin_is_asked_by_its_own_etag_and_a_304_brings_both_back(site: Site):
    site.wrap(standard=True, compress="gzip")
    plays(site, TAGGED)
    await site.get("/", GZIP)
    site.clock.advance(61)
    site.origin.plays(head(304, TAGGED))
    answer = await site.get("/", GZIP)
    assert (site.origin.last.get("if-none-match"), content(answer)) == ('"v1"', TEXT)
    assert answer.get("content-encoding") == "gzip"
    assert content(await site.get("/")) == TEXT


LEFT_ALONE: dict[str, tuple[list[tuple[str, str]], bytes]] = {
    "short": (PLAIN, b"short"),
    "image": ([PLAIN[0], ("Content-Type", "image/png")], TEXT.encode()),
    "no type": ([PLAIN[0]], TEXT.encode()),
    "two types": ([*PLAIN, ("Content-Type", "text/html")], TEXT.encode()),
    "coded already": ([*PLAIN, ("Content-Encoding", "gzip")], gzip.compress(TEXT.encode())),
    "coded unknown": ([*PLAIN, ("content-encoding", "exi")], TEXT.encode()),
    "no-transform": ([*PLAIN, ("Cache-Control", "No-Transform")], TEXT.encode()),
    "digest": ([*PLAIN, ("Repr-Digest", "sha-256=:AA==:")], TEXT.encode()),
}


@pytest.mark.parametrize(("lines", "body"), LEFT_ALONE.values(), ids=LEFT_ALONE)
@on_one_server
async def test_what_is_not_worth_it_or_not_allowed_is_left_alone(site: Site, lines: list[tuple[str, str]], body: bytes):
    site.wrap(standard=True, compress=True)
    site.origin.plays(response(200, lines, body))
    for is_hit in (False, True):
        answer = await site.get("/", {"Accept-Encoding": "gzip, br, zstd"})
        assert (answer.body, answer.all("vary"), answer.is_hit) == (body, [], is_hit)


async def test_an_origin_that_chooses_the_coding_itself_is_believed(site: Site):
    """Its answers say so in Vary, and each of them is stored as it is."""
    site.wrap(standard=True, compress=True)
    coded = gzip.compress(TEXT.encode())

    site.origin.answers(
        lambda received: (
            response(200, [*PLAIN, ("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip")], coded)
            if received.get("accept-encoding")
            else response(200, [*PLAIN, ("Vary", "Accept-Encoding")], TEXT)
        )
    )
    for _ in range(2):
        assert (await site.get("/", GZIP)).body == coded
        assert (await site.get("/")).text == TEXT
        answer = await site.get("/", {"Accept-Encoding": "gzip;q=0.5"})
        assert (answer.body, answer.is_hit, answer.all("vary")) == (coded, True, ["Accept-Encoding"])
    assert len(site.origin.requests) == 2


def spelled_for(app: ASGIApp) -> ASGIApp:
    """The application with names of fields in lower case, as ASGI has them and Starlette's middleware takes them to be."""

    async def lowering(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if "headers" in message:
                message = {**message, "headers": [(name.lower(), value) for name, value in message["headers"]]}
            await send(message)

        await app(scope, receive, sending)

    return lowering


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("compress", ["gzip", None])
async def test_it_lives_with_starlettes_gzip_middleware(site: Site, place: str, compress: str | None):
    settings: dict[str, Any] = {"cache": site.cache, "standard": True, "compress": compress}
    origin = spelled_for(site.proxy)
    if place == "inside":
        site.served.app = CacheMiddleware(GZipMiddleware(origin), **settings)
    else:
        site.served.app = GZipMiddleware(CacheMiddleware(origin, **settings))
    site.origin.answers(lambda received: response(200, TAGGED, TEXT))
    for fields in (GZIP, {}, GZIP):
        for _ in range(2):
            answer = await site.get("/", fields)
            assert content(answer) == TEXT
            assert (answer.get("content-encoding") == "gzip") is (fields is GZIP)
            assert "accept-encoding" in (answer.get("vary") or "").lower()
        assert answer.is_hit
    assert content(await site.get("/", {"Accept-Encoding": "gzip;q=0"})) == TEXT
