"""Parts of what is stored (RFC 9110 §14): 206, 416, If-Range, and a miss, which is the origin's."""

from __future__ import annotations

import re

import pytest

from tests.http.client import Answer
from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response

FRESH = ("Cache-Control", "max-age=60")
TAGGED = [FRESH, ("ETag", '"v1"'), ("Content-Type", "text/plain")]
OLD = "Wed, 21 Oct 2015 07:28:00 GMT"
BODY = "0123456789"
LONG = "".join(f"{number:04}" for number in range(1000))


@pytest.fixture(autouse=True)
def conformant(site: Site) -> None:
    """Everything here is as the standards have it."""
    site.wrap(profile="conformant")


async def store(site: Site, body: str = BODY, headers: list[tuple[str, str]] = TAGGED) -> None:
    site.origin.plays(response(200, headers, body))
    await site.get("/")


def parts(answer: Answer) -> list[tuple[str, str]]:
    """What each part of a multipart body says of its place, and its content."""
    kind, _, boundary = (answer.get("content-type") or "").partition("; boundary=")
    assert kind == "multipart/byteranges"
    start, *found, end = answer.text.split(f"--{boundary}")
    assert (start, end) == ("", "--\r\n")
    matches = [re.fullmatch(r"\r\n((?:.+\r\n)+)\r\n(.*)\r\n", part, re.DOTALL) for part in found]
    told = [match.groups() for match in matches if match]
    assert len(told) == len(found)
    return [(re.search(r"(?i)content-range: bytes (.*)\r\n", head)[1], body) for head, body in told]  # type: ignore[index]


@pytest.mark.parametrize(
    ("asked", "content", "place"),
    [
        ("bytes=0-3", "0123", "0-3"),
        ("bytes=9-9", "9", "9-9"),
        ("bytes=7-", "789", "7-9"),
        ("bytes=-3", "789", "7-9"),
        ("bytes=-99", BODY, "0-9"),
        ("bytes=7-99999999999999999999999", "789", "7-9"),
        ("bytes=0-", BODY, "0-9"),
        ("BYTES=0-0", "0", "0-0"),
        ("bytes= 0-1 , ,", "01", "0-1"),
        ("bytes=0-1,2-3", "0123", "0-3"),
        ("bytes=5-6,20-30", "56", "5-6"),
        ("bytes=00-001", "01", "0-1"),
    ],
)
async def test_a_part_of_what_is_stored_is_a_206(site: Site, asked: str, content: str, place: str):
    await store(site)
    site.clock.advance(5)
    answer = await site.get("/", {"Range": asked})
    assert (answer.status, answer.text, answer.get("content-range")) == (206, content, f"bytes {place}/10")
    assert (answer.get("content-length"), answer.framing) == (str(len(content)), "length")
    assert (answer.get("etag"), answer.get("content-type"), answer.get("age")) == ('"v1"', "text/plain", "5")
    assert answer.is_hit
    assert (await site.get("/")).text == BODY


@on_one_server
@pytest.mark.parametrize(
    "lines",
    [
        ["bytes"],
        ["bytes="],
        ["bytes=,"],
        ["bytes=a-b"],
        ["bytes=3-1"],
        ["bytes=--1"],
        ["bytes=-"],
        ["bytes=0-1;2-3"],
        ["bytes=0x0-1"],
        ["bytes 0-1"],
        ["items=0-1"],
        ["bytes=0-1", "bytes=2-3"],
        ["bytes=0-1, 3"],
        [""],
        ["bytes=" + ",".join(f"{number * 2}-{number * 2}" for number in range(65))],
    ],
    ids=lambda lines: lines[-1][:20],
)
async def test_what_is_no_range_of_bytes_is_answered_by_the_whole(site: Site, lines: list[str]):
    await store(site, LONG)
    answer = await site.get("/", [("Range", line) for line in lines])
    assert (answer.status, answer.text, answer.is_hit) == (200, LONG, True)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=99-100,200-", "bytes=-0"])
async def test_a_range_beyond_the_end_is_a_416(site: Site, asked: str):
    await store(site)
    answer = await site.get("/", {"Range": asked})
    assert (answer.status, answer.body, answer.get("content-range")) == (416, b"", "bytes */10")
    assert (answer.get("cache-control"), answer.all("etag")) == ("no-store", [])
    assert (await site.get("/")).is_hit


async def test_several_parts_come_in_one_body(site: Site):
    await store(site, LONG)
    answer = await site.get("/", {"Range": "bytes=-4,0-3,8-11,10-15"})
    assert (answer.status, answer.all("content-range"), answer.is_hit) == (206, [], True)
    assert answer.get("content-length") == str(len(answer.body))
    assert parts(answer) == [
        ("3996-3999/4000", "0999"),
        ("0-3/4000", "0000"),
        ("8-15/4000", "00020003"),
    ]
    assert b"Content-Type: text/plain" in answer.body
    assert (await site.head("/", {"Range": "bytes=0-3,8-11"})).status == 200


@pytest.mark.parametrize(("count", "status"), [(64, 206), (65, 200)])
async def test_the_number_of_parts_has_a_limit(site: Site, count: int, status: int):
    body = LONG * 10
    await store(site, body)
    asked = ",".join(f"{number * 100}-{number * 100 + 3}" for number in range(count))
    answer = await site.get("/", {"Range": f"bytes={asked}"})
    assert answer.status == status
    if status == 206:
        assert len(parts(answer)) == count
    else:
        assert answer.text == body


async def test_many_ranges_that_overlap_are_one(site: Site):
    await store(site, LONG)
    answer = await site.get("/", {"Range": "bytes=" + ",".join(f"{number}-" for number in range(60))})
    assert (answer.status, answer.get("content-range")) == (206, "bytes 0-3999/4000")


# If-Range


@on_one_server
@pytest.mark.parametrize(
    ("validators", "conditions", "status"),
    [
        ([("ETag", '"v1"')], ['"v1"'], 206),
        ([("ETag", '"v1"')], ['"v2"'], 200),
        ([("ETag", '"v1"')], ['W/"v1"'], 200),
        ([("ETag", 'W/"v1"')], ['W/"v1"'], 200),
        ([("ETag", '"v1"')], ["v1"], 200),
        ([("ETag", '"v1"')], ['"v1", "v2"'], 200),
        ([("ETag", '"v1"')], ['"v1"', '"v1"'], 200),
        ([("ETag", '"v1"')], ["*"], 200),
        ([("ETag", '"v1"')], [""], 200),
        ([("Last-Modified", OLD)], [OLD], 206),
        ([("Last-Modified", OLD)], ["Wednesday, 21-Oct-15 07:28:00 GMT"], 206),
        ([("Last-Modified", OLD)], ["Wed, 21 Oct 2015 07:28:01 GMT"], 200),
        ([("Last-Modified", OLD)], ["Wed, 21 Oct 2015 07:27:59 GMT"], 200),
        ([("Last-Modified", "Fri, 15 Jan 2027 08:00:00 GMT")], ["Fri, 15 Jan 2027 08:00:00 GMT"], 200),  # a weak date
        ([], [OLD], 200),
    ],
    ids=str,
)
async def test_a_part_goes_to_whom_if_range_shows_to_hold_the_rest(
    site: Site, validators: list[tuple[str, str]], conditions: list[str], status: int
):
    await store(site, headers=[FRESH, *validators])
    asked = [("Range", "bytes=0-3"), *[("If-Range", line) for line in conditions]]
    answer = await site.get("/", asked)
    assert (answer.status, answer.text) == (status, "0123" if status == 206 else BODY)


async def test_who_holds_the_rest_is_spared_what_it_knows(site: Site):
    await store(site, headers=[*TAGGED, ("Last-Modified", OLD)])
    answer = await site.get("/", {"Range": "bytes=0-3", "If-Range": '"v1"'})
    assert (answer.status, answer.get("etag"), answer.get("cache-control")) == (206, '"v1"', "max-age=60")
    assert answer.all("content-type") == answer.all("last-modified") == []


async def test_a_range_beyond_the_end_with_an_if_range_is_ignored(site: Site):
    await store(site)
    assert (await site.get("/", {"Range": "bytes=99-", "If-Range": '"v1"'})).status == 200


@pytest.mark.parametrize("if_none_match", ['"v1"', "*"])
async def test_conditions_come_before_ranges(site: Site, if_none_match: str):
    await store(site)
    assert (await site.get("/", {"Range": "bytes=0-3", "If-None-Match": if_none_match})).status == 304
    assert (await site.get("/", {"Range": "bytes=0-3", "If-None-Match": '"v2"'})).status == 206


# What has parts, and what has none


@pytest.mark.parametrize("status", [203, 404, 299])
@on_one_server
async def test_only_a_200_has_parts(site: Site, status: int):
    site.origin.plays(response(status, TAGGED, BODY))
    await site.get("/")
    answer = await site.get("/", {"Range": "bytes=0-3"})
    assert (answer.status, answer.text, answer.is_hit) == (status, BODY, True)


async def test_an_origin_that_takes_no_ranges_has_no_parts(site: Site):
    await store(site, headers=[*TAGGED, ("Accept-Ranges", "None")])
    answer = await site.get("/", {"Range": "bytes=0-3"})
    assert (answer.status, answer.text, answer.get("accept-ranges")) == (200, BODY, "None")


async def test_an_empty_body_has_no_parts(site: Site):
    await store(site, "")
    assert (await site.get("/", {"Range": "bytes=0-3"})).status == 200


async def test_head_ignores_ranges(site: Site):
    await store(site)
    answer = await site.head("/", {"Range": "bytes=0-3"})
    assert (answer.status, answer.get("content-length"), answer.is_hit) == (200, "10", True)


async def test_a_streamed_answer_has_parts_once_it_is_stored(site: Site):
    site.origin.plays(chunked(200, TAGGED, [BODY[:3], BODY[3:]]))
    await site.get("/")
    answer = await site.get("/", {"Range": "bytes=2-4"})
    assert (answer.status, answer.text, answer.get("content-range")) == (206, "234", "bytes 2-4/10")


# Misses


async def test_a_miss_shows_the_origin_the_range_and_its_206_is_not_stored(site: Site):
    part = [("Content-Range", "bytes 0-3/10"), *TAGGED]
    site.origin.plays(response(206, part, "0123"), response(206, part, "0123"), response(200, TAGGED, BODY))
    asked = {"Range": "bytes=0-3", "If-Range": '"v1"'}
    for _ in range(2):
        answer = await site.get("/", asked)
        assert (answer.status, answer.text, answer.cache) == (206, "0123", "rcache; fwd=miss; detail=partial")
        assert (site.origin.last.get("range"), site.origin.last.get("if-range")) == ("bytes=0-3", '"v1"')
    assert (await site.get("/")).text == BODY
    assert (await site.get("/", asked)).is_hit


async def test_a_miss_whose_origin_ignores_the_range_is_stored_whole(site: Site):
    site.origin.plays(response(200, TAGGED, BODY))
    answer = await site.get("/", {"Range": "bytes=2-4"})
    assert (answer.status, answer.text, answer.cache) == (206, "234", "rcache; fwd=miss; stored")
    assert (await site.get("/")).text == BODY


async def test_a_416_of_the_origins_is_not_stored(site: Site):
    site.origin.plays(response(416, [FRESH, ("Content-Range", "bytes */10")]), response(200, TAGGED, BODY))
    assert (await site.get("/", {"Range": "bytes=99-"})).status == 416
    assert (await site.get("/")).text == BODY


async def test_a_range_of_what_is_stale_is_taken_from_what_the_origin_confirms(site: Site):
    await store(site)
    site.clock.advance(61)
    site.origin.plays(head(304, TAGGED))
    answer = await site.get("/", {"Range": "bytes=2-4", "If-Range": '"v1"'})
    assert (answer.status, answer.text) == (206, "234")
    assert (site.origin.last.all("range"), site.origin.last.all("if-range")) == ([], [])


async def test_parts_of_two_answers_are_never_put_together(site: Site):
    await store(site)
    site.clock.advance(61)
    site.origin.plays(response(200, [FRESH, ("ETag", '"v2"')], "abcdefghij"))
    answer = await site.get("/", {"Range": "bytes=2-4", "If-Range": '"v1"'})
    assert (answer.status, answer.text) == (200, "abcdefghij")
