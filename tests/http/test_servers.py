"""Facts about the servers, with no cache between: what they add, alter and refuse, and what that means to a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.http.client import Answer, Connection, fetch, request
from tests.http.proxy import lifespan
from tests.http.servers import OTHER_LOOPS, SERVERS, Served
from tests.http.wire import ProtocolError, TruncatedError

Pairs = list[tuple[bytes, bytes]]


def answering(status: int = 200, headers: Pairs | None = None, body: tuple[bytes, ...] = (b"body",)) -> ASGIApp:
    """An application that sends exactly this, and a message for each part of the body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for number, part in enumerate(body, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(body)})

    return app


class Keeping:
    """An application that keeps the scopes it is called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await answering(headers=[(b"content-length", b"4")])(scope, receive, send)


async def get(server: Served, app: ASGIApp, method: str = "GET") -> Answer:
    server.app = app
    return await fetch(server.port, method, "/")


async def scope_of(server: Served, raw: bytes) -> Scope | None:
    """What an application sees of a request; None where the server answers 400 instead."""
    server.app = keeping = Keeping()
    async with Connection(server.port) as connection:
        await connection.send(raw)
        status = (await connection.read()).status
        if not keeping.scopes:
            assert status == 400
            connection.abort()
            return None
        return keeping.scopes[0]


async def test_uvicorn_and_hypercorn_say_date_and_server_even_where_the_application_has(server: Served):
    """A response that was stored with its Date goes out with two; granian alone keeps the application's."""
    fields = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"server", b"mine"), (b"content-length", b"4")]
    answer = await get(server, answering(headers=fields))
    dates, names = answer.all("date"), answer.all("server")
    said = {"uvicorn": (1, 1), "hypercorn": (0, 0), "granian": (0, 0)}[server.name.partition("-")[0]]
    assert dates[said[0]] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert names[said[1]] == "mine"
    assert len(dates) == len(names) == (1 if server.name == "granian" else 2)
    bare = await get(server, answering())
    assert bare.get("date") is not None
    assert bare.get("server") in ("uvicorn", "hypercorn-h11", "granian")


async def test_names_are_lower_case_under_httptools_and_granian(server: Served):
    answer = await get(server, answering(headers=[(b"X-CaSe", b"1"), (b"content-length", b"4")]))
    is_kept = server.name in ("uvicorn-h11", "hypercorn")
    assert (b"X-CaSe" if is_kept else b"x-case", b"1") in answer.headers


async def test_granian_puts_the_lines_of_one_name_together(server: Served):
    fields = [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3"), (b"content-length", b"4")]
    kept = [pair for pair in (await get(server, answering(headers=fields))).headers if pair in fields]
    assert kept == ([fields[0], fields[2], fields[1], fields[3]] if server.name == "granian" else fields)


async def test_no_server_sends_a_name_or_a_value_that_would_break_the_lines(server: Served):
    """What the application gets to hear of it differs: an error where it sends the start, or nothing."""
    for pair in ((b"x", b"a\r\nb: c"), (b"x", b"a\x00b"), (b"x y", b"a")):
        app = answering(headers=[pair, (b"content-length", b"4")])
        if server.name.startswith("uvicorn"):
            with pytest.raises(TruncatedError):
                await get(server, app)
        else:
            assert (await get(server, app)).status == 500


async def test_bytes_beyond_ascii_are_sent_in_values(server: Served):
    answer = await get(server, answering(headers=[(b"x", b"\xe4\x80\xff"), (b"y", b""), (b"content-length", b"4")]))
    assert (answer.all("x"), answer.all("y")) == (["\xe4\x80\xff"], [""])


async def test_the_control_characters_that_a_value_may_hold_differ(server: Served):
    app = answering(headers=[(b"x", b"a\x01b"), (b"content-length", b"4")])
    if server.name == "granian":
        assert (await get(server, app)).status == 500
    elif server.name == "uvicorn-httptools":
        with pytest.raises(TruncatedError):
            await get(server, app)
    else:
        with pytest.raises(ProtocolError, match="no header line"):
            await get(server, app)


async def test_a_body_of_unknown_length_goes_in_chunks_unless_granian_gets_it_in_one_message(server: Served):
    single = await get(server, answering(body=(b"body",)))
    assert (single.text, single.framing) == ("body", "length" if server.name == "granian" else "chunked")
    streamed = await get(server, answering(body=(b"bo", b"", b"dy")))
    assert (streamed.pieces, streamed.framing) == ([b"bo", b"dy"], "chunked")


async def test_httptools_sends_chunks_to_clients_that_do_not_know_them(server: Served):
    """RFC 9112 §6.1 forbids it: an HTTP/1.0 client takes the sizes for content. A Content-Length spares it that."""
    server.app = answering(body=(b"bo", b"dy"))
    async with Connection(server.port) as connection:
        await connection.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        answer = await connection.read()
        connection.abort()
    assert answer.framing == ("chunked" if server.name == "uvicorn-httptools" else "close")


async def test_a_body_shorter_than_it_said_is_broken_off(server: Served):
    with pytest.raises(TruncatedError):
        await get(server, answering(headers=[(b"content-length", b"9")]))


async def test_a_body_longer_than_it_said_is_broken_off_but_by_granian_which_sends_it(server: Served):
    app = answering(headers=[(b"content-length", b"2")])
    expected = ProtocolError if server.name == "granian" else TruncatedError
    with pytest.raises(expected, match="nobody asked for b'dy'" if server.name == "granian" else "missing"):
        await get(server, app)


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        ("HEAD", 200, [(b"content-length", b"4")]),
        ("HEAD", 200, []),
        ("GET", 204, []),
        ("GET", 304, [(b"etag", b'"v1"')]),
    ],
)
async def test_no_body_is_sent_where_none_belongs(server: Served, method: str, status: int, headers: Pairs):
    assert (await get(server, answering(status, headers), method)).body == b""


async def test_granian_alone_takes_content_length_from_a_304(server: Served):
    answer = await get(server, answering(304, [(b"content-length", b"4")], (b"",)))
    assert answer.all("content-length") == ([] if server.name == "granian" else ["4"])


async def test_every_final_status_is_sent(server: Served):
    for status in (200, 226, 299, 418, 451, 599):
        assert (await get(server, answering(status, [(b"content-length", b"4")]))).status == status


# Requests


async def test_request_fields_keep_their_order_and_repeats_but_not_their_case(server: Served):
    lines = [("Host", "a"), ("Cookie", "a=1"), ("X-A", "\xe4"), ("COOKIE", "b=2"), ("x-empty", "")]
    if server.name == "granian":  # the lines of one name together, here too
        lines[2], lines[3] = lines[3], lines[2]
    scope = await scope_of(server, request("GET", "/", lines))
    assert scope is not None
    expected = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    assert [(bytes(name), bytes(value)) for name, value in scope["headers"]] == expected


async def test_the_path_is_given_as_it_came_and_decoded_with_what_is_no_utf8_replaced(server: Served):
    """Two paths may decode to the same text, so a key needs `raw_path`."""
    scope = await scope_of(server, request("GET", "/%e4%2F%20%C3%A4/../a;b?x=%e4&&?"))
    assert scope is not None
    assert scope["raw_path"] == b"/%e4%2F%20%C3%A4/../a;b"
    assert scope["path"] == "/\ufffd/ \xe4/../a;b"
    assert scope["query_string"] == b"x=%e4&&?"


async def test_an_absolute_target_stays_one_under_h11(server: Served):
    scope = await scope_of(server, request("GET", "http://other.test/a?x", {"Host": "a.test"}))
    assert scope is not None
    is_h11 = server.name in ("uvicorn-h11", "hypercorn")
    assert scope["path"] == ("http://other.test/a" if is_h11 else "/a")
    assert dict(scope["headers"])[b"host"] == b"a.test"  # RFC 9112 §3.2.2 would have it other.test


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
async def test_httptools_and_granian_let_no_host_and_two_hosts_pass(server: Served, hosts: bytes):
    """RFC 9112 §3.2 demands a 400."""
    scope = await scope_of(server, b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
    assert (scope is not None) is (server.name in ("uvicorn-httptools", "granian"))
    if scope is not None:
        told = [value for name, value in scope["headers"] if name == b"host"]
        assert told == ([b"a", b"b"] if hosts else [b""] if server.name == "granian" else [])


async def test_methods_that_nobody_knows(server: Served):
    """httptools refuses them; hypercorn takes `get` for GET, though methods are case-sensitive (RFC 9110 §9.1)."""
    told = {"uvicorn-h11": "get", "uvicorn-httptools": None, "hypercorn": "GET", "granian": "get"}
    scope = await scope_of(server, request("get", "/"))
    assert (None if scope is None else scope["method"]) == told[server.name]
    for method in ("PURGE", "QUERY", "PROPFIND"):
        assert await scope_of(server, request(method, "/")) is not None


async def test_no_server_offers_trailers_or_early_hints_over_http_1(server: Served):
    scope = await scope_of(server, request("GET", "/"))
    assert scope is not None
    offered = {"http.response.trailers", "http.response.early_hint"}
    assert offered.isdisjoint(scope.get("extensions") or {})
    assert ("http.response.pathsend" in (scope.get("extensions") or {})) is (server.name == "granian")


# Loops


@pytest.mark.parametrize(("name", "loop"), OTHER_LOOPS.items(), ids=OTHER_LOOPS)
async def test_each_server_runs_on_the_other_loop_too(name: str, loop: Callable[[], Any]):
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            told.append("started")
            await lifespan(receive, send)
            told.append("ended")
        else:
            told.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
            await answering(body=(b"bo", b"dy"))(scope, receive, send)

    with Served(name, app, loop) as served:
        assert (await fetch(served.port, "GET", "/")).text == "body"
    assert told == ["started", "uvloop" if loop is uvloop.new_event_loop else "asyncio", "ended"]
    assert loop is not SERVERS[name]
