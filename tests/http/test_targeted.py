"""What origins say to caches like this one alone (RFC 9213): CDN-Cache-Control, and RCache-Control before it."""

from __future__ import annotations

import pytest

from tests.http.site import Site, on_one_server
from tests.http.wire import head, response

Lines = list[tuple[str, str]]

DAY = "Sat, 16 Jan 2027 08:00:00 GMT"
PAST = "Thu, 14 Jan 2027 08:00:00 GMT"


async def ttl_of(site: Site, lines: Lines) -> int | None:
    """How long the second of two requests finds the answer fresh for; None where it is not answered from the store."""
    site.wrap(standard=True)
    site.origin.answers(lambda received: response(200, lines, "body"))
    await site.get("/")
    answer = await site.get("/")
    assert answer.text == "body"
    return int((answer.cache or "").rpartition("ttl=")[2]) if answer.is_hit else None


@on_one_server
@pytest.mark.parametrize(
    ("lines", "ttl"),
    [
        ([("CDN-Cache-Control", "max-age=60")], 60),
        ([("cdn-CACHE-control", "max-age=60")], 60),
        ([("CDN-Cache-Control", "max-age=60, s-maxage=7")], 7),
        ([("CDN-Cache-Control", "max-age=2147483648")], 2**31),
        ([("CDN-Cache-Control", "max-age=99999999999")], 2**31),
        ([("CDN-Cache-Control", "foobar, max-age=60")], 60),
        ([("CDN-Cache-Control", "max-age=60;foo=bar")], 60),
        ([("CDN-Cache-Control", "max-age=7, max-age=60")], 60),  # of a name that is repeated the last counts
        ([("CDN-Cache-Control", "foo"), ("CDN-Cache-Control", "max-age=60")], 60),
        ([("CDN-Cache-Control", "max-age=60"), ("Age", "50")], 10),
        ([("CDN-Cache-Control", "max-age=60"), ("Age", "60")], None),
        ([("CDN-Cache-Control", "max-age=0"), ("Cache-Control", "max-age=60"), ("Expires", DAY)], None),
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "max-age=7")], 60),
        ([("CDN-Cache-Control", "max-age=7"), ("Cache-Control", "max-age=60")], 7),
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], 60),
        ([("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "private, no-cache")], 60),
        ([("CDN-Cache-Control", "max-age=60"), ("Expires", PAST)], 60),
        ([("CDN-Cache-Control", "max-age=60"), ("Expires", "0")], 60),
        ([("CDN-Cache-Control", "foo"), ("Expires", DAY), ("Cache-Control", "max-age=60")], None),
        ([("CDN-Cache-Control", "no-store"), ("Cache-Control", "max-age=60")], None),
        ([("CDN-Cache-Control", "private"), ("Cache-Control", "max-age=60")], None),
        ([("CDN-Cache-Control", "no-cache"), ("Cache-Control", "max-age=60")], None),
        ([("CDN-Cache-Control", "max-age=7"), ("RCache-Control", "max-age=60")], 60),
        ([("RCache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")], None),
        ([("RCache-Control", ""), ("CDN-Cache-Control", "max-age=60")], 60),
        ([("RCache-Control", "&&"), ("CDN-Cache-Control", "max-age=60")], 60),
        ([("Surrogate-Control", "max-age=60")], None),
        ([("Other-Cache-Control", "max-age=60")], None),
    ],
    ids=str,
)
async def test_what_is_addressed_to_it_comes_before_what_all_caches_are_told(site: Site, lines: Lines, ttl: int | None):
    assert await ttl_of(site, lines) == ttl


@on_one_server
@pytest.mark.parametrize(
    "value",
    [
        "max-age=10000, &&&&&",
        "max-age =100",
        "max-age= 100",
        "MaX-aGe=3600",
        "max-age=100,",
        "max-age==1",
        "",
        "max-age=ü",
    ],
)
@pytest.mark.parametrize(("control", "ttl"), [("no-store", None), ("max-age=60", 60)])
async def test_a_field_that_is_no_dictionary_counts_as_absent(site: Site, value: str, control: str, ttl: int | None):
    assert await ttl_of(site, [("CDN-Cache-Control", value), ("Cache-Control", control)]) == ttl


@on_one_server
@pytest.mark.parametrize(
    "value", ['max-age="60"', "max-age=60.0", "max-age", "max-age=?0", "max-age=-1", "max-age=(60)"]
)
async def test_a_lifetime_of_the_wrong_type_is_none(site: Site, value: str):
    assert await ttl_of(site, [("CDN-Cache-Control", value), ("Cache-Control", "max-age=60")]) is None


@pytest.mark.parametrize(("settings", "is_told"), [({}, True), ({"forward_targeted": False}, False)], ids=str)
async def test_targeted_fields_are_passed_on_as_the_setting_says(site: Site, settings: dict[str, bool], is_told: bool):
    site.wrap(standard=True, **settings)
    lines = [("RCache-Control", "max-age=60"), ("CDN-Cache-Control", "foo"), ("cdn-cache-control", "max-age=7")]
    site.origin.plays(response(200, [*lines, ("Cache-Control", "max-age=5")], "body"))
    for is_hit in (False, True):
        answer = await site.get("/")
        assert answer.is_hit is is_hit
        assert answer.all("rcache-control") == (["max-age=60"] if is_told else [])
        assert answer.all("cdn-cache-control") == (["foo", "max-age=7"] if is_told else [])
        assert answer.get("cache-control") == "max-age=5"


async def test_staleness_is_granted_by_it_too(site: Site):
    site.wrap(standard=True)
    lines = [("CDN-Cache-Control", "max-age=60, stale-if-error=30"), ("Cache-Control", "must-revalidate")]
    site.origin.plays(response(200, lines, "stale"), response(503, (), "down"))
    await site.get("/")
    site.clock.advance(89)
    assert (await site.get("/")).text == "stale"


async def test_a_304_may_bring_one(site: Site):
    site.wrap(standard=True)
    tagged = [("Cache-Control", "max-age=60"), ("ETag", '"v1"')]
    site.origin.plays(
        response(200, tagged, "body"),
        head(304, {"CDN-Cache-Control": "max-age=100", "ETag": '"v1"'}),
    )
    await site.get("/")
    site.clock.advance(61)
    await site.get("/")
    assert (await site.get("/")).cache == "rcache; hit; ttl=100"
