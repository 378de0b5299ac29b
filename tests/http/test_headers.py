"""Repeated and odd fields, both ways, through a cache that keeps them as they came."""

from __future__ import annotations

import pytest

from tests.http.site import Site
from tests.http.wire import response

FRESH = ("Cache-Control", "max-age=60")


def lines(answer_headers: list[tuple[bytes, bytes]], *names: bytes) -> list[tuple[bytes, bytes]]:
    """The lines of these fields in their order, names in lower case: two of the servers send them so."""
    return [(name.lower(), value) for name, value in answer_headers if name.lower() in names]


async def test_repeated_lines_come_in_their_order_from_the_origin_and_from_the_store(site: Site):
    fields = [FRESH, ("Link", "</a>"), ("X-Many", "1"), ("LINK", "</b>, </c>"), ("x-many", ""), ("X-Many", "2")]
    site.origin.plays(response(200, fields, "body"))
    expected = [(b"link", b"</a>"), (b"x-many", b"1"), (b"link", b"</b>, </c>"), (b"x-many", b""), (b"x-many", b"2")]
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert answer.is_hit is is_hit
        if site.served.name == "granian":  # it puts lines of one name together
            expected = sorted(expected, key=lambda line: line[0])
        assert lines(answer.headers, b"link", b"x-many") == expected


async def test_two_cookies_reach_their_client_and_nobody_else(site: Site):
    site.origin.answers(
        lambda received: response(200, [FRESH, ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")], "body")
    )
    for _ in range(2):
        answer = await site.get("/a")
        assert answer.all("set-cookie") == ["a=1; Path=/", "b=2"]
        assert "detail=set-cookie" in (answer.cache or "")
    assert (len(site.origin.requests), site.entries) == (2, 0)


async def test_two_lines_of_vary_both_count(site: Site):
    site.origin.answers(
        lambda received: response(
            200,
            [FRESH, ("Vary", "X-One"), ("vary", "x-two")],
            f"{received.get('x-one')} {received.get('x-two')}",
        )
    )
    told = [
        (await site.get("/a", {"X-One": one, "X-Two": two})).text
        for one, two in (("1", "1"), ("1", "2"), ("2", "1"), ("1", "1"), ("1", "2"), ("2", "1"))
    ]
    assert told == ["1 1", "1 2", "2 1"] * 2
    assert len(site.origin.requests) == 3
    assert (await site.get("/a", {"X-One": "1", "X-Two": "1"})).all("vary") == ["X-One", "x-two"]


@pytest.mark.parametrize(
    ("headers", "cache"),
    [
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "s-maxage=5")], "rcache; hit; ttl=5"),
        ([("cache-CONTROL", "Max-Age=60"), ("Cache-Control", "")], "rcache; hit; ttl=60"),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")], "rcache; fwd=bypass; detail=no-store"),
        ([("Cache-Control", "public"), ("cache-control", "max-age=60, private")], "rcache; fwd=bypass; detail=private"),
    ],
)
async def test_all_lines_of_cache_control_count_in_any_case(site: Site, headers: list[tuple[str, str]], cache: str):
    site.origin.answers(lambda received: response(200, headers, "body"))
    assert (await site.get("/a")).all("cache-control") == [value for _, value in headers]
    assert (await site.get("/a")).cache == cache


async def test_what_caches_of_the_origins_have_said_stays_before_what_rcache_says(site: Site):
    site.origin.plays(
        response(200, [FRESH, ("Cache-Status", "Edge; hit; ttl=9"), ("cache-status", "Core; fwd=miss")], "body")
    )
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert answer.all("cache-status")[:-1] == ["Edge; hit; ttl=9", "Core; fwd=miss"]
        assert answer.is_hit is is_hit


async def test_latin_1_and_odd_characters_survive(site: Site):
    fields = [
        FRESH,
        ("X-Name", "Z\xfcrich \xff"),
        ("X-Quoted", '"a\\"b", c;d="\xe9"'),
        ("X-Tab", "a\tb"),
        ("x!#$%&'*+-.^_`|~", "odd"),
    ]
    site.origin.plays(response(200, [*fields, ("ETag", '"\xfc"')], "body"))
    for is_hit in (False, True):
        answer = await site.get("/a")
        assert answer.is_hit is is_hit
        for name, value in fields:
            assert answer.get(name) == value
        assert answer.get("etag") == '"\xfc"'
    assert (await site.get("/a", {"If-None-Match": '"\xfc"'})).status == 304


async def test_names_in_odd_case_are_understood(site: Site):
    site.origin.plays(
        response(200, [("eTAG", '"v1"'), ("CACHE-control", "MAX-AGE=60"), ("content-TYPE", "text/plain")], "body")
    )
    await site.get("/a")
    hit = await site.get("/a")
    assert (hit.is_hit, hit.get("etag"), hit.get("content-type")) == (True, '"v1"', "text/plain")
    assert (await site.get("/a", {"If-None-Match": '"v1"'})).status == 304


async def test_names_keep_their_case_on_a_miss_where_the_server_lets_them(site: Site):
    site.origin.plays(response(200, [FRESH, ("X-OdD", "1")], "body"))
    is_kept = site.served.name in ("uvicorn-h11", "hypercorn")
    assert ((b"X-OdD", b"1") in (await site.get("/a")).headers) is is_kept
    assert (b"x-odd", b"1") in (await site.get("/a")).headers


async def test_what_belongs_to_the_origins_connection_is_not_said_again(site: Site):
    site.proxy.hop_by_hop = True
    hop = [("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic")]
    site.origin.plays(response(200, [FRESH, *hop, ("X-Kept", "1")], "body"))
    assert (await site.get("/a")).get("x-hop") == "1"
    hit = await site.get("/a")
    assert (hit.is_hit, hit.get("x-kept")) == (True, "1")
    for name in ("x-hop", "keep-alive", "proxy-authenticate"):
        assert hit.all(name) == []


# Requests


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [({"Authorization": "Basic YTpi"}, "authorization"), ({"Cookie": "session=1"}, "cookie")],
)
async def test_requests_of_somebody_are_answered_by_the_origin_unless_it_says_public(
    site: Site, credentials: dict[str, str], reason: str
):
    site.origin.plays(*[response(200, [FRESH], text) for text in ("own", "everybody's", "own again")])
    first = await site.get("/a", credentials)
    assert (first.text, first.cache) == ("own", f"rcache; fwd=bypass; detail={reason}")
    assert (await site.get("/a")).text == "everybody's"
    assert (await site.get("/a", credentials)).text == "own again"
    assert site.origin.last.all(next(iter(credentials))) == list(credentials.values())
    site.origin.plays(response(200, {"Cache-Control": "max-age=60, public"}, "shared"))
    assert [(await site.get("/b", credentials)).text for _ in range(2)] == ["shared", "shared"]


async def test_a_request_that_passes_reaches_the_origin_as_it_came(site: Site):
    site.wrap(rules=[])
    site.origin.plays(response(206, {"Content-Range": "bytes 0-0/4"}, "b"))
    fields = [("X-A", "1"), ("x-a", "\xe4"), ("Range", "bytes=0-0"), ("If-None-Match", '"v1"'), ("Cookie", "a=1")]
    answer = await site.get("/a%20b/%e4%2F?x=%41&x&=", [*fields, ("Cookie", "b=2")])
    assert (answer.status, answer.text, answer.cache) == (206, "b", None)
    received = site.origin.last
    assert received.target == "/a%20b/%e4%2F?x=%41&x&="
    expected = [(name.lower().encode(), value.encode("latin-1")) for name, value in (*fields, ("Cookie", "b=2"))]
    assert received.headers == [(b"host", b"site.test"), *expected]


async def test_a_miss_shows_the_origin_the_fields_that_select_among_its_answers(site: Site):
    site.origin.plays(response(200, [FRESH, ("Vary", "Accept-Language, Accept-Encoding")], "body"))
    await site.get("/a", [("Accept-Language", "de"), ("Accept-Language", "en;q=0.5"), ("Accept-Encoding", "br")])
    assert site.origin.last.all("accept-language") == ["de", "en;q=0.5"]
    assert site.origin.last.all("accept-encoding") == ["br"]
    spelled = {"Accept-Language": "de,en;q=0.50", "Accept-Encoding": "BR"}
    assert (await site.get("/a", spelled)).is_hit


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a%2Fb", "/a/b"),
        ("/a?x=1", "/a%3Fx=1"),
        ("/%e4", "/%c3%a4"),
        ("/a", "/a/"),
        ("/a?x=1", "/a?x=2"),
        ("/a;b", "/a"),
    ],
)
async def test_targets_that_differ_have_entries_of_their_own(site: Site, first: str, second: str):
    site.origin.answers(lambda received: response(200, [FRESH], received.target))
    assert [(await site.get(target)).text for target in (first, second, first, second)] == [first, second] * 2
    assert len(site.origin.requests) == 2


async def test_hosts_have_entries_of_their_own(site: Site):
    site.origin.answers(lambda received: response(200, [FRESH], received.get("host") or ""))
    for _ in range(2):
        for host in ("a.test", "b.test"):
            assert (await site.get("/", {"Host": host})).text == host
    assert (await site.get("/", {"Host": "A.TEST"})).text == "a.test"
    assert len(site.origin.requests) == 2
