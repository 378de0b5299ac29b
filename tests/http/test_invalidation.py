"""What an unsafe request that succeeds leaves of what is stored (RFC 9111 §4.4), and groups of it (RFC 9875)."""

from __future__ import annotations

import pytest

from rcache import Rule
from tests.http.client import request
from tests.http.origin import CLOSE, Received
from tests.http.site import Site, on_one_server
from tests.http.wire import chunked, head, response
from tests.support import Gate

FRESH = ("Cache-Control", "max-age=600")

Lines = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def conformant(site: Site) -> None:
    """Everything here is as the standards have it; what is asked for by GET is fresh for long."""
    site.wrap(profile="conformant")
    site.origin.answers(lambda received: response(200, [FRESH], f"{len(site.origin.requests)}"))


async def is_gone(site: Site, target: str, script: bytes | list[bytes], method: str = "POST", at: str = "/a") -> bool:
    """Whether what was stored of `target` is gone once this answer was given to that request."""
    await site.get(target)
    site.origin.plays(script)
    await site.request(method, at, (), "body")
    return not (await site.get(target)).is_hit


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PURGE"])
async def test_an_unsafe_method_ends_what_is_stored_under_its_url(site: Site, method: str):
    assert await is_gone(site, "/a?x=1", response(200, (), "done"), method, "/a?x=1")


@on_one_server
@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 299, 300, 301, 303, 307, 399])
async def test_every_answer_that_is_no_error_does(site: Site, status: int):
    assert await is_gone(site, "/a", head(status) if status == 204 else response(status))


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
@on_one_server
async def test_an_error_ends_nothing(site: Site, status: int):
    locations = {"Location": "/a", "Content-Location": "/a"}
    assert not await is_gone(site, "/a", response(status, locations, "no"))


async def test_an_origin_that_fails_ends_nothing(site: Site):
    await site.get("/a")
    site.origin.plays([CLOSE])
    assert (await site.request("POST", "/a")).status == 500
    assert (await site.get("/a")).is_hit


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "QUERY"])
async def test_a_safe_method_ends_nothing(site: Site, method: str):
    await site.get("/a")
    site.origin.plays(response(200, {"Location": "/a"}) if method != "HEAD" else head(200, [FRESH]))
    await site.request(method, "/a")
    assert (await site.get("/a")).is_hit


async def test_a_method_whose_case_nobody_knows_is_unsafe(site: Site):
    if site.served.name in ("uvicorn-httptools", "hypercorn"):
        pytest.skip("one refuses it, the other takes it for another")
    assert await is_gone(site, "/a", response(200), "options")


@pytest.mark.parametrize("field", ["Location", "CONTENT-location"])
@pytest.mark.parametrize("reference", ["/b?x=1", "b?x=1", "http://site.test/b?x=1", "//SITE.test:80/./a/../b?x=1#top"])
@on_one_server
async def test_what_the_answer_names_goes_as_well(site: Site, field: str, reference: str):
    assert await is_gone(site, "/b?x=1", response(201, {field: reference}))


@on_one_server
@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    "reference",
    [
        "http://other.test/b",
        "https://site.test/b",
        "http://site.test:8080/b",
        "http://user@site.test/b",
        "//other.test/b",
        "/b?x=1",
        "/b/",
        "/B",
        "",
        "http://[",
        "/b b",
        "ftp://site.test/b",
        "/" + "b" * 9000,
    ],
)
async def test_what_it_names_elsewhere_stays(site: Site, field: str, reference: str):
    assert not await is_gone(site, "/b", response(201, {field: reference}))


async def test_repeated_and_both_fields_count(site: Site):
    targets = ("/b", "/c", "/d", "/e")
    for target in targets:
        await site.get(target)
    lines = [("Location", "/b"), ("location", "/c"), ("Content-Location", "/d"), ("X-Location", "/e")]
    site.origin.plays(response(201, lines))
    await site.request("POST", "/a")
    assert [(await site.get(target)).is_hit for target in targets] == [False, False, False, True]


async def test_all_variants_go(site: Site):
    site.origin.answers(lambda received: response(200, [FRESH, ("Vary", "X-A")], "body"))
    for value in "12":
        await site.get("/a", {"X-A": value})
    site.origin.plays(head(204))
    await site.request("DELETE", "/a", {"X-A": "1"})
    for value in "12":
        assert not (await site.get("/a", {"X-A": value})).is_hit


async def test_neither_another_host_nor_another_query_goes(site: Site):
    others = (("/a", {"Host": "other.test"}), ("/a?x=2", {}), ("/a/b", {}))
    for target, fields in others:
        await site.get(target, fields)
    await site.request("POST", "/a")
    for target, fields in others:
        assert (await site.get(target, fields)).is_hit


async def test_who_sees_the_start_of_the_answer_sees_nothing_older_afterwards(site: Site):
    await site.get("/a")
    gate = Gate()
    start, one, two, end = chunked(200, (), ["do", "ne"])
    site.origin.plays([start, one, gate, two, end] if site.is_streamed else response(200, (), "done"))
    async with site.connect() as connection:
        await connection.send(request("POST", "/a"))
        answer = await connection.begin()
        assert not (await site.get("/a")).is_hit
        gate.open()
        while await connection.piece(answer):
            pass
        assert answer.text == "done"


async def test_what_was_asked_before_a_write_and_answered_after_it_is_not_stored(site: Site):
    gate = Gate()
    site.origin.plays([gate, response(200, [FRESH], "old")], response(200))
    async with site.connect() as connection:
        await connection.send(request("GET", "/a"))
        await gate.reached()
        await site.request("POST", "/a")
        gate.open()
        assert (await connection.read()).text == "old"
    assert (await site.get("/a")).text != "old"


async def test_a_write_is_neither_stored_nor_answered_from_the_store(site: Site):
    site.origin.answers(lambda received: response(200, [FRESH], f"{len(site.origin.requests)}"))
    assert [(await site.request("POST", "/a", (), "x")).text for _ in range(2)] == ["0", "1"]
    assert site.entries == 0


async def test_writes_to_what_no_rule_covers_pass(site: Site):
    site.wrap(rules=[Rule("/a", ttl=60)])
    purges = site.cache.stats.purges
    await site.request("POST", "/other", (), "x")
    assert site.cache.stats.purges == purges
    assert await is_gone(site, "/a", response(200))


# Groups


def grouped(*lines: str) -> Lines:
    return [FRESH, *[("Cache-Groups", line) for line in lines]]


@pytest.mark.parametrize(
    ("groups", "invalidation", "gone"),
    [
        (['"a"'], ['"a"'], True),
        (['"a", "b"'], ['"b"'], True),
        (['"a"', '"b";q=1'], ['"c"', '"b"'], True),
        (['"a"'], ['"A"'], False),
        (['"a"'], ['"b"'], False),
        (['"a"'], ["a"], False),
        (['"a"'], ['"a", b'], False),
        (['"a"'], ['"a'], False),
        (['"a, b"'], ['"a", "b"'], False),
        (['"a, b"'], ['"a, b"'], True),
        (['"a\\"b\\\\"'], ['"a\\"b\\\\"'], True),
    ],
    ids=str,
)
@on_one_server
async def test_a_write_ends_the_groups_that_its_answer_names(
    site: Site, groups: list[str], invalidation: list[str], gone: bool
):
    site.wrap(profile="conformant", cache_groups=True)
    site.origin.plays(response(200, grouped(*groups), "body"))
    await site.get("/b")
    named = [("Cache-Group-Invalidation", line) for line in invalidation]
    assert await is_gone(site, "/b", response(200, named)) is gone


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 404), ("POST", 500)])
@on_one_server
async def test_only_a_write_that_succeeds_ends_groups(site: Site, method: str, status: int):
    site.wrap(profile="conformant", cache_groups=True)
    site.origin.plays(response(200, grouped('"a"'), "body"))
    await site.get("/b")
    site.origin.plays(response(status, {"Cache-Group-Invalidation": '"a"'}, "x"))
    assert (await site.request(method, "/c")).status == status
    assert (await site.get("/b")).is_hit


async def test_without_the_setting_groups_mean_nothing_here_and_pass(site: Site):
    site.origin.plays(response(200, grouped('"a"'), "body"))
    assert not await is_gone(site, "/b", response(200, {"Cache-Group-Invalidation": '"a"'}))
    assert (await site.get("/b")).all("cache-groups") == ['"a"']


async def test_tags_are_told_as_groups_beside_the_origins_own(site: Site):
    rules = [Rule("/items/{name}", tags=["item:{name}", "a, b", "\xfc"], cache_groups=True)]
    site.wrap(rules=rules)
    site.origin.plays(response(200, grouped('"shop"', '"items"'), "body"))
    for is_hit in (False, True):
        answer = await site.get("/items/7")
        assert answer.all("cache-groups") == ['"a, b", "item:7", "items", "shop", "%C3%BC"']
        assert answer.is_hit is is_hit
    site.origin.plays(response(200, {"cache-group-invalidation": '"%C3%BC"'}))
    await site.request("POST", "/items/8")
    assert not (await site.get("/items/7")).is_hit


async def test_groups_that_cannot_be_told_whole_are_not_told(site: Site):
    site.wrap(standard=True, cache_groups=True)
    many = ", ".join(f'"group-{number}"' for number in range(129))
    site.origin.plays(response(200, grouped(many), "body"))
    await site.get("/b")
    answer = await site.get("/b")
    assert (answer.is_hit, answer.text) == (True, "body")
    assert await is_gone(site, "/b", response(200, {"Cache-Group-Invalidation": '"group-128"'}))


@pytest.mark.parametrize("groups", ["a", '"a", 7', '"a"; "b"', "("])
@on_one_server
async def test_what_cannot_be_purged_as_its_origin_expects_is_not_stored(site: Site, groups: str):
    site.wrap(standard=True, cache_groups=True)

    def answer(received: Received) -> bytes:
        return response(200, grouped(groups), "body")

    site.origin.answers(answer)
    answers = [await site.get("/b") for _ in range(2)]
    assert [(each.text, each.is_hit, each.get("cache-groups")) for each in answers] == [("body", False, groups)] * 2
