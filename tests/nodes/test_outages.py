"""Redis absent, killed, restarted, stopped: every GET is answered, and every purge lands at last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import BackendError, Cache, CacheMiddleware, cached
from tests.servers import RedisServer, free_port
from tests.support import RawClient


class Shop:
    """One endpoint over one number, on a Redis that the test may do anything to."""

    def __init__(self, url: str, **settings: object) -> None:
        # A busy machine is not an outage; where Redis is stopped each probe takes so long.
        self.cache = Cache(url, **{"deadline": 0.5, **settings})  # type: ignore[arg-type]
        # No writer of this application holds tags, so a lost guard has nothing to wait for.
        self.cache.store.quarantine = 0.0  # type: ignore[attr-defined]
        self.version = 1
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        app = Starlette(routes=[Route("/price", self.price), Route("/other", self.other)])
        app.add_middleware(CacheMiddleware, cache=self.cache)
        self.client = RawClient(app)

    @property
    def price(self) -> Callable[..., object]:
        @cached(ttl=600, tags=["price"])
        async def price(request: Request) -> PlainTextResponse:
            self.runs += 1
            version = self.version
            self.entered.set()
            await self.gate.wait()
            return PlainTextResponse(f"{version}")

        return price

    @property
    def other(self) -> Callable[..., object]:
        @cached(ttl=600, tags=["other"])
        async def other(request: Request) -> PlainTextResponse:
            return PlainTextResponse("other")

        return other

    async def until(self, path: str, is_so: Callable[[str], bool]) -> str:
        """Asks until Cache-Status is as it should be: breakers and journals probe in their own time."""
        deadline = time.monotonic() + 30.0
        while True:
            answer = await self.client.get(path)
            assert answer.status == 200
            if is_so(answer.cache or ""):
                return answer.text
            assert time.monotonic() < deadline, answer.cache
            await asyncio.sleep(0.02)


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
async def shop(server: RedisServer) -> AsyncIterator[Shop]:
    shop = Shop(server.url, purge_timeout=0.3)
    yield shop
    server.resume() if server._process else server.start()
    await shop.cache.close()


def is_hit(status: str) -> bool:
    return status.startswith("rcache; hit")


def is_stored(status: str) -> bool:
    return status.endswith("; stored")


async def test_absent_at_start_costs_no_answer_and_is_used_once_it_is_there():
    port = free_port()
    shop = Shop(f"redis://127.0.0.1:{port}/0")
    for _ in range(20):
        answer = await shop.client.get("/price")
        assert (answer.status, answer.text) == (200, "1")
        assert answer.cache == "rcache; fwd=bypass; detail=outage"
    assert shop.runs == 20

    server = RedisServer(port=port)
    try:
        await shop.until("/price", is_hit)
    finally:
        await shop.cache.close()
        server.stop()


async def test_killed_in_mid_request_the_answer_goes_out_and_is_not_stored(server, shop):
    shop.gate.clear()
    fetch = shop.client.start("/price")
    await shop.entered.wait()
    server.kill()
    shop.gate.set()
    answer = await fetch.finish()
    assert (answer.status, answer.text) == (200, "1")
    assert answer.cache == "rcache; fwd=miss; detail=outage"

    again = await shop.client.get("/price")
    assert (again.status, again.cache) == (200, "rcache; fwd=bypass; detail=outage")

    server.start()
    await shop.until("/price", is_stored)
    assert is_hit((await shop.client.get("/price")).cache)


@pytest.mark.parametrize("keep_data", [True, False])
async def test_a_restart_makes_misses_and_no_errors(server, shop, keep_data):
    assert (await shop.client.get("/price")).is_stored
    server.restart(keep_data=keep_data)
    shop.version = 2
    assert await shop.until("/price", is_stored) == "2"
    assert is_hit((await shop.client.get("/price")).cache)


async def test_stopped_every_get_is_answered_by_the_application_and_then_hits_come_back(server, shop):
    assert (await shop.client.get("/price")).is_stored
    assert (await shop.client.get("/price")).is_hit
    server.pause()
    for _ in range(50):
        answer = await shop.client.get("/price")
        assert (answer.status, answer.text, answer.cache) == (200, "1", "rcache; fwd=bypass; detail=outage")
    answers = await asyncio.gather(*(shop.client.get("/price") for _ in range(50)))
    assert {(answer.status, answer.text) for answer in answers} == {(200, "1")}
    server.resume()
    await shop.until("/price", is_hit)


async def test_a_purge_that_cannot_land_waits_for_its_timeout_and_lands_later(server, shop):
    """Meanwhile this process serves nothing that carries its tags, though Redis still has it."""
    assert (await shop.client.get("/price")).is_stored
    server.pause()
    shop.version = 2
    purged = await shop.cache.invalidate("price")
    assert (purged.landed, purged.sequence) == (False, None)
    assert (await shop.client.get("/price")).text == "2"

    server.resume()
    assert await shop.until("/price", is_stored) == "2"
    assert await shop.until("/price", is_hit) == "2"
    assert not shop.cache.journal.waiting


async def test_what_a_pending_purge_names_is_not_served_while_redis_answers_again(server, shop):
    """The stale entry is in Redis, Redis answers, and only the journal knows that it is stale."""
    for path in ("/price", "/other"):
        assert (await shop.client.get(path)).is_stored
    shop.version = 2
    send = shop.cache.journal._send
    is_held = asyncio.Event()

    def hold(tags, timeout):  # the journal's own trips fail a while longer
        if not is_held.is_set():
            raise BackendError("held by the test")
        return send(tags, timeout)

    shop.cache.journal._send = hold
    shop.cache.journal.add(["price"])
    answer = await shop.client.get("/price")
    assert (answer.text, answer.cache) == ("2", "rcache; fwd=bypass; detail=purge-pending")
    assert (await shop.client.get("/other")).is_hit

    is_held.set()
    assert await shop.until("/price", is_stored) == "2"


async def test_once_the_breaker_is_open_a_purge_waits_not_at_all(server, shop):
    server.kill()
    assert (await shop.client.get("/price")).cache == "rcache; fwd=bypass; detail=outage"
    assert shop.cache.store.is_down
    waits = []
    shop.cache.journal.wait_async = waits.append
    assert not (await shop.cache.invalidate("price")).landed
    assert waits == []


async def test_purges_of_an_outage_land_in_order_and_all_of_them(server, shop):
    assert (await shop.client.get("/price")).is_stored
    assert (await shop.client.get("/other")).is_stored
    server.kill()
    sent = []
    send = shop.cache.journal._send

    def record(tags, timeout):
        purge = send(tags, timeout)
        sent.extend(tags)
        return purge

    shop.cache.journal._send = record
    names = [f"tag:{number}" for number in range(25)]
    for name in names:
        assert not (await shop.cache.invalidate(name)).landed
    server.start()
    await shop.until("/price", is_hit)
    while shop.cache.journal.waiting:
        await asyncio.sleep(0.01)
    assert sent[: len(names)] == names  # whoever then meets the new epoch sends the last ones again


async def test_an_outage_may_abort_the_write_instead(server):
    shop = Shop(server.url, purge_timeout=0.2, on_outage="abort")
    assert (await shop.client.get("/price")).is_stored
    server.pause()
    with pytest.raises(BackendError, match="has not landed"):
        await shop.cache.invalidate("price")
    with pytest.raises(BackendError, match="has not landed"):
        await asyncio.to_thread(shop.cache.invalidate_sync, "price")
    server.resume()
    shop.version = 2
    assert await shop.until("/price", is_stored) == "2"
    await shop.cache.close()


async def test_a_late_event_loop_does_not_turn_hits_into_misses(server):
    """Redis is well, the loop is three deadlines late while lookups are under way: they are hits all the same."""
    shop = Shop(server.url, deadline=0.1)
    await shop.until("/price", is_hit)
    for turns in range(6):  # block the loop at different points of a lookup: before it is sent, while it travels, after
        lookups = [shop.client.start("/price") for _ in range(8)]
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(0.3)
        answers = [await lookup.finish() for lookup in lookups]
        assert [answer.is_hit for answer in answers] == [True] * 8, [answer.cache for answer in answers]
    await shop.cache.close()
