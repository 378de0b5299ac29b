"""Stale answers are validated with their origin, and freshened by what it says (RFC 9111 §3.2, §4.3)."""

from __future__ import annotations

import pytest

from tests.http.client import request
from tests.http.origin import Received
from tests.http.site import Site, on_one_server
from tests.http.wire import Given, chunked, head, response
from tests.support import Gate

FRESH = ("Cache-Control", "max-age=60")
TAGGED = [FRESH, ("ETag", '"v1"')]
MODIFIED = "Thu, 14 Jan 2027 08:00:00 GMT"
VALIDATED = "rcache; fwd=stale; fwd-status=304; stored"


@pytest.fixture(autouse=True)
def conformant(site: Site) -> None:
    """Everything here is as the standards have it."""
    site.wrap(profile="conformant")


async def stale(site: Site, *scripts: bytes | list[bytes], headers: Given = ()) -> None:
    """What the first script says is stored, and stale; the others are for the requests to come."""
    site.origin.plays(*scripts)
    await site.get("/", headers)
    site.clock.advance(61)


# What is asked


@pytest.mark.parametrize(
    ("validators", "asked"),
    [
        ([("ETag", '"v1"')], ('"v1"', None)),
        ([("ETag", 'W/"v1"')], ('W/"v1"', None)),
        ([("etAG", '"\xfc, \xff"')], ('"\xfc, \xff"', None)),
        ([("Last-Modified", MODIFIED)], (None, MODIFIED)),
        ([("Last-Modified", "Thursday, 14-Jan-27 08:00:00 GMT")], (None, "Thursday, 14-Jan-27 08:00:00 GMT")),
        ([("Last-Modified", MODIFIED), ("ETag", '"v1"')], ('"v1"', MODIFIED)),
        ([("Last-Modified", MODIFIED), ("ETag", "v1")], (None, MODIFIED)),
    ],
    ids=str,
)
@on_one_server
async def test_a_stale_answer_is_asked_for_by_its_own_validators(
    site: Site, validators: list[tuple[str, str]], asked: tuple[str | None, str | None]
):
    await stale(site, response(200, [FRESH, *validators], "body"), head(304, [FRESH]))
    answer = await site.get("/")
    assert (answer.status, answer.text, answer.cache, answer.get("age")) == (200, "body", VALIDATED, "0")
    received = site.origin.last
    assert (received.get("if-none-match"), received.get("if-modified-since")) == asked
    assert (await site.get("/")).cache == "rcache; hit; ttl=60"


@on_one_server
@pytest.mark.parametrize(
    "validators",
    [
        [],
        [("ETag", "v1")],
        [("ETag", 'w/"v1"')],
        [("ETag", 'W\\"v1"')],
        [("ETag", "*")],
        [("ETag", '"v1')],
        [("Last-Modified", "last week")],
        [("Last-Modified", "1800000000")],
        [("ETag", '"v1"'), ("ETag", '"v2"')],
    ],
    ids=str,
)
async def test_what_is_no_validator_asks_nothing(site: Site, validators: list[tuple[str, str]]):
    await stale(site, response(200, [FRESH, *validators], "old"), response(200, [FRESH], "new"))
    assert (await site.get("/")).text == "new"
    received = site.origin.last
    assert (received.all("if-none-match"), received.all("if-modified-since")) == ([], [])


async def test_the_clients_own_conditions_do_not_reach_the_origin(site: Site):
    await stale(site, response(200, TAGGED, "body"), head(304, TAGGED), head(304, TAGGED))
    others = [("If-None-Match", '"v0"'), ("if-none-match", '"v2"'), ("If-Modified-Since", MODIFIED)]
    answer = await site.get("/", others)
    assert (answer.status, answer.text) == (200, "body")
    assert (site.origin.last.all("if-none-match"), site.origin.last.all("if-modified-since")) == (['"v1"'], [])
    site.clock.advance(61)
    answer = await site.get("/", {"If-None-Match": '"v0", "v1"'})
    assert (answer.status, answer.body, answer.cache) == (304, b"", VALIDATED)


async def test_all_else_of_the_request_reaches_the_origin(site: Site):
    varying = [*TAGGED, ("Vary", "X-A")]
    lines = [("X-A", "1"), ("x-a", "2"), ("X-B", "\xe4"), ("Cookie", "a=1")]
    await stale(site, response(200, varying, "body"), head(304, varying), headers=lines)
    assert (await site.get("/", lines)).cache == VALIDATED
    assert site.origin.last.all("x-a") == ["1", "2"]
    assert (site.origin.last.get("x-b"), site.origin.last.get("cookie")) == ("\xe4", "a=1")


# What a 304 brings

NEWS = [
    ("X-Field", "old", "new"),
    ("Content-Location", "/old", "/new"),
    ("Content-Security-Policy", "default-src 'self'", "default-src *"),
    ("Content-Foo", "old", "new"),
    ("X-Frame-Options", "deny", "sameorigin"),
    ("Expires", "Fri, 15 Jan 2027 08:00:01 GMT", "Fri, 15 Jan 2027 09:00:00 GMT"),
    ("Last-Modified", MODIFIED, MODIFIED),
    ("Set-Cookie", "a=1", "a=2"),
    ("Clear-Site-Data", '"cache"', '"cookies"'),
]


@on_one_server
@pytest.mark.parametrize(("name", "old", "new"), NEWS)
@pytest.mark.parametrize("validator", [("ETag", '"v1"'), ("Last-Modified", MODIFIED)], ids=["ETag", "Last-Modified"])
async def test_fields_of_a_304_replace_those_that_were_stored(
    site: Site, validator: tuple[str, str], name: str, old: str, new: str
):
    lines = [FRESH, validator] if name != validator[0] else [FRESH]
    await stale(
        site,
        response(200, [*lines, (name, old), ("X-Kept", "1")], "body"),
        head(304, [*lines, (name.upper(), new)]),
    )
    for expected in (VALIDATED, "rcache; hit; ttl=60"):
        answer = await site.get("/")
        assert (answer.text, answer.cache) == ("body", expected)
        assert (answer.get(name), answer.get("x-kept")) == (new, "1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "99"),
        ("Content-Range", "bytes 0-1/2"),
        ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("Repr-Digest", "sha-256=:AA==:"),
        ("Keep-Alive", "timeout=5"),
        ("Age", "7"),
    ],
)
@on_one_server
async def test_fields_of_a_304_that_speak_of_bytes_or_of_a_connection_are_not_taken_over(
    site: Site, name: str, value: str
):
    site.proxy.hop_by_hop = True
    await stale(
        site,
        response(200, [*TAGGED, ("Content-Type", "text/html")], "body"),
        head(304, [*TAGGED, (name, value)]),
    )
    for _ in range(2):
        answer = await site.get("/")
        assert (answer.text, answer.get("content-type"), answer.get("content-length")) == ("body", "text/html", "4")
        assert value not in answer.all(name) or name == "Age"
    assert answer.get("age") == ("7" if name == "Age" else "0")


async def test_lines_of_a_304_take_the_place_of_all_the_stored_lines_of_their_name(site: Site):
    old = [*TAGGED, ("X-A", "1"), ("X-B", "1"), ("x-a", "2"), ("Vary", "X-One"), ("Vary", "X-Two")]
    new = [("Cache-Control", "s-maxage=100"), ("cache-control", "foo"), ("ETag", '"v1"'), ("x-A", "3"), ("X-a", "4")]
    await stale(site, response(200, old, "body"), head(304, new))
    for _ in range(2):
        answer = await site.get("/")
        assert (answer.all("x-a"), answer.all("x-b")) == (["3", "4"], ["1"])
        assert answer.all("cache-control") == ["s-maxage=100", "foo"]
        assert answer.all("vary") == ["X-One", "X-Two"]
    assert answer.cache == "rcache; hit; ttl=100"


async def test_a_304_without_freshness_leaves_what_was_stored_of_that(site: Site):
    await stale(site, response(200, TAGGED, "body"), head(304))
    await site.get("/")
    assert (await site.get("/")).cache == "rcache; hit; ttl=60"


async def test_the_date_of_a_304_is_where_the_age_begins_anew(site: Site):
    dated = [("Date", "Fri, 15 Jan 2027 08:00:00 GMT"), *TAGGED]
    await stale(
        site,
        response(200, dated, "body"),
        head(304, [("Date", "Fri, 15 Jan 2027 08:00:51 GMT"), *TAGGED]),
        head(304, TAGGED),
    )
    answer = await site.get("/")
    assert answer.get("age") == "10"
    assert "Fri, 15 Jan 2027 08:00:51 GMT" in answer.all("date")
    site.clock.advance(51)
    assert (await site.get("/")).get("age") == "0"  # none: it is as old as it looks


@pytest.mark.parametrize("control", ["no-store", "private"])
async def test_a_304_that_forbids_storing_answers_its_client_and_nobody_else(site: Site, control: str):
    await stale(
        site,
        response(200, TAGGED, "body"),
        head(304, {"Cache-Control": control, "ETag": '"v1"'}),
        response(200, TAGGED, "new"),
    )
    answer = await site.get("/")
    assert (answer.text, answer.cache) == ("body", f"rcache; fwd=stale; fwd-status=304; detail={control}")
    assert (await site.get("/")).text == "new"


# What a 304 speaks of


@pytest.mark.parametrize(
    ("stored", "received"),
    [
        ([("ETag", '"v1"')], [("ETag", '"v2"')]),
        ([("ETag", '"v1"')], [("ETag", 'W/"v2"')]),
        ([("ETag", 'W/"v1"')], [("ETag", '"v1"')]),
        ([("ETag", '"v1"')], [("Last-Modified", MODIFIED)]),
        ([("Last-Modified", MODIFIED)], [("Last-Modified", "Thu, 14 Jan 2027 08:00:01 GMT")]),
        ([("ETag", '"v1"'), ("Last-Modified", MODIFIED)], [("Last-Modified", "Thu, 14 Jan 2027 08:00:01 GMT")]),
    ],
    ids=str,
)
@on_one_server
async def test_a_304_of_another_answer_is_followed_by_a_request_without_conditions(
    site: Site, stored: list[tuple[str, str]], received: list[tuple[str, str]]
):
    await stale(
        site,
        response(200, [FRESH, *stored], "body"),
        head(304, [FRESH, *received]),
        response(200, TAGGED, "new"),
    )
    answer = await site.get("/")
    assert (answer.status, answer.text, answer.cache) == (200, "new", "rcache; fwd=stale; stored")
    assert (site.origin.last.all("if-none-match"), site.origin.last.all("if-modified-since")) == ([], [])
    assert (await site.get("/")).text == "new"
    assert len(site.origin.requests) == 3


@on_one_server
@pytest.mark.parametrize(
    ("stored", "received"),
    [
        ([("ETag", '"v1"')], [("ETag", '"v1"')]),
        ([("ETag", '"v1"')], [("ETag", 'W/"v1"')]),
        ([("ETag", 'W/"v1"')], [("ETag", 'W/"v1"')]),
        ([("ETag", '"v1"'), ("Last-Modified", MODIFIED)], [("ETag", '"v1"')]),
        ([("Last-Modified", MODIFIED)], [("Last-Modified", "Thursday, 14-Jan-27 08:00:00 GMT")]),
        ([("Last-Modified", MODIFIED)], []),
    ],
    ids=str,
)
async def test_a_304_of_this_answer_brings_it_back(
    site: Site, stored: list[tuple[str, str]], received: list[tuple[str, str]]
):
    await stale(site, response(200, [FRESH, *stored], "body"), head(304, [FRESH, *received]))
    assert (await site.get("/")).cache == VALIDATED
    assert (await site.get("/")).is_hit


async def test_another_answer_takes_the_place_of_the_stale_one(site: Site):
    await stale(site, response(200, TAGGED, "old"), b"".join(chunked(200, [FRESH, ("ETag", '"v2"')], ["n", "ew"])))
    for is_hit in (False, True):
        answer = await site.get("/")
        assert (answer.text, answer.get("etag"), answer.is_hit) == ("new", '"v2"', is_hit)


async def test_an_origin_that_only_says_200_with_the_same_etag_still_gives_its_client_a_304(site: Site):
    await stale(site, response(200, TAGGED, "body"), response(200, TAGGED, "body"))
    answer = await site.get("/", {"If-None-Match": '"v1"'})
    assert (answer.status, answer.body, answer.cache) == (304, b"", "rcache; fwd=stale; stored")
    assert (await site.get("/")).cache == "rcache; hit; ttl=60"


@pytest.mark.parametrize("control", ["max-age=60, must-revalidate", "no-cache", "max-age=60, s-maxage=0"])
@on_one_server
async def test_what_must_be_validated_is(site: Site, control: str):
    site.origin.plays(response(200, {"Cache-Control": control, "ETag": '"v1"'}, "body"), head(304), head(304))
    await site.get("/")
    site.clock.advance(61)
    answer = await site.get("/", {"Cache-Control": "max-stale"})
    assert (answer.text, answer.cache) == ("body", VALIDATED)
    assert site.origin.last.get("if-none-match") == '"v1"'


async def test_a_client_that_wants_something_fresher_has_a_fresh_answer_validated(site: Site):
    site.origin.plays(response(200, TAGGED, "body"), head(304, TAGGED))
    await site.get("/")
    answer = await site.get("/", {"Cache-Control": "no-cache"})
    assert (answer.text, answer.cache) == ("body", "rcache; fwd=request; fwd-status=304; stored")
    assert site.origin.last.get("if-none-match") == '"v1"'


async def test_those_who_meet_a_stale_answer_at_the_same_time_share_one_validation(site: Site):
    gate = Gate()
    site.origin.plays(response(200, TAGGED, "body"), [gate, head(304, TAGGED)], response(200, (), "other"))
    await site.get("/")
    site.clock.advance(61)
    async with site.connect() as first, site.connect() as second:
        await first.send(request("GET", "/"))
        await gate.reached()
        await second.send(request("GET", "/", {"If-None-Match": '"v1"'}))
        await site.get("/other")  # by then the server has read the second as well
        gate.open()
        answers = [await first.read(), await second.read()]
    assert [(answer.status, answer.text) for answer in answers] == [(200, "body"), (304, "")]
    assert [each.target for each in site.origin.requests] == ["/", "/", "/other"]


# Variants


async def test_each_variant_is_validated_by_its_own_validator(site: Site):
    def answer(received: Received) -> bytes:
        language = received.get("accept-language")
        lines = [FRESH, ("ETag", f'"{language}"'), ("Vary", "Accept-Language")]
        if received.get("if-none-match") == f'"{language}"':
            return head(304, [*lines, ("X-New", str(language))])
        return response(200, lines, str(language))

    site.origin.answers(answer)
    for language in ("de", "en"):
        await site.get("/", {"Accept-Language": language})
    site.clock.advance(61)
    assert (await site.get("/", {"Accept-Language": "de"})).cache == VALIDATED
    hit = await site.get("/", {"Accept-Language": "de"})
    assert (hit.text, hit.get("x-new"), hit.is_hit) == ("de", "de", True)
    other = await site.get("/", {"Accept-Language": "en"})
    assert (other.text, other.cache, other.get("x-new")) == ("en", VALIDATED, "en")
    assert (await site.get("/", {"Accept-Language": "fr"})).text == "fr"
    assert site.origin.last.all("if-none-match") == []


# HEAD


@pytest.mark.parametrize("validator", [("ETag", '"v1"'), ("Last-Modified", MODIFIED)], ids=["ETag", "Last-Modified"])
async def test_a_head_that_agrees_freshens_what_is_stored(site: Site, validator: tuple[str, str]):
    lines = [FRESH, validator, ("X-Kept", "1"), ("X-A", "old")]
    news = [("Cache-Control", "max-age=100"), validator, ("x-a", "new"), ("Content-Length", "4")]
    await stale(site, response(200, lines, "body"), head(200, news))
    answer = await site.head("/")
    assert (answer.status, answer.body, answer.cache) == (200, b"", "rcache; fwd=stale; stored")
    assert site.origin.last.method == "HEAD"
    answer = await site.get("/")
    assert (answer.text, answer.cache) == ("body", "rcache; hit; ttl=100")
    assert (answer.get("x-a"), answer.get("x-kept")) == ("new", "1")


@pytest.mark.parametrize(
    "news",
    [
        [FRESH, ("ETag", '"v2"')],
        [FRESH, ("ETag", '"v1"'), ("Content-Length", "5")],
        [FRESH, ("ETag", '"v1"'), ("Last-Modified", "Thu, 14 Jan 2027 08:00:01 GMT")],
    ],
    ids=str,
)
async def test_a_head_that_contradicts_ends_what_is_stored(site: Site, news: list[tuple[str, str]]):
    site.origin.plays(
        response(200, [*TAGGED, ("Last-Modified", MODIFIED)], "old"), head(200, news), response(200, TAGGED, "new")
    )
    await site.get("/")
    await site.head("/", {"Cache-Control": "no-cache"})
    assert (await site.get("/")).text == "new"
    assert site.origin.last.all("if-none-match") == ['"v1"']


@pytest.mark.parametrize("validator", [("ETag", '"v1"'), ("Last-Modified", MODIFIED)], ids=["ETag", "Last-Modified"])
async def test_a_304_to_a_head_freshens_what_is_stored(site: Site, validator: tuple[str, str]):
    news = [("Cache-Control", "max-age=100"), validator, ("x-a", "new")]
    await stale(site, response(200, [FRESH, validator, ("X-A", "old")], "body"), head(304, news))
    asked = {"If-None-Match": '"v1"'} if validator[0] == "ETag" else {"If-Modified-Since": MODIFIED}
    answer = await site.head("/", asked)
    assert (answer.status, answer.cache) == (304, "rcache; fwd=stale; stored")
    assert site.origin.last.method == "HEAD"
    answer = await site.get("/")
    assert (answer.text, answer.cache, answer.get("x-a")) == ("body", "rcache; hit; ttl=100", "new")


@on_one_server
async def test_what_has_another_status_ends_with_the_200_of_a_head(site: Site):
    site.origin.plays(response(404, TAGGED, "gone"), head(200, TAGGED), response(200, TAGGED, "new"))
    await site.get("/")
    assert (await site.get("/")).is_hit
    await site.head("/", {"Cache-Control": "no-cache"})
    assert (await site.get("/")).text == "new"


@pytest.mark.parametrize("status", [404, 405, 410])
@on_one_server
async def test_a_head_with_another_status_freshens_nothing(site: Site, status: int):
    news = [("Cache-Control", "max-age=100"), ("ETag", '"v1"'), ("X-New", "1")]
    await stale(site, response(200, TAGGED, "body"), head(status, news), response(200, TAGGED, "new"))
    assert (await site.head("/")).status == status
    answer = await site.get("/")
    assert (answer.text, answer.get("x-new")) == ("new", None)
