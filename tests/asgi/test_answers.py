"""What is stored and sent: freshness, header pairs, bodies, validators, streams."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule, cached
from rcache.core.dates import format_http_date
from tests.support import EPOCH, Gate, HandClock, RawClient, settle

Messages = list[dict[str, Any]]


def serving(cache: Cache, endpoint: Callable[..., Any], **settings: Any) -> RawClient:
    app = Starlette(routes=[Route("/{rest:path}", cached(**{"ttl": 60, **settings})(endpoint))])
    return RawClient(CacheMiddleware(app, cache=cache))


def answering(cache: Cache, status: int = 200, headers: Any = (), body: bytes = b"body", **settings: Any) -> RawClient:
    """An application that always answers the same, with a Content-Length."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-length", b"%d" % len(body)), *pairs],
    }
    return scripted(cache, [start, {"type": "http.response.body", "body": body}], **settings)


def scripted(cache: Cache, messages: Messages, **settings: Any) -> RawClient:
    """An application that sends exactly these messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(dict(message))

    return RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/{rest:path}", **{"ttl": 60, **settings})]))


def entries(cache: Cache) -> int:
    """How many answers are stored."""
    return len(cache.store)  # type: ignore[arg-type]


# Length


@pytest.mark.parametrize("said", [["9", "9"], ["9, 9"], ["4", "9"], ["+4"], ["many"], [""], ["4" * 30]])
async def test_a_length_that_is_not_that_of_the_body_keeps_it_from_being_stored(cache: Cache, said: list[str]) -> None:
    """RFC 9111 §3.3: what is not known to be complete is not stored."""
    headers = [(b"content-length", each.encode()) for each in said]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    client = scripted(cache, [start, {"type": "http.response.body", "body": b"body"}])
    await client.get("/")
    assert entries(cache) == 0


@pytest.mark.parametrize("said", [["4"], ["4", "4"], ["4, 4"], [" 4 "]])
async def test_a_length_that_is_repeated_counts_once(cache: Cache, said: list[str]) -> None:
    headers = [(b"content-length", each.encode()) for each in said]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    client = scripted(cache, [start, {"type": "http.response.body", "body": b"body"}])
    assert (await client.get("/")).is_stored


# Freshness


async def test_an_answer_is_fresh_for_its_ttl_and_tells_its_age(cache: Cache, clock: HandClock) -> None:
    client = answering(cache, ttl="1m")
    first = await client.get("/")
    assert (first.cache, first.get("age")) == ("rcache; fwd=miss; stored", None)
    for elapsed, age in ((0.0, 0), (3.0, 3), (56.5, 59)):
        clock.advance(elapsed)
        answer = await client.get("/")
        assert answer.cache == f"rcache; hit; ttl={60 - age}"
        assert answer.get("age") == str(age)
    clock.advance(0.5)
    assert (await client.get("/")).cache == "rcache; fwd=miss; stored"
    assert (await client.get("/")).cache == "rcache; hit; ttl=60"


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ([("cache-control", "max-age=10")], 10),
        ([("cache-control", "max-age=600")], 600),
        ([("cache-control", "s-maxage=5, max-age=600")], 5),
        ([("cache-control", "max-age=600"), ("cache-control", "s-maxage=5")], 5),
        ([("expires", format_http_date(EPOCH + 90).decode())], 90),
        ([("expires", format_http_date(EPOCH + 90).decode()), ("cache-control", "max-age=7")], 7),
        ([("cache-control", "max-age=600"), ("age", "100")], 500),
        ([("cache-control", "public")], 60),
    ],
)
async def test_explicit_freshness_of_the_endpoint_wins_over_the_rule(cache: Cache, headers: Any, ttl: int) -> None:
    client = answering(cache, headers=headers, ttl=60)
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).cache == f"rcache; hit; ttl={ttl}"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("cache-control", "no-store")], "no-store"),
        ([("cache-control", "max-age=60, no-store, public")], "no-store"),
        ([("cache-control", "NO-STORE")], "no-store"),
        ([("cache-control", "private, max-age=60")], "private"),
        ([("cache-control", "no-cache")], "no-cache"),
        ([("cache-control", "max-age=0")], "stale"),
        ([("cache-control", "max-age=soon")], "stale"),
        ([("expires", "0")], "stale"),
        ([("expires", format_http_date(EPOCH - 1).decode())], "stale"),
        ([("cache-control", "max-age=10"), ("age", "10")], "stale"),
        ([("set-cookie", "a=1"), ("cache-control", "public, s-maxage=60")], "set-cookie"),
        ([("content-range", "bytes 0-3/10")], "partial"),
        ([("content-type", "text/event-stream")], "stream"),
    ],
)
async def test_what_is_never_stored(cache: Cache, headers: Any, reason: str) -> None:
    client = answering(cache, headers=headers, ttl=60)
    for _ in range(2):
        answer = await client.get("/")
        assert answer.body == b"body"
        assert f"detail={reason}" in str(answer.cache)
    assert entries(cache) == 0


async def test_without_any_ttl_only_explicit_freshness_is_stored(cache: Cache) -> None:
    assert (await answering(cache, ttl=None).get("/a")).cache == "rcache; fwd=miss; detail=no-freshness"
    client = answering(cache, headers=[("cache-control", "max-age=9")], ttl=None)
    assert (await client.get("/b")).is_stored
    assert (await client.get("/b")).cache == "rcache; hit; ttl=9"


@pytest.mark.parametrize("status", [200, 203, 204, 301, 308])
async def test_these_statuses_are_stored(cache: Cache, status: int) -> None:
    client = answering(cache, status, body=b"")
    assert (await client.get("/")).is_stored
    assert ((hit := await client.get("/")).status, hit.is_hit) == (status, True)


@pytest.mark.parametrize("status", [201, 202, 302, 307, 400, 401, 403, 404, 410, 418, 500, 503])
async def test_other_statuses_need_explicit_freshness_or_to_be_named(cache: Cache, status: int) -> None:
    for _ in range(2):
        assert (await answering(cache, status).get("/plain")).cache == "rcache; fwd=miss; detail=status"
    for path, client in (
        ("/named", answering(cache, status, statuses=(status,))),
        ("/explicit", answering(cache, status, headers=[("cache-control", "max-age=5")])),
    ):
        assert (await client.get(path)).is_stored
        assert ((hit := await client.get(path)).status, hit.is_hit) == (status, True)


@pytest.mark.parametrize("status", [206, 304])
async def test_partial_and_not_modified_are_never_stored(cache: Cache, status: int) -> None:
    client = answering(cache, status, headers=[("cache-control", "public, max-age=60")], body=b"")
    for _ in range(2):
        assert (await client.get("/")).status == status
    assert entries(cache) == 0


async def test_statuses_replace_the_defaults(cache: Cache) -> None:
    assert not (await answering(cache, 200, statuses=(404,)).get("/")).is_stored


async def test_ttl_is_not_handed_to_browsers(cache: Cache) -> None:
    client = answering(cache)
    for _ in range(2):
        answer = await client.get("/")
        assert answer.get("cache-control") is None
        assert answer.get("expires") is None
        assert answer.get("etag") is not None


async def test_client_ttl_is_exported_on_purpose_plus_the_age_that_is_sent_along(
    cache: Cache, clock: HandClock
) -> None:
    client = answering(cache, client_ttl=30)
    assert (await client.get("/")).get("cache-control") == "max-age=30"
    clock.advance(12)
    answer = await client.get("/")
    assert (answer.get("cache-control"), answer.get("age")) == ("max-age=42", "12")


async def test_explicit_freshness_goes_out_as_it_came(cache: Cache, clock: HandClock) -> None:
    client = answering(cache, headers=[("cache-control", "max-age=50, public")], client_ttl=30)
    for _ in range(2):
        assert (await client.get("/")).all("cache-control") == ["max-age=50, public"]


async def test_a_clock_that_was_set_back_gives_no_negative_age(cache: Cache, clock: HandClock) -> None:
    client = answering(cache)
    await client.get("/")
    clock.now -= 1000
    answer = await client.get("/")
    assert (answer.is_hit, answer.get("age")) == (True, "0")


async def test_a_url_that_proved_uncacheable_is_remembered_for_a_while(cache: Cache, clock: HandClock) -> None:
    control = "no-store"

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("x", headers={"cache-control": control})

    client = serving(cache, endpoint)
    assert (await client.get("/")).cache == "rcache; fwd=miss; detail=no-store"
    control = "public"
    assert (await client.get("/")).cache == "rcache; fwd=bypass; detail=no-store"
    assert (await client.get("/other")).is_stored
    clock.advance(10)
    assert (await client.get("/")).is_stored
    assert (await client.get("/")).is_hit


# Header pairs and bodies


async def test_pairs_and_bytes_come_back_exactly(cache: Cache) -> None:
    headers = [
        ("link", "<a>; rel=next"),
        ("x-b", "2"),
        ("x-a", "1"),
        ("link", "<b>; rel=prev"),
        ("x-empty", ""),
        ("x-latin", "é\xff"),
        ("content-type", "application/octet-stream"),
        ("x-b", "3"),
    ]
    body = bytes(range(256)) * 3
    client = answering(cache, headers=headers, body=body)
    first, second = await client.get("/"), await client.get("/")
    assert second.is_hit
    assert first.body == second.body == body
    own = (b"etag", b"cache-status", b"age")
    assert [pair for pair in first.headers if pair[0] not in own] == [
        pair for pair in second.headers if pair[0] not in own
    ]
    assert second.all("link") == ["<a>; rel=next", "<b>; rel=prev"]
    assert second.all("x-b") == ["2", "3"]


async def test_fields_of_one_connection_are_not_stored(cache: Cache) -> None:
    headers = [("connection", "close, x-hop"), ("x-hop", "1"), ("keep-alive", "5"), ("age", "3"), ("x-kept", "1")]
    client = answering(cache, headers=headers)
    first, second = await client.get("/"), await client.get("/")
    assert first.get("x-hop") == "1"
    assert second.get("connection") is second.get("x-hop") is second.get("keep-alive") is None
    assert (second.get("x-kept"), second.all("age")) == ("1", ["3"])


async def test_an_upstreams_cache_status_is_kept_beside_ours(cache: Cache) -> None:
    client = answering(cache, headers=[("cache-status", "upstream; hit")])
    await client.get("/")
    assert (await client.get("/")).all("cache-status") == ["upstream; hit", "rcache; hit; ttl=60"]


async def test_headers_and_bodies_of_odd_types_are_taken(cache: Cache) -> None:
    """Lists for tuples, bytearrays and memoryviews for bytes; and what the application changes later is not ours."""
    buffer = bytearray(b"first")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [[b"X-Odd", bytearray(b"1")]]})
        await send({"type": "http.response.body", "body": buffer, "more_body": True})
        buffer[:] = b"other"
        await send({"type": "http.response.body", "body": memoryview(b"last")})

    client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/", ttl=60)]))
    await client.get("/")
    hit = await client.get("/")
    assert (hit.is_hit, hit.body, hit.get("x-odd")) == (True, b"firstlast", "1")


async def test_no_headers_and_no_body_at_all(cache: Cache) -> None:
    client = scripted(cache, [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}])
    assert (await client.get("/")).status == 200
    assert ((hit := await client.get("/")).is_hit, hit.body) == (True, b"")


# Validators


async def test_etags_are_equal_in_every_process() -> None:
    code = """
import asyncio
from starlette.responses import PlainTextResponse
from rcache import Cache, CacheMiddleware, Rule
from tests.support import RawClient
app = CacheMiddleware(PlainTextResponse("the same"), cache=Cache("memory://"), rules=[Rule("/", ttl=60, vary=["b", "a"])])
print(asyncio.run(RawClient(app).get("/")).get("etag"))
"""
    root = Path(__file__).parents[2]
    tags = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert len(tags) == 1
    assert tags.pop().startswith('"')


async def test_etags_differ_with_the_bytes_and_with_what_they_mean(cache: Cache) -> None:
    tags = set()
    for number, (body, kind) in enumerate(((b"a", "text/plain"), (b"b", "text/plain"), (b"a", "text/html"))):
        answer = await answering(cache, headers=[("content-type", kind)], body=body).get(f"/{number}")
        tags.add(answer.get("etag"))
    assert len(tags) == 3


async def test_the_applications_own_etag_is_kept(cache: Cache) -> None:
    client = answering(cache, headers=[("ETag", 'W/"own"')])
    for _ in range(2):
        assert (await client.get("/")).all("etag") == ['W/"own"']
    assert (await client.get("/", {"if-none-match": '"own"'})).status == 304


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"other", {etag}', 304),
        ('"other" , W/"x",{etag},', 304),
        ("*", 304),
        (" * ", 304),
        ('"other"', 200),
        ("", 200),
        ("{bare}", 200),
        ('"*"', 200),
        ("w/{etag}", 200),
        ('"other', 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_if_none_match_on_a_hit(cache: Cache, field: str, status: int, method: str) -> None:
    client = answering(cache, headers=[("content-type", "text/plain"), ("x-kept", "1"), ("vary", "x-v")])
    etag = str((await client.get("/")).get("etag"))
    answer = await client.request(method, "/", {"if-none-match": field.format(etag=etag, bare=etag.strip('"'))})
    assert answer.status == status
    assert answer.is_hit
    if status == 304:
        assert answer.body == b""
        assert answer.get("etag") == etag
        assert answer.get("vary") == "x-v"
        assert answer.get("x-kept") == "1"
        assert answer.get("content-length") is answer.get("content-type") is None
        assert answer.get("age") == "0"


async def test_several_if_none_match_lines_are_one_list(cache: Cache) -> None:
    client = answering(cache)
    etag = str((await client.get("/")).get("etag"))
    assert (await client.get("/", [("if-none-match", '"x"'), ("if-none-match", etag)])).status == 304
    assert (await client.get("/", [("if-none-match", etag), ("if-none-match", '"x"')])).status == 304


@pytest.mark.parametrize(("offset", "status"), [(-1, 200), (0, 304), (1, 304)])
async def test_if_modified_since_on_a_hit(cache: Cache, offset: int, status: int) -> None:
    modified = EPOCH - 1000
    client = answering(cache, headers=[("last-modified", format_http_date(modified).decode())])
    etag = str((await client.get("/")).get("etag"))
    since = {"if-modified-since": format_http_date(modified + offset).decode()}
    assert (await client.get("/", since)).status == status
    assert (await client.get("/", {**since, "if-none-match": '"other"'})).status == 200
    assert (await client.get("/", {**since, "if-none-match": etag})).status == 304


@pytest.mark.parametrize(
    ("dated", "moment"),
    [
        ([], 0),  # when it came
        ([("age", "100")], 0),
        ([("date", "garbage")], 0),
        ([("date", format_http_date(EPOCH - 30).decode())], -30),
        ([("date", format_http_date(EPOCH - 30).decode()), ("age", "100")], -30),
        ([("date", format_http_date(EPOCH + 30).decode())], 30),
        ([("date", format_http_date(EPOCH - 30).decode()), ("date", format_http_date(EPOCH - 20).decode())], -20),
    ],
)
async def test_if_modified_since_is_compared_with_date_or_when_it_came_where_nothing_was_modified(
    cache: Cache, clock: HandClock, dated: list[tuple[str, str]], moment: int
) -> None:
    """Its age is another matter: that it may be older does not make it older than the client's."""
    client = answering(cache, headers=[("cache-control", "max-age=1000"), *dated])
    await client.get("/")
    clock.advance(40)
    for offset, status in ((-1, 200), (0, 304), (1, 304)):
        since = format_http_date(EPOCH + moment + offset).decode()
        assert (await client.get("/", {"if-modified-since": since})).status == status


@pytest.mark.parametrize("since", ["", "yesterday", "0", "Thu, 99 Foo 2026 00:00:00 GMT"])
async def test_what_is_no_date_is_ignored(cache: Cache, since: str) -> None:
    client = answering(cache, headers=[("last-modified", format_http_date(EPOCH - 1000).decode())])
    await client.get("/")
    assert (await client.get("/", {"if-modified-since": since})).status == 200


async def test_a_client_that_holds_the_answer_gets_304_on_a_miss_too_and_it_is_stored(cache: Cache) -> None:
    client = answering(cache)
    etag = str((await client.get("/")).get("etag"))
    await cache.close()
    again = await client.get("/", {"if-none-match": etag})
    assert (again.status, again.body, again.is_stored) == (304, b"", True)
    assert (await client.get("/")).body == b"body"


@pytest.mark.parametrize("status", [301, 308, 404])
@pytest.mark.parametrize("field", ["*", "{etag}"])
async def test_preconditions_do_not_apply_to_what_is_no_success(cache: Cache, status: int, field: str) -> None:
    """RFC 9110 §13.2.1: a 404 must not become "you have it already"."""
    client = answering(cache, status, statuses=(status,))
    etag = str((await client.get("/")).get("etag"))
    for _ in range(2):
        assert (await client.get("/", {"if-none-match": field.format(etag=etag)})).status == status
    await cache.close()
    assert (await client.get("/", {"if-none-match": field.format(etag=etag)})).status == status


# Streams


def chunked(gate: Callable[[], Any], *, kind: str = "text/plain", count: int = 3) -> Callable[..., Any]:
    """An endpoint that sends `count` chunks and waits before each but the first."""

    async def endpoint(request: Request) -> Response:
        async def body() -> Any:
            for number in range(count):
                if number:
                    await gate()
                yield f"chunk {number};".encode()

        return StreamingResponse(body(), media_type=kind)

    return endpoint


async def test_chunks_leave_as_they_come_and_later_answers_have_an_etag(cache: Cache) -> None:
    gate = Gate()
    client = serving(cache, chunked(gate))
    exchange = client.start("/")
    messages = await exchange.arrives(2)
    await gate.reached()
    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert messages[1]["body"] == b"chunk 0;"
    assert not exchange.task.done()
    gate.open()
    miss, hit = await exchange.finish(), await client.get("/")
    assert miss.chunks == [b"chunk 0;", b"chunk 1;", b"chunk 2;", b""]
    assert (miss.get("etag"), miss.cache) == (None, "rcache; fwd=miss")
    assert hit.is_hit
    assert hit.body == miss.body
    etag = str(hit.get("etag"))
    assert (await client.get("/", {"if-none-match": etag})).status == 304


STREAM_TYPES = [
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "multipart/x-mixed-replace",
    "application/x-ndjson",
]


@pytest.mark.parametrize("kind", STREAM_TYPES)
async def test_an_endless_stream_is_neither_delayed_nor_held(cache: Cache, kind: str) -> None:
    gates: list[Gate] = [Gate() for _ in range(4)]
    left = []

    async def endpoint(request: Request) -> Response:
        async def body() -> Any:
            try:
                for number, gate in enumerate(gates):
                    await gate()
                    yield f"data: {number}\n\n"
            finally:
                left.append(True)

        return StreamingResponse(body(), media_type=kind)

    client = serving(cache, endpoint)
    exchange = client.start("/")
    messages = await exchange.arrives(1)
    assert messages[0]["type"] == "http.response.start"
    await gates[0].reached()
    assert len(messages) == 1
    for number, gate in enumerate(gates[:3]):
        gate.open()
        assert (await exchange.arrives(2 + number))[-1]["body"] == f"data: {number}\n\n".encode()
        await gates[number + 1].reached()
    exchange.leave()
    await exchange.finish()
    assert left
    assert entries(cache) == 0


async def test_a_long_body_passes_and_is_not_stored_nor_kept(clock: HandClock) -> None:
    chunk = 64 * 1024
    async with Cache("memory://", max_body=100_000, clock=clock) as cache:
        peak = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal peak
            await send({"type": "http.response.start", "status": 200, "headers": []})
            tracemalloc.start()
            for _ in range(200):
                await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            await send({"type": "http.response.body", "body": b""})

        passed = 0

        async def counting(message: Any) -> None:
            nonlocal passed
            passed += len(message.get("body", b""))

        wrapped = CacheMiddleware(app, cache=cache, rules=[Rule("/", ttl=60)])
        client = RawClient(wrapped)
        await wrapped(client.scope("/"), None, counting)  # type: ignore[arg-type]
        assert passed == 200 * chunk
        assert peak < 10 * chunk
        assert entries(cache) == 0
        assert (await client.get("/")).cache == "rcache; fwd=bypass; detail=too-large"


@pytest.mark.parametrize("length", [100, 101])
@pytest.mark.parametrize("is_promised", [True, False])
async def test_max_body_is_the_last_length_that_is_stored(clock: HandClock, length: int, is_promised: bool) -> None:
    async with Cache("memory://", max_body=100, clock=clock) as cache:
        headers = [(b"content-length", b"%d" % length)] if is_promised else []
        messages: Messages = [
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": b"x" * 60, "more_body": True},
            {"type": "http.response.body", "body": b"x" * (length - 60)},
        ]
        client = scripted(cache, messages)
        assert (await client.get("/")).body == b"x" * length
        again = await client.get("/")
        assert again.is_hit == (length == 100)
        assert again.body == b"x" * length


async def test_an_application_that_fails_midway_stores_nothing(cache: Cache) -> None:
    for place in range(3):

        async def app(scope: Scope, receive: Receive, send: Send, place: int = place) -> None:
            messages: Messages = [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]},
                {"type": "http.response.body", "body": b"a", "more_body": True},
                {"type": "http.response.body", "body": b"b"},
            ]
            for message in messages[:place]:
                await send(message)
            raise RuntimeError("midway")

        client = RawClient(CacheMiddleware(app, cache=cache, rules=[Rule("/{n}", ttl=60)]))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="midway"):
                await client.get(f"/{place}")
    assert entries(cache) == 0


async def test_an_application_that_stops_midway_stores_nothing(cache: Cache) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    client = scripted(cache, [start, {"type": "http.response.body", "body": b"a", "more_body": True}])
    for _ in range(2):
        assert not (await client.get("/")).is_hit
    assert entries(cache) == 0


@pytest.mark.parametrize("body", [b"", b"shor", b"longer"])
@pytest.mark.parametrize("is_streamed", [True, False])
async def test_a_body_that_is_not_as_long_as_promised_is_not_stored(
    cache: Cache, body: bytes, is_streamed: bool
) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
    chunks: Messages = [{"type": "http.response.body", "body": body, "more_body": is_streamed}]
    if is_streamed:
        chunks.append({"type": "http.response.body", "body": b""})
    client = scripted(cache, [start, *chunks])
    for _ in range(2):
        answer = await client.get("/")
        assert not answer.is_hit
        assert answer.body == body
    assert entries(cache) == 0


async def test_a_client_that_leaves_midway_leaves_nothing_behind(cache: Cache) -> None:
    gate = Gate()
    client = serving(cache, chunked(gate))
    exchange = client.start("/")
    await exchange.arrives(2)
    exchange.leave()
    await exchange.finish()
    assert entries(cache) == 0
    gate.open()
    assert (await client.get("/")).body == b"chunk 0;chunk 1;chunk 2;"


async def test_a_request_that_is_cancelled_midway_leaves_nothing_behind(cache: Cache) -> None:
    gate = Gate()
    client = serving(cache, chunked(gate))
    exchange = client.start("/")
    await exchange.arrives(2)
    exchange.task.cancel()
    await asyncio.wait([exchange.task])
    assert entries(cache) == 0


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_the_entry_is_visible_before_the_last_body_message_is_sent(cache: Cache, is_streamed: bool) -> None:
    headers = [] if is_streamed else [(b"content-length", b"2")]
    chunks: Messages = [{"type": "http.response.body", "body": b"ab"}]
    if is_streamed:
        chunks = [
            {"type": "http.response.body", "body": b"a", "more_body": True},
            {"type": "http.response.body", "body": b"b"},
        ]
    client = scripted(cache, [{"type": "http.response.start", "status": 200, "headers": headers}, *chunks])
    seen = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            seen.append((await client.get("/")).is_hit)

    await client.app(client.scope("/"), None, send)  # type: ignore[arg-type]
    assert seen == [True]


async def test_a_store_is_not_lost_when_sending_fails(cache: Cache) -> None:
    """The answer was complete; that one client is gone does not make it less so."""
    client = answering(cache)

    async def send(message: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await client.app(client.scope("/"), None, send)  # type: ignore[arg-type]
    assert (await client.get("/")).body == b"body"


@pytest.mark.parametrize("extension", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_files_are_stored_whatever_the_server_could_send_by_itself(
    cache: Cache, tmp_path: Path, extension: str
) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"x" * 200_000)

    async def endpoint(request: Request) -> Response:
        return FileResponse(file)

    client = serving(cache, endpoint)
    extensions = {"extensions": {extension: {}, "http.response.debug": {}}}
    miss = await client.get("/", **extensions)
    assert miss.body == b"x" * 200_000
    hit = await client.get("/", **extensions)
    assert hit.is_hit
    assert hit.body == miss.body
    assert hit.get("etag") == miss.get("etag")
    assert (await client.get("/", {"if-modified-since": str(hit.get("last-modified"))})).status == 304


async def test_a_range_of_a_file_is_not_stored_as_the_file(cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"0123456789")

    async def endpoint(request: Request) -> Response:
        return FileResponse(file)

    client = serving(cache, endpoint)
    part = await client.get("/", {"range": "bytes=2-4"})
    assert (part.status, part.body) == (206, b"234")
    assert (await client.get("/")).body == b"0123456789"
    assert (await client.get("/")).is_hit


async def test_trailers_pass_and_are_not_stored(cache: Cache) -> None:
    messages: Messages = [
        {"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum")], "trailers": True},
        {"type": "http.response.body", "body": b"body"},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False},
    ]
    client = scripted(cache, messages)
    for _ in range(2):
        answer = await client.get("/")
        assert [message["type"] for message in answer.messages] == [message["type"] for message in messages]
        assert not answer.is_hit


async def test_messages_that_carry_no_answer_pass_and_break_nothing(cache: Cache) -> None:
    messages: Messages = [
        {"type": "http.response.early_hint", "links": [b"</a.css>"]},
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]},
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.body", "body": b"body"},
    ]
    client = scripted(cache, messages)
    first = await client.get("/")
    assert {message["type"] for message in first.messages} == {message["type"] for message in messages}
    assert (await client.get("/")).is_hit


async def test_a_background_task_runs_after_the_answer_and_only_on_a_miss(cache: Cache) -> None:
    runs: list[int] = []

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(runs.append, 1))

    client = serving(cache, endpoint)
    await client.get("/")
    assert (await client.get("/")).is_hit
    await settle()
    assert runs == [1]
