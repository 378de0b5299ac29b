"""Stale answers are validated with the application, and covered for where it fails (RFC 9111 §4.2.4, §4.3; RFC 5861)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from rcache import Cache, Rule
from tests.asgi.origin import Reply, standing
from tests.support import Gate, HandClock, settle

V1 = (("etag", '"v1"'), ("cache-control", "max-age=60"), ("content-type", "text/plain"))
V2 = (("etag", '"v2"'), ("cache-control", "max-age=60"))
YESTERDAY = "Tue, 12 Jan 2027 08:00:00 GMT"


async def test_a_stale_answer_is_validated_and_a_304_brings_it_back(cache: Cache, clock: HandClock) -> None:
    fresher = Reply(304, [("etag", '"v1"'), ("cache-control", "max-age=100"), ("x-new", "1")])
    client, origin = standing(cache, Reply(headers=V1), fresher)
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert (answer.status, answer.body, answer.cache) == (200, b"body", "rcache; fwd=stale; fwd-status=304; stored")
    assert origin.last.get("if-none-match") == '"v1"'
    assert (answer.get("x-new"), answer.get("content-type"), answer.get("age")) == ("1", "text/plain", "0")
    clock.advance(99)
    again = await client.get("/")
    assert (again.cache, again.body, again.get("x-new")) == ("rcache; hit; ttl=1", b"body", "1")
    assert len(origin.requests) == 2


async def test_a_date_is_validated_by_the_date(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(
        cache, Reply(headers=[("last-modified", YESTERDAY), ("cache-control", "max-age=60")]), Reply(304)
    )
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert answer.cache == "rcache; fwd=stale; fwd-status=304; stored"
    assert origin.last.get("if-modified-since") == YESTERDAY
    assert origin.last.get("if-none-match") is None  # the ETag that rcache computed is none of the application's


async def test_the_clients_own_conditions_are_not_the_applications(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(headers=V1), Reply(304))
    first = await client.get("/", {"if-none-match": '"v1"'})
    assert (first.status, first.cache, origin.last.get("if-none-match")) == (304, "rcache; fwd=miss; stored", None)
    clock.advance(61)
    second = await client.get("/", {"if-none-match": '"other"'})
    assert (second.status, origin.last.get("if-none-match")) == (200, '"v1"')
    clock.advance(61)
    third = await client.get("/", {"if-none-match": '"v1"'})
    assert (third.status, third.body) == (304, b"")


async def test_an_answer_that_may_not_be_stored_is_still_compared_with_what_the_client_holds(cache: Cache) -> None:
    headers = [("etag", '"v1"'), ("cache-control", "no-store")]
    client, _ = standing(cache, Reply(headers=headers), Reply(headers=headers, pieces=[b"bo", b"dy"]))
    for _ in range(2):
        cache.uncacheable._until.clear()
        answer = await client.get("/", {"if-none-match": '"v1"'})
        assert (answer.status, answer.body, answer.get("content-length")) == (304, b"", None)


async def test_a_new_answer_takes_the_place_of_the_stale_one(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(headers=V2, body=b"new"))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert (answer.body, answer.cache) == (b"new", "rcache; fwd=stale; stored")
    assert (await client.get("/")).body == b"new"
    assert len(origin.requests) == 2


async def test_a_304_that_speaks_of_another_answer_is_asked_again_without_conditions(
    cache: Cache, clock: HandClock
) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(304, V2), Reply(headers=V2, body=b"new"))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert (answer.status, answer.body, answer.cache) == (200, b"new", "rcache; fwd=stale; stored")
    assert [request.get("if-none-match") for request in origin.requests] == [None, '"v1"', None]


async def test_a_second_question_counts_no_delay_of_the_first(cache: Cache, clock: HandClock) -> None:
    """Age counts from when the request was sent that brought the answer (RFC 9111 §4.2.3)."""

    def takes(seconds: float) -> Callable[[], Awaitable[None]]:
        async def passes() -> None:
            clock.advance(seconds)

        return passes

    dated = (("last-modified", YESTERDAY), ("cache-control", "max-age=60"))
    replies = [Reply(headers=dated), Reply(304, V2, gate=takes(7)), Reply(headers=V2, gate=takes(3))]
    client, origin = standing(cache, *replies)
    await client.get("/")
    clock.advance(61)
    await client.get("/")
    assert ((await client.get("/")).get("age"), len(origin.requests)) == ("3", 3)


async def test_no_cache_is_validated_every_time(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=[("etag", '"v1"'), ("cache-control", "no-cache")]), Reply(304))
    assert (await client.get("/")).is_stored
    for _ in range(2):
        answer = await client.get("/")
        assert (answer.status, answer.body) == (200, b"body")
    assert len(origin.requests) == 3


async def test_a_304_that_forbids_storing_answers_its_client_and_leaves_nothing(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(304, [("cache-control", "no-store")]), Reply(304))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert (answer.status, answer.body, answer.cache) == (
        200,
        b"body",
        "rcache; fwd=stale; fwd-status=304; detail=no-store",
    )
    cache.uncacheable._until.clear()
    await client.get("/")
    assert len(origin.requests) == 3


async def test_what_was_purged_is_not_validated(cache: Cache, clock: HandClock) -> None:
    """If-Modified-Since has whole seconds: the application may say 304 of what was purged a moment ago."""
    client, origin = standing(
        cache, Reply(headers=V1), Reply(headers=V1, body=b"new"), standard=False, rules=[Rule("/", tags=["book"])]
    )
    await client.get("/")
    clock.advance(61)
    await cache.invalidate("book")
    assert (await client.get("/")).body == b"new"
    assert origin.last.get("if-none-match") is None


async def test_a_purge_while_an_answer_is_validated_wins(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    client, _origin = standing(
        cache,
        Reply(headers=V1),
        Reply(304, gate=gate),
        Reply(headers=V2),
        standard=False,
        rules=[Rule("/", tags=["book"])],
    )
    await client.get("/")
    clock.advance(61)
    waiting = client.start("/")
    await gate.reached()
    await cache.invalidate("book")
    gate.open()
    assert (await waiting.finish()).cache == "rcache; fwd=stale; fwd-status=304; detail=refused"
    assert (await client.get("/")).get("etag") == '"v2"'


async def test_a_validated_answer_keeps_its_tags(cache: Cache, clock: HandClock) -> None:
    client, _origin = standing(cache, Reply(headers=V1), Reply(304), standard=False, rules=[Rule("/", tags=["book"])])
    await client.get("/")
    clock.advance(61)
    await client.get("/")
    assert (await client.get("/")).is_hit
    await cache.invalidate("book")
    assert not (await client.get("/")).is_hit


async def test_a_purge_that_took_its_number_before_an_answer_was_validated_wins_too(
    cache: Cache, clock: HandClock
) -> None:
    """On a Cluster its marks are raised a moment later. The application's dates have whole seconds, and it notices nothing."""
    gate = Gate()
    rules = [Rule("/", tags=["book"])]
    dated = [("last-modified", YESTERDAY), ("cache-control", "max-age=60")]
    client, origin = standing(
        cache, Reply(headers=dated), Reply(304, gate=gate), Reply(headers=V2, body=b"new"), standard=False, rules=rules
    )
    await client.get("/")
    clock.advance(61)
    purge = await cache.invalidate("another")  # the number is taken
    waiting = client.start("/")
    await gate.reached()
    assert purge.sequence is not None
    cache.store._raise_mark("book", purge.sequence)  # type: ignore[attr-defined]
    gate.open()
    assert (await waiting.finish()).body == b"body"
    assert (await client.get("/")).body == b"new"
    assert origin.last.get("if-modified-since") is None


async def test_requests_that_meet_a_stale_answer_share_one_validation(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    client, origin = standing(cache, Reply(headers=V1), Reply(304, gate=gate))
    await client.get("/")
    clock.advance(61)
    waiting = [client.start("/") for _ in range(3)]
    await gate.reached()
    await settle()
    gate.open()
    answers = [await each.finish() for each in waiting]
    assert [answer.status for answer in answers] == [200] * 3
    assert sum("collapsed" in (answer.cache or "") for answer in answers) == 2
    assert len(origin.requests) == 2


@pytest.mark.parametrize("size", ["whole", "part"])
async def test_a_range_of_a_stale_answer_is_taken_from_what_the_304_brought_back(
    cache: Cache, clock: HandClock, size: str
) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(304) if size == "part" else Reply(headers=V2))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/", {"range": "bytes=1-2"})
    assert (answer.status, answer.body, answer.get("content-range")) == (206, b"od", "bytes 1-2/4")
    assert origin.last.get("range") is None


# HEAD


async def test_a_head_that_agrees_freshens_what_is_stored(cache: Cache, clock: HandClock) -> None:
    client, _origin = standing(cache, Reply(headers=V1), Reply(headers=(*V1, ("x-new", "1"))))
    await client.get("/")
    clock.advance(61)
    head = await client.head("/")
    assert (head.status, head.body, head.cache) == (200, b"", "rcache; fwd=stale; stored")
    answer = await client.get("/")
    assert (answer.cache, answer.body, answer.get("x-new")) == ("rcache; hit; ttl=60", b"body", "1")


@pytest.mark.parametrize("reply", [Reply(headers=V2), Reply(headers=V1, body=b"longer than that")])
async def test_a_head_that_contradicts_ends_what_is_stored(cache: Cache, clock: HandClock, reply: Reply) -> None:
    client, origin = standing(cache, Reply(headers=V1), reply, Reply(headers=V2, body=b"new"))
    await client.get("/")
    clock.advance(61)
    await client.head("/")
    answer = await client.get("/", {"cache-control": "max-stale"})
    assert (answer.body, origin.last.get("if-none-match")) == (b"new", '"v1"')


# Stale answers


async def test_a_stale_answer_is_served_while_a_new_one_is_made(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    headers = [("cache-control", "max-age=60, stale-while-revalidate=30"), ("etag", '"v1"')]
    client, origin = standing(cache, Reply(headers=headers), Reply(headers=headers, body=b"new", gate=gate))
    await client.get("/")
    clock.advance(70)
    for _ in range(3):
        answer = await client.get("/", {"range": "bytes=0-0"})
        assert (answer.body, answer.cache) == (b"b", "rcache; hit; ttl=-10")
    await gate.reached()
    assert (len(origin.requests), origin.last.get("if-none-match"), origin.last.get("range")) == (2, '"v1"', None)
    gate.open()
    await cache.refreshes.wait()
    answer = await client.get("/")
    assert (answer.body, answer.cache) == (b"new", "rcache; hit; ttl=60")


async def test_beyond_its_staleness_an_answer_is_waited_for(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(cache, Reply(headers=[("cache-control", "max-age=60, stale-while-revalidate=30")]))
    await client.get("/")
    clock.advance(90)
    assert (await client.get("/")).cache == "rcache; fwd=miss; stored"


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
async def test_what_must_be_validated_is_never_served_stale(cache: Cache, clock: HandClock, directive: str) -> None:
    control = f"max-age=60, stale-while-revalidate=1000, stale-if-error=1000, {directive}"
    headers = [("cache-control", control), ("etag", '"v1"')]
    client, _origin = standing(cache, Reply(headers=headers), Reply(503, body=b"down"))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/", {"cache-control": "max-stale"})
    assert (answer.status, answer.body) == (503, b"down")


async def test_a_refresh_that_fails_is_logged_and_the_stale_answer_stays(
    cache: Cache, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [("cache-control", "max-age=60, stale-while-revalidate=30")]
    client, _ = standing(cache, Reply(headers=headers), Reply(error=RuntimeError("no database")))
    await client.get("/")
    clock.advance(61)
    with caplog.at_level(logging.ERROR, "rcache"):
        assert (await client.get("/")).is_hit
        await cache.refreshes.wait()
        await settle()
    assert "a refresh failed" in caplog.text
    assert (await client.get("/")).is_hit


async def test_a_close_cancels_refreshes(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    headers = [("cache-control", "max-age=60, stale-while-revalidate=30")]
    client, _ = standing(cache, Reply(headers=headers), Reply(headers=headers, gate=gate))
    await client.get("/")
    clock.advance(61)
    await client.get("/")
    await gate.reached()
    await cache.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


FAILURES = [
    Reply(503, body=b"down"),
    Reply(500, pieces=[b"do", b"wn"]),
    Reply(error=RuntimeError("no database")),
    Reply(silent=True),
]


@pytest.mark.parametrize("failure", FAILURES, ids=["503", "500, streamed", "raises", "leaves"])
@pytest.mark.parametrize("by", ["directive", "setting"])
async def test_a_stale_answer_covers_for_an_application_that_fails(
    cache: Cache, clock: HandClock, failure: Reply, by: str
) -> None:
    control = "max-age=60, stale-if-error=30" if by == "directive" else "max-age=60"
    stale_on_error = 0 if by == "directive" else 30
    client, _ = standing(cache, Reply(headers=[("cache-control", control)]), failure, stale_on_error=stale_on_error)
    await client.get("/")
    clock.advance(89)
    answer = await client.get("/")
    status = f"; fwd-status={failure.status}" if failure.status != 200 else ""
    assert (answer.status, answer.body) == (200, b"body")
    assert answer.cache == f"rcache; fwd=stale{status}; detail=stale-if-error"
    assert answer.get("age") == "89"


@pytest.mark.parametrize(("asked", "elapsed"), [({}, 91), ({"cache-control": "no-cache"}, 10)])
async def test_a_failure_is_told_where_nothing_may_cover_for_it(
    cache: Cache, clock: HandClock, asked: dict[str, str], elapsed: int
) -> None:
    client, _ = standing(
        cache, Reply(headers=[("cache-control", "max-age=60, stale-if-error=30")]), Reply(503, body=b"down")
    )
    await client.get("/")
    clock.advance(elapsed)
    assert (await client.get("/", asked)).status == 503


async def test_what_was_purged_covers_for_nothing(cache: Cache, clock: HandClock) -> None:
    rules = [Rule("/", ttl=60, tags=["book"], stale_on_error=1000)]
    client, _ = standing(cache, Reply(), Reply(503), standard=False, rules=rules)
    await client.get("/")
    clock.advance(61)
    await cache.invalidate("book")
    assert (await client.get("/")).status == 503


async def test_an_application_that_raises_with_nothing_to_cover_for_it_raises(cache: Cache) -> None:
    client, _ = standing(cache, Reply(error=RuntimeError("no database")))
    with pytest.raises(RuntimeError, match="no database"):
        await client.get("/")


async def test_a_refresh_that_fails_with_an_error_page_leaves_the_stale_answer_in_use(
    cache: Cache, clock: HandClock
) -> None:
    stale = Reply(headers=[("cache-control", "max-age=5, stale-while-revalidate=600")])
    client, _ = standing(cache, stale, Reply(503, [("cache-control", "no-store")], b"down"))
    await client.get("/")
    clock.advance(6)
    for _ in range(3):
        answer = await client.get("/")
        assert (answer.status, answer.body, answer.is_hit) == (200, b"body", True)
        await cache.refreshes.wait()


async def test_an_error_page_of_one_variant_does_not_hide_the_others(cache: Cache) -> None:
    german = [("cache-control", "max-age=60"), ("vary", "accept-language")]
    client, _ = standing(cache, Reply(headers=german), Reply(503, [("vary", "*"), ("cache-control", "max-age=60")]))
    await client.get("/", {"accept-language": "de"})
    assert (await client.get("/", {"accept-language": "en"})).status == 503
    assert (await client.get("/", {"accept-language": "de"})).is_hit
