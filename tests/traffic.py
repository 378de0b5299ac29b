"""Readers and writers on several nodes while servers come and go: who is answered from before a write that had landed?

Each page has one row. A writer raises the row's version, which is its COMMIT, and invalidates. Once that has returned landed, no
request that begins may be answered from an older version, on any node.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule
from tests.support import Answer, RawClient

PAGES = 12
PATIENCE = 30.0  # seconds until what does not come is missing


@dataclass
class Tally:
    """What the readers saw."""

    answers: int = 0
    hits: int = 0
    purges: int = 0
    stale: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds that a request took


class Traffic:
    """Nodes on one namespace, asked and written to all the time between `start` and `stop`."""

    def __init__(self, url: str, *, nodes: int = 2, commit_timeout: float = 0.3, **settings: Any) -> None:
        """`commit_timeout` is short, since what was lost is quarantined for twice as long; `settings` are the caches'."""
        settings = {"namespace": f"traffic-{secrets.token_hex(6)}", "commit_timeout": commit_timeout, **settings}
        self.caches = [Cache(url, **settings) for _ in range(nodes)]
        rules = [Rule("/{page}", ttl=3600, tags=["page:{page}"])]
        self.clients = [RawClient(CacheMiddleware(self._app, cache, rules=rules)) for cache in self.caches]
        self.versions = [0] * PAGES
        self.floors = [0] * PAGES
        self.tally = Tally()
        self._tasks: list[asyncio.Task[None]] = []

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = self.versions[int(scope["path"][1:])]
        await asyncio.sleep(0.001)  # the database answers
        body = b"%d" % version
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def get(self, node: int, page: int) -> Answer:
        """One request, checked."""
        floor, began = self.floors[page], time.monotonic()
        answer = await self.clients[node].get(f"/{page}")
        self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
        self.tally.answers += 1
        self.tally.hits += answer.is_hit
        if int(answer.text) < floor:
            self.tally.stale.append(f"page {page} on node {node}: {answer.text} after {floor} ({answer.cache})")
        return answer

    async def write(self, node: int, page: int) -> bool:
        """One write; whether its purge landed before `invalidate` returned."""
        self.versions[page] += 1
        version = self.versions[page]
        purged = await self.caches[node].invalidate(f"page:{page}")
        if purged.landed:
            self.tally.purges += 1
            self.floors[page] = max(self.floors[page], version)
        return purged.landed

    async def _read_on(self, node: int) -> None:
        page = node
        while True:
            page = (page + 7) % PAGES
            await self.get(node, page)
            await asyncio.sleep(0.001)

    async def _write_on(self, node: int) -> None:
        page = node
        while True:
            page = (page + 5) % PAGES
            await self.write(node, page)
            await asyncio.sleep(0.01)

    def start(self, readers: int = 3) -> None:
        """Lets readers and a writer per node go on until `stop`."""
        for node in range(len(self.caches)):
            self._tasks += [asyncio.create_task(self._read_on(node)) for _ in range(readers)]
            self._tasks.append(asyncio.create_task(self._write_on(node)))

    async def stop(self) -> Tally:
        """Ends the traffic; what came of it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [end for end in ends if not isinstance(end, asyncio.CancelledError)]
        assert not failures, failures
        return self.tally

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Waits, while the traffic goes on."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, f"it never came true that {what}: {self.tally}"
            await asyncio.sleep(0.02)

    async def flows(self, hits: int = 200, purges: int = 10) -> None:
        """Returns once that many more answers came from the cache, and that many more purges landed."""
        hits, purges = self.tally.hits + hits, self.tally.purges + purges
        await self.until(lambda: self.tally.hits >= hits and self.tally.purges >= purges, "the cache is in use")

    async def close(self) -> None:
        """Closes every node."""
        if self._tasks:
            await self.stop()
        for cache in self.caches:
            await cache.close()
