"""Requests for the same cold key join one run of the application, and nobody is given what a purge has outdated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached, invalidate, tag
from tests.support import Gate, HandClock, RawClient, settle


@pytest.fixture(autouse=True)
def patience(cache: Cache) -> None:
    """Nobody gives up waiting for a flight: whoever waits in vain fails the test."""
    cache.wait = 3600.0


class Origin:
    """An endpoint that reads a value, pauses at a gate, and answers with what it read."""

    def __init__(self) -> None:
        self.value = 0
        self.runs = 0
        self.gate = Gate()
        self.headers: dict[str, str] = {}

    async def __call__(self, request: Request) -> Response:
        self.runs += 1
        read = self.value
        await self.gate()
        return PlainTextResponse(f"{read} {request.headers.get('x-v', '')}", headers=self.headers)


def serving(cache: Cache, endpoint: Callable[..., Any], **settings: Any) -> RawClient:
    async def page(request: Request) -> Response:
        response: Response = await endpoint(request)
        return response

    app = Starlette(routes=[Route("/", cached(**{"ttl": 60, "tags": ["page"], **settings})(page))])
    return RawClient(CacheMiddleware(app, cache=cache))


async def test_fifty_requests_for_a_cold_key_are_one_run(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin)
    exchanges = [client.start("/") for _ in range(50)]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    answers = [await exchange.finish() for exchange in exchanges]
    assert origin.runs == 1
    assert [answer.text for answer in answers] == ["0 "] * 50
    fields = sorted(str(answer.cache) for answer in answers)
    assert fields == ["rcache; fwd=miss; collapsed"] * 49 + ["rcache; fwd=miss; stored"]
    assert len({answer.get("etag") for answer in answers}) == 1
    assert (cache.stats.misses, cache.stats.collapsed) == (50, 49)


async def test_a_request_that_starts_after_an_invalidation_does_not_join(cache: Cache) -> None:
    """The first one's client gets its answer, and nobody after the purge does."""
    origin = Origin()
    client = serving(cache, origin)
    before = client.start("/")
    await origin.gate.reached()
    origin.value = 1
    assert (await cache.invalidate("page")).landed
    after = client.start("/")
    await origin.gate.reached(2)
    origin.gate.open()
    assert ((old := await before.finish()).text, old.is_stored) == ("0 ", False)
    assert ((new := await after.finish()).text, new.is_stored) == ("1 ", True)
    assert ((hit := await client.get("/")).text, hit.is_hit) == ("1 ", True)


@pytest.mark.parametrize("is_sync", [True, False])
async def test_who_joined_before_the_purge_looks_again(cache: Cache, is_sync: bool) -> None:
    origin = Origin()
    client = serving(cache, origin)
    leader, follower = client.start("/"), client.start("/")
    await origin.gate.reached()
    await settle()
    origin.value = 1
    if is_sync:
        cache.invalidate_sync("page")
    else:
        await cache.invalidate("page")
    origin.gate.open()
    assert (await leader.finish()).text == "0 "
    assert (await follower.finish()).text == "1 "
    assert (await client.get("/")).text == "1 "
    assert origin.runs == 2


async def test_a_purge_of_something_else_lets_the_fill_be_stored(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin)
    exchange = client.start("/")
    await origin.gate.reached()
    await cache.invalidate("other")
    origin.gate.open()
    assert (await exchange.finish()).is_stored


async def test_a_purge_from_inside_the_endpoint_keeps_its_own_answer_out(cache: Cache) -> None:
    async def endpoint(request: Request) -> Response:
        tag("discovered")
        await invalidate("discovered")
        return PlainTextResponse("ok")

    client = serving(cache, endpoint)
    for _ in range(2):
        assert (await client.get("/")).cache == "rcache; fwd=miss; detail=refused"


async def test_a_leader_that_is_cancelled_hands_over_to_one_follower(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin)
    leader = client.start("/")
    await origin.gate.reached()
    followers = [client.start("/") for _ in range(5)]
    await settle()
    leader.task.cancel()
    await origin.gate.reached(2)
    await settle()
    assert origin.runs == 2
    origin.gate.open()
    answers = [await exchange.finish() for exchange in followers]
    assert [answer.is_stored for answer in answers].count(True) == 1
    assert [answer.cache for answer in answers].count("rcache; fwd=miss; collapsed") == 4
    assert leader.task.cancelled()


async def test_a_follower_that_is_cancelled_disturbs_nobody(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin)
    leader, one, other = client.start("/"), client.start("/"), client.start("/")
    await origin.gate.reached()
    await settle()
    one.task.cancel()
    await settle()
    origin.gate.open()
    assert (await leader.finish()).is_stored
    assert (await other.finish()).cache == "rcache; fwd=miss; collapsed"
    assert origin.runs == 1


async def test_a_leader_that_fails_lets_the_others_run_by_themselves(cache: Cache) -> None:
    gate, runs = Gate(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal runs
        runs += 1
        is_first = runs == 1
        await gate()
        if is_first:
            raise RuntimeError("first")
        return PlainTextResponse("ok")

    client = serving(cache, endpoint)
    leader = client.start("/")
    await gate.reached()
    followers = [client.start("/") for _ in range(3)]
    await settle()
    gate.open()
    with pytest.raises(RuntimeError, match="first"):
        await leader.finish()
    assert [(await exchange.finish()).text for exchange in followers] == ["ok"] * 3
    assert (await client.get("/")).is_hit
    assert not cache.flights.under_way


@pytest.mark.parametrize("headers", [{"cache-control": "no-store"}, {"set-cookie": "a=1"}, {"vary": "*"}])
async def test_what_cannot_be_stored_is_not_shared(cache: Cache, headers: dict[str, str]) -> None:
    origin = Origin()
    origin.headers = headers
    client = serving(cache, origin)
    exchanges = [client.start("/", {"x-v": str(n)}) for n in range(5)]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    assert [(await exchange.finish()).text for exchange in exchanges] == [f"0 {n}" for n in range(5)]
    assert origin.runs == 5


async def test_an_error_is_not_shared(cache: Cache) -> None:
    gate, runs = Gate(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal runs
        runs += 1
        number = runs
        await gate()
        return PlainTextResponse(str(number), status_code=503 if number == 1 else 200)

    client = serving(cache, endpoint)
    exchanges = [client.start("/") for _ in range(3)]
    await gate.reached()
    await settle()
    gate.open()
    answers = [await exchange.finish() for exchange in exchanges]
    assert [answer.status for answer in answers] == [503, 200, 200]


@pytest.mark.parametrize("is_known", [True, False])
async def test_variants_do_not_share(cache: Cache, clock: HandClock, is_known: bool) -> None:
    """Whether the names are remembered from an earlier answer, or the first one tells them only now."""
    origin = Origin()
    origin.headers = {"vary": "x-v"}
    client = serving(cache, origin)
    if is_known:
        origin.gate.open()
        await client.get("/", {"x-v": "known"})
        origin.gate, origin.runs = Gate(), 0
    exchanges = [client.start("/", {"x-v": v}) for v in ("a", "b", "a", "b", "c")]
    await origin.gate.reached(3 if is_known else 1)
    await settle()
    origin.gate.open()
    answers = [await exchange.finish() for exchange in exchanges]
    assert [answer.text for answer in answers] == [f"0 {v}" for v in ("a", "b", "a", "b", "c")]
    assert origin.runs == 3


async def test_a_leader_that_streams_does_not_hold_the_others(cache: Cache) -> None:
    gate, runs = Gate(), 0

    async def endpoint(request: Request) -> Response:
        async def body() -> Any:
            nonlocal runs
            runs += 1
            yield b"first"
            await gate()
            yield b"last"

        return StreamingResponse(body())

    client = serving(cache, endpoint)
    leader, other = client.start("/"), client.start("/")
    await leader.arrives(2)
    await other.arrives(2)
    assert runs == 2
    gate.open()
    assert (await leader.finish()).body == (await other.finish()).body == b"firstlast"
    assert (await client.get("/")).is_hit


async def test_a_leader_whose_stream_is_silent_does_not_hold_the_others(cache: Cache) -> None:
    """Not only event streams: anything of unknown length may have nothing to say for hours."""
    gate = Gate()

    async def endpoint(request: Request) -> Response:
        async def body() -> Any:
            await gate()
            yield b"at last"

        return StreamingResponse(body(), media_type="application/x-ndjson")

    client = serving(cache, endpoint)
    exchanges = [client.start("/") for _ in range(3)]
    for exchange in exchanges:
        await exchange.arrives(1)
    gate.open()
    assert [(await exchange.finish()).text for exchange in exchanges] == ["at last"] * 3


async def test_an_answer_of_unknown_length_that_comes_at_once_is_shared(cache: Cache) -> None:
    gate, runs = Gate(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal runs
        runs += 1
        await gate()
        return Response(status_code=204)

    client = serving(cache, endpoint)
    exchanges = [client.start("/") for _ in range(10)]
    await gate.reached()
    await settle()
    gate.open()
    assert [(await exchange.finish()).status for exchange in exchanges] == [204] * 10
    assert runs == 1


async def test_who_waits_too_long_runs_by_itself(cache: Cache) -> None:
    cache.wait = 0.001
    origin = Origin()
    client = serving(cache, origin)
    exchanges = [client.start("/") for _ in range(2)]
    await origin.gate.reached(2)
    origin.gate.open()
    assert [(await exchange.finish()).text for exchange in exchanges] == ["0 ", "0 "]


async def test_personal_requests_and_head_join_nobody(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin)
    exchanges = [
        client.start("/", {"x-v": "anybody"}),
        client.start("/", {"x-v": "alice", "authorization": "alice"}),
        client.start("/", {"x-v": "bob", "cookie": "session=bob"}),
        client.start("/", {"x-v": "head"}, method="HEAD"),
    ]
    await origin.gate.reached(4)
    origin.gate.open()
    assert [(await exchange.finish()).text for exchange in exchanges[:3]] == ["0 anybody", "0 alice", "0 bob"]
    await exchanges[3].finish()
    assert (await client.get("/")).text == "0 anybody"


async def test_identities_do_not_share(cache: Cache) -> None:
    origin = Origin()
    client = serving(cache, origin, key_by="x-v")
    exchanges = [client.start("/", {"x-v": v}) for v in ("alice", "bob", "alice")]
    await origin.gate.reached(2)
    await settle()
    origin.gate.open()
    assert [(await exchange.finish()).text for exchange in exchanges] == ["0 alice", "0 bob", "0 alice"]
    assert origin.runs == 2


async def test_an_expired_key_is_cold_for_one_run_too(cache: Cache, clock: HandClock) -> None:
    origin = Origin()
    origin.gate.open()
    client = serving(cache, origin)
    await client.get("/")
    clock.advance(61)
    origin.gate, origin.runs = Gate(), 0
    exchanges = [client.start("/") for _ in range(10)]
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    await asyncio.gather(*(exchange.finish() for exchange in exchanges))
    assert origin.runs == 1


async def test_no_flight_is_left_behind(cache: Cache) -> None:
    origin = Origin()
    origin.gate.open()
    client = serving(cache, origin)
    for _ in range(3):
        await client.get("/")
        await cache.invalidate("page")
    assert not cache.flights.under_way


async def test_a_follower_revalidates_what_the_leader_made(cache: Cache) -> None:
    origin = Origin()
    origin.gate.open()
    client = serving(cache, origin)
    etag = str((await client.get("/")).get("etag"))
    await cache.invalidate("page")
    origin.gate, origin.runs = Gate(), 0
    leader, follower = client.start("/"), client.start("/", {"if-none-match": etag})
    await origin.gate.reached()
    await settle()
    origin.gate.open()
    assert (await leader.finish()).status == 200
    assert (await follower.finish()).status == 304
    assert origin.runs == 1
