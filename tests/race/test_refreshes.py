"""A refresh that began before a purge never stores, on whatever node either happens, and whatever began the refresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from rcache import Cache, CacheMiddleware, Rule
from tests.servers import RedisServer
from tests.support import Gate, RawClient

BEGUN_BY = {
    "stale-while-revalidate": {"ttl": 3600, "stale_while_revalidate": 3600},  # it is made stale by a soft purge
    "timeout": {"ttl": 3600, "stale_on_error": 3600, "timeout": 0.01},
}


class Page:
    """What two nodes serve: a value that is read before the gate, and sent after it."""

    def __init__(self, url: str, namespace: str, how: str) -> None:
        self.value = 0
        self.gates: list[Gate] = []
        self.caches = [Cache(url, namespace=namespace, deadline=10) for _ in range(2)]
        rules = [Rule("/", tags=["page"], **BEGUN_BY[how])]
        self.nodes = [RawClient(CacheMiddleware(self._app, cache=cache, rules=rules)) for cache in self.caches]

    async def _app(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        response = await self._answer(Request(scope))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        read = self.value
        if self.gates:
            await self.gates.pop()()
        return PlainTextResponse(str(read))

    async def get(self, node: int) -> str:
        return (await self.nodes[node].get("/")).text

    async def close(self) -> None:
        for cache in self.caches:
            await cache.close()


@pytest.fixture(params=BEGUN_BY)
async def page(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Page]:
    made = Page(redis_server.url, f"refresh-{request.param}-{request.node.name[-8:]}-{id(request)}", request.param)
    yield made
    await made.close()


async def begin(page: Page, node: int) -> Gate:
    """A refresh in that node, which has read and not yet sent."""
    assert await page.get(node) == "0"
    await page.caches[1 - node].invalidate("page", soft=True)
    gate = Gate()
    page.gates.append(gate)
    assert await page.get(node) == "0", "the old answer is served meanwhile"
    await gate.reached()
    return gate


@pytest.mark.parametrize("purging", [0, 1])
@pytest.mark.parametrize("is_held", [False, True])
async def test_a_purge_while_a_refresh_is_under_way_wins(page: Page, purging: int, is_held: bool) -> None:
    gate = await begin(page, 0)
    if is_held:
        async with page.caches[purging].writing("page"):
            page.value = 1
            gate.open()
            await page.caches[0].refreshes.wait()
    else:
        page.value = 1
        assert (await page.caches[purging].invalidate("page")).landed
        gate.open()
        await page.caches[0].refreshes.wait()
    assert page.caches[0].stats.refusals == 1
    assert [await page.get(node) for node in (1, 0, 1)] == ["1", "1", "1"]


@pytest.mark.parametrize("purging", [0, 1])
async def test_who_asks_after_the_purge_waits_for_no_refresh_from_before(page: Page, purging: int) -> None:
    """In the node that purged it runs at once; another may wait for the refresh to be refused, and is given nothing of it."""
    gate = await begin(page, 0)
    page.value = 1
    assert (await page.caches[purging].invalidate("page")).landed
    asked = [asyncio.ensure_future(page.get(node)) for node in (0, 1)]
    gate.open()
    assert await asyncio.gather(*asked) == ["1", "1"]
    await page.caches[0].refreshes.wait()
    assert [await page.get(node) for node in (0, 1)] == ["1", "1"]


async def test_a_purge_after_a_refresh_kills_what_it_has_stored(page: Page) -> None:
    gate = await begin(page, 0)
    gate.open()
    await page.caches[0].refreshes.wait()
    page.value = 1
    assert (await page.caches[1].invalidate("page")).landed
    assert [await page.get(node) for node in (0, 1)] == ["1", "1"]


async def test_two_nodes_refresh_once(page: Page) -> None:
    gate = await begin(page, 0)
    assert await page.get(1) == "0"
    gate.open()
    for cache in page.caches:
        await cache.refreshes.wait()
    assert page.caches[0].stats.stores + page.caches[1].stats.stores == 2, "the first answer, and one refresh"
