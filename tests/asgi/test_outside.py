"""While nothing can be stored: one run at a time for a key, and nobody is given one that began before its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from rcache.core.entry import Missing
from rcache.ports import Ask, Budget
from tests.asgi.test_flights import Origin, serving
from tests.servers import free_port
from tests.support import PATIENCE, Gate, RawClient, settle

OUTAGE = "rcache; fwd=bypass; detail=outage"
SHARED = "rcache; fwd=bypass; collapsed; detail=outage"


@pytest.fixture
async def lost() -> AsyncIterator[Cache]:
    """A cache whose Redis is gone: nobody listens there."""
    cache = Cache(f"redis://127.0.0.1:{free_port()}", deadline=PATIENCE, wait=3600)
    yield cache
    await cache.close()


async def test_a_crowd_is_one_run(lost: Cache) -> None:
    origin = Origin()
    client = serving(lost, origin)
    crowd = [client.start("/") for _ in range(50)]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    answers = [await each.finish() for each in crowd]
    assert {answer.text for answer in answers} == {"0 "}
    assert sorted(str(answer.cache) for answer in answers) == [SHARED] * 49 + [OUTAGE]
    assert origin.runs == 1


async def test_who_comes_while_a_run_is_under_way_is_given_the_next(lost: Cache) -> None:
    """Somebody may have purged what the first one read, and this process would not know."""
    origin = Origin()
    client = serving(lost, origin)
    first = client.start("/")
    await origin.gate.reached()
    origin.value = 1
    later = [client.start("/") for _ in range(10)]
    await settle()
    assert origin.runs == 1, "one at a time"
    origin.gate.open()
    assert (await first.finish()).text == "0 "
    assert {(await each.finish()).text for each in later} == {"1 "}
    assert origin.runs == 2
    assert (await client.get("/")).text == "1 "
    assert origin.runs == 3, "nothing is kept"


async def test_a_run_that_fails_takes_nobody_with_it(lost: Cache) -> None:
    """The application and Redis are both down: each client is told so at once, by the application's own error."""
    gate, runs = Gate(), 0

    async def fails(request: Request) -> Response:
        nonlocal runs
        runs += 1
        await gate()
        raise RuntimeError("the database is gone")

    client = serving(lost, fails)
    crowd = [client.start("/") for _ in range(20)]
    await gate.reached()
    await settle()
    assert runs == 1
    gate.open()
    for each in crowd:
        with pytest.raises(RuntimeError, match="the database is gone"):
            await each.finish()
    assert runs == 20, "nobody waits for a second failure"


async def test_a_client_that_leaves_hands_over(lost: Cache) -> None:
    origin = Origin()
    client = serving(lost, origin)
    first = client.start("/")
    await origin.gate.reached()
    later = [client.start("/") for _ in range(4)]
    await settle()
    later[0].task.cancel()  # while it waits for its turn
    await settle()
    first.task.cancel()
    await origin.gate.reached(2)
    later[1].task.cancel()  # while it runs
    await origin.gate.reached(3)
    origin.gate.open()
    assert {(await each.finish()).text for each in later[2:]} == {"0 "}


async def test_who_has_waited_for_long_enough_runs_by_itself(lost: Cache) -> None:
    origin = Origin()
    client = serving(lost, origin, wait=0.001)
    crowd = [client.start("/")]
    await origin.gate.reached()
    crowd += [client.start("/") for _ in range(2)]
    await origin.gate.reached(2)
    origin.gate.open()
    assert {(await each.finish()).text for each in crowd} == {"0 "}


@pytest.mark.parametrize(
    "headers", [{"cookie": "session=1"}, {"authorization": "Bearer x"}, {"cache-control": "no-store"}]
)
async def test_what_is_somebodys_own_is_shared_with_nobody(lost: Cache, headers: dict[str, str]) -> None:
    origin = Origin()
    client = serving(lost, origin)
    crowd = [client.start("/", headers) for _ in range(2)]
    await origin.gate.reached(2)
    origin.gate.open()
    assert [(await each.finish()).text for each in crowd] == ["0 ", "0 "]


@pytest.mark.parametrize("field", [{"vary": "x-v"}, {"set-cookie": "a=1"}, {"cache-control": "private"}])
async def test_an_answer_that_is_not_everybodys_is_shared_with_nobody(lost: Cache, field: dict[str, str]) -> None:
    origin = Origin()
    origin.headers = field
    client = serving(lost, origin)
    crowd = [client.start("/", {"x-v": version}) for version in "ab"]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    assert [(await each.finish()).text for each in crowd] == ["0 a", "0 b"]


async def test_who_takes_only_what_is_stored_is_told_at_once(lost: Cache) -> None:
    origin = Origin()
    answer = await serving(lost, origin).get("/", {"cache-control": "only-if-cached"})
    assert (answer.status, origin.runs) == (504, 0)


async def test_what_cannot_be_stored_for_a_while_is_shared_too(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart of Redis."""

    async def lookup(ask: Ask, budget: Budget) -> Missing:
        return Missing(None, cache.clock.time(), "quarantine")

    cache.wait = 3600.0
    monkeypatch.setattr(cache.store, "lookup", lookup)
    origin = Origin()
    client = serving(cache, origin)
    crowd = [client.start("/") for _ in range(3)]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    fields = sorted([str((await each.finish()).cache) for each in crowd])
    assert fields == ["rcache; fwd=miss; collapsed; detail=quarantine"] * 2 + ["rcache; fwd=miss; detail=quarantine"]
    assert (cache.stats.misses, cache.stats.collapsed, origin.runs) == (3, 2, 1)


async def test_an_application_that_hangs_as_well_lets_everybody_go_in_time(lost: Cache) -> None:
    """Clients are told, and no run is left behind."""
    under_way = 0

    async def hangs(request: Request) -> Response:
        nonlocal under_way
        under_way += 1
        try:
            await asyncio.Event().wait()
        finally:
            under_way -= 1
        return PlainTextResponse("never")

    app = Starlette(routes=[Route("/", cached(ttl=60)(hangs))])
    client = RawClient(CacheMiddleware(app, cache=lost, hard_timeout=0.01))
    crowd = [client.start("/") for _ in range(10)]
    answers = [await each.finish() for each in crowd]
    assert {answer.status for answer in answers} == {504}
    assert {str(answer.cache) for answer in answers} == {"rcache; fwd=bypass; detail=timeout"}
    await lost.close()
    assert under_way == 0
