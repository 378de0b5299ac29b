"""What holds of any history of requests, through the whole middleware: keys, ages, 304s and parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule
from rcache.core.dates import format_http_date, parse_http_date
from rcache.core.validation import etag_matches
from tests.asgi.origin import Reply, standing
from tests.support import EPOCH, Answer, HandClock, RawClient

some = settings(max_examples=80, deadline=None)

# Keys


def echo(*, varies: bool) -> Callable[..., Any]:
    """Answers with all that it reads of a request, which is all that its answers depend on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = ""
        if scope["method"] != "GET":
            body = f"{request.headers.get('content-type')}: {(await request.body()).decode()}"
        query = {name: request.query_params.getlist(name) for name in ("q", "page")}
        read = [request.headers.get(name) for name in ("host", "accept-language", "x-user")]
        theme = request.cookies.get("theme")
        headers = {"cache-control": "max-age=60"} | ({"vary": "Accept-Language, X-User"} if varies else {})
        said = [scope["method"], scope["scheme"], scope["path"], query, *read, theme, body]
        await JSONResponse(said, headers=headers)(scope, receive, send)

    return app


EVERYTHING = Rule(
    "/{rest:path}",
    vary=["accept-language"],
    query=["q", "page"],
    cookies=["theme"],
    key_by="x-user",
    methods=["POST", "QUERY"],
)


def maybe(name: str, *values: str) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from([{}, *[{name: value} for value in values]])


asked = st.tuples(
    st.sampled_from(["GET", "GET", "POST", "QUERY"]),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["/", "/a", "/a/", "/b"]),
    st.sampled_from(["", "q=1", "q=2", "q=1&page=2", "page=2&q=1", "q=1&q=2", "q=2&q=1", "utm=x", "q=1&utm=x"]),
    st.tuples(
        st.sampled_from([{"host": "one"}, {"host": "two"}]),
        maybe("accept-language", "de", "en"),
        maybe("x-user", "ada", "bob", ""),
        maybe("content-type", "text/plain", "application/json"),
        maybe("cookie", "theme=dark", "theme=light", "other=1"),
    ).map(lambda parts: {name: value for part in parts for name, value in part.items()}),
    st.sampled_from([b"", b"x", b"y"]),
)


Asked = tuple[str, str, str, str, dict[str, str], bytes]


def twins(one: Asked, other: Asked) -> list[Asked]:
    """The one, and requests that differ from it in a single thing, which is as with the other."""
    found = [one, *[(*one[:place], other[place], *one[place + 1 :]) for place in (0, 1, 2, 3, 5)]]
    for name in one[4].keys() | other[4].keys():
        fields = {key: value for key, value in one[4].items() if key != name}
        fields |= {name: other[4][name]} if name in other[4] else {}
        found.append((*one[:4], fields, one[5]))
    return found  # type: ignore[return-value]


@some
@given(st.builds(twins, asked, asked), st.booleans())
async def test_nobody_is_answered_from_the_entry_of_a_request_with_other_key_material(
    requests: list[Asked], varies: bool
) -> None:
    """Those that are told apart by an answer's own Vary as well as those that a rule tells apart."""
    async with Cache("memory://", clock=HandClock()) as cache:
        app = echo(varies=varies)
        setting: dict[str, Any] = {"standard": True} if varies else {"rules": [EVERYTHING]}
        cached, bare = RawClient(CacheMiddleware(app, cache, **setting)), RawClient(app)
        for method, scheme, path, query, headers, body in [*requests, *requests]:
            body = b"" if method == "GET" else body
            request = (method, f"{path}?{query}", headers, body)
            answer, expected = [await client.request(*request, scheme=scheme) for client in (cached, bare)]
            assert json.loads(answer.body) == json.loads(expected.body)
        if not varies:
            assert answer.is_hit


# Ages

steps = st.one_of(st.integers(-500, 500), st.floats(-3, 3), st.sampled_from([0.0, 1e6, -1e6]))
kinds = st.sampled_from(
    [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"accept-encoding": "gzip"}),
        ("GET", {"range": "bytes=0-0"}),
        ("GET", {"if-none-match": '"v1"'}),
        ("GET", {"cache-control": "no-cache"}),
        ("GET", {"cache-control": "max-stale"}),
    ]
)
TEXT = [("content-type", "text/plain"), ("etag", '"v1"')]


@some
@given(st.lists(st.tuples(steps, kinds), min_size=2, max_size=12), st.integers(0, 50), st.sampled_from([None, "gzip"]))
async def test_no_answer_of_an_entry_is_younger_than_one_before(
    history: list[tuple[float, tuple[str, dict[str, str]]]], age: int, coding: str | None
) -> None:
    """Whatever the clock does, and whether it is fresh, stale on request, or covers for a failure."""
    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        headers = [("cache-control", "max-age=100, stale-if-error=500"), ("age", str(age)), *TEXT]
        first = Reply(headers=headers, body=b"text " * 200)
        client, _ = standing(cache, first, Reply(503), compress=coding)
        ages = [int((await client.get("/")).get("age") or 0)]
        for step, (method, fields) in history:
            clock.now += step
            answer = await client.request(method, "/", fields)
            if answer.status != 503:
                ages.append(int(answer.get("age") or -1))
        assert ages == sorted(ages)


# Conditions


class Versions:
    """An application whose representation changes when a test says so, and which evaluates If-None-Match itself."""

    def __init__(self, etag: str | None, dated: bool, pieces: bool) -> None:
        self.etag, self.dated, self.pieces = etag, dated, pieces
        self.version = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=60")]
        if self.etag is not None:
            headers.append((b"etag", (self.etag % self.version).encode()))
        if self.dated:
            headers.append((b"last-modified", format_http_date(EPOCH - 1000 + self.version)))
        held = request.headers.get("if-none-match", "").encode()
        if self.etag is not None and held and etag_matches(held, headers[2][1]):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        body = b"version %d " % self.version * 100
        if not self.pieces:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


moves = st.tuples(
    st.sampled_from([0, 1, 30, 61, -10]),
    st.booleans(),  # the representation changes
    st.sampled_from(["etag", "weak", "list", "*", "date", "later", "both", "none"]),
    st.integers(0, 20),  # which of the answers before is held
    st.sampled_from([{}, {"accept-encoding": "gzip"}]),
    st.sampled_from(["GET", "HEAD"]),
)


def condition(kind: str, held: Answer) -> dict[str, str]:
    """What a client asks that holds the answer `held`."""
    etag = held.get("etag") or '"unknown"'
    date = held.get("last-modified") or format_http_date(EPOCH).decode()
    later = format_http_date((parse_http_date(date.encode(), EPOCH) or EPOCH) + 1).decode()
    return {
        "etag": {"if-none-match": etag},
        "weak": {"if-none-match": "W/" + etag.removeprefix("W/")},
        "list": {"if-none-match": f'"none", {etag}'},
        "*": {"if-none-match": "*"},
        "date": {"if-modified-since": date},
        "later": {"if-modified-since": later},
        "both": {"if-none-match": etag, "if-modified-since": later},
        "none": {},
    }[kind]


def carries(answer: Answer, conditions: dict[str, str]) -> bool:
    """Whether the whole answer has a validator that these conditions say their client holds."""
    if (said := conditions.get("if-none-match")) is not None:
        return etag_matches(said.encode(), (answer.get("etag") or "").encode() or None)
    since = parse_http_date(conditions.get("if-modified-since", "").encode(), EPOCH)
    modified = parse_http_date((answer.get("last-modified") or "").encode(), EPOCH)
    return since is not None and modified is not None and modified <= since


@some
@given(
    st.lists(moves, min_size=1, max_size=12),
    st.sampled_from([None, '"v%d"', 'W/"v%d"']),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "gzip"]),
)
async def test_a_304_is_sent_only_where_a_200_would_have_carried_that_validator(
    history: list[tuple[int, bool, str, int, dict[str, str], str]],
    etag: str | None,
    dated: bool,
    pieces: bool,
    coding: str | None,
) -> None:
    """Compared with what the same request without conditions is answered at that moment, in the one coding or the other."""
    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        app = Versions(etag, dated, pieces)
        client = RawClient(CacheMiddleware(app, cache, standard=True, compress=coding))
        held: list[Answer] = []
        for step, changes, kind, which, encoding, method in history:
            clock.advance(step)
            app.version += changes
            conditions = condition(kind, held[which % len(held)]) if held else {}
            answer = await client.request(method, "/", {**encoding, **conditions})
            whole = [await client.get("/", fields) for fields in ({}, {"accept-encoding": "gzip"})]
            held += whole
            assert answer.status == 200 or (answer.status == 304 and not answer.body)
            if answer.status == 304:
                met = [each for each in whole if carries(each, conditions)]
                if "if-none-match" not in conditions and not dated:  # compared with when it was received
                    met = whole
                assert met
                # An answer whose chunks are on their way has no ETag computed yet; `*` and dates are judged all the same.
                is_streamed = pieces and etag is None and answer.get("etag") is None
                assert answer.get("etag") in [each.get("etag") for each in met] or is_streamed


# Ranges


def parts(answer: Answer) -> list[tuple[int, int, int, bytes]]:
    """First and last byte, length of the whole, and content of each part of a 206."""
    found = []
    if (one := answer.get("content-range")) is not None:
        pieces = [(one, answer.body)]
    else:
        head = b"Content-Type: " + (answer.get("content-type") or "").encode() + b"\r\n\r\n"
        message = BytesParser().parsebytes(head + answer.body)
        pieces = [(part["content-range"], part.get_payload(decode=True)) for part in message.get_payload()]  # type: ignore[union-attr]
    for said, content in pieces:
        match = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", said)
        assert match is not None, said
        first, last, size = map(int, match.groups())
        found.append((first, last, size, content))
    return found


spec = st.one_of(
    st.tuples(st.integers(0, 5000), st.integers(0, 5000)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.integers(0, 5000).map(lambda first: f"{first}-"),
    st.integers(0, 5000).map(lambda length: f"-{length}"),
)


@some
@given(
    st.lists(st.lists(spec, min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 4000),
    st.sampled_from([None, "gzip"]),
    st.sampled_from([{}, {"accept-encoding": "gzip"}]),
    st.booleans(),
    st.sampled_from([0, 61]),
)
async def test_the_parts_of_a_206_are_the_bytes_of_the_200(
    asked: list[list[str]], size: int, coding: str | None, encoding: dict[str, str], pieces: bool, step: int
) -> None:
    """On a miss, on a hit, and where a stale answer is validated for it."""
    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        body = "".join(f"{number:x}\n" for number in range(size)).encode()[:size]
        headers = [("cache-control", "max-age=60"), *TEXT]
        reply = Reply(headers=headers, body=body, pieces=[body] if pieces else None)
        client, _ = standing(cache, reply, Reply(304), compress=coding)
        answers = []
        for specs in asked:
            answers.append(await client.get("/", {**encoding, "range": "bytes=" + ", ".join(specs)}))
            clock.advance(step)
        whole = await client.get("/", encoding)
        for answer in answers:
            if answer.status == 206:
                assert answer.get("etag") == whole.get("etag")
                assert answer.get("content-encoding") == whole.get("content-encoding")
                assert answer.get("content-length") == str(len(answer.body))
                for first, last, length, content in parts(answer):
                    assert (length, content) == (len(whole.body), whole.body[first : last + 1])
                    assert 0 <= first <= last < length
            elif answer.status == 416:
                assert answer.get("content-range") in (f"bytes */{len(whole.body)}", f"bytes */{len(body)}")
            else:
                assert answer.status == 200


@pytest.mark.parametrize("encoding", [{}, {"accept-encoding": "gzip"}])
async def test_there_are_parts_to_look_at(cache: Cache, encoding: dict[str, str]) -> None:
    body = "".join(f"{number:x}\n" for number in range(2000)).encode()
    client, _ = standing(cache, Reply(headers=[("cache-control", "max-age=60"), *TEXT], body=body), compress="gzip")
    await client.get("/")
    one = await client.get("/", {**encoding, "range": "bytes=1-2"})
    assert [part[:2] for part in parts(one)] == [(1, 2)]
    if not encoding:
        several = await client.get("/", {"range": "bytes=1-2, 5-6"})
        assert [part[:2] for part in parts(several)] == [(1, 2), (5, 6)]
        assert parts(several)[1][3] == body[5:7]
