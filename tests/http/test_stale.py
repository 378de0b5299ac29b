"""What may be served past its freshness, while it is made anew or because its origin fails (RFC 5861, RFC 9111 §4.2.4)."""

from __future__ import annotations

import logging

import pytest

from tests.http.client import request
from tests.http.origin import CLOSE, RESET, Script
from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response
from tests.support import Gate

MUST = ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache", "MUST-revalidate=no"]
TAGGED = [("Cache-Control", "max-age=60"), ("ETag", '"v1"')]

FAILURES: dict[str, Script] = {
    "500": response(500, (), "down"),
    "502": response(502, (), "down"),
    "503": b"".join(chunked(503, [("Cache-Control", "max-age=60")], ["do", "wn"])),
    "504": response(504, (), "down"),
    "closes": [CLOSE],
    "resets": [RESET],
    "garbage": b"garbage\r\n\r\n",
    "half a head": [b"HTTP/1.1 200 OK\r\nX: 1\r\n", CLOSE],
    "two lengths": head(200, [("Content-Length", "1"), ("Content-Length", "2")]),
}


@pytest.fixture(autouse=True)
def standard(site: Site) -> None:
    """No staleness but what the origin allows."""
    site.wrap(standard=True)


async def stale(site: Site, control: str, *lines: tuple[str, str], after: float = 61) -> None:
    """Something is stored that the origin said this of, and so many seconds old."""
    site.origin.plays(response(200, [("Cache-Control", control), *lines], "stale"))
    await site.get("/")
    site.clock.advance(after)


# While it is made anew


@pytest.mark.parametrize("control", ["max-age=60, stale-while-revalidate=30", 'MAX-AGE=60,Stale-While-Revalidate="30"'])
async def test_a_stale_answer_is_served_while_a_new_one_is_made(site: Site, control: str):
    await stale(site, control, ("ETag", '"v1"'), after=70)
    gate = Gate()
    site.origin.plays([gate, response(200, [("Cache-Control", control)], "new")])
    for asked, status, text in (
        ((), 200, "stale"),
        ({"If-None-Match": '"v1"'}, 304, ""),
        ({"Range": "bytes=0-1"}, 206, "st"),
    ):
        answer = await site.get("/", asked)
        assert (answer.status, answer.text, answer.cache) == (status, text, "rcache; hit; ttl=-10")
        assert (answer.get("age"), answer.all("warning")) == ("70", [])
    await gate.reached()
    received = site.origin.last
    assert (len(site.origin.requests), received.get("if-none-match"), received.all("range")) == (2, '"v1"', [])
    gate.open()
    await site.refreshed()
    answer = await site.get("/")
    assert (answer.text, answer.cache) == ("new", "rcache; hit; ttl=60")


async def test_a_304_in_the_background_freshens_what_is_stored(site: Site):
    control = "max-age=60, stale-while-revalidate=30"
    await stale(site, control, ("ETag", '"v1"'))
    site.origin.plays(head(304, [("Cache-Control", control), ("ETag", '"v1"'), ("X-New", "1")]))
    assert (await site.get("/")).is_hit
    await site.refreshed()
    answer = await site.get("/")
    assert (answer.text, answer.cache, answer.get("x-new")) == ("stale", "rcache; hit; ttl=60", "1")
    assert len(site.origin.requests) == 2


@pytest.mark.parametrize(("after", "is_hit"), [(60, True), (89.9, True), (90, False), (1000, False)])
async def test_beyond_its_staleness_the_new_answer_is_waited_for(site: Site, after: float, is_hit: bool):
    await stale(site, "max-age=60, stale-while-revalidate=30", after=after)
    site.origin.plays(response(200, [("Cache-Control", "max-age=60")], "new"))
    answer = await site.get("/")
    assert (answer.is_hit, answer.text) == (is_hit, "stale" if is_hit else "new")
    await site.refreshed()
    assert (await site.get("/")).cache == "rcache; hit; ttl=60"
    assert len(site.origin.requests) == 2


@on_one_server
@pytest.mark.parametrize("argument", ["", "=", "=-1", "=0", "=30.5", "=x"])
async def test_a_staleness_that_cannot_be_read_is_none(site: Site, argument: str):
    await stale(site, f"max-age=60, stale-while-revalidate{argument}, stale-if-error{argument}")
    site.origin.plays(response(503, (), "down"))
    assert (await site.get("/")).status == 503


async def test_a_client_that_wants_it_fresher_waits(site: Site):
    await stale(site, "max-age=60, stale-while-revalidate=30")
    site.origin.plays(response(200, [("Cache-Control", "max-age=60")], "new"))
    assert (await site.get("/", {"Cache-Control": "max-age=10"})).text == "new"


@pytest.mark.parametrize("failure", ["502", "closes"])
async def test_a_refresh_that_fails_harms_nobody(site: Site, failure: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL, "rcache")
    await stale(site, "max-age=60, stale-while-revalidate=30")
    site.origin.plays(FAILURES[failure])
    site.origin.answers(lambda received: response(200, [("Cache-Control", "max-age=60")], "new"))
    assert (await site.get("/")).text == "stale"
    await site.refreshed()
    assert (await site.get("/")).text == "stale"
    await site.refreshed()
    assert (await site.get("/")).text == "new"


# Where the origin fails


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("by", ["directive", "setting"])
async def test_a_stale_answer_covers_for_an_origin_that_fails(site: Site, failure: Script, by: str):
    site.wrap(standard=True, stale_on_error=30 if by == "setting" else 0)
    await stale(site, "max-age=60, stale-if-error=30" if by == "directive" else "max-age=60", after=89)
    site.origin.plays(failure)
    answer = await site.get("/")
    assert (answer.status, answer.text, answer.get("age")) == (200, "stale", "89")
    assert (answer.cache or "").endswith("; detail=stale-if-error")
    assert answer.all("warning") == []
    site.origin.plays(response(200, [("Cache-Control", "max-age=60")], "new"))
    assert [(await site.get("/")).text for _ in range(2)] == ["new", "new"]


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_stale_answer_covers_for_an_origin_that_fails_to_answer_a_head(site: Site, failure: Script):
    site.wrap(standard=True)
    await stale(site, "max-age=60, stale-if-error=30", after=89)
    site.origin.plays(failure)
    answer = await site.head("/")
    assert (answer.status, answer.body, answer.get("age"), site.origin.last.method) == (200, b"", "89", "HEAD")
    assert (answer.cache or "").endswith("; detail=stale-if-error")


async def test_an_origin_that_nobody_can_connect_to_is_covered_for(site: Site):
    site.wrap(profile="conformant")
    await stale(site, "max-age=60", ("ETag", '"v1"'))
    port, site.proxy.port = site.proxy.port, 1  # nobody listens there
    for asked, status, text in (
        ((), 200, "stale"),
        ({"If-None-Match": '"v1"'}, 304, ""),
        ({"Range": "bytes=-1"}, 206, "e"),
    ):
        answer = await site.get("/", asked)
        assert (answer.status, answer.text, answer.cache) == (status, text, "rcache; fwd=stale; detail=stale-if-error")
    assert (await site.get("/other")).status == 500
    site.proxy.port = port
    site.origin.plays(head(304, TAGGED))
    assert (await site.get("/")).cache == "rcache; fwd=stale; fwd-status=304; stored"


async def test_a_body_that_ends_early_is_covered_for_only_before_it_has_begun(site: Site):
    site.wrap(standard=True, stale_on_error=30)
    await stale(site, "max-age=60")
    site.origin.plays([head(200, {"Content-Length": "9", "Cache-Control": "max-age=60"}) + b"part", CLOSE])
    async with site.connect() as connection:
        await connection.send(request("GET", "/"))
        if site.is_streamed:
            answer = await connection.begin()
            assert (answer.status, await connection.piece(answer)) == (200, b"part")
            assert await connection.is_closed()
        else:
            assert (await connection.read()).text == "stale"
    site.origin.plays(response(200, (), "whole"))
    assert (await site.get("/")).text == "whole"


@on_one_server
@pytest.mark.parametrize("control", MUST)
@pytest.mark.parametrize("failure", ["502", "closes"])
async def test_what_must_be_validated_is_never_served_stale(site: Site, control: str, failure: str):
    site.wrap(profile="conformant")
    allowed = "max-age=60, stale-while-revalidate=1000, stale-if-error=1000"
    await stale(site, f"{allowed}, {control}", ("ETag", '"v1"'))
    site.origin.plays(FAILURES[failure])
    answer = await site.get("/", {"Cache-Control": "max-stale, stale-if-error=1000"})
    assert answer.status in (500, 502)


@pytest.mark.parametrize("after", [90, 1000])
@on_one_server
async def test_beyond_its_staleness_the_failure_is_told(site: Site, after: float):
    await stale(site, "max-age=60, stale-if-error=30", after=after)
    site.origin.plays(response(503, (), "down"))
    assert (await site.get("/")).text == "down"


@on_one_server
async def test_the_origins_own_word_comes_before_the_setting(site: Site):
    site.wrap(standard=True, stale_on_error=1000)
    await stale(site, "max-age=60, stale-if-error=10", after=70)
    site.origin.plays(response(503, (), "down"))
    assert (await site.get("/")).text == "down"


@on_one_server
async def test_a_client_may_accept_a_stale_answer_for_a_failure(site: Site):
    await stale(site, "max-age=60", ("ETag", '"v1"'))
    site.origin.plays(response(503, (), "down"), response(503, (), "down"))
    assert (await site.get("/", {"Cache-Control": "stale-if-error=10"})).text == "stale"
    assert (await site.get("/")).text == "down"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 501, 505])
@on_one_server
async def test_other_errors_are_answers(site: Site, status: int):
    site.wrap(profile="conformant")
    await stale(site, "max-age=60, stale-if-error=1000")
    site.origin.plays(response(status, (), "gone"))
    assert (await site.get("/")).status == status


async def test_a_fresh_answer_covers_for_nothing_that_a_client_wanted_fresher(site: Site):
    site.wrap(profile="conformant")
    await stale(site, "max-age=60, stale-if-error=1000", after=10)
    site.origin.plays(response(503, (), "down"))
    assert (await site.get("/", {"Cache-Control": "no-cache"})).text == "down"
    assert (await site.get("/")).text == "stale"


async def test_without_a_word_nothing_is_served_stale(site: Site):
    await stale(site, "max-age=60")
    site.origin.plays([CLOSE])
    assert (await site.get("/")).status == 500


@on_one_server
async def test_an_answer_that_came_stale_is_kept_as_long_as_it_may_be_served(site: Site):
    await stale(site, "max-age=60, stale-if-error=30", ("Age", "70"), after=10)
    site.origin.plays(response(503, (), "down"))
    answer = await site.get("/")
    assert (answer.text, answer.get("age")) == ("stale", "80")
