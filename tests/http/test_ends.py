"""Clients that leave and origins that fail: what is not whole is never stored, and nobody waits for it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from starlette.types import Message, Receive, Scope, Send

from rcache import Rule
from tests.http.client import request
from tests.http.origin import CLOSE, RESET, Script
from tests.http.site import Site
from tests.http.wire import ProtocolError, TruncatedError, chunked, head, response
from tests.support import Gate

FRESH = ("Cache-Control", "max-age=60")
LENGTH = [FRESH, ("Content-Length", "9")]
CHUNKS = [FRESH, ("Transfer-Encoding", "chunked")]

TRUNCATED: dict[str, Script] = {
    "nothing": [CLOSE],
    "reset": [RESET],
    "garbage": b"garbage\r\n\r\n",
    "half a head": [head(200, LENGTH)[:-2], CLOSE],
    "a head": [head(200, LENGTH), CLOSE],
    "length": [head(200, LENGTH) + b"trunc", CLOSE],
    "chunks": [*chunked(200, [FRESH], ["trunc", "ated"])[:-1], CLOSE],
    "a chunk": [head(200, CHUNKS) + b"9\r\ntrunc", CLOSE],
    "no chunk": [head(200, CHUNKS) + b"5\r\ntrunc\r\n?\r\n", CLOSE],
}


@pytest.mark.parametrize("raises", [True, False], ids=["raises", "returns"])
@pytest.mark.parametrize("script", TRUNCATED.values(), ids=TRUNCATED)
async def test_an_answer_that_ends_early_is_never_stored(site: Site, script: Script, raises: bool):
    site.proxy.raises = raises
    site.origin.plays(script, response(200, [FRESH], "whole"))
    try:
        answer = await site.get("/a")
    except TruncatedError:
        assert site.is_streamed  # what has begun can only be broken off
    else:
        assert answer.status in (500, 502)
    assert site.entries == 0
    assert [(await site.get("/a")).text for _ in range(2)] == ["whole", "whole"]
    assert len(site.origin.requests) == 2


async def test_an_answer_that_is_reset_before_its_end_is_never_stored(site: Site):
    gate = Gate()
    site.origin.plays([head(200, [FRESH]) + b"trunc", gate, RESET], response(200, [FRESH], "whole"))
    async with site.connect() as connection:
        await connection.send(request("GET", "/a"))
        if site.is_streamed:
            answer = await connection.begin()
            assert await connection.piece(answer) == b"trunc"
        await gate.reached()
        gate.open()
        if site.is_streamed:
            with pytest.raises(TruncatedError):
                await connection.piece(answer)
        else:
            assert (await connection.read()).status == 500
        connection.abort()
    assert site.entries == 0
    assert (await site.get("/a")).text == "whole"


# Clients


@pytest.mark.parametrize(
    "begun",
    [b"", head(200, LENGTH), head(200, LENGTH) + b"part", head(200, CHUNKS), head(200, CHUNKS) + b"4\r\npart\r\n"],
    ids=["nothing", "a head", "a part", "a head of chunks", "a chunk"],
)
async def test_a_client_that_leaves_gives_the_origin_up_and_leaves_nothing_behind(site: Site, begun: bytes):
    gate = Gate()
    site.origin.plays([begun, gate], response(200, [FRESH], "whole"))
    async with site.connect() as connection:
        await connection.send(request("GET", "/a"))
        await gate.reached()
        connection.abort()
    await site.origin.abandoned()
    assert site.entries == 0
    answer = await site.get("/a")
    assert (answer.text, answer.is_hit) == ("whole", False)


async def test_a_client_that_leaves_takes_nobody_along_who_waits_for_the_same(site: Site):
    gate = Gate()
    site.origin.plays([gate], response(200, [FRESH], "whole"))
    async with site.connect() as leaving, site.connect() as staying:
        await leaving.send(request("GET", "/a"))
        await gate.reached()
        await staying.send(request("GET", "/a"))
        leaving.abort()
        await site.origin.abandoned()
        assert (await staying.read()).text == "whole"
    assert len(site.origin.requests) == 2


async def test_a_client_that_leaves_during_a_hit_harms_nobody(site: Site):
    body = "0123456789abcdef" * 60_000
    site.origin.plays(response(200, [FRESH], body))
    await site.get("/a")
    async with site.connect() as connection:
        await connection.send(request("GET", "/a"))
        assert (await connection.begin()).is_hit
        connection.abort()
    assert (await site.get("/a")).text == body


async def test_a_client_that_leaves_within_its_own_body_reaches_the_origin_as_one(site: Site):
    async with site.connect() as connection:
        await connection.send(b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 9\r\n\r\npart")
        await connection.send(b"s")
        connection.abort()
    await site.origin.abandoned()
    assert site.origin.requests == []


async def test_an_application_that_ends_in_order_because_its_client_has_left_is_not_stored(site: Site):
    """What it leaves out is nowhere to be seen but in the disconnect that it was told of."""
    site.origin.plays(response())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b""})
        await site.proxy(scope, receive, discarded)  # tells the test that it has come this far

    site.wrap(app, rules=[Rule("/", ttl=60)])
    async with site.connect() as connection:
        await connection.send(request("GET", "/"))
        await connection.piece(await connection.begin())
        connection.abort()
    await site.origin.received()
    assert site.entries == 0


async def discarded(message: Message) -> None:
    """Sends nothing."""


@pytest.mark.parametrize("length", ["9", "3"])
async def test_an_application_whose_body_is_not_as_long_as_it_said_is_not_stored(site: Site, length: str):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length.encode())]}
        await send(start)
        for part in (b"bo", b"dy") if site.is_streamed else (b"body",):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"bo"})

    site.wrap(app, rules=[Rule("/", ttl=60)])
    with suppress(ProtocolError):  # most servers break it off; granian may cut it to the length it has promised
        await site.get("/")
    assert site.entries == 0


# Origins that say more than they were asked for


async def test_what_comes_before_the_answer_is_not_the_answer(site: Site):
    early = [head(103, [("Link", "</a>"), FRESH]), head(100)]
    site.origin.plays([*early, response(200, [FRESH], "body")])
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert (answer.status, answer.text, answer.is_hit, answer.all("link")) == (200, "body", is_hit, [])


async def test_trailers_end_at_the_proxy_and_the_body_is_stored(site: Site):
    site.origin.plays(
        chunked(200, [FRESH, ("Trailer", "X-Sum")], ["bo", "dy"], [("X-Sum", "1"), ("Cache-Control", "no-store")])
    )
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert (answer.text, answer.is_hit, answer.trailers, answer.all("trailer")) == ("body", is_hit, [], [])


async def test_bytes_beyond_the_announced_length_are_no_part_of_the_body(site: Site):
    site.origin.plays([response(200, [FRESH], "body") + b"surplus", CLOSE])
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert (answer.text, answer.is_hit) == ("body", is_hit)
