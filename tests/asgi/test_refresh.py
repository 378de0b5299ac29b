"""Nobody waits for a new answer who may be given the old one: soft purges, timeouts, and answers made anew early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rcache import Cache, CacheMiddleware, Rule, invalidate
from rcache.core.errors import ConfigurationError
from rcache.core.policy import defaults, options
from tests.asgi.origin import Origin, Reply, standing
from tests.support import PATIENCE, Gate, HandClock, RawClient, settle

OLD = Reply(body=b"old", headers=[("etag", '"v1"')])
NEW = Reply(body=b"new", headers=[("etag", '"v2"')])
SOON = 0.01  # seconds of timeouts that are to run out; what they wait for comes only when a test says so


def serving(cache: Cache, *replies: Reply, **settings: Any) -> tuple[RawClient, Origin]:
    return standing(cache, *replies, standard=False, default_ttl=60, cache_groups=False, **settings)


def tagged(cache: Cache, *replies: Reply, **settings: Any) -> tuple[RawClient, Origin]:
    origin = Origin(list(replies))
    rules = [Rule("/", ttl=60, tags=["page"])]
    return RawClient(CacheMiddleware(origin, cache=cache, rules=rules, **settings)), origin


@pytest.fixture
def luck(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What chance draws, in turn, the last again and again: near 1 is bad luck, as many draws have it."""
    draws = [0.0]

    def draw() -> float:
        return draws.pop(0) if len(draws) > 1 else draws[0]

    monkeypatch.setattr("rcache.asgi.exchange.random", draw)
    monkeypatch.setattr("rcache.asgi.keeper.random", draw)
    return draws


# Soft purges


async def test_after_a_soft_purge_the_old_answer_is_served_while_one_makes_the_new_one(cache: Cache) -> None:
    gate = Gate()
    client, origin = tagged(cache, OLD, Reply(body=b"new", gate=gate), stale_while_revalidate=30)
    await client.get("/")
    await cache.invalidate("page", soft=True)
    stale = [await client.get("/") for _ in range(3)]
    assert [answer.body for answer in stale] == [b"old"] * 3
    assert all(answer.is_hit for answer in stale)
    await gate.reached()
    gate.open()
    await cache.refreshes.wait()
    assert ((new := await client.get("/")).body, new.cache) == (b"new", "rcache; hit; ttl=60")
    assert len(origin.requests) == 2


@pytest.mark.parametrize("is_sync", [False, True])
async def test_tags_are_purged_softly_by_the_public_names(cache: Cache, is_sync: bool) -> None:
    client, _origin = tagged(cache, OLD, Reply(503), stale_on_error=60)
    await client.get("/")
    purged = cache.invalidate_sync("page", soft=True) if is_sync else await cache.invalidate("page", soft=True)
    assert purged.landed
    assert purged.sequence is not None
    assert (await client.get("/")).cache == "rcache; fwd=stale; fwd-status=503; detail=stale-if-error"
    await invalidate("page", soft=True)
    assert (await client.get("/")).body == b"old"
    await cache.invalidate("page")
    assert (await client.get("/")).status == 503, "what was purged hard covers for nobody"


async def test_without_any_allowance_a_soft_purge_makes_the_next_request_validate(cache: Cache) -> None:
    client, origin = tagged(cache, OLD, Reply(304))
    await client.get("/")
    await cache.invalidate("page", soft=True)
    assert (await client.get("/")).cache == "rcache; fwd=stale; fwd-status=304; stored"
    assert origin.last.get("if-none-match") == '"v1"'
    assert (await client.get("/")).is_hit, "what was validated since is fresh"


async def test_the_allowance_counts_from_the_soft_purge(cache: Cache, clock: HandClock) -> None:
    client, _origin = tagged(cache, OLD, Reply(503), NEW, stale_while_revalidate=20)
    await client.get("/")
    clock.advance(5)
    await cache.invalidate("page", soft=True)
    clock.advance(19)
    assert (await client.get("/")).is_hit
    await cache.refreshes.wait()
    clock.advance(2)
    assert (await client.get("/")).body == b"new", "its time is over, though it would have been fresh for longer"


async def test_a_soft_purge_that_cannot_land_is_as_hard_as_any(cache: Cache) -> None:
    client, _origin = tagged(cache, OLD, NEW, stale_while_revalidate=60)
    await client.get("/")
    assert not (await cache.invalidate("page", soft=True, wait=False)).landed
    async with asyncio.timeout(PATIENCE):
        while cache.journal.waiting:
            await asyncio.sleep(0.001)
    assert (await client.get("/")).body == b"new"


# Timeouts


async def test_an_application_that_is_late_is_covered_for_and_goes_on(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    late = Reply(body=b"new", gate=gate)
    client, origin = serving(cache, OLD, late, stale_on_error=60, timeout=SOON)
    await client.get("/")
    clock.advance(61)
    answers = [await client.get("/") for _ in range(3)]
    assert [(answer.body, answer.status) for answer in answers] == [(b"old", 200)] * 3
    assert [answer.cache for answer in answers] == [
        "rcache; fwd=stale; detail=timeout",
        *["rcache; fwd=stale; collapsed; detail=timeout"] * 2,
    ]
    assert len(origin.requests) == 2, "nobody makes it run again meanwhile"
    gate.open()
    await cache.refreshes.wait()
    assert [answer.body for answer in answers] == [b"old"] * 3, "whoever was answered sees nothing of it"
    assert ((new := await client.get("/")).body, new.is_hit) == (b"new", True)


async def test_what_fails_late_is_logged_and_the_old_answer_stays(
    cache: Cache, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    client, _ = serving(cache, OLD, Reply(gate=gate, error=RuntimeError("late")), NEW, stale_on_error=60, timeout=SOON)
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/")).body == b"old"
    gate.open()
    await cache.refreshes.wait()
    assert "a stale answer covered for it" in caplog.text
    assert (await client.get("/")).body == b"new"


async def test_a_late_answer_of_a_client_that_has_left_is_stored(cache: Cache, clock: HandClock) -> None:
    """It was answered, and servers tell an application that goes on then that its client is gone."""
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/" and gate.arrivals == 0 and clock.elapsed:
            listening = asyncio.ensure_future(receive_all(receive))
            await gate()
            await settle()
            listening.cancel()
        body = b"new" if clock.elapsed else b"old"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": body})

    async def receive_all(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    client = RawClient(CacheMiddleware(app, cache=cache, default_ttl=60, stale_on_error=60, timeout=SOON))
    await client.get("/")
    clock.advance(61)
    exchange = client.start("/")
    assert (await exchange.finish()).body == b"old"
    exchange.leave()
    await settle()
    gate.open()
    await cache.refreshes.wait()
    assert ((new := await client.get("/")).body, new.is_hit) == (b"new", True)


async def test_who_has_nothing_to_fall_back_on_waits(cache: Cache) -> None:
    gate = Gate()
    client, _ = serving(cache, Reply(gate=gate), stale_on_error=60, timeout=SOON)
    exchange = client.start("/")
    await gate.reached()
    done, _ = await asyncio.wait({exchange.task}, timeout=10 * SOON)
    assert not done
    gate.open()
    assert (await exchange.finish()).is_stored


async def test_what_was_purged_meanwhile_covers_for_nobody(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    client, _ = tagged(cache, OLD, Reply(body=b"new", gate=gate), stale_on_error=60, timeout=SOON)
    await client.get("/")
    clock.advance(61)
    await cache.invalidate("page")
    exchange = client.start("/")
    await gate.reached()
    done, _ = await asyncio.wait({exchange.task}, timeout=10 * SOON)
    assert not done
    gate.open()
    assert (await exchange.finish()).body == b"new"


async def test_after_the_hard_timeout_the_application_is_cancelled_and_the_client_told(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    cancelled = asyncio.Event()

    async def never() -> None:
        try:
            await gate()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    client, _origin = serving(cache, Reply(gate=never), NEW, hard_timeout=SOON)
    answer = await client.get("/")
    assert (answer.status, answer.cache) == (504, "rcache; fwd=miss; detail=timeout")
    assert b"did not answer in time" in answer.body
    await cache.refreshes.wait()
    assert cancelled.is_set()
    assert "hard timeout" in caplog.text
    assert (await client.get("/")).body == b"new"


async def test_the_hard_timeout_covers_where_it_may_and_ends_what_goes_on_in_the_background(
    cache: Cache, clock: HandClock
) -> None:
    gate = Gate()
    client, _ = serving(cache, OLD, Reply(gate=gate), NEW, stale_on_error=60, timeout=SOON, hard_timeout=2 * SOON)
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/")).body == b"old"
    await cache.refreshes.wait()
    assert (await client.get("/")).body == b"new"
    clock.advance(61)
    client, _origin = serving(cache, Reply(gate=gate), stale_on_error=60, hard_timeout=SOON)
    assert (await client.get("/")).cache == "rcache; fwd=stale; detail=timeout"


async def test_an_answer_that_has_begun_is_not_cut(cache: Cache) -> None:
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await gate()
        await send({"type": "http.response.body", "body": b"two"})

    client = RawClient(CacheMiddleware(app, cache=cache, default_ttl=60, hard_timeout=SOON, timeout=SOON))
    exchange = client.start("/")
    await gate.reached()
    await asyncio.sleep(2 * SOON)
    gate.open()
    assert (await exchange.finish()).body == b"one two"


async def test_a_client_that_leaves_ends_a_timed_run(cache: Cache) -> None:
    gate = Gate()
    client, _ = serving(cache, Reply(gate=gate), hard_timeout=PATIENCE)
    exchange = client.start("/")
    await gate.reached()
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert not cache.flights.under_way


async def test_a_close_ends_what_goes_on_in_the_background(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    client, _ = serving(cache, OLD, Reply(gate=gate), stale_on_error=60, timeout=SOON)
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/")).body == b"old"
    await cache.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


# Before it is stale


async def test_an_answer_is_made_anew_from_a_fraction_of_its_lifetime_on(cache: Cache, clock: HandClock) -> None:
    client, origin = serving(cache, OLD, NEW, early=0.8)
    await client.get("/")
    clock.advance(47)
    assert (await client.get("/")).is_hit
    assert len(origin.requests) == 1
    clock.advance(2)
    assert (await client.get("/")).cache == "rcache; hit; ttl=11"
    await cache.refreshes.wait()
    assert ((new := await client.get("/")).body, new.cache) == (b"new", "rcache; hit; ttl=60")
    assert len(origin.requests) == 2


async def test_an_answer_is_made_anew_by_chance_the_sooner_the_dearer_it_was(
    cache: Cache, clock: HandClock, luck: list[float]
) -> None:
    async def work() -> None:
        clock.advance(2)  # seconds that it costs

    client, origin = serving(cache, Reply(body=b"old", gate=work), NEW, early=True)
    luck[:] = [1 - 0.05]  # its logarithm is -3: six seconds before the end
    await client.get("/")
    clock.advance(53 - 2)
    assert (await client.get("/")).is_hit
    assert len(origin.requests) == 1
    clock.advance(2)
    assert (await client.get("/")).body == b"old"
    await cache.refreshes.wait()
    assert (await client.get("/")).body == b"new"


async def test_an_early_answer_from_before_a_purge_is_not_stored(cache: Cache, clock: HandClock) -> None:
    gate = Gate()
    client, _ = tagged(cache, OLD, Reply(body=b"old", gate=gate), NEW, early=0.8)
    await client.get("/")
    clock.advance(50)
    assert (await client.get("/")).is_hit
    await gate.reached()
    await cache.invalidate("page")
    gate.open()
    await cache.refreshes.wait()
    assert cache.stats.refusals == 1
    assert (await client.get("/")).body == b"new"


async def test_a_lifetime_is_shortened_by_chance(cache: Cache, luck: list[float]) -> None:
    luck[:] = [0.5]
    client, _ = serving(cache, OLD, jitter=20)
    await client.get("/a")
    assert (await client.get("/a")).cache == "rcache; hit; ttl=50"
    client, _ = serving(cache, OLD, jitter=3600)
    luck[:] = [0.999]
    await client.get("/b")
    assert (await client.get("/b")).cache == "rcache; hit; ttl=30"


@pytest.mark.parametrize("early", [0, 1, 1.5, -0.5, "0.8", float("nan")])
def test_what_early_can_mean(early: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"early=0\.8"):
        options(60, early=early)
    with pytest.raises(ConfigurationError):
        defaults(early=early)


async def test_a_rule_comes_before_the_middleware(cache: Cache, clock: HandClock) -> None:
    origin = Origin([OLD, NEW])
    rules = [Rule("/", ttl=60, stale_while_revalidate=0)]
    client = RawClient(CacheMiddleware(origin, cache=cache, rules=rules, stale_while_revalidate=60))
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/")).body == b"new"
