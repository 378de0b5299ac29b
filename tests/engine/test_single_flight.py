"""Requests for the same cold key share one run of the application, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading

from rcache.core.entry import Start
from rcache.engine.single_flight import Ending, Flights, Landed
from tests.contract.support import Question, made
from tests.support import PATIENCE

KEY = Question("/book").key
LANDED = Landed(made(Question("/book"), Start("e", 1), 0.0), (), b"", 0.0)


async def test_the_first_leads_and_the_others_follow() -> None:
    flights = Flights()
    leader, leads = flights.join_or_lead(KEY, b"")
    assert leads
    others = [flights.join_or_lead(KEY, b"") for _ in range(3)]
    assert others == [(leader, False)] * 3
    waits = [asyncio.ensure_future(flight.follow(PATIENCE)) for flight, _ in others]
    leader.land(LANDED)
    assert await asyncio.gather(*waits) == [LANDED] * 3
    assert flights.join_or_lead(KEY, b"")[1], "the next one flies anew"


async def test_other_keys_and_variants_fly_by_themselves() -> None:
    flights = Flights()
    asked = [(KEY, b""), (KEY, b"en"), (Question("/other").key, b""), (Question("/book", identity=b"ann").key, b"")]
    assert all(flights.join_or_lead(*each)[1] for each in asked)
    assert not any(flights.join_or_lead(*each)[1] for each in asked)


async def test_nobody_joins_after_it_departed_and_those_aboard_arrive() -> None:
    flights = Flights()
    leader, _ = flights.join_or_lead(KEY, b"")
    flight, _ = flights.join_or_lead(KEY, b"")
    waits = asyncio.ensure_future(flight.follow(PATIENCE))
    leader.depart()
    later, leads = flights.join_or_lead(KEY, b"")
    assert leads
    assert later is not leader
    leader.land(LANDED)
    assert await waits is LANDED
    assert flights.join_or_lead(KEY, b"") == (later, False), "landing takes nobody else's place away"


async def test_requests_after_an_invalidation_join_nothing_from_before() -> None:
    flights = Flights()
    before, _ = flights.join_or_lead(KEY, b"")
    flights.detach()
    after, leads = flights.join_or_lead(KEY, b"")
    assert leads
    before.land(LANDED)
    assert flights.join_or_lead(KEY, b"") == (after, False)


async def test_only_the_first_landing_counts() -> None:
    flights = Flights()
    leader, _ = flights.join_or_lead(KEY, b"")
    leader.land(Ending.AGAIN)
    leader.land(LANDED)
    assert await leader.follow(PATIENCE) is Ending.AGAIN


async def test_a_follower_loses_patience() -> None:
    leader, _ = Flights().join_or_lead(KEY, b"")
    assert await leader.follow(0.001) is Ending.LATE
    leader.land(LANDED)
    assert await leader.follow(PATIENCE) is LANDED


async def test_a_follower_that_leaves_takes_nobody_with_it() -> None:
    flights = Flights()
    leader, _ = flights.join_or_lead(KEY, b"")
    leaves, stays = (asyncio.ensure_future(leader.follow(PATIENCE)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    leader.land(LANDED)
    assert await stays is LANDED


async def test_flights_are_joined_on_their_own_loop_only() -> None:
    flights = Flights()
    flights.join_or_lead(KEY, b"")
    led: list[bool] = []

    async def elsewhere() -> None:
        flight, leads = flights.join_or_lead(KEY, b"")
        led.append(leads)
        flight.land(Ending.ALONE)

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert led == [True]
    assert not flights.join_or_lead(KEY, b"")[1]


async def test_what_has_landed_is_not_kept() -> None:
    flights = Flights()
    for number in range(100):
        flight, _ = flights.join_or_lead(Question(f"/{number}").key, b"")
        if number % 2:
            flights.detach()
            flights.join_or_lead(Question(f"/{number}").key, b"")[0].land(Ending.ALONE)
        flight.land(Ending.AGAIN)
    assert not flights.under_way
