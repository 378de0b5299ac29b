"""What is stored of what an origin says, and what is not (RFC 9111 §3), with fields as they arrive from it."""

from __future__ import annotations

import pytest

from tests.http.origin import Script
from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response

FRESH = ("Cache-Control", "max-age=60")

Lines = list[tuple[str, str]]


async def is_stored(site: Site, script: Script, headers: Lines | None = None) -> bool:
    """Whether the second of two requests with these fields is answered from the store, with what the first one got."""
    site.origin.answers(lambda received: script)
    answers = [await site.get("/", headers or []) for _ in range(2)]
    assert [(each.status, each.body) for each in answers[1:]] == [(each.status, each.body) for each in answers[:1]]
    return answers[1].is_hit


# Statuses

FOR_ALL = (200, 201, 202, 203, 226, 299, 300, 301, 302, 303, 307, 308, 399)
FAILURES = (400, 401, 403, 404, 405, 410, 414, 418, 451, 499, 500, 501, 502, 503, 504, 599)


@on_one_server
@pytest.mark.parametrize("status", [*FOR_ALL, *FAILURES])
async def test_explicit_freshness_makes_every_final_status_one_to_store(site: Site, status: int):
    site.wrap(profile="conformant")
    assert await is_stored(site, response(status, [FRESH], "body"))


@on_one_server
@pytest.mark.parametrize("status", [304, 412, 416, 417, 428, 429, 431, 511])
async def test_what_answers_the_demands_of_one_request_is_for_nobody_else(site: Site, status: int):
    site.wrap(profile="conformant")
    assert not await is_stored(site, head(304, [FRESH]) if status == 304 else response(status, [FRESH], "body"))


@on_one_server
@pytest.mark.parametrize("status", [*FOR_ALL, *FAILURES])
async def test_a_status_without_freshness_is_stored_only_if_it_is_one_to_guess_by(site: Site, status: int):
    site.wrap(standard=True)
    assert not await is_stored(site, response(status, (), "body"))


@on_one_server
@pytest.mark.parametrize(
    ("status", "control", "stored"),
    [
        (200, "must-understand, max-age=60", True),
        (200, "must-understand, no-store, max-age=60", True),
        (200, "no-store, MUST-UNDERSTAND, max-age=60", True),
        (200, "must-understand=no, no-store, max-age=60", False),
        (404, "must-understand, no-store, max-age=60", True),
        (299, "must-understand, max-age=60", False),
        (599, "must-understand, no-store, max-age=60", False),
        (200, "must-understand, private, max-age=60", False),
    ],
)
async def test_must_understand_sets_no_store_aside_for_statuses_that_are_understood(
    site: Site, status: int, control: str, stored: bool
):
    site.wrap(profile="conformant")
    assert await is_stored(site, response(status, {"Cache-Control": control}, "body")) is stored


# Directives


@pytest.mark.parametrize(
    "lines", [["no-store"], ["max-age=60", "No-StOrE"], ['max-age=60, foo, no-store="x"']], ids=str
)
@on_one_server
async def test_what_must_not_be_stored_is_not(site: Site, lines: list[str]):
    site.wrap(profile="conformant")
    assert not await is_stored(site, response(200, [("Cache-Control", line) for line in lines], "body"))
    assert site.entries == 0


@on_one_server
@pytest.mark.parametrize(
    "control",
    [
        "private",
        "PRIVATE",
        "private=foo bar",
        'private=""',
        "private=?",
        "max-age=60; private",
        "max-age=60 no-store",
        "no-store; max-age=60",
        'private="Content-Type"',
        'private="vary, x-a"',
    ],
)
async def test_what_cannot_be_read_forbids_as_much_as_it_could(site: Site, control: str):
    site.wrap(profile="conformant")
    headers = [FRESH, ("Expires", "Fri, 15 Jan 2027 09:00:00 GMT"), ("Cache-Control", control), ("Vary", "X-A")]
    assert not await is_stored(site, response(200, headers, "body"))


@pytest.mark.parametrize(
    ("control", "gone"),
    [
        ('no-cache="X-A"', {"x-a"}),
        ("no-cache=x-a", {"x-a"}),
        ('private="x-a, X-B"', {"x-a", "x-b"}),
        ('no-cache="x-a", private="X-B"', {"x-a", "x-b"}),
        ('private=" x-a ,, x-unknown"', {"x-a"}),
        ('no-cache="Set-Cookie"', {"set-cookie"}),
    ],
)
async def test_fields_that_are_named_reach_their_client_and_are_not_stored(site: Site, control: str, gone: set[str]):
    site.wrap(profile="conformant")
    marked = {"x-a": ["1", "2"], "x-b": ["3"], "x-c": ["4"], "set-cookie": ["a=1", "b=2"]}
    lines = [(name, value) for name, values in marked.items() for value in values]
    site.origin.plays(response(200, [("Cache-Control", control), *lines, FRESH], "body"))
    first, second = await site.get("/"), await site.get("/")
    assert second.is_hit
    for name, values in marked.items():
        assert first.all(name) == values
        assert second.all(name) == ([] if name in gone else values)


@pytest.mark.parametrize("control", ["no-cache", "max-age=60, No-Cache", "no-cache, max-age=60, must-revalidate"])
@on_one_server
async def test_no_cache_is_stored_where_it_can_be_validated_and_only_there(site: Site, control: str):
    site.wrap(profile="conformant")
    site.origin.plays(
        response(200, [("Cache-Control", control), ("ETag", '"v1"')], "body"),
        head(304, [("ETag", '"v1"')]),
        response(200, {"Cache-Control": control}, "bare"),
    )
    assert (await site.get("/a")).is_stored
    answer = await site.get("/a")
    assert (answer.text, answer.cache) == ("body", "rcache; fwd=stale; fwd-status=304; stored")
    assert (await site.get("/b")).cache == "rcache; fwd=miss; detail=no-cache"
    assert site.entries == 1


# Credentials


@pytest.mark.parametrize(
    ("control", "stored"),
    [
        ("max-age=60", False),
        ("max-age=60, public", True),
        ("s-maxage=60", True),
        ("s-maxage=60, max-age=7", True),
        ("max-age=60, must-revalidate", True),
        ("max-age=60, proxy-revalidate", False),
        ("max-age=60, PuBlIc", True),
        ("max-age=60, public=no", False),
        ("max-age=60, public, private", False),
    ],
)
@on_one_server
async def test_answers_to_requests_with_authorization_are_stored_where_they_say_so(
    site: Site, control: str, stored: bool
):
    site.wrap(profile="conformant")
    site.origin.answers(
        lambda received: response(200, {"Cache-Control": control}, received.get("authorization") or "-")
    )
    one, two = {"Authorization": "Basic b25l"}, {"authorization": "Basic dHdv"}
    assert (await site.get("/", one)).text == one["Authorization"]
    assert (await site.get("/", two)).is_hit is stored
    assert (await site.get("/")).is_hit is stored


async def test_what_was_stored_for_nobody_answers_nobody_with_authorization_unless_it_says_so(site: Site):
    site.wrap(profile="conformant")
    site.origin.answers(lambda received: response(200, [FRESH], received.get("authorization") or "-"))
    await site.get("/")
    answer = await site.get("/", {"Authorization": "Basic b25l"})
    assert (answer.text, answer.cache) == ("Basic b25l", "rcache; fwd=bypass; detail=authorization")
    assert (await site.get("/")).text == "-"


# Fields


async def test_fields_of_one_connection_and_of_proxies_are_not_stored(site: Site):
    site.wrap(profile="conformant")
    site.proxy.hop_by_hop = True
    hop = [
        ("Connection", "x-one"),
        ("connection", "X-Two , ,X-THREE,close"),
        ("X-One", "1"),
        ("x-two", "2"),
        ("X-Three", "3"),
        ("x-THREE", "4"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authentication-Info", "x"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
    ]
    kept = [("Proxy-Status", "edge; error=dns_error"), ("WWW-Authenticate", "Basic"), ("X-Kept", "1")]
    site.origin.plays(response(200, [FRESH, *hop, *kept], "body"))
    await site.get("/")
    answer = await site.get("/")
    assert answer.is_hit
    assert [name for name in {name.lower() for name, _ in hop} - {"connection"} if answer.all(name)] == []
    assert "x-two" not in ",".join(answer.all("connection")).lower()
    for name, value in kept:
        assert answer.get(name) == value


async def test_fields_that_nobody_knows_are_kept_whole(site: Site):
    site.wrap(profile="conformant")
    kept = [
        ("X-Long", 'a, b;c="d, e" ' * 100 + "."),
        ("Content-Foo", "1"),
        ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("Content-Location", "/elsewhere"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("Content-Disposition", 'attachment; filename="a.txt"'),
        ("Clear-Site-Data", '"cookies"'),
        ("Strict-Transport-Security", "max-age=1"),
        ("Set-Cookie2", "a=1"),
        ("Pragma", "no-cache"),  # means nothing in a response
        ("Warning", '110 - "Response is Stale"'),
        ("Surrogate-Control", "no-store"),  # is not addressed to us
        ("Etag", '"v1"'),
        ("X-Empty", ""),
    ]
    site.origin.plays(response(200, [FRESH, *kept], "body"))
    await site.get("/")
    answer = await site.get("/")
    assert answer.is_hit
    for name, value in kept:
        assert answer.get(name) == value


@pytest.mark.parametrize(
    ("settings", "stored"), [({"profile": "conformant"}, True), ({"standard": True}, False)], ids=str
)
async def test_set_cookie_twice_is_stored_as_the_setting_says(site: Site, settings: dict[str, object], stored: bool):
    site.wrap(**settings)
    site.origin.answers(
        lambda received: response(200, [("Set-Cookie", "a=1"), FRESH, ("SET-cookie", "b=2; Secure")], "body")
    )
    for is_hit in (False, stored):
        answer = await site.get("/")
        assert (answer.all("set-cookie"), answer.is_hit) == (["a=1", "b=2; Secure"], is_hit)


@pytest.mark.parametrize("profile", ["conformant", None])
async def test_a_cookie_in_the_request_matters_where_the_standards_are_not_all(site: Site, profile: str | None):
    site.wrap(profile=profile, standard=True)
    site.origin.answers(lambda received: response(200, [FRESH], received.get("cookie") or "-"))
    await site.get("/")
    assert (await site.get("/", {"Cookie": "a=1"})).is_hit is (profile is not None)


# Bodies


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (response(206, [FRESH, ("Content-Range", "bytes 0-3/9")], "part"), "partial"),
        (response(200, [FRESH, ("Content-Range", "bytes 0-3/9")], "part"), "partial"),
        (response(200, [FRESH, ("Content-Type", "Text/Event-Stream; charset=utf-8")], "data: 1\n\n"), "stream"),
        (response(200, [FRESH, ("Vary", "X-A"), ("vary", " * ")], "body"), "vary"),
        (response(200, [FRESH, ("Vary", "a b")], "body"), "vary"),
    ],
    ids=["206", "Content-Range", "event stream", "Vary: *", "Vary that is none"],
)
async def test_what_is_not_whole_or_has_no_end_is_not_stored(site: Site, script: bytes, why: str):
    site.wrap(profile="conformant")
    site.origin.plays(script)
    answer = await site.get("/")
    assert (answer.cache, site.entries) == (f"rcache; fwd=miss; detail={why}", 0)


async def test_an_empty_body_is_one(site: Site):
    site.wrap(profile="conformant")
    site.origin.plays(response(200, [FRESH]), chunked(200, [FRESH]))
    for target in ("/a", "/b"):
        for is_hit in (False, True):
            answer = await site.get(target)
            assert (answer.status, answer.body, answer.is_hit) == (200, b"", is_hit)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "POST", "PUT"])
async def test_answers_to_other_methods_are_no_answers_to_get(site: Site, method: str):
    site.wrap(profile="conformant")
    site.origin.plays(
        head(200, [FRESH, ("Content-Length", "5")]) if method == "HEAD" else response(200, [FRESH], "other"),
        response(200, [FRESH], "body"),
    )
    await site.request(method, "/")
    answer = await site.get("/")
    assert (answer.text, answer.is_hit) == ("body", False)


async def test_what_is_stale_does_not_come_back_once_its_origin_says_something_not_to_be_stored(site: Site):
    site.wrap(profile="conformant")
    site.origin.plays(
        response(200, [FRESH], "old"),
        response(200, {"Cache-Control": "no-store"}, "new"),
        response(200, [FRESH], "newest"),
    )
    await site.get("/")
    site.clock.advance(61)
    assert (await site.get("/")).text == "new"
    assert (await site.get("/", {"Cache-Control": "max-stale"})).text == "newest"
