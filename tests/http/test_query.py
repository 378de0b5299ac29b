"""Queries: which count, how they are spelled, and what caches outside are told of it (No-Vary-Search)."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from rcache import Rule, cached
from tests.http.site import Site, on_one_server
from tests.http.wire import response

FRESH = ("Cache-Control", "max-age=60")


async def are_one(site: Site, first: str, second: str) -> bool:
    """Whether the answer to the first target meets the second."""
    site.origin.answers(lambda received: response(200, [FRESH], received.target))
    told = [(await site.get(target)).text for target in (first, second, first, second)]
    assert told[:2] == told[2:]
    return told[0] == told[1]


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("/?a=1&b=2", "/?b=2&a=1", True),
        ("/?a=1&a=2", "/?a=2&a=1", False),
        ("/?a=1", "/?a=1&a=1", False),
        ("/?a=1", "/?A=1", False),
        ("/?a=1", "/?a=01", False),
        ("/?a", "/?a=", False),
        ("/?a=%31", "/?a=1", False),
        ("/?a=%c3%a4", "/?a=%C3%A4", False),
        ("/?a=+", "/?a=%20", False),
        ("/?a=1;b=2", "/?a=1&b=2", False),
        ("/?a=b&c=d", "/?a=b%26c=d", False),
        ("/?", "/", True),
        ("/??", "/?", False),
        ("/?a=1", "/", False),
    ],
)
@on_one_server
async def test_queries_that_an_application_may_tell_apart_have_entries_of_their_own(
    site: Site, first: str, second: str, one: bool
):
    assert await are_one(site, first, second) is one


@pytest.mark.parametrize(
    ("query", "field", "others"),
    [
        (["q"], 'key-order, params, except=("q")', "/?utm=2&q=a&page=1"),
        ([], "params", "/?q=b"),
        (["q", "\xe4 "], 'key-order, params, except=("q" "%C3%A4%20")', "/?x&q=a"),
    ],
)
async def test_only_the_parameters_of_a_rule_count_and_clients_are_told(
    site: Site, query: list[str], field: str, others: str
):
    site.wrap(rules=[Rule("/", query=query)])
    site.origin.answers(lambda received: response(200, [FRESH], received.target))
    for target, is_hit in (("/?q=a&utm=1", False), (others, True)):
        answer = await site.get(target)
        assert (answer.text, answer.is_hit, answer.get("no-vary-search")) == ("/?q=a&utm=1", is_hit, field)
    assert site.origin.last.target == "/?q=a&utm=1"  # the application still sees all of it
    assert (await site.get("/?q=c")).is_hit is (query == [])


async def test_what_the_origin_says_of_its_queries_stays_alone(site: Site):
    site.wrap(rules=[Rule("/", query=["q"])])
    site.origin.plays(response(200, [FRESH, ("No-Vary-Search", "key-order"), ("no-vary-search", "params")], "body"))
    for _ in range(2):
        assert (await site.get("/?q=a")).all("no-vary-search") == ["key-order", "params"]


async def test_nothing_is_told_where_every_parameter_counts(site: Site):
    assert not await are_one(site, "/?q=a", "/?q=b")
    assert (await site.get("/?q=a")).all("no-vary-search") == []


async def test_parameters_that_a_route_declares_are_those_that_count(site: Site):
    app = FastAPI(openapi_url=None)

    @app.get("/search")
    @cached(ttl=60, query="declared")
    async def search(q: str, page: int = 1) -> str:
        return f"{q} {page}"

    site.wrap(app)
    for target, text, is_hit in (
        ("/search?q=a&utm=1", '"a 1"', False),
        ("/search?utm=2&q=a", '"a 1"', True),
        ("/search?q=a&page=2", '"a 2"', False),
        ("/search?page=2&q=a&utm=3", '"a 2"', True),
        ("/search?q=b", '"b 1"', False),
    ):
        answer = await site.get(target)
        assert (answer.text, answer.is_hit) == (text, is_hit)
        assert answer.get("no-vary-search") == 'key-order, params, except=("page" "q")'
