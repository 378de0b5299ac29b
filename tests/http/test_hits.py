"""Hits and misses over real HTTP, under every server, with single and streamed bodies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rcache import Rule
from tests.http.client import request
from tests.http.origin import CLOSE, Script
from tests.http.site import Site
from tests.http.wire import Given, chunked, head, response
from tests.support import Gate

FRESH = ("Cache-Control", "max-age=60")

Made = Callable[[Given, str], Script]

FRAMINGS: dict[str, Made] = {
    "length": lambda headers, body: response(200, headers, body),
    "chunked": lambda headers, body: chunked(200, headers, [body[:2], body[2:]]),
    "close": lambda headers, body: [head(200, headers) + body.encode(), CLOSE],
}


@pytest.mark.parametrize("made", FRAMINGS.values(), ids=FRAMINGS)
async def test_what_the_origin_said_once_is_said_again_with_its_age(site: Site, made: Made):
    site.origin.plays(made([FRESH, ("ETag", '"v1"'), ("Content-Type", "text/plain")], "body"))
    miss = await site.get("/a")
    site.clock.advance(7)
    hit = await site.get("/a")
    assert (miss.text, hit.text) == ("body", "body")
    assert miss.cache == "rcache; fwd=miss" + ("; stored" if made is FRAMINGS["length"] else "")
    assert (hit.cache, hit.get("age"), miss.get("age")) == ("rcache; hit; ttl=53", "7", None)
    for field in ("cache-control", "etag", "content-type"):
        assert miss.get(field) == hit.get(field) is not None
    assert len(site.origin.requests) == 1


@pytest.mark.parametrize("made", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_head_request_is_answered_from_what_a_get_stored(site: Site, made: Made):
    site.origin.plays(made([FRESH], "body"))
    await site.get("/a")
    answer, whole = await site.head("/a"), await site.get("/a")
    assert (answer.status, answer.body, answer.is_hit) == (200, b"", True)
    assert answer.get("etag") == whole.get("etag") is not None
    if made is FRAMINGS["length"]:
        assert answer.get("content-length") == "4"


async def test_a_head_request_that_misses_is_the_origins_to_answer(site: Site):
    site.origin.plays(head(200, [FRESH, ("Content-Length", "4")]), response(200, [FRESH], "body"))
    answer = await site.head("/a")
    assert (answer.body, answer.get("content-length"), answer.cache) == (b"", "4", "rcache; fwd=miss")
    assert (await site.get("/a")).text == "body"
    assert [each.method for each in site.origin.requests] == ["HEAD", "GET"]


async def test_once_it_is_stale_the_origin_is_asked_again(site: Site):
    site.origin.plays(response(200, [FRESH], "old"), response(200, [FRESH], "new"))
    await site.get("/a")
    site.clock.advance(59.9)
    assert (await site.get("/a")).text == "old"
    site.clock.advance(0.1)
    assert not (await site.get("/a")).is_hit
    assert (await site.get("/a")).text == "new"


async def test_the_age_that_an_origin_tells_counts(site: Site):
    site.origin.plays(response(200, [FRESH, ("Age", "20")], "body"))
    assert (await site.get("/a")).get("age") == "20"
    site.clock.advance(10)
    hit = await site.get("/a")
    assert (hit.get("age"), hit.cache) == ("30", "rcache; hit; ttl=30")


async def test_what_is_not_to_be_stored_comes_from_the_origin_each_time(site: Site):
    site.origin.answers(lambda received: response(200, [("Cache-Control", "no-store")], str(len(site.origin.requests))))
    assert [(await site.get("/a")).text for _ in range(3)] == ["0", "1", "2"]
    assert site.entries == 0


@pytest.mark.parametrize("status", [200, 203, 204, 301, 404, 410, 599])
async def test_statuses_with_explicit_freshness_come_back_as_they_were(site: Site, status: int):
    body = "" if status == 204 else "body"
    site.origin.plays(head(204, [FRESH]) if status == 204 else response(status, [FRESH], body))
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert (answer.status, answer.text, answer.is_hit) == (status, body, is_hit)


# Conditions


@pytest.mark.parametrize("if_none_match", ['"v1"', 'W/"v1"', '"v0", "v1"', "*"])
async def test_a_client_that_holds_the_stored_answer_gets_a_304(site: Site, if_none_match: str):
    fields = [FRESH, ("ETag", '"v1"'), ("Content-Type", "text/plain"), ("X-Other", "1")]
    site.origin.plays(response(200, fields, "body"))
    await site.get("/a")
    answer = await site.get("/a", {"If-None-Match": if_none_match})
    assert (answer.status, answer.body, answer.is_hit) == (304, b"", True)
    assert (answer.get("etag"), answer.get("cache-control"), answer.get("x-other")) == ('"v1"', "max-age=60", "1")
    assert answer.all("content-type") == answer.all("content-length") == answer.all("transfer-encoding") == []
    assert (await site.get("/a", {"If-None-Match": '"v2"'})).text == "body"


async def test_an_answer_without_an_etag_is_given_one_that_clients_can_ask_with(site: Site):
    site.origin.plays(chunked(200, [FRESH], ["bo", "dy"]))
    await site.get("/a")
    etag = (await site.get("/a")).get("etag")
    assert etag is not None
    assert (await site.get("/a", {"If-None-Match": etag})).status == 304


async def test_an_origin_that_ignores_conditions_still_gives_its_client_a_304(site: Site):
    site.origin.plays(response(200, [FRESH, ("ETag", '"v1"')], "body"))
    answer = await site.get("/a", {"If-None-Match": '"v1"'})
    assert (answer.status, answer.body, answer.cache) == (304, b"", "rcache; fwd=miss; stored")
    assert (await site.get("/a")).text == "body"


async def test_if_modified_since_is_answered_from_the_store(site: Site):
    modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.origin.plays(response(200, [FRESH, ("Last-Modified", modified)], "body"))
    await site.get("/a")
    assert (await site.get("/a", {"If-Modified-Since": modified})).status == 304
    assert (await site.get("/a", {"If-Modified-Since": "Tue, 20 Oct 2015 07:28:00 GMT"})).status == 200


# Connections


async def test_one_connection_carries_hits_misses_and_304s_one_after_the_other(site: Site):
    site.origin.plays(response(200, [FRESH, ("ETag", '"a"')], "a"), chunked(200, [FRESH], ["b", "b"]))
    async with site.connect() as connection:
        for target, text, is_hit in (("/a", "a", False), ("/b", "bb", False), ("/a", "a", True), ("/b", "bb", True)):
            answer = await connection.get(target)
            assert (answer.text, answer.is_hit) == (text, is_hit)
        assert (await connection.get("/a", {"If-None-Match": '"a"'})).status == 304
        assert (await connection.request("HEAD", "/b")).is_hit
        assert (await connection.get("/a")).text == "a"
    assert len(site.origin.requests) == 2


async def test_requests_sent_at_once_are_answered_in_order(site: Site):
    site.origin.plays(response(200, [FRESH], "a"), chunked(200, [FRESH], ["b", "b"]))
    targets = ("/a", "/b", "/a", "/b", "/a")
    async with site.connect() as connection:
        await connection.send(b"".join(request("GET", target) for target in targets))
        answers = [await connection.read() for _ in targets]
    assert [answer.text for answer in answers] == ["a", "bb", "a", "bb", "a"]
    assert [answer.is_hit for answer in answers] == [False, False, True, True, True]


async def test_requests_for_one_url_at_the_same_time_ask_the_origin_once(site: Site):
    gate = Gate()
    site.origin.plays([gate, response(200, [FRESH], "body")])
    async with site.connect() as first, site.connect() as second:
        await first.send(request("GET", "/a"))
        await gate.reached()
        await second.send(request("GET", "/a"))
        site.origin.plays(response())
        await site.get("/b")  # by then the server has read the second as well
        gate.open()
        answers = [await first.read(), await second.read()]
    assert [answer.text for answer in answers] == ["body", "body"]
    assert [each.target for each in site.origin.requests] == ["/a", "/b"]


# Bodies


async def test_pieces_reach_the_client_before_the_next_is_sent(site: Site):
    if not site.is_streamed:
        pytest.skip("a collected body has no pieces")
    gate = Gate()
    start, one, two, end = chunked(200, [FRESH], ["one", "two"])
    site.origin.plays([start, one, gate, two, end])
    async with site.connect() as connection:
        await connection.send(request("GET", "/a"))
        answer = await connection.begin()
        assert await connection.piece(answer) == b"one"
        await gate.reached()
        gate.open()
        while await connection.piece(answer):
            pass
        assert answer.text == "onetwo"
    assert (await site.get("/a")).is_hit


@pytest.mark.parametrize("made", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_large_body_is_stored_and_comes_back_whole(site: Site, made: Made):
    body = "0123456789abcdef" * 40_000
    site.origin.plays(made([FRESH], body))
    assert (await site.get("/a")).text == body
    hit = await site.get("/a")
    assert hit.is_hit
    assert hit.text == body


@pytest.mark.parametrize("made", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_body_beyond_the_limit_passes_whole_and_is_not_stored(site: Site, made: Made):
    body = "0123456789abcdef" * 70_000  # 1,120,000 bytes; max_body is 1 MiB
    site.origin.plays(made([FRESH], body), made([FRESH], body))
    for _ in range(2):
        assert (await site.get("/a")).text == body
    assert (len(site.origin.requests), site.entries) == (2, 0)


async def test_a_purge_reaches_what_was_stored(site: Site):
    site.wrap(rules=[Rule("/items/{name}", tags=["item:{name}"])])
    site.origin.answers(lambda received: response(200, [FRESH], f"{len(site.origin.requests)}"))
    assert [(await site.get("/items/a")).text for _ in range(2)] == ["0", "0"]
    await site.cache.invalidate("item:a")
    assert (await site.get("/items/a")).text == "1"
