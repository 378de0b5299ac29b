"""All nodes miss the same key: one of them runs the application, and tells the others when it is done."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from tests.asgi.test_flights import Origin
from tests.clusters import Cluster
from tests.sentinels import Sentinels
from tests.servers import RedisServer
from tests.support import PATIENCE, Gate, RawClient

SERVERS = ("redis", "sentinel", "cluster")


@pytest.fixture(autouse=True)
def _endless_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is saved by the end of a lease: whoever is not told waits in vain, and fails the test."""
    monkeypatch.setattr("rcache.stores.redis.leases._LASTS", b"3600000")


class Nodes:
    """Nodes in this process: each has a cache of its own, and so nothing in common with the others but Redis."""

    def __init__(self, server: RedisServer | Cluster, url: str) -> None:
        self.server = server
        self.url = url
        self.namespace = f"one-{secrets.token_hex(6)}"
        self.origin = Origin()
        self.caches: list[Cache] = []

    def node(self, endpoint: Callable[[Request], Awaitable[Response]] | None = None, **settings: Any) -> RawClient:
        """A client of another node."""
        cache = Cache(self.url, namespace=self.namespace, deadline=PATIENCE, wait=3600, **settings)
        self.caches.append(cache)

        async def page(request: Request) -> Response:
            return await (endpoint or self.origin)(request)

        app = Starlette(routes=[Route("/", cached(ttl=60, tags=["page"])(page))])
        return RawClient(CacheMiddleware(app, cache=cache))

    def leases(self, field: str) -> int:
        """How many leases have the field."""
        client: Any = self.server.client()
        with client:
            keys = client.scan_iter(f"rc:{{{self.namespace}:*:lease:*")
            return sum(bool(client.hexists(key, field)) for key in keys)

    async def until(self, field: str, leases: int = 1) -> None:
        """Returns when so many leases have the field: `by` where they are held, `awaited` where somebody waits."""
        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(self.leases, field) < leases:
                await asyncio.sleep(0.01)


@pytest.fixture
async def nodes(redis_server: RedisServer) -> AsyncIterator[Nodes]:
    made = Nodes(redis_server, redis_server.url)
    yield made
    for cache in made.caches:
        await cache.close()


@pytest.fixture(params=SERVERS)
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Nodes on each kind of server."""
    if request.param == "sentinel":
        sentinels: Sentinels = request.getfixturevalue("sentinels")
        made = Nodes(sentinels.primary, sentinels.url)
    else:
        server = request.getfixturevalue("cluster" if request.param == "cluster" else "redis_server")
        made = Nodes(server, server.url)
    yield made
    for cache in made.caches:
        await cache.close()


async def test_of_three_nodes_one_runs_and_the_others_are_told(anywhere: Nodes) -> None:
    a, b, c = anywhere.node(), anywhere.node(), anywhere.node()
    first = a.start("/")
    await anywhere.origin.gate.reached()
    others = [node.start("/") for node in (b, c) for _ in range(5)]
    await anywhere.until("awaited")
    anywhere.origin.gate.open()
    assert (await first.finish()).is_stored
    answers = [await other.finish() for other in others]
    assert anywhere.origin.runs == 1
    assert {answer.text for answer in answers} == {"0 "}
    assert {str(answer.cache) for answer in answers} == {"rcache; fwd=miss; collapsed"}
    assert [cache.stats.collapsed for cache in anywhere.caches] == [0, 5, 5]
    async with asyncio.timeout(PATIENCE):
        while anywhere.leases("by"):
            await asyncio.sleep(0.01)


async def test_nodes_with_near_caches_are_told_too(nodes: Nodes) -> None:
    a, b = nodes.node(near="fast"), nodes.node(near="fast")
    first = a.start("/")
    await nodes.origin.gate.reached()
    second = b.start("/")
    await nodes.until("awaited")
    nodes.origin.gate.open()
    assert [(await each.finish()).text for each in (first, second)] == ["0 ", "0 "]
    assert nodes.origin.runs == 1


async def test_other_variants_run_for_themselves(nodes: Nodes) -> None:
    """Nobody knows of the variants before the first answer names them."""
    nodes.origin.headers = {"vary": "x-v"}
    a, b = nodes.node(), nodes.node()
    first = a.start("/", {"x-v": "1"})
    await nodes.origin.gate.reached()
    same, other = b.start("/", {"x-v": "1"}), b.start("/", {"x-v": "2"})
    await nodes.until("awaited")
    nodes.origin.gate.open()
    assert [(await each.finish()).text for each in (first, same, other)] == ["0 1", "0 1", "0 2"]
    assert nodes.origin.runs == 2


async def test_a_run_that_a_purge_outdates_is_shared_with_nobody(nodes: Nodes) -> None:
    """Those who wait look up anew, and one of them makes the new answer for all."""
    a, b, c = nodes.node(), nodes.node(), nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    before = b.start("/")
    await nodes.until("awaited")
    nodes.origin.value = 1
    assert (await nodes.caches[2].invalidate("page")).landed
    after = c.start("/")
    nodes.origin.gate.open()
    assert ((old := await first.finish()).text, old.is_stored) == ("0 ", False)
    assert [(await each.finish()).text for each in (before, after)] == ["1 ", "1 "]
    assert nodes.origin.runs == 2


async def test_who_comes_while_the_answer_of_another_node_is_looked_up_is_not_given_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge may have landed since."""
    a, b = nodes.node(), nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    waits = b.start("/")
    await nodes.until("awaited")
    store, gate = nodes.caches[1].store, Gate()
    look_up = store.lookup

    async def slow(*arguments: Any) -> Any:
        found = await look_up(*arguments)
        await gate()
        return found

    monkeypatch.setattr(store, "lookup", slow)
    nodes.origin.gate.open()
    assert (await first.finish()).is_stored
    await gate.reached()
    nodes.origin.value = 1
    await nodes.caches[0].invalidate("page")
    monkeypatch.setattr(store, "lookup", look_up)
    comes = b.start("/")
    await comes.arrives(1)
    gate.open()
    assert [(await each.finish()).text for each in (waits, comes)] == ["0 ", "1 "]


async def test_a_node_that_dies_is_followed_by_another_when_its_lease_runs_out(nodes: Nodes) -> None:
    a, b = nodes.node(), nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    with nodes.server.client() as client:
        (key,) = client.scan_iter(f"rc:{{{nodes.namespace}:*:lease:*")
        client.hset(key, "by", "a node that is dead")
        client.pexpire(key, 100)
    second = b.start("/")
    await nodes.origin.gate.reached(2)
    nodes.origin.gate.open()
    assert [(await each.finish()).text for each in (first, second)] == ["0 ", "0 "]


@pytest.mark.parametrize("headers", [{"cache-control": "private"}, {"set-cookie": "session=1"}])
async def test_what_cannot_be_shared_makes_nobody_queue(nodes: Nodes, headers: dict[str, str]) -> None:
    """All who wait run at once: the gate lets nobody through before both have come."""
    nodes.origin.headers = headers
    leading = Origin()
    leading.headers = headers
    a, b, c = nodes.node(leading), nodes.node(), nodes.node()
    first = a.start("/")
    await leading.gate.reached()
    others = [b.start("/"), c.start("/")]
    await nodes.until("awaited")
    leading.gate.open()
    await nodes.origin.gate.reached(2)
    nodes.origin.gate.open()
    assert [(await each.finish()).text for each in (first, *others)] == ["0 ", "0 ", "0 "]


async def test_a_run_that_fails_takes_nobody_with_it(nodes: Nodes) -> None:
    gate = Gate()

    async def fails(request: Request) -> Response:
        await gate()
        raise RuntimeError("the first node's database is gone")

    a, b = nodes.node(fails), nodes.node()
    first = a.start("/")
    await gate.reached()
    second = b.start("/")
    await nodes.until("awaited")
    nodes.origin.gate.open()
    gate.open()
    with pytest.raises(RuntimeError):
        await first.finish()
    assert (await second.finish()).is_stored


async def test_a_client_that_leaves_hands_over(nodes: Nodes) -> None:
    a, b = nodes.node(), nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    second = b.start("/")
    await nodes.until("awaited")
    first.task.cancel()
    await nodes.origin.gate.reached(2)
    nodes.origin.gate.open()
    assert (await second.finish()).is_stored


async def test_who_has_waited_for_long_enough_runs_by_itself(nodes: Nodes) -> None:
    a, b = nodes.node(), nodes.node()
    nodes.caches[1].wait = 0.0001  # less than a trip takes
    first, second = a.start("/"), None
    await nodes.origin.gate.reached()
    second = b.start("/")
    await nodes.origin.gate.reached(2)
    nodes.origin.gate.open()
    assert [(await each.finish()).text for each in (first, second)] == ["0 ", "0 "]
    assert not nodes.caches[1].store.is_down, "nobody takes that for an outage"


async def test_a_long_run_keeps_its_lease(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcache.stores.redis.leases.RENEWED", 0.02)
    a = nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    with nodes.server.client() as client:
        (key,) = client.scan_iter(f"rc:{{{nodes.namespace}:*:lease:*")
        client.pexpire(key, 500_000)
        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(client.pttl, key) < 1_000_000:
                await asyncio.sleep(0.01)
    nodes.origin.gate.open()
    await first.finish()


async def test_without_redis_everybody_runs_at_once() -> None:
    server = RedisServer()
    nodes = Nodes(server, server.url)
    try:
        a, b = nodes.node(), nodes.node()
        first = a.start("/")
        await nodes.origin.gate.reached()
        second = b.start("/")
        await nodes.until("awaited")
        server.kill()
        await nodes.origin.gate.reached(2)
        nodes.origin.gate.open()
        assert [(await each.finish()).text for each in (first, second)] == ["0 ", "0 "]
    finally:
        for cache in nodes.caches:
            await cache.close()
        server.stop()


async def test_a_cache_that_is_closed_leaves_no_lease(nodes: Nodes) -> None:
    a = nodes.node()
    first = a.start("/")
    await nodes.origin.gate.reached()
    assert nodes.leases("by") == 1
    await nodes.caches[0].close()
    assert nodes.leases("by") == 0
    nodes.origin.gate.open()
    assert (await first.finish()).text == "0 "
