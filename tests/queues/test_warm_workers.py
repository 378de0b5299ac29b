"""A worker that is a process makes what purges killed and what is stale; the web process only answers."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rcache.asgi.lifespan import running
from tests.queues.fleet import READY_WITHIN, ROOT
from tests.servers import RedisServer
from tests.support import RawClient


class Site:
    """The web process, which this is, and a worker."""

    def __init__(self, app: Any, cache: Any, worker: int) -> None:
        self.client = RawClient(app)
        self.cache = cache
        self.worker = worker

    async def get(self) -> Any:
        answer = await self.client.get("/front")
        return [*json.loads(answer.body), answer.is_hit]

    async def until_the_worker_has_made_it(self) -> None:
        async with asyncio.timeout(READY_WITHIN):
            while (await self.get())[0] != self.worker:
                await asyncio.sleep(0.02)
        assert await self.get() == [self.worker, "passed", True]


@pytest.fixture
async def site(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv("RCACHE_URL", redis_server.url)
    monkeypatch.setenv("TEST_NAMESPACE", f"warm-{secrets.token_hex(6)}")
    sys.modules.pop("tests.queues.warm_application", None)
    web = importlib.import_module("tests.queues.warm_application")
    command = [sys.executable, "-m", "rcache.cli", "worker", "tests.queues.warm_application:app"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stderr=subprocess.DEVNULL)
    try:
        async with running(web.app):
            async with asyncio.timeout(READY_WITHIN):
                while not await web.cache.queue.workers():
                    await asyncio.sleep(0.05)
            monkeypatch.setattr(web.cache.warming, "_has_workers", (0.0, False))
            assert await web.cache.warming.has_workers()
            yield Site(web.app, web.cache, process.pid)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, READY_WITHIN)


async def test_a_worker_makes_what_is_stale_and_what_a_purge_killed(site: Site) -> None:
    assert await site.get() == [os.getpid(), "passed", False]
    assert await site.get() == [os.getpid(), "passed", True]
    await site.cache.invalidate("site", soft=True)
    await site.until_the_worker_has_made_it()

    async with asyncio.timeout(READY_WITHIN):
        while not await site.cache.inspector.popularity.top(1):
            await site.get()
            await asyncio.sleep(0.1)  # nodes tell once a second what was hit
    await site.cache.warming.has_workers()  # known for two seconds
    await site.cache.invalidate("site")
    stats = site.cache.stats.stores
    async with asyncio.timeout(READY_WITHIN):
        while not await _is_there(site):
            await asyncio.sleep(0.02)
    assert site.cache.stats.stores == stats, "this process has made nothing"
    assert await site.get() == [site.worker, "passed", True]


async def _is_there(site: Site) -> bool:
    return (await site.client.get("/front", {"cache-control": "only-if-cached"})).status == 200
