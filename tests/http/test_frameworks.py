"""Four frameworks under four servers: hits, misses and purges over real HTTP, whoever makes the answer and whoever sends it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import product

import pytest

from rcache import Cache
from tests.http.client import Connection, fetch, request
from tests.http.frameworks import FRAMEWORKS, pages
from tests.http.servers import SERVERS, Served

PAIRS = list(product(SERVERS, FRAMEWORKS))

# Granian says so where an application has no lifespan.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")


@pytest.fixture(scope="module", params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One framework under one server."""
    server, framework = request.param[0], FRAMEWORKS[request.param[1]]
    cache = Cache("memory://")
    with Served(server, framework.behind(cache)) as served:
        yield served
    assert not cache.is_open
    cache.close_sync()


@pytest.fixture
def name() -> str:
    """A page that no other test asks for."""
    return uuid.uuid4().hex


async def test_an_item_is_made_once_and_comes_back_with_the_etag_of_its_own(served: Served, name: str):
    miss, hit = [await fetch(served.port, "GET", f"/items/{name}") for _ in range(2)]
    assert (miss.is_stored, hit.is_hit) == (True, True)
    assert miss.body == hit.body
    assert b'"made"' in hit.body
    assert miss.get("etag") == hit.get("etag") == f'"{name}-new"'
    assert miss.get("content-type") == hit.get("content-type") == "application/json"
    assert (miss.get("age"), hit.get("age") is not None) == (None, True)
    assert pages.made[f"/items/{name}"] == 1


async def test_a_client_that_holds_an_item_gets_a_304(served: Served, name: str):
    held = {"If-None-Match": f'"{name}-new"'}
    for is_hit in (False, True):
        answer = await fetch(served.port, "GET", f"/items/{name}", held)
        assert (answer.status, answer.body, answer.is_hit) == (304, b"", is_hit)
        assert answer.all("content-type") == answer.all("content-length") == []
    assert (await fetch(served.port, "GET", f"/items/{name}", {"If-None-Match": '"other"'})).status == 200
    assert pages.made[f"/items/{name}"] == 1


async def test_a_head_request_is_answered_from_what_a_get_stored(served: Served, name: str):
    whole = await fetch(served.port, "GET", f"/items/{name}")
    answer = await fetch(served.port, "HEAD", f"/items/{name}")
    assert (answer.status, answer.body, answer.is_hit) == (200, b"", True)
    assert answer.get("content-length") == str(len(whole.body))
    assert answer.get("etag") == whole.get("etag")


async def test_a_post_changes_an_item_and_the_next_get_shows_it(served: Served, name: str):
    other = uuid.uuid4().hex
    for each in (name, other):
        assert b'"new"' in (await fetch(served.port, "GET", f"/items/{each}")).body
    changed = await fetch(served.port, "POST", f"/items/{name}", {"Content-Type": "text/plain"}, "t\xe9xt".encode())
    assert (changed.status, changed.cache) == (200, None)
    after = await fetch(served.port, "GET", f"/items/{name}", {"If-None-Match": f'"{name}-new"'})
    assert (after.status, after.is_hit) == (200, False)
    assert "t\xe9xt".encode() in after.body or b"t\\u00e9xt" in after.body
    assert (await fetch(served.port, "GET", f"/items/{name}")).is_hit
    assert (await fetch(served.port, "GET", f"/items/{other}")).is_hit


async def test_an_item_with_a_date_is_validated_by_it(served: Served, name: str):
    miss = await fetch(served.port, "GET", f"/dated/{name}")
    assert (miss.text, miss.get("last-modified")) == ("dated", pages.MODIFIED)
    assert (await fetch(served.port, "GET", f"/dated/{name}", {"If-Modified-Since": pages.MODIFIED})).status == 304
    before = {"If-Modified-Since": "Tue, 20 Oct 2015 07:28:00 GMT"}
    answer = await fetch(served.port, "GET", f"/dated/{name}", before)
    assert (answer.status, answer.is_hit, answer.get("last-modified")) == (200, True, pages.MODIFIED)
    assert pages.made[f"/dated/{name}"] == 1


async def test_a_streamed_page_passes_in_its_pieces_and_comes_back_whole(served: Served, name: str):
    miss, hit = [await fetch(served.port, "GET", f"/stream/{name}") for _ in range(2)]
    assert miss.pieces == [piece.encode() for piece in pages.PIECES]
    assert (miss.cache, hit.is_hit) == ("rcache; fwd=miss", True)
    assert hit.text == "".join(pages.PIECES)
    assert pages.made[f"/stream/{name}"] == 1


async def test_a_page_that_sets_cookies_is_made_for_each_client(served: Served, name: str):
    for _ in range(2):
        answer = await fetch(served.port, "GET", f"/cookie/{name}")
        assert [each.partition(";")[0] for each in answer.all("set-cookie")] == ["first=1", "second=2"]
        assert "detail=set-cookie" in (answer.cache or "")
    assert pages.made[f"/cookie/{name}"] == 2


async def test_a_404_is_the_frameworks_own_each_time(served: Served, name: str):
    answers = [await fetch(served.port, "GET", f"/missing/{name}") for _ in range(2)]
    assert [(answer.status, answer.cache) for answer in answers] == [(404, "rcache; fwd=miss; detail=status")] * 2
    assert answers[0].body == answers[1].body != b""
    assert pages.made[f"/missing/{name}"] == 2


async def test_a_large_page_comes_back_whole(served: Served, name: str):
    for is_hit in (False, True):
        answer = await fetch(served.port, "GET", f"/large/{name}")
        assert answer.is_hit is is_hit
        assert answer.body == pages.LARGE


async def test_one_connection_carries_all_of_it(served: Served, name: str):
    async with Connection(served.port) as connection:
        for _ in range(2):
            assert (await connection.get(f"/items/{name}")).status == 200
            assert (await connection.get(f"/stream/{name}")).text == "one, two, three"
            assert (await connection.get(f"/large/{name}")).body == pages.LARGE
            assert (await connection.request("HEAD", f"/items/{name}")).is_hit
            assert (await connection.get(f"/missing/{name}")).status == 404
        assert (await connection.request("POST", f"/items/{name}", {"Content-Type": "text/plain"}, "x")).status == 200
        assert not (await connection.get(f"/items/{name}")).is_hit
        assert (await connection.get(f"/items/{name}", {"If-None-Match": f'"{name}-x"'})).status == 304


async def test_a_client_that_leaves_midway_takes_nothing_from_the_next(served: Served, name: str):
    for _ in range(2):
        async with Connection(served.port) as connection:
            await connection.send(request("GET", f"/large/{name}"))
            await connection.piece(await connection.begin())
            connection.abort()
    assert (await fetch(served.port, "GET", f"/large/{name}")).body == pages.LARGE
