"""What the application answers to HEAD says something of the stored answer to GET (RFC 9111 §4.3.4, §4.3.5; RFC 5861 §4)."""

from __future__ import annotations

import logging

import pytest
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware
from tests.asgi.origin import Reply, standing
from tests.support import HandClock, RawClient

FRESH = ("cache-control", "max-age=60")
V1 = (FRESH, ("etag", '"v1"'))
NEWS = (("cache-control", "max-age=100"), ("x-new", "1"))
MODIFIED = "Tue, 12 Jan 2027 08:00:00 GMT"
LENIENT = (("cache-control", "max-age=60, stale-if-error=100"), ("x-old", "1"))


@pytest.mark.parametrize(
    ("validator", "asked"),
    [
        (("etag", '"v1"'), ("if-none-match", '"v1"')),
        (("etag", 'W/"v1"'), ("if-none-match", '"v1"')),
        (("last-modified", MODIFIED), ("if-modified-since", MODIFIED)),
    ],
)
async def test_a_304_to_a_head_freshens_what_it_names(
    cache: Cache, clock: HandClock, validator: tuple[str, str], asked: tuple[str, str]
) -> None:
    client, origin = standing(cache, Reply(headers=[FRESH, validator]), Reply(304, [*NEWS, validator]))
    await client.get("/")
    clock.advance(61)
    head = await client.head("/", [asked])
    assert (head.status, head.body, head.cache) == (304, b"", "rcache; fwd=stale; stored")
    assert origin.last.get(asked[0]) == asked[1]  # its client's own condition, and none of ours
    answer = await client.get("/")
    assert (answer.cache, answer.body, answer.get("x-new")) == ("rcache; hit; ttl=100", b"body", "1")


@pytest.mark.parametrize("named", [("etag", '"v2"'), ("etag", 'W/"v2"'), ("last-modified", MODIFIED), ("x-none", "1")])
async def test_a_304_to_a_head_freshens_nothing_that_it_does_not_name(
    cache: Cache, clock: HandClock, named: tuple[str, str]
) -> None:
    client, origin = standing(cache, Reply(headers=V1), Reply(304, [*NEWS, named]), Reply(headers=V1, body=b"new"))
    await client.get("/")
    clock.advance(61)
    assert (await client.head("/", {"if-none-match": "*"})).cache == "rcache; fwd=stale"
    assert ((await client.get("/")).body, len(origin.requests)) == (b"new", 3)


async def test_a_304_to_a_head_says_nothing_of_an_answer_without_validators(cache: Cache, clock: HandClock) -> None:
    """The conditions were the client's, who may hold another answer: `*` is true of any."""
    client, _ = standing(cache, Reply(headers=[FRESH]), Reply(304, NEWS), Reply(headers=[FRESH], body=b"new"))
    await client.get("/")
    assert (await client.head("/", {"if-none-match": "*", "cache-control": "no-cache"})).cache == "rcache; fwd=request"
    assert (await client.get("/")).cache == "rcache; hit; ttl=60"
    clock.advance(61)
    assert (await client.get("/")).body == b"new"


async def test_a_304_to_a_head_that_forbids_storing_ends_what_is_stored(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(
        cache, Reply(headers=V1), Reply(304, [*V1[1:], ("cache-control", "no-store")]), Reply(headers=V1, body=b"new")
    )
    await client.get("/")
    assert (await client.head("/", {"if-none-match": '"v1"', "cache-control": "no-cache"})).status == 304
    assert ((await client.get("/")).body, len(origin.requests)) == (b"new", 3)


@pytest.mark.parametrize("status", [203, 301, 404, 410])
async def test_an_answer_of_another_status_is_contradicted_by_the_200_of_a_head(cache: Cache, status: int) -> None:
    client, origin = standing(cache, Reply(status, V1), Reply(headers=V1), Reply(headers=V1, body=b"new"))
    await client.get("/")
    assert (await client.get("/")).is_hit
    head = await client.head("/", {"cache-control": "no-cache"})
    assert (head.status, head.cache) == (200, "rcache; fwd=request")
    assert ((await client.get("/")).body, len(origin.requests)) == (b"new", 3)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Reply(503, body=b"down"), "rcache; fwd=stale; fwd-status=503; detail=stale-if-error"),
        (Reply(error=RuntimeError("down")), "rcache; fwd=stale; detail=stale-if-error"),
        (Reply(silent=True), "rcache; fwd=stale; detail=stale-if-error"),
    ],
)
async def test_a_stale_answer_covers_for_an_application_that_fails_to_answer_a_head(
    cache: Cache, clock: HandClock, caplog: pytest.LogCaptureFixture, failure: Reply, told: str
) -> None:
    client, origin = standing(cache, Reply(headers=LENIENT), failure)
    await client.get("/")
    clock.advance(61)
    with caplog.at_level(logging.ERROR, "rcache"):
        head = await client.head("/")
    assert (head.status, head.body, head.get("x-old"), head.get("age")) == (200, b"", "1", "61")
    assert (head.cache, head.get("content-length"), origin.last.method) == (told, "4", "HEAD")
    assert len(head.messages) == 2  # what the application said goes nowhere
    assert ("a stale answer covered for it" in caplog.text) is (failure.error is not None)
    assert (await client.head("/", {"if-none-match": "*"})).status == 304


async def test_the_failure_of_a_head_is_told_where_nothing_may_cover_for_it(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(cache, Reply(headers=LENIENT), Reply(503), Reply(error=RuntimeError("down")))
    await client.get("/")
    clock.advance(160)
    assert (await client.head("/")).status == 503
    with pytest.raises(RuntimeError, match="down"):
        await client.head("/")


@pytest.mark.parametrize("status", [200, 503])
async def test_an_application_that_raises_after_it_began_to_answer_a_head_is_covered_for_only_if_it_said_an_error(
    cache: Cache, clock: HandClock, status: int
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["method"] == "HEAD"
        headers = [(name.encode(), value.encode()) for name, value in LENIENT]
        await send({"type": "http.response.start", "status": status if is_head else 200, "headers": headers})
        if is_head:
            raise RuntimeError("down")
        await send({"type": "http.response.body", "body": b"body"})

    client = RawClient(CacheMiddleware(app, cache=cache, standard=True))
    await client.get("/")
    clock.advance(61)
    if status == 503:
        assert (await client.head("/")).get("age") == "61"
    else:
        with pytest.raises(RuntimeError, match="down"):
            await client.head("/")


async def test_an_application_that_raises_is_covered_for_without_a_directive_where_that_is_allowed(
    cache: Cache, clock: HandClock
) -> None:
    client, _ = standing(cache, Reply(headers=V1), Reply(error=RuntimeError("down")), stale_on_error=30)
    await client.get("/")
    clock.advance(89)
    assert (await client.head("/")).status == 200
    clock.advance(1)
    with pytest.raises(RuntimeError, match="down"):
        await client.head("/")
