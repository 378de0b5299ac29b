"""QUERY (RFC 10008) and POST where a rule caches them, with their bodies in the key."""

from __future__ import annotations

from typing import Any

import pytest

from rcache import Rule
from tests.http.client import request
from tests.http.origin import Received
from tests.http.site import Site, on_one_server
from tests.http.wire import chunk, response

FRESH = ("Cache-Control", "max-age=60")
JSON = {"Content-Type": "application/json"}


def answer(received: Received) -> bytes:
    """What was asked."""
    return response(200, [FRESH, ("ETag", '"v1"'), ("Content-Type", "text/plain")], b"found " + received.body)


@pytest.fixture(autouse=True)
def searched(site: Site) -> None:
    """A rule for both methods, of the site as the standards have it; the origin tells what it was asked."""
    site.wrap(profile="conformant", rules=[rule()])
    site.origin.answers(answer)


def rule(**settings: Any) -> Rule:
    return Rule("/search", methods=["QUERY", "POST"], **settings)


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_the_body_tells_one_search_from_another(site: Site, method: str):
    for body, is_hit in (
        (b'{"q":1}', False),
        (b'{"q":2}', False),
        (b'{"q":1}', True),
        (b'{"q": 1}', False),
        (b"", False),
    ):
        found = await site.request(method, "/search", JSON, body)
        assert (found.body, found.is_hit) == (b"found " + body, is_hit)
        if not is_hit:
            assert (site.origin.last.method, site.origin.last.body) == (method, body)
            assert site.origin.last.all("content-type") == ["application/json"]


@on_one_server
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("POST", "/search", JSON), ("QUERY", "/search", JSON)),
        (("QUERY", "/search", JSON), ("QUERY", "/search", {"Content-Type": "text/plain"})),
        (("QUERY", "/search", JSON), ("QUERY", "/search", {**JSON, "Content-Encoding": "gzip"})),
        (("QUERY", "/search", JSON), ("QUERY", "/search", {})),
        (("QUERY", "/search", JSON), ("QUERY", "/search?page=2", JSON)),
    ],
    ids=str,
)
async def test_what_says_how_to_read_the_body_tells_searches_apart_as_well(site: Site, first: Any, second: Any):
    assert not (await site.request(*first, "same")).is_hit
    assert not (await site.request(*second, "same")).is_hit
    assert (await site.request(*first, "same")).is_hit


async def test_a_body_in_chunks_is_the_same_body(site: Site):
    await site.request("QUERY", "/search", JSON, "one two")
    async with site.connect() as connection:
        await connection.send(
            b"QUERY /search HTTP/1.1\r\nHost: site.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await connection.send(chunk("one "))
        await connection.send(chunk("two") + b"0\r\n\r\n")
        found = await connection.read()
    assert (found.text, found.is_hit) == ("found one two", True)


@pytest.mark.parametrize(("length", "is_hit"), [(100, True), (101, False)])
async def test_a_longer_body_than_the_rule_allows_is_the_origins_alone(site: Site, length: int, is_hit: bool):
    site.wrap(rules=[rule(max_request_body=100)])
    body = b"x" * length
    for _ in range(2):
        found = await site.request("POST", "/search", JSON, body)
        assert (found.body, site.origin.last.body) == (b"found " + body, body)
    assert found.is_hit is is_hit
    assert site.entries == int(is_hit)


@pytest.mark.parametrize("target", ["/search", "/other"])
async def test_without_a_rule_that_says_so_neither_is_cached(site: Site, target: str):
    site.wrap(profile="conformant", rules=[Rule("/search")])
    for method in ("QUERY", "POST"):
        for _ in range(2):
            assert (await site.request(method, target, JSON, "same")).cache is None
    assert site.entries == 0


async def test_a_search_is_no_write_and_a_get_no_search(site: Site):
    await site.get("/search")
    assert not (await site.request("POST", "/search", JSON, "x")).is_hit
    assert (await site.get("/search")).is_hit
    site.origin.plays(response(200, (), "written"))
    await site.request("PUT", "/search", (), "x")
    assert not (await site.get("/search")).is_hit


async def test_a_write_to_the_url_ends_its_searches(site: Site):
    await site.request("QUERY", "/search", JSON, "x")
    site.origin.plays(response(200, (), "written"))
    await site.request("PUT", "/search", (), "y")
    assert not (await site.request("QUERY", "/search", JSON, "x")).is_hit


async def test_a_query_is_answered_304_to_whom_holds_the_answer_and_a_post_in_full(site: Site):
    for method, status in (("QUERY", 304), ("POST", 200)):
        await site.request(method, "/search", JSON, "x")
        found = await site.request(method, "/search", {**JSON, "If-None-Match": '"v1"'}, "x")
        assert (found.status, found.is_hit) == (status, True)


async def test_a_range_of_a_search_is_answered_by_the_whole(site: Site):
    await site.request("POST", "/search", JSON, "x")
    found = await site.request("POST", "/search", {**JSON, "Range": "bytes=0-1"}, "x")
    assert (found.status, found.text, found.is_hit) == (200, "found x", True)


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_a_search_is_made_anew_in_the_background_with_its_body(site: Site, method: str):
    site.wrap(rules=[rule()])
    lines = [("Cache-Control", "max-age=60, stale-while-revalidate=60")]
    site.origin.answers(lambda received: response(200, lines, b"%d " % len(site.origin.requests) + received.body))
    await site.request(method, "/search", JSON, "x")
    site.clock.advance(61)
    assert (await site.request(method, "/search", JSON, "x")).text == "0 x"
    await site.refreshed()
    assert (site.origin.last.method, site.origin.last.body) == (method, b"x")
    assert (await site.request(method, "/search", JSON, "x")).text == "1 x"


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_a_stale_search_is_asked_for_again_whole_and_with_its_body(site: Site, method: str):
    await site.request(method, "/search", JSON, "x")
    site.clock.advance(61)
    found = await site.request(method, "/search", JSON, "x")
    assert (found.status, found.text, found.cache) == (200, "found x", "rcache; fwd=stale; stored")
    assert (site.origin.last.all("if-none-match"), site.origin.last.body) == ([], b"x")
    assert (await site.request(method, "/search", JSON, "x")).cache == "rcache; hit; ttl=60"


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_a_stale_search_covers_for_an_origin_that_fails(site: Site, method: str):
    await site.request(method, "/search", JSON, "x")
    site.clock.advance(61)
    site.origin.plays(response(503, (), "down"))
    found = await site.request(method, "/search", JSON, "x")
    assert (found.status, found.text) == (200, "found x")


async def test_a_client_that_leaves_within_its_body_leaves_nothing_behind(site: Site):
    async with site.connect() as connection:
        await connection.send(request("QUERY", "/search", {**JSON, "Content-Length": "9"}) + b"part")
        connection.abort()
    assert (await site.request("QUERY", "/search", JSON, "part")).text == "found part"
    assert [each.body for each in site.origin.requests] == [b"part"]
