"""The commands on caches that are at work, in this process and in others."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule
from rcache.cli import main
from tests.servers import RedisServer
from tests.support import PATIENCE, RawClient

Captured = pytest.CaptureFixture[str]


class Site:
    """An application that runs, and the command line that looks into its cache."""

    def __init__(self, url: str) -> None:
        self.where = ["--url", url, "--namespace", f"test-{secrets.token_hex(6)}"]
        self.cache = Cache(url, namespace=self.where[3], deadline=10.0)
        routes = [Route("/books/{number}", self.book, methods=["GET", "PUT"])]
        rules = [Rule("/books/{number}", ttl=60, tags=["book:{number}"], vary=["accept-language"])]
        self.client = RawClient(CacheMiddleware(Starlette(routes=routes), cache=self.cache, rules=rules))

    async def book(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"book {request.path_params['number']}")

    async def run(self, capsys: Captured, *arguments: str, code: int = 0) -> Any:
        """What a command tells programs."""
        assert await asyncio.to_thread(main, [*arguments, *self.where, "--json"]) == code
        return orjson.loads(capsys.readouterr().out)


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    """A site of this test's own."""
    made = Site(redis_server.url)
    yield made
    await made.cache.close()


async def test_what_a_site_does_is_seen_explained_and_purged(site: Site, capsys: Captured) -> None:
    for language in ("de", "fr", "de"):
        await site.client.get("/books/7", {"accept-language": language})
    await site.client.get("/books/8")

    shown = (await site.run(capsys, "show", "/books/7"))["entries"]
    assert sorted(view["row"]["variant"][0][1] for view in shown) == ["de", "fr"]
    assert {row["tag"] for row in (await site.run(capsys, "tags", "book:"))["tags"]} >= {"book:7", "book:8"}
    preview = await site.run(capsys, "purge", "book:7", "--page", "/books/8", "--dry-run")
    assert preview["count"] == 3
    assert [row["tag"] for row in preview["tags"]] == ["book:7"]

    await site.run(capsys, "purge", "book:7", "--page", "http://testserver/books/8")
    assert [view["row"]["state"] for view in (await site.run(capsys, "show", "/books/8"))["entries"]] == ["purged"]
    assert (await site.run(capsys, "show", "/books/9", code=1))["entries"] == []
    assert not (await site.client.get("/books/8")).is_hit
    assert not (await site.client.get("/books/7", {"accept-language": "de"})).is_hit
    told = await site.run(capsys, "explain", "/books/7")
    assert told["last_purge"]["cause"] == "cli"
    assert [row["state"] for row in told["entries"]][:1] == ["fresh"]
    assert await asyncio.to_thread(main, ["tags", "--cursor", "x", *site.where]) == 2
    assert capsys.readouterr().err.startswith("rcache: --cursor: 'x' is no cursor")


async def test_what_a_site_counts_is_added_up(site: Site, capsys: Captured) -> None:
    for _ in range(4):
        await site.client.get("/books/7")
    async with asyncio.timeout(PATIENCE):
        while (stats := await site.run(capsys, "stats"))["total"]["hits"] < 3:
            await asyncio.sleep(0.05)
    assert [(each["route"], each["counters"]["misses"]) for each in stats["routes"]] == [("/books/{number}", 1)]
    assert len(stats["nodes"]) == 1  # who looks is none
    assert dict(stats["nodes"][0]["settings"]) == {"commit_timeout": "10.0", "near_lease": "2.0", "key_host": "True"}
    moment = await site.run(capsys, "top", "--once")
    assert moment["routes"][0]["route"] == "/books/{number}"


async def test_a_cache_of_the_application_may_be_named(
    site: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.client.get("/books/7")
    monkeypatch.setattr(sys.modules[__name__], "named", Cache(site.where[1], namespace=site.where[3]), raising=False)
    assert await asyncio.to_thread(main, ["show", "/books/7", "--cache", f"{__name__}:named", "--json"]) == 0
    assert len(orjson.loads(capsys.readouterr().out)["entries"]) == 1


async def test_the_log_is_followed_until_it_is_interrupted(site: Site) -> None:
    """Nothing that happens is left out, and nothing is told twice."""
    await site.cache.invalidate("book:1")
    command = (sys.executable, "-m", "rcache.cli", "tail", "--json", *site.where)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    tail = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
    assert tail.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            told = [orjson.loads(await tail.stdout.readline())]
            await site.cache.invalidate("book:2")
            told.append(orjson.loads(await tail.stdout.readline()))
        assert [(event["kind"], event["tags"]) for event in told] == [("purge", ["book:1"]), ("purge", ["book:2"])]
    finally:
        tail.send_signal(signal.SIGINT)
        rest, errors = await tail.communicate()
    assert (tail.returncode, rest, errors) == (130, b"", b"")
