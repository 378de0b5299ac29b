"""What hardly any sentence of an RFC says, and what a proxy's author has been bitten by."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule
from rcache.asgi.replay import selected
from rcache.core import coding
from rcache.core.entry import Entry, Start
from tests.asgi.origin import Reply, standing
from tests.support import EPOCH, Gate, HandClock, RawClient, settle

FRESH = (("cache-control", "max-age=60"), ("etag", '"v1"'))
LENIENT = (("cache-control", "max-age=60, stale-while-revalidate=1000, stale-if-error=1000"), ("etag", '"v1"'))

# Refreshes


async def test_a_refresh_that_a_head_began_asks_for_the_whole_with_get(cache: Cache, clock: HandClock) -> None:
    """An answer to HEAD has no body, and where it has no length either it looks complete."""
    client, origin = standing(cache, Reply(headers=LENIENT, pieces=[b"one"]), Reply(headers=LENIENT, pieces=[b"two"]))
    await client.get("/")
    clock.advance(61)
    assert (await client.head("/")).is_hit
    await cache.refreshes.wait()
    assert origin.last.method == "GET"
    assert (await client.get("/")).body == b"two"


@pytest.mark.parametrize("field", [("range", "bytes=0-0"), ("if-none-match", '"mine"'), ("if-range", '"mine"')])
async def test_a_refresh_asks_for_the_whole_whatever_its_client_asked_for(
    cache: Cache, clock: HandClock, field: tuple[str, str]
) -> None:
    headers = [LENIENT[0]]  # no validator, so that no condition of ours takes the place of the client's
    client, origin = standing(cache, Reply(headers=headers), Reply(headers=headers, body=b"new"))
    await client.get("/")
    clock.advance(61)
    await client.get("/", [field])
    await cache.refreshes.wait()
    assert len(origin.requests) == 2
    assert origin.last.get(field[0]) is None


async def test_nothing_is_stored_of_a_refresh_for_a_client_that_forbids_it(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=LENIENT))
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/", {"cache-control": "no-store"})).cache == "rcache; hit; ttl=-1"
    await cache.refreshes.wait()
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Reply(headers=[("cache-control", "max-age=60"), ("cache-groups", "no?string")], body=b"new"),
        Reply(404, body=b"gone"),
        Reply(410),
        Reply(302, [("location", "/elsewhere")]),
        Reply(headers=[("cache-control", "no-store")], body=b"new"),
        Reply(headers=[("cache-control", "private")], body=b"new"),
        Reply(304, [("cache-control", "no-store")]),
    ],
    ids=["groups", "404", "410", "302", "no-store", "private", "304 no-store"],
)
async def test_what_an_answer_that_is_not_stored_took_the_place_of_is_not_served_stale_any_more(
    cache: Cache, clock: HandClock, answer: Reply
) -> None:
    """Else a page that is gone would be served until the last second of its stale-while-revalidate."""
    client, origin = standing(cache, Reply(headers=LENIENT), answer, cache_groups=True)
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/")).is_hit
    await cache.refreshes.wait()
    clock.advance(11)  # what proved uncacheable is remembered for ten seconds
    assert not (await client.get("/")).is_hit
    assert len(origin.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
async def test_a_failure_or_a_refusal_of_one_client_leaves_the_stale_answer_to_the_others(
    cache: Cache, clock: HandClock, status: int
) -> None:
    client, _ = standing(cache, Reply(headers=LENIENT), Reply(status))
    await client.get("/")
    clock.advance(61)
    for _ in range(3):
        assert (await client.get("/")).is_hit
        await cache.refreshes.wait()


async def test_what_a_client_with_credentials_is_answered_ends_nothing(cache: Cache, clock: HandClock) -> None:
    headers = [("cache-control", "public, max-age=60, stale-if-error=1000"), ("etag", '"v1"')]
    client, _ = standing(cache, Reply(headers=headers), Reply(404), Reply(503))
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/", {"authorization": "a stranger's"})).status == 404
    answer = await client.get("/")
    assert (answer.status, answer.body) == (200, b"body")


async def test_a_fresh_answer_that_a_head_contradicts_is_validated_first(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=FRESH), Reply(headers=[FRESH[0], ("etag", '"v2"')]), Reply(304))
    await client.get("/")
    assert (await client.head("/", {"cache-control": "no-cache"})).status == 200
    assert (await client.get("/")).cache == "rcache; fwd=stale; fwd-status=304; stored"
    assert origin.last.get("if-none-match") == '"v1"'


async def test_a_head_that_contradicts_says_nothing_of_other_variants(cache: Cache) -> None:
    headers = [*FRESH, ("vary", "accept-language")]
    client, _ = standing(cache, Reply(headers=headers), Reply(headers=headers), Reply(headers=headers, body=b"longer"))
    for language in ("de", "en"):
        await client.get("/", {"accept-language": language})
    await client.head("/", {"accept-language": "en", "cache-control": "no-cache"})
    assert (await client.get("/", {"accept-language": "de"})).is_hit
    assert not (await client.get("/", {"accept-language": "en"})).is_hit


# Those who wait for another's run


@pytest.mark.parametrize("control", ["no-cache", "max-age=0"])
async def test_what_needs_validation_at_each_use_is_not_shared_with_those_who_waited_for_it(
    cache: Cache, control: str
) -> None:
    gate = Gate()
    client, origin = standing(
        cache, Reply(headers=[("cache-control", control), ("etag", '"v1"')], gate=gate), Reply(304)
    )
    waiting = [client.start("/") for _ in range(3)]
    await gate.reached()
    await settle()
    gate.open()
    answers = [await each.finish() for each in waiting]
    assert [answer.body for answer in answers] == [b"body"] * 3
    assert len(origin.requests) == 3


async def test_one_failure_is_covered_for_all_who_waited_for_it(cache: Cache, clock: HandClock) -> None:
    """A failing application is not run once more for each of them."""
    gate = Gate()
    client, origin = standing(cache, Reply(headers=FRESH), Reply(503, gate=gate), stale_on_error=1000)
    await client.get("/")
    clock.advance(61)
    waiting = [client.start("/") for _ in range(3)]
    await gate.reached()
    await settle()
    gate.open()
    answers = [await each.finish() for each in waiting]
    assert [answer.body for answer in answers] == [b"body"] * 3
    assert len(origin.requests) == 2
    assert sorted(str(answer.cache) for answer in answers) == [
        "rcache; fwd=stale; collapsed; detail=stale-if-error",
        "rcache; fwd=stale; collapsed; detail=stale-if-error",
        "rcache; fwd=stale; fwd-status=503; detail=stale-if-error",
    ]


async def test_who_allows_nothing_stale_is_told_of_the_failure_that_is_covered_for_another(
    cache: Cache, clock: HandClock
) -> None:
    gate = Gate()
    client, _ = standing(cache, Reply(headers=FRESH), Reply(503, gate=gate))
    await client.get("/")
    clock.advance(61)
    lenient = client.start("/", {"cache-control": "stale-if-error=1000"})
    await gate.reached()
    strict = client.start("/")
    await settle()
    gate.open()
    assert ((await lenient.finish()).status, (await strict.finish()).status) == (200, 503)


async def test_what_is_being_purged_covers_for_nobody_who_waited(
    cache: Cache, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    client, origin = standing(cache, Reply(headers=FRESH), Reply(503, gate=gate), stale_on_error=1000)
    await client.get("/")
    clock.advance(61)
    first, second = client.start("/"), client.start("/")
    await gate.reached()
    await settle()
    monkeypatch.setattr(cache.journal, "blocks", lambda tags: True)
    gate.open()
    await first.finish()
    await second.finish()
    assert len(origin.requests) == 3


# What clients ask for


async def test_a_client_with_a_max_age_is_given_nothing_stale_unless_it_says_so(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(cache, Reply(headers=LENIENT))
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/", {"cache-control": "max-age=100, max-stale=5"})).is_hit
    await cache.refreshes.wait()
    clock.advance(61)
    assert (await client.get("/", {"cache-control": "max-age=100"})).cache == "rcache; fwd=stale; stored"


@pytest.mark.parametrize("why", ["uncacheable", "precondition", "cookie", "too long"])
async def test_a_client_that_takes_only_what_is_stored_is_answered_504_wherever_the_cache_is_bypassed(
    cache: Cache, why: str
) -> None:
    client, origin = standing(cache, Reply(headers=[("cache-control", "no-store")]))
    only = {"cache-control": "only-if-cached"}
    if why == "uncacheable":
        await client.get("/")
    only |= {"precondition": {"if-match": '"a"'}, "cookie": {"cookie": "a=b"}}.get(why, {})
    before = len(origin.requests)
    answer = await client.get("/" if why != "too long" else "/" + "a" * 70_000, only)
    assert (answer.status, answer.cache) == (504, "rcache; detail=only-if-cached")
    assert len(origin.requests) == before


# Lengths and bodies


@pytest.mark.parametrize(
    "lengths",
    [["5"], ["3"], ["4", "5"], ["4, 5"], ["+4"], ["four"], [""], ["-1"]],
    ids=lambda lengths: " | ".join(lengths) or "empty",
)
async def test_an_answer_whose_length_is_not_what_it_says_is_not_stored(cache: Cache, lengths: Sequence[str]) -> None:
    """Whoever reads two lengths, or none, may take what follows for an answer of its own."""
    headers = [("cache-control", "max-age=60"), *[("content-length", length) for length in lengths]]
    client, _ = standing(cache, Reply(headers=headers, pieces=[b"body"]))
    for _ in range(2):
        assert not (await client.get("/")).is_hit


@pytest.mark.parametrize("lengths", [["4", "4"], ["4, 4"], ["04"], [" 4 "]], ids=" | ".join)
async def test_a_length_that_is_right_is_told_once_and_plainly(cache: Cache, lengths: Sequence[str]) -> None:
    headers = [("cache-control", "max-age=60"), *[("content-length", length) for length in lengths]]
    client, _ = standing(cache, Reply(headers=headers, pieces=[b"body"]))
    first, second = await client.get("/"), await client.get("/")
    assert (first.is_stored, first.all("content-length")) == (True, ["4"])
    assert (second.is_hit, second.all("content-length")) == (True, ["4"])


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.request", "body": b"chosen by its sender", "more_body": False}],
        [
            {"type": "http.request", "body": b"", "more_body": True},
            {"type": "http.request", "body": b"chosen by its sender", "more_body": False},
        ],
    ],
    ids=["one message", "two"],
)
async def test_a_body_that_no_field_announced_does_not_get_into_the_cache(
    cache: Cache, messages: list[Message]
) -> None:
    """HTTP/2 and HTTP/3 frame a body without Content-Length or Transfer-Encoding."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]})
        await send({"type": "http.response.body", "body": body})

    app = CacheMiddleware(echo, cache, standard=True)
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    client = RawClient(app)
    await app(client.scope("/", http_version="2"), receive, send)
    assert sent[-1]["body"] == b"chosen by its sender"
    assert (await client.get("/")).body == b""


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_an_answer_without_a_body_has_none_from_the_cache_either(cache: Cache, status: int) -> None:
    client, _ = standing(cache, Reply(status, [("cache-control", "max-age=60")], body=b""))
    for _ in range(2):
        answer = await client.get("/")
        assert (answer.status, answer.body) == (status, b"")
    assert answer.get("content-length") in (None, "0")


# Entries of another time


async def test_an_entry_in_a_coding_that_this_process_does_not_know_is_a_miss(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [("content-type", "text/plain"), ("cache-control", "max-age=60")]
    client, origin = standing(cache, Reply(headers=headers, body=b"a" * 4000), compress="gzip")
    await client.get("/")
    monkeypatch.setattr(coding, "_codings", dict)
    other, asked = standing(cache, Reply(headers=headers, body=b"b" * 4000))
    for fields in ({"cache-control": "max-age=30"}, {}, {"accept-encoding": "gzip"}):
        assert (await other.get("/", fields)).body == b"b" * 4000
    assert (len(origin.requests), len(asked.requests)) == (1, 1)


@pytest.mark.parametrize("accept", [{}, {"accept-encoding": "gzip"}])
async def test_what_was_kept_compressed_is_served_when_nothing_is_compressed_any_more(
    cache: Cache, clock: HandClock, accept: dict[str, str]
) -> None:
    headers = [("content-type", "text/plain"), *FRESH]
    client, _ = standing(cache, Reply(headers=headers, body=b"a" * 4000), compress="gzip")
    await client.get("/")
    later, origin = standing(cache, Reply(304))
    for _ in range(2):
        answer = await later.get("/", accept)
        body = answer.body if answer.get("content-encoding") is None else coding.decode("gzip", answer.body, 4000)
        assert (answer.status, body) == (200, b"a" * 4000)
        clock.advance(61)
    assert len(origin.requests) == 1


# Clocks


async def test_an_answer_that_came_with_an_age_does_not_grow_younger_when_the_clock_is_set_back(
    cache: Cache, clock: HandClock
) -> None:
    client, _ = standing(cache, Reply(headers=[("cache-control", "max-age=60"), ("age", "10")]))
    await client.get("/")
    clock.now -= 100
    assert (await client.get("/")).get("age") == "10"


async def test_an_answer_that_covered_for_a_failure_does_not_grow_younger_either(
    cache: Cache, clock: HandClock
) -> None:
    client, _ = standing(cache, Reply(headers=LENIENT), Reply(503))
    await client.get("/")
    clock.advance(80)
    assert (await client.get("/", {"cache-control": "no-cache"})).get("age") == "80"
    clock.now -= 50
    assert (await client.get("/")).get("age") == "80"


async def test_a_clock_that_is_set_back_makes_no_answer_older_than_what_a_client_holds(
    cache: Cache, clock: HandClock
) -> None:
    """Where there is no Last-Modified, a date is compared with when the answer came."""
    client, _ = standing(cache, Reply(headers=[("cache-control", "max-age=600")]))
    await client.get("/")  # at 08:00:00
    clock.now -= 3600
    held = {"if-modified-since": "Fri, 15 Jan 2027 07:30:00 GMT"}
    assert (await client.get("/", held)).status == 200


def test_a_date_is_compared_with_the_later_of_what_two_clocks_say(cache: Cache) -> None:
    """A store's clock may go behind the one that clients are told."""
    entry = Entry(Start("epoch", 1), 200, (), b"body", (), stored_at=EPOCH - 3600, initial_age=0.0, lifetime=600.0)
    scope = RawClient(CacheMiddleware).scope("/", {"if-modified-since": "Fri, 15 Jan 2027 07:30:00 GMT"})
    assert selected(cache, scope, entry, 200, [], b"body", None, entry.stored_at)[0] == 200


@pytest.mark.parametrize("ahead", [-30, 0, 30])
def test_a_date_is_strong_only_if_both_clocks_say_that_it_came_surely_later(cache: Cache, ahead: int) -> None:
    """The age counts as well: what was made long before it came may have changed within the second (RFC 9110 §8.8.2.2)."""
    modified = b"Fri, 15 Jan 2027 07:58:30 GMT"  # 90 seconds ago
    asked = [("range", "bytes=0-1"), ("if-range", modified.decode())]
    scope = RawClient(CacheMiddleware).scope("/", asked)
    for age, status in ((30.0 - abs(min(ahead, 0)), 206), (30.5 - abs(min(ahead, 0)), 200)):
        entry = Entry(Start("epoch", 1), 200, (), b"body", (), EPOCH + ahead, age, 600.0, last_modified=modified)
        assert selected(cache, scope, entry, 200, [], b"body", None, EPOCH + ahead)[0] == status


# Middleware and messages


async def test_a_hint_that_was_sent_early_does_not_keep_a_stale_answer_from_covering(
    cache: Cache, clock: HandClock
) -> None:
    fails = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        if fails:
            raise RuntimeError("no database")
        headers = [(name.encode(), value.encode()) for name, value in LENIENT]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"body"})

    client = RawClient(CacheMiddleware(app, cache, standard=True))
    await client.get("/")
    clock.advance(61)
    fails = True
    assert (await client.get("/", {"cache-control": "no-cache"})).body == b"body"


async def test_a_client_that_leaves_while_its_answer_is_validated_harms_nobody(
    cache: Cache, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    client, origin = standing(cache, Reply(headers=FRESH), Reply(304, FRESH, gate=gate))
    await client.get("/")
    clock.advance(61)
    leaving, staying = client.start("/"), client.start("/")
    await gate.reached()
    leaving.leave()
    await settle()
    gate.open()
    with caplog.at_level(logging.WARNING):
        await leaving.finish()
        assert (await staying.finish()).body == b"body"
    assert (await client.get("/")).is_hit
    assert (len(origin.requests), caplog.text) == (2, "")


async def test_a_request_that_is_cancelled_while_its_answer_is_validated_hands_over(
    cache: Cache, clock: HandClock
) -> None:
    gate = Gate()
    client, origin = standing(cache, Reply(headers=FRESH), Reply(304, FRESH, gate=gate))
    await client.get("/")
    clock.advance(61)
    first, second = client.start("/"), client.start("/")
    await gate.reached()
    await settle()
    first.task.cancel()
    await gate.reached(2)
    gate.open()
    assert (await second.finish()).cache == "rcache; fwd=stale; fwd-status=304; stored"
    assert len(origin.requests) == 3


@pytest.mark.parametrize("kind", ["websocket", "something new"])
async def test_what_is_no_http_request_passes_untouched(cache: Cache, kind: str) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, await receive()))
        await send({"type": "any"})

    scope = {"type": kind, "path": "/", "headers": []}
    before = dict(scope)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "some"}

    async def send(message: Message) -> None:
        sent.append(message)

    await CacheMiddleware(app, cache, standard=True)(scope, receive, send)
    assert (seen, sent) == ([(before, {"type": "some"})], [{"type": "any"}])


async def test_a_rule_within_a_rule_leaves_one_entry_and_one_field(cache: Cache) -> None:
    inner, origin = standing(cache, Reply(), standard=False, rules=[Rule("/", ttl=60, tags=["inner"])])
    client = RawClient(CacheMiddleware(inner.app, cache, rules=[Rule("/", ttl=60)]))
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).is_hit
    assert len(origin.requests) == 1


async def test_an_unsafe_request_streams_both_ways(cache: Cache) -> None:
    """Nothing of its body is read before the application asks, nor of the answer's held back."""
    received: list[bytes] = []
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await gate()
        received.append((await receive())["body"])
        await send({"type": "http.response.body", "body": b"last"})

    client = RawClient(CacheMiddleware(app, cache, standard=True))
    posting = client.start("/", method="POST", body=b"body")
    await posting.arrives(2)
    gate.open()
    assert (await posting.finish()).chunks == [b"first", b"last"]
    assert received == [b"body"]


# What a 304 may bring


async def test_a_304_that_names_other_selecting_fields_is_heeded_from_then_on(cache: Cache, clock: HandClock) -> None:
    varying = [*FRESH, ("vary", "accept-language")]
    client, origin = standing(cache, Reply(headers=FRESH), Reply(304, varying), Reply(headers=varying, body=b"en"))
    await client.get("/", {"accept-language": "de"})
    clock.advance(61)
    await client.get("/", {"accept-language": "de"})
    answer = await client.get("/", {"accept-language": "de"})
    assert (answer.is_hit, answer.body, answer.get("vary")) == (True, b"body", "accept-language")
    assert (await client.get("/", {"accept-language": "en"})).body == b"en"
    assert len(origin.requests) == 3


async def test_a_cookie_that_a_304_sets_is_for_its_client_alone(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), Reply(304, [("set-cookie", "a=1")]), Reply(304))
    await client.get("/")
    clock.advance(61)
    answer = await client.get("/")
    assert (answer.status, answer.get("set-cookie"), answer.is_stored) == (200, "a=1", False)
    clock.advance(11)  # what proved uncacheable is remembered for ten seconds
    for _ in range(2):
        answer = await client.get("/")
        assert (answer.body, answer.get("set-cookie")) == (b"body", None)


# What is gone from the standard


@pytest.mark.parametrize("elapsed", [0, 61, 2000])
async def test_no_warning_is_sent(cache: Cache, clock: HandClock, elapsed: int) -> None:
    client, _ = standing(cache, Reply(headers=LENIENT), Reply(503), heuristic=True)
    await client.get("/")
    clock.advance(elapsed)
    assert (await client.get("/")).get("warning") is None


async def test_a_range_means_nothing_to_head(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=FRESH))
    await client.get("/")
    head = await client.head("/", {"range": "bytes=0-0"})
    assert (head.status, head.get("content-length"), head.get("content-range")) == (200, "4", None)
