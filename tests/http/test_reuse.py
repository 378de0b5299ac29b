"""Which stored answer meets a request (RFC 9111 §4): Vary, and what clients ask of caches."""

from __future__ import annotations

from typing import Any

import pytest

from rcache import Rule
from tests.http.origin import Received
from tests.http.site import Site, on_one_server
from tests.http.wire import Given, head, response

FRESH = ("Cache-Control", "max-age=60")


def varying(site: Site, *vary: str) -> None:
    """The origin answers differently to each request, and says what its answers depend on."""

    def answer(received: Received) -> bytes:
        return response(200, [FRESH, *[("Vary", line) for line in vary]], str(len(site.origin.requests)))

    site.origin.answers(answer)


async def are_one(site: Site, first: Given, second: Given) -> bool:
    """Whether the answer to the first request meets the second."""
    told = [(await site.get("/", fields)).text for fields in (first, second, first, second)]
    assert told[:2] == told[2:]
    return told[0] == told[1]


# Vary


@pytest.mark.parametrize(
    ("vary", "first", "second", "one"),
    [
        (["X-A"], [("X-A", "1")], [("X-A", "1")], True),
        (["X-A"], [("X-A", "1")], [("X-A", "2")], False),
        (["X-A"], [("X-A", "1")], [], False),
        (["X-A"], [("X-A", "")], [], False),
        (["X-A"], [], [], True),
        (["x-a"], [("X-A", "1"), ("X-B", "1")], [("x-A", "1"), ("X-B", "2")], True),
        (["X-A, X-B"], [("X-A", "1"), ("X-B", "2")], [("X-B", "2"), ("X-A", "1")], True),
        (["X-A, X-B"], [("X-A", "1"), ("X-B", "2")], [("X-A", "1"), ("X-B", "3")], False),
        (["X-A, X-B"], [("X-A", "1")], [("X-A", "1"), ("X-B", "")], False),
        (["X-A", "X-B"], [("X-A", "1"), ("X-B", "2")], [("X-A", "1"), ("X-B", "3")], False),
        ([" X-A ,, x-b"], [("X-A", "1"), ("X-B", "2")], [("X-A", "1"), ("X-B", "3")], False),
        (["X-A, X-B, X-C"], [("X-A", "1"), ("X-C", "3")], [("X-C", "3"), ("X-A", "1")], True),
        (["X-A, X-B"], [("X-A", "2"), ("X-B", "1")], [("X-A", "1"), ("X-B", "2")], False),
        (["X-A"], [("X-A", "1, 2")], [("X-A", "1"), ("X-A", "2")], True),
        (["X-A"], [("X-A", "1"), ("X-A", "2")], [("X-A", "2"), ("X-A", "1")], False),
        (["X-A"], [("X-A", "a")], [("X-A", "A")], False),
        (["X-A"], [("X-A", "  1\t")], [("X-A", "1")], True),
        (["Accept-Language"], [("Accept-Language", "en, de;q=0.5")], [("Accept-Language", "EN ,de; q=0.50")], True),
        (
            ["Accept-Language"],
            [("Accept-Language", "en"), ("accept-language", "de")],
            [("Accept-Language", "en,de")],
            True,
        ),
        (["Accept-Language"], [("Accept-Language", "en, de")], [("Accept-Language", "de, en")], False),
        (["Accept-Encoding"], [("Accept-Encoding", "br, gzip")], [("Accept-Encoding", "GZIP;q=0.5,br")], True),
        (["Accept-Encoding"], [("Accept-Encoding", "gzip")], [("Accept-Encoding", "gzip;q=0")], False),
        (["Host"], [], [], True),
    ],
    ids=str,
)
@on_one_server
async def test_the_fields_that_vary_names_select_an_answer(
    site: Site, vary: list[str], first: Given, second: Given, one: bool
):
    site.wrap(standard=True)
    varying(site, *vary)
    assert await are_one(site, first, second) is one


@pytest.mark.parametrize("vary", ["*", "X-A, *", " *", "*, X-A"])
@on_one_server
async def test_an_answer_that_varies_on_anything_meets_no_request(site: Site, vary: str):
    site.wrap(profile="conformant")
    varying(site, vary)
    assert [(await site.get("/", {"X-A": "1"})).text for _ in range(3)] == ["0", "1", "2"]


async def test_each_variant_is_stored_and_ages_by_itself(site: Site):
    site.wrap(profile="conformant")
    varying(site, "X-A")
    for value in ("1", "2", "3"):
        await site.get("/", {"X-A": value})
        site.clock.advance(20)
    ages = [(await site.get("/", {"X-A": value})).get("age") for value in ("2", "3")]
    assert ages == ["40", "20"]
    assert not (await site.get("/", {"X-A": "1"})).is_hit
    assert (await site.get("/", {"X-A": "2"})).get("age") == "40"


@pytest.mark.parametrize("then", ["X-B", "X-A, X-B"])
async def test_of_answers_that_differ_in_vary_the_most_recent_match_counts(site: Site, then: str):
    site.wrap(profile="conformant")
    asked = {"X-A": "1", "X-B": "1"}
    site.origin.plays(
        response(200, [FRESH, ("Vary", "X-A")], "0"),
        response(200, [FRESH, ("Vary", then)], "1"),
    )
    await site.get("/", asked)
    site.clock.advance(1)
    assert (await site.get("/", {**asked, "Cache-Control": "no-cache"})).text == "1"
    site.clock.advance(1)
    answer = await site.get("/", asked)
    assert (answer.text, answer.is_hit, answer.get("age")) == ("1", True, "1")


# What a client asks for

ASKED: list[tuple[list[tuple[str, str]], int, str]] = [
    ([("Cache-Control", "no-cache")], 0, "fwd=request"),
    ([("Cache-Control", "No-Cache")], 0, "fwd=request"),
    ([("Cache-Control", "foo"), ("Cache-Control", "no-cache")], 0, "fwd=request"),
    ([("Cache-Control", "no-cache=foo")], 0, "fwd=request"),
    ([("Pragma", "no-cache")], 0, "fwd=request"),
    ([("Pragma", "foo"), ("pragma", "No-Cache")], 0, "fwd=request"),
    ([("Pragma", "no-cache"), ("Cache-Control", "foo")], 0, "hit"),
    ([("Pragma", "foo")], 0, "hit"),
    ([("Cache-Control", "max-age=0")], 0, "hit"),
    ([("Cache-Control", "max-age=0")], 1, "fwd=request"),
    ([("Cache-Control", "max-age=5")], 5, "hit"),
    ([("Cache-Control", "max-age=5")], 6, "fwd=request"),
    ([("Cache-Control", 'MAX-AGE="5"')], 6, "fwd=request"),
    ([("Cache-Control", "max-age=50, max-age=5")], 6, "fwd=request"),
    ([("Cache-Control", "max-age=50"), ("Cache-Control", "max-age=5")], 6, "fwd=request"),
    ([("Cache-Control", "max-age")], 1, "fwd=request"),
    ([("Cache-Control", "max-age=4294967296")], 59, "hit"),
    ([("Cache-Control", "max-age=600")], 61, "fwd=stale"),
    ([("Cache-Control", "min-fresh=10")], 50, "hit"),
    ([("Cache-Control", "min-fresh=10")], 51, "fwd=request"),
    ([("Cache-Control", "min-fresh=garbage")], 0, "fwd=request"),
    ([("Cache-Control", "max-stale")], 600, "hit"),
    ([("Cache-Control", "max-stale=10")], 70, "hit"),
    ([("Cache-Control", "max-stale=10")], 71, "fwd=stale"),
    ([("Cache-Control", "max-stale=garbage")], 61, "fwd=stale"),
    ([("Cache-Control", "max-stale, max-stale=10")], 71, "fwd=stale"),
    ([("Cache-Control", "max-age=100, max-stale=10")], 65, "hit"),
    ([("Cache-Control", "max-age=50, max-stale=10")], 65, "fwd=stale"),
    ([("Cache-Control", "no-store")], 1, "hit"),
    ([("Cache-Control", "only-if-cached")], 59, "hit"),
    ([("Cache-Control", "only-if-cached, max-stale")], 61, "hit"),
    ([("Cache-Control", "public, s-maxage=0, must-revalidate, unknown")], 59, "hit"),
]


@pytest.mark.parametrize(("asked", "elapsed", "expected"), ASKED, ids=str)
@on_one_server
async def test_what_a_client_asks_for_is_done(site: Site, asked: list[tuple[str, str]], elapsed: int, expected: str):
    site.wrap(profile="conformant")
    site.origin.answers(lambda received: response(200, [FRESH, ("ETag", '"v1"')], "body"))
    await site.get("/")
    site.clock.advance(elapsed)
    answer = await site.get("/", asked)
    assert (answer.status, answer.text) == (200, "body")
    assert (answer.cache or "").startswith(f"rcache; {expected}")


SETTINGS: dict[str, dict[str, Any]] = {
    "/a": {"standard": True},
    "/b": {"standard": True, "client_may_refresh": False},
    "/c": {"rules": [Rule("/c")]},
    "/d": {"rules": [Rule("/d", client_may_refresh=True)]},
}


@pytest.mark.parametrize(
    "asked", [{"Cache-Control": "no-cache"}, {"Pragma": "no-cache"}, {"Cache-Control": "max-age=0"}], ids=str
)
@on_one_server
async def test_clients_force_a_miss_only_where_they_may(site: Site, asked: dict[str, str]):
    varying(site)
    told = []
    for target, settings in SETTINGS.items():
        site.wrap(**settings)
        await site.get(target)
        site.clock.advance(1)
        told.append((await site.get(target, asked)).is_hit)
    assert told == [False, True, True, False]


async def test_a_reload_takes_the_place_of_what_was_stored(site: Site):
    site.wrap(profile="conformant")
    varying(site)
    await site.get("/")
    assert (await site.get("/", {"Cache-Control": "no-cache"})).text == "1"
    assert (await site.get("/")).text == "1"


async def test_only_if_cached_is_answered_504_where_nothing_is(site: Site):
    site.wrap(profile="conformant")
    varying(site)
    only = {"Cache-Control": "Only-If-Cached"}
    for method in ("GET", "HEAD"):
        answer = await site.request(method, "/", only)
        assert (answer.status, answer.body, answer.cache) == (504, b"", "rcache; detail=only-if-cached")
    await site.get("/")
    assert (await site.get("/", only)).is_hit
    site.clock.advance(61)
    assert (await site.get("/", only)).status == 504
    assert len(site.origin.requests) == 1


async def test_of_a_request_with_no_store_nothing_is_kept(site: Site):
    site.wrap(profile="conformant")
    varying(site)
    for text in ("0", "1"):
        answer = await site.get("/", {"Cache-Control": "no-store"})
        assert (answer.text, answer.cache) == (text, "rcache; fwd=request; detail=no-store")
    assert site.entries == 0


async def test_what_a_client_asks_of_caches_reaches_the_origin_on_a_miss(site: Site):
    site.wrap(profile="conformant")
    varying(site)
    await site.get("/", [("Cache-Control", "no-cache, foo=bar"), ("Pragma", "no-cache")])
    assert (site.origin.last.get("cache-control"), site.origin.last.get("pragma")) == ("no-cache, foo=bar", "no-cache")


@on_one_server
async def test_what_a_reload_found_not_to_be_stored_any_more_is_not_served_from_before(site: Site):
    site.wrap(profile="conformant")
    site.origin.plays(
        response(200, [FRESH], "old"),
        response(200, {"Cache-Control": "no-store"}, "new"),
        response(200, [FRESH], "newest"),
    )
    await site.get("/")
    assert (await site.get("/", {"Cache-Control": "no-cache"})).text == "new"
    assert (await site.get("/")).text == "newest"


@on_one_server
async def test_a_304_to_a_reload_that_forbids_storing(site: Site):
    site.wrap(profile="conformant")
    site.origin.plays(
        response(200, [FRESH, ("ETag", '"v1"')], "old"),
        head(304, {"Cache-Control": "no-store", "ETag": '"v1"'}),
        response(200, [FRESH], "newest"),
    )
    await site.get("/")
    assert (await site.get("/", {"Cache-Control": "no-cache"})).text == "old"
    assert (await site.get("/")).text == "newest"
