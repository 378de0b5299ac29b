"""What clients that hold something already are answered from the store (RFC 9110 §13, RFC 9111 §4.3.2)."""

from __future__ import annotations

import pytest

from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response

FRESH = ("Cache-Control", "max-age=60")
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"

Lines = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def conformant(site: Site) -> None:
    """Everything here is as the standards have it."""
    site.wrap(profile="conformant")


async def status_of(site: Site, validators: Lines, conditions: Lines) -> int:
    """The status of a hit for a client that asks so, where the origin's answer had these validators."""
    site.origin.plays(response(200, [FRESH, *validators], "body"))
    await site.get("/")
    for method in ("HEAD", "GET"):
        answer = await site.request(method, "/", conditions)
        assert answer.is_hit
        assert answer.text == ("body" if (method, answer.status) == ("GET", 200) else "")
    return answer.status


@on_one_server
@pytest.mark.parametrize(
    ("etag", "asked", "status"),
    [
        ('"v1"', ['"v1"'], 304),
        ('"v1"', ['W/"v1"'], 304),
        ('W/"v1"', ['"v1"'], 304),
        ('W/"v1"', ['W/"v1"'], 304),
        ('"v1"', ['"v1", "v2", "v3"'], 304),
        ('"v1"', ['"v2", "v1", "v3"'], 304),
        ('"v1"', ['"v2","v3",W/"v1"'], 304),
        ('"v1"', ['"v2"', '"v1"'], 304),
        ('"v1"', [', "v1",,'], 304),
        ('"v1"', ["*"], 304),
        ('"v1"', [" * "], 304),
        ('"a, b"', ['"a, b"'], 304),
        ('"a, b"', ['"a", "b"'], 200),
        ('""', ['""'], 304),
        ('"\xfc\xff"', ['"\xfc\xff"'], 304),
        ('"v1"', ['"V1"'], 200),
        ('"v1"', ['"v2"'], 200),
        ('"v1"', [""], 200),
        ('"v1"', ["v1"], 200),
        ('"v1"', ['w/"v1"'], 200),
        ('"v1"', ['"v1" "v2"'], 200),
        ('"v1"', ['"v1", v2'], 200),
        ('"v1"', ['*, "v2"'], 200),
        ('"v1"', ['"v1'], 200),
        ("v1", ["v1"], 200),
        ("v1", ['"v1"'], 200),
        ('W\\"v1"', ['W\\"v1"'], 200),
    ],
    ids=str,
)
async def test_if_none_match_is_compared_weakly_with_a_list(site: Site, etag: str, asked: list[str], status: int):
    assert await status_of(site, [("ETag", etag)], [("If-None-Match", line) for line in asked]) == status


@on_one_server
@pytest.mark.parametrize(
    ("modified", "asked", "status"),
    [
        (MODIFIED, [MODIFIED], 304),
        (MODIFIED, ["Wed, 21 Oct 2015 07:28:01 GMT"], 304),
        (MODIFIED, ["Wed, 21 Oct 2015 07:27:59 GMT"], 200),
        (MODIFIED, ["Wednesday, 21-Oct-15 07:28:00 GMT"], 304),
        (MODIFIED, ["Wed Oct 21 07:28:00 2015"], 304),
        (MODIFIED, ["wed, 21 OCT 2015 07:28:00 gmt"], 304),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", [MODIFIED], 304),
        ("Wed Oct 21 07:28:00 2015", [MODIFIED], 304),
        (MODIFIED, ["yesterday"], 200),
        (MODIFIED, [""], 200),
        (MODIFIED, ["1445412480"], 200),
        (MODIFIED, [f"{MODIFIED}; length=4"], 200),
        (MODIFIED, [MODIFIED, MODIFIED], 200),
        ("last week", [MODIFIED], 200),
        (None, ["Fri, 15 Jan 2027 08:00:00 GMT"], 304),  # it was received then
        (None, ["Fri, 15 Jan 2027 07:59:59 GMT"], 200),
    ],
    ids=str,
)
async def test_if_modified_since_is_compared_as_a_date(site: Site, modified: str | None, asked: list[str], status: int):
    validators = [] if modified is None else [("Last-Modified", modified)]
    assert await status_of(site, validators, [("If-Modified-Since", line) for line in asked]) == status


@on_one_server
async def test_if_modified_since_is_compared_with_date_where_nothing_says_when_it_was_modified(site: Site):
    dated = [("Date", "Fri, 15 Jan 2027 07:59:50 GMT")]
    assert await status_of(site, dated, [("If-Modified-Since", "Fri, 15 Jan 2027 07:59:50 GMT")]) == 304
    assert (await site.get("/", {"If-Modified-Since": "Fri, 15 Jan 2027 07:59:49 GMT"})).status == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ([("If-None-Match", '"v1"'), ("If-Modified-Since", "Tue, 20 Oct 2015 07:28:00 GMT")], 304),
        ([("If-None-Match", '"v2"'), ("If-Modified-Since", MODIFIED)], 200),
        ([("If-Modified-Since", MODIFIED), ("If-None-Match", "garbage")], 200),
    ],
    ids=str,
)
@on_one_server
async def test_if_none_match_decides_alone(site: Site, asked: Lines, status: int):
    assert await status_of(site, [("ETag", '"v1"'), ("Last-Modified", MODIFIED)], asked) == status


async def test_a_304_says_what_a_cache_needs_and_nothing_of_the_body(site: Site):
    told = [
        FRESH,
        ("ETag", '"v1"'),
        ("Content-Location", "/a"),
        ("Expires", MODIFIED),
        ("Vary", "X-A"),
        ("Date", MODIFIED),
    ]
    silent = [("Content-Type", "text/plain"), ("Content-Language", "de"), ("Last-Modified", MODIFIED)]
    site.origin.plays(response(200, [*told, *silent], "body"))
    await site.get("/")
    site.clock.advance(1)
    for method in ("GET", "HEAD"):
        answer = await site.request(method, "/", {"If-None-Match": '"v1"', "Cache-Control": "max-stale"})
        assert (answer.status, answer.body) == (304, b"")
        for name, value in told:
            assert value in answer.all(name)
        for name in ("content-length", "transfer-encoding", *(name for name, _ in silent)):
            assert answer.all(name) == []
        assert answer.get("age") is not None


async def test_an_etag_is_made_for_what_has_none_and_is_the_same_each_time(site: Site):
    site.origin.plays(response(200, [FRESH], "body"), b"".join(chunked(200, [FRESH], ["bo", "dy"])))
    etags = []
    for target in ("/a", "/b"):
        await site.get(target)
        etags.append((await site.get(target)).get("etag"))
        assert (await site.get(target, {"If-None-Match": str(etags[-1])})).status == 304
    assert etags[0] == etags[1] is not None


@pytest.mark.parametrize("status", [404, 410, 503, 301])
@on_one_server
async def test_conditions_speak_of_successes_only(site: Site, status: int):
    site.origin.plays(response(status, [FRESH, ("ETag", '"v1"'), ("Last-Modified", MODIFIED)], "body"))
    await site.get("/")
    for asked in ({"If-None-Match": '"v1"'}, {"If-Modified-Since": MODIFIED}):
        answer = await site.get("/", asked)
        assert (answer.status, answer.text, answer.is_hit) == (status, "body", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("If-Match", '"v1"'), ("If-Match", '"v2"'), ("If-Unmodified-Since", MODIFIED)],
)
async def test_what_only_the_origin_can_tell_is_asked_of_it(site: Site, name: str, value: str):
    site.origin.plays(response(200, [FRESH, ("ETag", '"v1"')], "body"), response(412, [FRESH], "changed"))
    await site.get("/")
    answer = await site.get("/", {name: value, "If-None-Match": '"v1"'})
    assert (answer.status, answer.cache) == (412, "rcache; fwd=request; detail=precondition")
    assert (site.origin.last.get(name), site.origin.last.get("if-none-match")) == (value, '"v1"')
    assert (await site.get("/")).text == "body"


async def test_an_origin_that_answers_conditions_itself_never_gets_to_see_them_on_a_miss(site: Site):
    """The whole answer is stored, and the client gets its 304 all the same."""
    site.origin.answers(
        lambda received: (
            head(304, [("ETag", '"v1"')])
            if received.all("if-none-match")
            else response(200, [FRESH, ("ETag", '"v1"')], "body")
        )
    )
    answer = await site.get("/", {"If-None-Match": '"v1"'})
    assert (answer.status, answer.cache) == (304, "rcache; fwd=miss; stored")
    assert (await site.get("/")).text == "body"
    assert len(site.origin.requests) == 1


async def test_a_304_that_nobody_asked_for_passes_and_is_not_stored(site: Site):
    site.origin.plays(head(304, [FRESH, ("ETag", '"v1"')]), response(200, [FRESH], "body"))
    answer = await site.get("/")
    assert (answer.status, answer.cache) == (304, "rcache; fwd=miss; detail=status")
    assert (await site.get("/")).text == "body"
