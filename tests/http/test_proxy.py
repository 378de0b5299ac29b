"""The reverse proxy itself: what it hands on, and what it does where its origin fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.origin import CLOSE, RESET, Origin, Script
from tests.http.proxy import OriginError, Proxy
from tests.http.wire import chunked, head, response
from tests.support import Gate, RawClient


def client_of(origin: Origin, **settings: Any) -> RawClient:
    return RawClient(Proxy(origin.port, **settings))


async def test_a_body_comes_in_one_message_or_as_the_origin_cut_it(origin: Origin):
    origin.answers(lambda received: chunked(200, (), ["one", "two"]))
    assert (await client_of(origin, streamed=False).get("/")).chunks == [b"onetwo"]
    assert (await client_of(origin).get("/")).chunks == [b"one", b"two", b""]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "script",
    [response(200, (), "body"), chunked(200, (), ["bo", "dy"], {"X-Trailer": "1"}), [head() + b"body", CLOSE]],
    ids=["length", "chunked", "close"],
)
async def test_a_body_in_each_framing_is_handed_on_whole(origin: Origin, script: Script, streamed: bool):
    origin.plays(script)
    answer = await client_of(origin, streamed=streamed).get("/")
    assert (answer.status, answer.body, answer.all("transfer-encoding")) == (200, b"body", [])


@pytest.mark.parametrize(
    ("method", "script"),
    [("HEAD", head(200, {"Content-Length": "4"})), ("GET", head(204)), ("GET", head(304, {"Content-Length": "4"}))],
)
async def test_an_answer_that_has_no_body_ends_with_its_head(origin: Origin, method: str, script: Script):
    origin.plays(script)
    assert (await client_of(origin).request(method, "/")).chunks == [b""]


async def test_fields_are_handed_on_as_they_came_but_for_those_of_one_connection(origin: Origin):
    odd = [("SeT-CooKie", "a"), ("set-cookie", "b"), ("X-Odd", "\xe4"), ("X-Empty", "")]
    private = [("Connection", "X-Hop, close"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "x")]
    origin.answers(lambda received: response(200, [*odd, *private]))
    kept = [(name.encode(), value.encode("latin-1")) for name, value in odd]
    assert (await client_of(origin).get("/")).headers == [*kept, (b"Content-Length", b"0")]
    all_of_them = kept + [(name.encode(), value.encode()) for name, value in private]
    assert (await client_of(origin, hop_by_hop=True).get("/")).headers == [*all_of_them, (b"Content-Length", b"0")]
    origin.plays(chunked(200, private))  # how a body is framed is the next server's own affair
    assert (await client_of(origin, hop_by_hop=True).get("/")).headers == all_of_them[len(kept) :]


async def test_odd_lines_are_read_as_rfc_9112_has_proxies_read_them(origin: Origin):
    origin.plays(b"HTTP/1.1 200\r\nX-Space : 1\r\nX-Fold: a\r\n \t b\r\nContent-Length: 0\r\n\r\n")
    answer = await client_of(origin).get("/")
    assert answer.headers == [(b"X-Space", b"1"), (b"X-Fold", b"a b"), (b"Content-Length", b"0")]
    origin.plays(b"".join(chunked(200, {"Content-Length": "7"}, ["ab"])))
    answer = await client_of(origin).get("/")
    assert (answer.body, answer.headers) == (b"ab", [])


async def test_requests_reach_the_origin_with_all_that_is_not_of_one_connection(origin: Origin):
    origin.answers(lambda received: response())
    lines = [("host", "a.test"), ("x-a", "1"), ("x-a", "\xe4"), ("range", "bytes=0-1"), ("if-range", '"x"')]
    private = [("connection", "x-hop"), ("x-hop", "1"), ("te", "trailers"), ("expect", "100-continue")]
    await client_of(origin).get("/a%20b?x=%41", [*lines, *private])
    assert origin.last.target == "/a%20b?x=%41"
    assert origin.last.headers == [(name.encode(), value.encode("latin-1")) for name, value in lines]


async def test_request_bodies_reach_the_origin(origin: Origin):
    origin.answers(lambda received: response())
    await client_of(origin).request("POST", "/", {"content-length": "4"}, b"body")
    assert (origin.last.method, origin.last.body) == ("POST", b"body")
    await client_of(origin).request("PUT", "/", {"transfer-encoding": "chunked"}, b"body")
    assert (origin.last.all("transfer-encoding"), origin.last.pieces) == (["chunked"], [b"body"])


async def test_what_comes_before_the_final_answer_is_left_out(origin: Origin):
    origin.plays([head(103, {"Link": "</a>"}), head(100), response(200, (), "body")])
    answer = await client_of(origin).get("/")
    assert (answer.messages[0]["type"], answer.status) == ("http.response.start", 200)


FAILURES: dict[str, Script] = {
    "nothing": [CLOSE],
    "reset": [RESET],
    "half a head": [b"HTTP/1.1 200 OK\r\nX: 1\r\n", CLOSE],
    "garbage": b"garbage\r\n\r\n",
    "no field": head(200)[:-2] + b"garbage\r\n\r\n",
    "two lengths": head(200, [("Content-Length", "1"), ("Content-Length", "2")]),
    "no length": head(200, {"Content-Length": "many"}),
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES)
async def test_an_origin_that_does_not_answer_is_an_error_or_a_502(origin: Origin, script: Script):
    origin.plays(script, script)
    with pytest.raises(OriginError):
        await client_of(origin).get("/")
    assert (await client_of(origin, raises=False).get("/")).status == 502


TRUNCATED: dict[str, Script] = {
    "length": [head(200, {"Content-Length": "9"}) + b"body", CLOSE],
    "chunks": [*chunked(200, (), ["body", "more"])[:-2], CLOSE],
    "a chunk": [head(200, {"Transfer-Encoding": "chunked"}) + b"4\r\nbody\r\n4\r\nmo", CLOSE],
    "no chunk": [head(200, {"Transfer-Encoding": "chunked"}) + b"4\r\nbody\r\n?\r\n"],
}


@pytest.mark.parametrize("script", TRUNCATED.values(), ids=TRUNCATED)
async def test_a_body_that_ends_early_is_an_error_or_an_answer_that_just_ends(origin: Origin, script: Script):
    origin.plays(script, script, script, script)
    exchange = client_of(origin).start("/")
    with pytest.raises(OriginError):
        await exchange.finish()
    assert exchange.answer.chunks == [b"body"]
    assert (await client_of(origin, raises=False).get("/")).messages[-1]["more_body"] is True
    with pytest.raises(OriginError):
        await client_of(origin, streamed=False).get("/")
    assert (await client_of(origin, streamed=False, raises=False).get("/")).status == 502


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_takes_the_origins_connection_along(origin: Origin, streamed: bool):
    origin.plays([head(200), Gate()])
    exchange = client_of(origin, streamed=streamed).start("/")
    await origin.received()
    exchange.leave()
    await exchange.finish()
    await origin.abandoned()
