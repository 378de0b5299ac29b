"""How long an answer stays fresh and how old it is (RFC 9111 §4.2), by fields that arrive as an origin misspelled them."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from tests.http.site import Site, on_one_server
from tests.http.wire import Given, chunked, head, response
from tests.support import EPOCH

DAY = 86_400
HUGE = "9" * 5000


def date(seconds: float) -> str:
    """The moment so many seconds after now, as an IMF-fixdate."""
    return formatdate(EPOCH + seconds, usegmt=True)


async def ttl_of(site: Site, headers: Given) -> int | None:
    """How long the second of two requests finds the answer fresh for; None where it is not answered from the store."""
    site.wrap(standard=True)
    site.origin.answers(lambda received: response(200, headers, "body"))
    await site.get("/")
    answer = await site.get("/")
    assert answer.text == "body"
    return int((answer.cache or "").rpartition("ttl=")[2]) if answer.is_hit else None


# Cache-Control


@on_one_server
@pytest.mark.parametrize(
    ("value", "ttl"),
    [
        ("max-age=60", 60),
        ("MaX-aGe=60", 60),
        ("max-age=0060", 60),
        ('max-age="60"', 60),
        ("max-age=60, s-maxage=7", 7),
        ("s-maxage=60, max-age=7", 60),
        ("s-maxage=60, max-age=0", 60),
        ("max-age=60, s-maxage=0", None),
        ("max-age=60, max-age=7", 7),
        ("max-age=7, max-age=60", 7),
        ("max-age=0", None),
        ("max-age", None),
        ("max-age=", None),
        ("max-age=-1", None),
        ("max-age=60.5", None),
        ("max-age=60a", None),
        ("max-age=a60", None),
        ("max-age='60'", None),
        ("max-age =60", None),
        ("max-age= 60", None),
        ("max-age=60; s-maxage=7", None),
        ("max-age=2147483647", 2**31 - 1),
        ("max-age=2147483648", 2**31),
        ("max-age=99999999999", 2**31),
        (f"max-age={HUGE}", 2**31),
        ("foo, max-age=60, bar=baz", 60),
        ('foo="max-age=7", max-age=60', 60),
        ('max-age=60, foo="max-age=7"', 60),
        ('foo="a\\", max-age=7", max-age=60', 60),
        ("foo=a=b, max-age=60", 60),
        (", ,max-age=60,, ", 60),
        ("\tmax-age=60\t,\tpublic", 60),
        ("max-age=60, immutable", 60),
        ("", None),
        ("public", None),
    ],
)
async def test_cache_control_says_how_long_an_answer_is_fresh(site: Site, value: str, ttl: int | None):
    assert await ttl_of(site, {"Cache-Control": value}) == ttl


@pytest.mark.parametrize(
    ("lines", "ttl"),
    [
        (["max-age=60", "max-age=7"], 7),
        (["max-age=7", "max-age=60"], 7),
        (["public", "", "max-age=60"], 60),
        (["max-age=60", "s-maxage=7"], 7),
        (['foo="a', 'b", max-age=60'], 60),
    ],
    ids=str,
)
@on_one_server
async def test_lines_of_cache_control_count_together(site: Site, lines: list[str], ttl: int | None):
    assert await ttl_of(site, [("Cache-Control", line) for line in lines]) == ttl


@on_one_server
async def test_a_line_that_was_folded_is_one(site: Site):
    site.origin.plays(
        b"HTTP/1.1 200 OK\r\nCache-Control: public,\r\n  max-age\r\n\t=60,\r\n no-store\r\nContent-Length: 0\r\n\r\n"
    )
    assert "detail=no-store" in ((await site.get("/")).cache or "")


# Expires

FORMS = {
    "IMF-fixdate": "Fri, 15 Jan 2027 09:00:00 GMT",
    "RFC 850": "Friday, 15-Jan-27 09:00:00 GMT",
    "asctime": "Fri Jan 15 09:00:00 2027",
    "odd case": "FRI, 15 jan 2027 09:00:00 gmt",
    "wrong weekday": "Mon, 15 Jan 2027 09:00:00 GMT",
    "leap second": "Fri, 15 Jan 2027 08:59:60 GMT",
}


@pytest.mark.parametrize("expires", FORMS.values(), ids=FORMS)
async def test_expires_is_read_in_all_three_forms(site: Site, expires: str):
    assert await ttl_of(site, {"Expires": expires}) == 3600


@on_one_server
@pytest.mark.parametrize(
    "expires",
    [
        "0",
        "-1",
        "",
        "never",
        "3600",
        "Fri, 15 Jan 2027 09:00:00 UTC",
        "Fri, 15 Jan 2027 09:00:00 +0000",
        "Fri, 15 Jan 2027 09:00:00",
        "Fri, 15 Jan 27 09:00:00 GMT",
        "Fri 15 Jan 2027 09:00:00 GMT",
        "Fri, 15  Jan  2027 09:00:00 GMT",
        "Fri, 15-Jan-2027 09:00:00 GMT",
        "Fri, 15 Jan 2027 09.00.00 GMT",
        "Fri, 15 Jan 2027 9:00:00 GMT",
        "Fri, 31 Feb 2027 09:00:00 GMT",
        "Fri, 15 Jan 2027 25:00:00 GMT",
        "2027-01-15T09:00:00Z",
        date(0),
        date(-DAY),
    ],
)
async def test_an_expires_that_is_no_date_or_past_is_stale(site: Site, expires: str):
    assert await ttl_of(site, {"Expires": expires}) is None


@on_one_server
@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ([("Expires", date(60)), ("Date", date(0))], 60),
        ([("Expires", date(90)), ("Date", date(30))], 60),  # an origin whose clock is ahead
        ([("Expires", date(60)), ("Date", date(-30))], 60),  # or one that answered half a minute ago
        ([("Expires", date(60)), ("Date", "yesterday")], 60),
        ([("Expires", date(60)), ("Date", date(60))], None),
        ([("Expires", date(60)), ("Expires", date(7))], 7),
        ([("Expires", date(60)), ("Expires", "0")], None),
        ([("Expires", date(7)), ("Cache-Control", "max-age=60")], 60),
        ([("Expires", date(-7)), ("Cache-Control", "max-age=60")], 60),
        ([("Expires", "0"), ("Cache-Control", "max-age=60")], 60),
        ([("Expires", date(60)), ("Cache-Control", "max-age=0")], None),
        ([("Expires", date(60)), ("Cache-Control", "max-age=garbage")], None),
        ([("Expires", date(60)), ("Cache-Control", "foo, public")], 60),
        ([("Expires", "Thu, 18 Aug 2050 02:01:18 GMT")], 744_400_878),
    ],
    ids=str,
)
async def test_expires_counts_from_date_and_where_no_directive_does(
    site: Site, headers: list[tuple[str, str]], ttl: int | None
):
    assert await ttl_of(site, headers) == ttl


async def test_without_any_of_it_nothing_is_stored(site: Site):
    site.wrap(standard=True)
    site.origin.answers(lambda received: response(200, {"Last-Modified": date(-DAY)}, "body"))
    assert [(await site.get("/")).cache for _ in range(2)] == [
        "rcache; fwd=miss; detail=no-freshness",
        "rcache; fwd=bypass; detail=no-freshness",
    ]


# Heuristics


@on_one_server
@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
async def test_freshness_of_these_statuses_is_guessed_by_last_modified(site: Site, status: int):
    site.wrap(heuristic=True, standard=True)
    headers = {"Last-Modified": date(-1000)}
    site.origin.plays(head(204, headers) if status == 204 else response(status, headers, "body"))
    await site.get("/")
    assert (await site.get("/")).cache == "rcache; hit; ttl=100"


@on_one_server
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, [("Last-Modified", date(-1000))]),
        (403, [("Last-Modified", date(-1000))]),
        (500, [("Last-Modified", date(-1000))]),
        (599, [("Last-Modified", date(-1000))]),
        (200, []),
        (200, [("Last-Modified", "last week")]),
        (200, [("Last-Modified", date(1000))]),
        (200, [("Last-Modified", date(-1000)), ("Date", date(-1000))]),
        (200, [("Last-Modified", date(-1000)), ("Cache-Control", "no-store")]),
    ],
    ids=str,
)
async def test_nothing_is_guessed_where_there_is_nothing_to_guess_by(
    site: Site, status: int, headers: list[tuple[str, str]]
):
    site.wrap(profile="conformant")
    site.origin.answers(lambda received: response(status, headers, "body"))
    for _ in range(2):
        assert not (await site.get("/")).is_hit


@on_one_server
async def test_a_guess_is_open_to_every_status_that_is_public_and_ends_after_a_day(site: Site):
    site.wrap(profile="conformant")
    headers = [("Last-Modified", date(-1000)), ("Cache-Control", "public")]
    site.origin.plays(response(599, headers, "odd"), response(200, {"Last-Modified": date(-30 * 365 * DAY)}, "old"))
    await site.get("/a")
    assert (await site.get("/a")).cache == "rcache; hit; ttl=100"
    await site.get("/b")
    assert (await site.get("/b")).cache == f"rcache; hit; ttl={DAY}"


# Age


@on_one_server
@pytest.mark.parametrize(
    ("lines", "age"),
    [
        (["7"], 7),
        (["007"], 7),
        (["0"], 0),
        (["7, 0"], 7),
        (["0, 7"], 0),
        (["7", "0"], 7),
        (["0", "7"], 0),
        (["0", "0"], 0),
        (["7, 7"], 7),
        (["abc"], 0),
        (["-7"], 0),
        (["+7"], 0),
        (["7.0"], 0),
        (["7.5"], 0),
        (["7s"], 0),
        (['"7"'], 0),
        ([""], 0),
        (["abc, 7"], 0),
        (["7;foo=bar"], 0),
    ],
    ids=str,
)
async def test_the_age_that_an_origin_tells_is_the_first_of_a_list_and_a_number(site: Site, lines: list[str], age: int):
    site.wrap(standard=True)
    site.origin.plays(response(200, [("Cache-Control", "max-age=60"), *[("Age", line) for line in lines]], "body"))
    await site.get("/")
    site.clock.advance(3)
    answer = await site.get("/")
    assert (answer.get("age"), answer.cache) == (str(age + 3), f"rcache; hit; ttl={57 - age}")


@pytest.mark.parametrize(
    ("age", "ttl"),
    [("59", 1), ("60", None), ("61", None), ("2147483647", None), ("2147483648", None), ("9" * 400, None)],
)
@on_one_server
async def test_an_answer_that_is_as_old_as_it_is_fresh_is_stale(site: Site, age: str, ttl: int | None):
    assert await ttl_of(site, [("Cache-Control", "max-age=60"), ("Age", age)]) == ttl


@on_one_server
@pytest.mark.parametrize(
    ("dates", "age"),
    [
        ([date(0)], 0),
        ([date(-20)], 20),
        (["Friday, 15-Jan-27 07:59:40 GMT"], 20),
        (["Fri Jan 15 07:59:40 2027"], 20),
        ([date(20)], 0),
        (["garbage"], 0),
        ([""], 0),
        ([date(-5), date(-20)], 20),
        ([date(-20), "garbage"], 20),
        ([], 0),
    ],
    ids=str,
)
async def test_an_answer_is_as_old_as_its_date_makes_it_look(site: Site, dates: list[str], age: int):
    site.wrap(standard=True)
    site.origin.plays(response(200, [("Cache-Control", "max-age=60"), *[("Date", each) for each in dates]], "body"))
    await site.get("/")
    site.clock.advance(1)
    answer = await site.get("/")
    assert (answer.get("age"), answer.cache) == (str(age + 1), f"rcache; hit; ttl={59 - age}")


@on_one_server
@pytest.mark.parametrize(("told", "dated", "age"), [(5, 20, 20), (20, 5, 20)])
async def test_the_greater_of_age_and_apparent_age_counts(site: Site, told: int, dated: int, age: int):
    site.wrap(standard=True)
    headers = {"Cache-Control": "max-age=60", "Age": str(told), "Date": date(-dated)}
    site.origin.plays(response(200, headers, "body"))
    await site.get("/")
    assert (await site.get("/")).get("age") == str(age)


async def test_the_origins_date_stays_and_a_server_gives_one_where_there_is_none(site: Site):
    """What an application sends has no Date: its age counts from the moment that it came."""
    site.origin.plays(
        response(200, {"Cache-Control": "max-age=60", "Date": date(-7)}, "dated"),
        chunked(200, {"Cache-Control": "max-age=60"}, ["un", "dated"]),
    )
    for target, age, dated in (("/a", "7", True), ("/b", "0", False)):
        await site.get(target)
        answer = await site.get(target)
        assert answer.get("age") == age
        assert (date(-7) in answer.all("date")) is dated
        assert answer.all("date")


async def test_age_is_said_once_and_never_grows_younger(site: Site):
    site.origin.plays(
        response(200, [("Cache-Control", "max-age=60"), ("Age", "5"), ("age", "50"), ("Date", date(-3))], "body")
    )
    await site.get("/")
    ages = []
    for step in (0, 10, -8, 1, -30, 40):
        site.clock.now += step
        ages.append(int((await site.get("/")).get("age") or -1))
    assert ages == [5, 15, 15, 15, 15, 18]
