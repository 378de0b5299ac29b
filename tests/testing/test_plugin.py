"""The fixtures in a user's own suite: they are found, work with each way to run tests, and cost nothing where nobody asks."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

APPLICATION = """
from fastapi import FastAPI, Request
from rcache import Cache, CacheMiddleware, cached, invalidate

def create_app(cache):
    app = FastAPI()
    app.add_middleware(CacheMiddleware, cache=cache)

    @app.get("/books/{number}")
    @cached(ttl="5m", tags=["book:{number}"])
    async def read(number: int):
        return {"number": number}

    @app.put("/books/{number}")
    async def write(number: int):
        await invalidate(f"book:{number}")

    @app.get("/own")
    @cached(ttl=60)
    async def own(request: Request):
        return request.headers.get("x-user")

    return app

cache = Cache("redis://127.0.0.1:1")
app = create_app(cache)
"""

SUITE = """
import httpx
import pytest
from starlette.testclient import TestClient
from rcache import StrictError
from rcache.testing import assert_hit, assert_miss, assert_not_cached, assert_purged_by, embedded
import shop

def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")

def test_sync(rcache_cache, hand_clock):
    with TestClient(shop.create_app(rcache_cache)) as client:
        assert_miss(client.get("/books/1"))
        assert_hit(client.get("/books/1"))
        hand_clock.advance("5m")
        assert_miss(client.get("/books/1"))

@pytest.mark.asyncio
async def test_with_pytest_asyncio(rcache_cache):
    async with client_of(shop.create_app(rcache_cache)) as client:
        assert_miss(await client.get("/books/1"))
        assert_hit(await client.get("/books/1"))
        with assert_purged_by("book:1", exactly=True):
            await client.put("/books/1")

@pytest.mark.anyio
async def test_with_anyio(rcache_cache):
    async with client_of(shop.create_app(rcache_cache)) as client:
        assert_miss(await client.get("/books/1"))
        assert_hit(await client.get("/books/1"))

def test_nodes(rcache_fleet):
    nodes = rcache_fleet(shop.create_app, nodes=3, near="strict")
    clients = [TestClient(node.app) for node in nodes]
    assert_miss(clients[0].get("/books/1"))
    clients[1].put("/books/1")
    assert_miss(clients[2].get("/books/1"))

def test_disabled(rcache_disabled, rcache_cache):
    client = TestClient(shop.create_app(rcache_cache))
    assert_not_cached(client.get("/books/1"))

def test_strict(rcache_strict, rcache_cache):
    with pytest.raises(StrictError):
        TestClient(shop.create_app(rcache_cache)).get("/own", headers={"x-user": "ada"})

class TestTheApplicationsOwnCache:
    @pytest.fixture
    def rcache_cache(self, hand_clock):
        with embedded(shop.cache, hand_clock) as cache:
            yield cache

    @pytest.mark.parametrize("run", [1, 2])
    def test_it_is_empty_each_time(self, rcache_cache, run):
        assert_miss(TestClient(shop.app).get("/books/1"), stored=True)
        assert_hit(TestClient(shop.app).get("/books/1"))

def test_what_fails_is_told_with_the_remedy(rcache_cache):
    assert_hit(TestClient(shop.create_app(rcache_cache)).get("/books/1"))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what else is installed here takes its time to load
    pytester.makeini("[pytest]\nfilterwarnings = ignore\n")
    return pytester


def test_a_suite_uses_the_fixtures_with_whatever_runs_its_tests(suite: pytest.Pytester):
    suite.makepyfile(shop=APPLICATION, test_shop=SUITE)
    result = suite.runpytest_subprocess("-p", "pytest_rcache", "-p", "anyio", "-p", "pytest_asyncio.plugin")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: GET http://testserver/books/1: not a hit: Cache-Status is 'rcache; fwd=miss; stored'",
            "*it was made and kept just now, and the next request will be a hit: ask once before",
        ]
    )


def test_a_suite_that_does_not_use_them_imports_nothing_of_rcache(suite: pytest.Pytester):
    suite.makepyfile("import sys\ndef test_nothing():\n    assert not {'rcache', 'starlette'} & set(sys.modules)\n")
    suite.runpytest_subprocess("-p", "pytest_rcache").assert_outcomes(passed=1)


def test_pytest_finds_them_by_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_rcache": "pytest_rcache"}
    assert "pytest_rcache.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
