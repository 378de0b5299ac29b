"""What a suite asserts of answers, and what it is told where that does not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rcache import Cache, CacheMiddleware, cached
from rcache.core import cache_status as spelled
from rcache.testing import (
    CacheStatus,
    HandClock,
    assert_hit,
    assert_miss,
    assert_not_cached,
    assert_stale,
    cache_status,
)

ROOT = Path(__file__).parents[2]
PAIRS = {
    "hit": "rcache; hit; ttl=57",
    "stale": "rcache; hit; ttl=-3",
    "ending": "rcache; hit; ttl=0",
    "stored": "rcache; fwd=miss; stored",
    "collapsed": "rcache; fwd=miss; collapsed",
    "streamed": "rcache; fwd=miss",
    "validated": "rcache; fwd=stale; fwd-status=304; stored",
    "covered": "rcache; fwd=stale; fwd-status=503; detail=stale-if-error",
    "late": "rcache; fwd=stale; detail=timeout",
    "private": "rcache; fwd=miss; detail=private",
    "cookie": "rcache; fwd=bypass; detail=cookie",
    "asked": "rcache; fwd=request; stored",
    "unread": 'rcache; fwd=miss; detail="function random; x"',
    "none": "",
}
PASSING: dict[Any, set[str]] = {
    assert_hit: {"hit", "ending"},
    assert_stale: {"stale", "ending", "covered", "late"},
    assert_miss: {"stored", "collapsed", "streamed", "validated", "private", "asked", "unread"},
    assert_not_cached: {"private", "cookie", "unread", "none"},
}


def answer(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"cache-status", PAIRS[name].encode())] if PAIRS[name] else []


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("claim", PASSING, ids=lambda each: each.__name__)
def test_each_assertion_holds_of_what_it_names_and_of_nothing_else(claim: Any, name: str):
    if name in PASSING[claim]:
        assert claim(answer(name)).text == PAIRS[name]
    else:
        with pytest.raises(AssertionError, match=re.escape(repr(PAIRS[name])) if PAIRS[name] else "no Cache-Status"):
            claim(answer(name))


def test_more_may_be_asked_of_a_miss_and_of_what_is_not_cached():
    assert_miss(answer("stored"), stored=True)
    assert_miss(answer("private"), stored=False)
    assert_not_cached(answer("cookie"), detail="cookie")
    for claim in (
        lambda: assert_miss(answer("stored"), stored=False),
        lambda: assert_miss(answer("private"), stored=True),
        lambda: assert_not_cached(answer("private"), detail="cookie"),
    ):
        with pytest.raises(AssertionError):
            claim()


@pytest.mark.parametrize(
    ("claim", "name", "told"),
    [
        (
            assert_hit,
            "cookie",
            "not a hit: Cache-Status is 'rcache; fwd=bypass; detail=cookie'\n  name the cookies that",
        ),
        (
            assert_hit,
            "stored",
            "\n  it was made and kept just now, and the next request will be a hit: ask once before",
        ),
        (assert_hit, "none", "not a hit: there is no Cache-Status\n  no rule covers the route, or no CacheMiddleware"),
        (assert_hit, "stale", "a stale hit: .*\n  where that is right, write assert_stale"),
        (assert_miss, "hit", "not a miss: .*\n  it was kept by an earlier request: take a cache for each test"),
        (assert_not_cached, "streamed", "perhaps kept: .*\n  the answer is streamed"),
    ],
)
def test_an_assertion_that_fails_says_what_was_done_instead_and_the_remedy(claim: Any, name: str, told: str):
    with pytest.raises(AssertionError, match=told):
        claim(answer(name))


def application(clock: HandClock) -> CacheMiddleware:
    @cached(ttl=60)
    async def page(request: Request) -> Response:
        return PlainTextResponse("page")

    return CacheMiddleware(Starlette(routes=[Route("/page", page)]), Cache("memory://", clock=clock))


def test_it_reads_the_answers_of_starlettes_client():
    clock = HandClock()
    client = TestClient(application(clock))
    assert assert_miss(client.get("/page"), stored=True).forward == "miss"
    clock.advance(3)
    assert assert_hit(client.get("/page")).ttl == 57
    clock.advance("57s")
    assert_miss(client.get("/page"))
    with pytest.raises(AssertionError, match=r"^GET http://testserver/page: not a miss"):
        assert_miss(client.get("/page"))


async def test_it_reads_the_answers_of_httpx_and_django():
    django = pytest.importorskip("django.http").HttpResponse
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(HandClock())), base_url="http://a"
    ) as client:
        assert_miss(await client.get("/page"))
        assert_hit(await client.get("/page"))
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    assert_hit(django("page", headers={"Cache-Status": PAIRS["hit"]}))
    assert_not_cached(django("page"))


@given(
    st.sampled_from(spelled.FORWARD_REASONS),
    st.none() | st.integers(100, 599),
    st.booleans(),
    st.booleans(),
    st.none() | st.text(),
    st.sampled_from(["", "cdn; hit, ", 'other; detail="a, rcache; hit", ', "rcache; hit; ttl=1, "]),
)
def test_what_the_cache_writes_is_read(
    reason: str, status: int | None, stored: bool, collapsed: bool, detail: str | None, before: str
):
    field = spelled.forward(reason, status=status, stored=stored, collapsed=collapsed, detail=detail)
    told = CacheStatus.read(before + field.decode())
    assert (told.forward, told.status, told.is_stored, told.is_collapsed) == (reason, status, stored, collapsed)
    kept = None if detail is None else re.sub(r"[^\x20-\x7e]", "?", detail)
    assert told.detail == kept
    assert not told.is_hit


@given(st.text())
def test_any_text_is_read(text: str):
    assert CacheStatus.read(text).text == text


def test_the_cache_that_is_nearest_to_the_client_counts_and_others_do_not():
    assert CacheStatus.read("cdn; hit").is_hit is False
    assert CacheStatus.read("rcache; fwd=miss, rcache; hit; ttl=5").ttl == 5
    assert cache_status([("Cache-Status", "rcache; fwd=miss"), ("cache-status", "cdn; hit")]).forward == "miss"


def test_what_is_no_response_is_refused_with_the_remedy():
    async def get() -> None: ...

    coroutine = get()
    with pytest.raises(TypeError, match="a coroutine is no response: await it"):
        assert_hit(coroutine)
    coroutine.close()
    with pytest.raises(TypeError, match="a int is no response: hand in what the client returned"):
        assert_hit(200)


def test_it_needs_no_package_but_rcache():
    absent = "import sys\nfor name in ('pytest', 'httpx', 'fastapi'):\n    sys.modules[name] = None\n"
    code = f"{absent}import rcache.testing as testing\nprint(all(hasattr(testing, each) for each in testing.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True\n", "")
