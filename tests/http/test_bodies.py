"""Request bodies on their way through: to the origin, and never into a key."""

from __future__ import annotations

import pytest

from tests.http.client import request
from tests.http.site import Site
from tests.http.wire import response

FRESH = ("Cache-Control", "max-age=60")


async def test_a_body_with_a_length_reaches_the_origin_and_its_answer_is_not_stored(site: Site):
    site.origin.answers(lambda received: response(201, [FRESH], received.body))
    for text in ("first", "second"):
        answer = await site.request("POST", "/a", {"Content-Type": "text/plain"}, text)
        assert (answer.status, answer.text) == (201, text)
        assert (site.origin.last.method, site.origin.last.get("content-type")) == ("POST", "text/plain")
        assert (site.origin.last.get("content-length"), site.origin.last.body) == (str(len(text)), text.encode())
    assert site.entries == 0


async def test_a_body_in_chunks_reaches_the_origin(site: Site):
    site.origin.answers(lambda received: response(200, (), received.body))
    async with site.connect() as connection:
        await connection.send(b"PUT /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await connection.send(b"3;ext=1\r\ntwo\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert (await connection.read()).text == "onetwo"
    assert (site.origin.last.get("transfer-encoding"), site.origin.last.get("content-length")) == ("chunked", None)


async def test_a_large_body_reaches_the_origin_whole(site: Site):
    body = b"0123456789abcdef" * 100_000
    site.origin.answers(lambda received: response(200, (), str(len(received.body))))
    assert (await site.request("POST", "/a", (), body)).text == str(len(body))
    assert site.origin.last.body == body


async def test_a_client_that_waits_for_100_continue_gets_it(site: Site):
    site.origin.answers(lambda received: response(200, (), received.body))
    async with site.connect() as connection:
        await connection.send(request("POST", "/a", {"Expect": "100-continue", "Content-Length": "4"}))
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"body")
        assert (await connection.read()).text == "body"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_get_with_a_body_is_the_origins_alone(site: Site, method: str):
    site.origin.answers(lambda received: response(200, [FRESH], "" if method == "HEAD" else received.body))
    for text in ("one", "two"):
        answer = await site.request(method, "/a", (), text)
        assert answer.cache == "rcache; fwd=bypass; detail=body"
        assert site.origin.last.body == text.encode()
    assert site.entries == 0
