"""The client and the origin themselves: a test that leans on them can fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http import wire
from tests.http.client import Connection, fetch, request
from tests.http.origin import CLOSE, RESET, Origin, Script
from tests.http.wire import Pairs, ProtocolError, TruncatedError, chunked, head, response
from tests.support import Gate

# The client, before an origin that says anything


@pytest.mark.parametrize(
    ("script", "framing"),
    [
        (response(200, {"X": "1"}, "body"), "length"),
        (b"".join(chunked(200, {"X": "1"}, ["bo", "dy"])), "chunked"),
        ([head(200, {"X": "1"}) + b"body", CLOSE], "close"),
    ],
    ids=["length", "chunked", "close"],
)
async def test_a_body_is_read_to_its_end_in_each_framing(origin: Origin, script: Script, framing: str):
    origin.plays(script)
    answer = await fetch(origin.port, "GET", "/")
    assert (answer.status, answer.reason, answer.get("x")) == (200, "Scripted", "1")
    assert (answer.body, answer.framing) == (b"body", framing)


async def test_lines_keep_their_order_their_spelling_and_their_repeats(origin: Origin):
    lines = [("SeT-CooKie", "a=1"), ("x-odd", "z\xfcrich"), ("Set-Cookie", "b=2"), ("X-Empty", "")]
    origin.plays(response(200, lines))
    answer = await fetch(origin.port, "GET", "/")
    expected = [(name.encode(), value.encode("latin-1")) for name, value in lines]
    assert answer.headers == [*expected, (b"Content-Length", b"0")]
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer.raw.startswith(b"HTTP/1.1 200 Scripted\r\nSeT-CooKie: a=1\r\nx-odd: z\xfcrich\r\n")
    with pytest.raises(AssertionError, match="repeated"):
        answer.get("set-cookie")


async def test_what_comes_before_and_after_an_answer_is_kept_with_it(origin: Origin):
    final = chunked(200, (), ["a", "bc"], [("X-Sum", "6"), ("X-Sum", "7")])
    origin.plays([head(103, {"Link": "</a>"}), head(102), *final])
    answer = await fetch(origin.port, "GET", "/")
    assert [(each.status, each.all("link")) for each in answer.interim] == [(103, ["</a>"]), (102, [])]
    assert answer.pieces == [b"a", b"bc"]
    assert answer.trailers == [(b"X-Sum", b"6"), (b"X-Sum", b"7")]


@pytest.mark.parametrize(
    ("method", "script", "message"),
    [
        ("GET", head(200, [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]), "both Content-Length and"),
        ("GET", head(200, [("Content-Length", "1"), ("Content-Length", "1")]) + b"a", "Content-Length"),
        ("GET", head(200, [("Content-Length", "1, 1")]) + b"a", "Content-Length"),
        ("GET", head(200, [("Content-Length", "+1")]) + b"a", "Content-Length"),
        ("GET", head(200, [("Transfer-Encoding", "gzip, chunked")]), "Transfer-Encoding"),
        ("GET", head(204, [("Content-Length", "0")]), "a 204 that announces a body"),
        ("GET", head(304, [("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n", "a 304 in chunks"),
        ("GET", head(103, [("Content-Length", "0")]) + response(), "an interim response that announces"),
        ("GET", [response(304, (), "body")], "nobody asked for b'body'"),
        ("GET", [head(204) + b"0\r\n\r\n"], "nobody asked for"),
        ("HEAD", [response(200, (), "body")], "nobody asked for b'body'"),
        ("GET", response(200, (), "body") + b"more", "nobody asked for b'more'"),
        ("GET", b"".join(chunked(200, (), ["a"])) + b"\r\n", "nobody asked for"),
        ("GET", head(200, [("Transfer-Encoding", "chunked")]) + b"1\r\nab\r\n0\r\n\r\n", "longer than it says"),
        ("GET", head(200, [("Transfer-Encoding", "chunked")]) + b"0x1\r\na\r\n0\r\n\r\n", "no size of a chunk"),
        ("GET", head("HTTP/1.1 200"), "no status line"),
        ("GET", head("HTTP/2 200 OK"), "no status line"),
        ("GET", head("HTTP/1.1 600 Odd"), "no status line"),
        ("GET", head(200, [("X Y", "1")]), "no header line"),
        ("GET", head(200, [("X ", "1")]), "no header line"),
        ("GET", head(200, [("X", "a\x00b")]), "no header line"),
        ("GET", head(200, [("X", "a\r\n folded")]), "no header line"),
        ("GET", head(200, [("X", "a\nb")]), "no header line"),
    ],
)
async def test_what_is_no_http_fails(origin: Origin, method: str, script: Script, message: str):
    origin.plays([*([script] if isinstance(script, bytes) else script), CLOSE])
    with pytest.raises(ProtocolError, match=re.escape(message)):
        await fetch(origin.port, method, "/")


@pytest.mark.parametrize(
    "script",
    [
        [CLOSE],
        [b"HTTP/1.1 200 OK\r\nX: 1\r\n", CLOSE],
        [response(200, (), "body")[:-1], CLOSE],
        [*chunked(200, (), ["one", "two"])[:-1], CLOSE],
        [head(200, {"Transfer-Encoding": "chunked"}) + b"5\r\nab", CLOSE],
        [head(200, {"Transfer-Encoding": "chunked"}) + b"1\r\na\r\n0\r\n", CLOSE],
    ],
)
async def test_an_answer_that_ends_early_fails(origin: Origin, script: Script):
    origin.plays(script)
    with pytest.raises(TruncatedError):
        await fetch(origin.port, "GET", "/")


async def test_one_connection_carries_several_requests_and_shows_what_nobody_asked_for(origin: Origin):
    origin.answers(lambda received: response(200, (), received.target))
    async with Connection(origin.port) as connection:
        assert [(await connection.get(target)).text for target in ("/a", "/b")] == ["/a", "/b"]
        await connection.send(request("GET", "/c") + request("HEAD", "/d") + request("GET", "/e"))
        assert [(await connection.read(method)).text for method in ("GET", "HEAD")] == ["/c", ""]
        with pytest.raises(ProtocolError, match="no status line"):
            await connection.read()  # what belongs to HEAD stands in the way
        connection.abort()
    assert [each.target for each in origin.requests[:4]] == ["/a", "/b", "/c", "/d"]


async def test_leaving_a_connection_in_order_shows_a_surplus(origin: Origin):
    origin.plays([response(200, (), "body") + response(200, (), "surplus"), CLOSE])
    with pytest.raises(ProtocolError, match="surplus"):
        async with Connection(origin.port) as connection:
            assert (await connection.get("/")).text == "body"


# The origin


async def test_requests_are_kept_as_they_came(origin: Origin):
    origin.answers(lambda received: response())
    lines = [("Host", "a.test"), ("X-A", "1"), ("x-a", "\xe4"), ("If-None-Match", '"x"')]
    await fetch(origin.port, "GET", "/a%20b?x=%41&x", lines)
    assert (origin.last.method, origin.last.target, origin.last.all("x-a")) == ("GET", "/a%20b?x=%41&x", ["1", "\xe4"])
    assert origin.last.get("if-none-match") == '"x"'
    assert origin.last.raw.startswith(b"GET /a%20b?x=%41&x HTTP/1.1\r\nConnection: close\r\nHost: a.test\r\nX-A: 1\r\n")
    await fetch(origin.port, "POST", "/", (), "text")
    assert origin.last.body == b"text"
    async with Connection(origin.port) as connection:
        await connection.send(
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        assert (await connection.read()).status == 200
        connection.abort()
    assert origin.last.pieces == [b"ab", b"c"]


async def test_pieces_wait_for_the_test(origin: Origin):
    gate = Gate()
    first, second, third = chunked(200, (), ["one"])
    origin.plays([first, second, gate, third])
    async with Connection(origin.port) as connection:
        await connection.send(request("GET", "/"))
        answer = await connection.begin()
        assert await connection.piece(answer) == b"one"
        await gate.reached()
        gate.open()
        assert await connection.piece(answer) == b""
        connection.abort()


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_peer_that_leaves_is_noticed_while_there_is_more_to_say(origin: Origin, in_order: bool):
    origin.plays([head(200), Gate()])
    async with Connection(origin.port) as connection:
        await connection.send(request("GET", "/"))
        await connection.begin()
        if in_order:
            connection.writer.write_eof()
            await origin.abandoned()
        connection.abort()
    await origin.abandoned()


async def test_a_peer_that_leaves_within_its_request_is_noticed(origin: Origin):
    async with Connection(origin.port) as connection:
        await connection.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
        connection.writer.write_eof()
        await origin.abandoned()
        connection.abort()
    assert origin.requests == []


@pytest.mark.parametrize(
    "begun", [b"", head(200), head(200, {"Content-Length": "9"}), head(200, {"Transfer-Encoding": "chunked"})]
)
async def test_a_connection_can_be_reset(origin: Origin, begun: bytes):
    gate = Gate()
    origin.plays([begun, gate, RESET])
    async with Connection(origin.port) as connection:
        await connection.send(request("GET", "/"))
        answer = await connection.begin() if begun else None
        gate.open()
        with pytest.raises(TruncatedError):
            await (connection.begin() if answer is None else connection.piece(answer))
        connection.abort()


async def asked(raw: bytes) -> None:
    """An origin without scripts is sent `raw`, and closes."""
    async with Origin() as origin, Connection(origin.port) as connection:
        await connection.send(raw)
        assert await connection.is_closed()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (request("GET", "/unknown"), "no script for GET /unknown"),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "no request line"),
        (b"GET / HTTP/1.0\r\n\r\n", "no request line"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "both Content-Length and"),
    ],
)
async def test_a_request_that_is_none_or_that_nobody_expected_fails_the_test(raw: bytes, message: str):
    with pytest.raises(AssertionError, match=message):
        await asked(raw)


# Both ways

NAMES = st.text("abcXYZ019-_~!", min_size=1, max_size=9)
VALUES = st.one_of(st.just(""), st.from_regex(r"[!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?", fullmatch=True))


def read(raw: bytes, cuts: Iterable[int] = ()) -> tuple[Pairs, list[bytes], Pairs]:
    """The fields, chunks and trailers that arrive when `raw` comes in pieces cut at these places."""

    async def reading() -> tuple[Pairs, list[bytes], Pairs]:
        reader = asyncio.StreamReader()
        places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
        for begin, end in pairwise(places):
            asyncio.get_running_loop().call_soon(reader.feed_data, raw[begin:end])
        found = await wire.read_head(reader)
        assert found is not None
        trailers: Pairs = []
        pieces = [piece async for piece in wire.read_chunks(reader, trailers)]
        return found[2], pieces, trailers

    return asyncio.run(reading())


@given(
    st.lists(st.tuples(NAMES, VALUES)),
    st.lists(st.binary(min_size=1)),
    st.lists(st.tuples(NAMES, VALUES), max_size=2),
    st.lists(st.integers(0, 1000), max_size=5),
)
def test_what_was_written_is_read_again(
    fields: list[tuple[str, str]], body: list[bytes], trailers: list[tuple[str, str]], cuts: list[int]
):
    lines, pieces, after = read(b"".join(chunked(200, fields, body, trailers)), cuts)
    assert lines[:-1] == [(name.encode(), value.encode("latin-1")) for name, value in fields]
    assert pieces == body
    assert after == [(name.encode(), value.encode("latin-1")) for name, value in trailers]


@given(st.binary())
def test_a_line_is_read_as_it_stands_or_not_at_all(line: bytes):
    try:
        name, value = wire.parsed_field(line)
    except ProtocolError:
        return
    assert line.startswith(name + b":")
    assert line[len(name) + 1 :].strip(b" \t") == value
