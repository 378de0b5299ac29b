"""What costs a trip to Redis, and what travels together."""

import asyncio
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rcache.core.changes import families
from rcache.core.entry import Entry, Found, Missing, Start
from rcache.core.schemes import Scheme
from tests.contract.redis_harness import RedisHarness

from .conftest import Request, budget, entry_of, fill


async def test_a_hit_takes_one_trip(store):
    await fill(store, Request())
    before = store.trips

    assert isinstance(await store.lookup(Request(), budget()), Found)

    assert store.trips == before + 1


async def test_a_miss_and_its_fill_take_two_trips(store):
    await fill(store, Request(b"/warm"))
    before = store.trips

    await fill(store, Request(b"/cold"))

    assert store.trips == before + 2


async def test_a_purge_of_many_tags_takes_one_trip(store):
    await store.lookup(Request(), budget())
    before = store.trips

    await store.purge([f"article:{n}" for n in range(50)], 5.0)

    assert store.trips == before + 1


MANY = [Scheme(f"table{n % 5}", (f"column{n}",)) for n in range(50)]


def asked(schemes: list[Scheme], start: Start, now: float) -> Entry:
    tags = [str(each.tag({each.columns[0]: 1})) for each in schemes]
    return entry_of(start, now, *tags, *families(tags))


@pytest.mark.parametrize("schemes", [MANY[:1], MANY], ids=["1", "50"])
async def test_what_depends_on_one_scheme_or_fifty_takes_the_same_trips(store, schemes):
    """One for a miss, one for its store with what it registers, one for a hit, one for a hold, one for a purge."""
    tables = sorted({each.table for each in schemes})
    for is_opened in (False, True):
        trips = [store.trips]
        missing = await store.lookup(Request(), budget())
        trips.append(store.trips)
        assert await store.store(Request(), (), asked(schemes, missing.start, missing.now), budget(), schemes)
        trips.append(store.trips)
        assert isinstance(await store.lookup(Request(), budget()), Found)
        trips.append(store.trips)
        told = await store.hold([*tables, "table0:1"], "t1", 20.0, 5.0, tables)
        assert {each for its in told.values() for each in its} == set(schemes)
        trips.append(store.trips)
        await store.purge([*tables, *[f"{table}:*" for table in tables]], 5.0, "t1", tables)
        trips.append(store.trips)
        if is_opened:
            assert [after - before for before, after in pairwise(trips)] == [1, 1, 1, 1, 1]


async def test_a_hit_on_a_variant_takes_one_trip_once_the_names_are_known(harness: RedisHarness):
    ask = Request(fields={"accept-language": b"de"})
    missing = await harness.store.lookup(ask, budget())
    assert await harness.store.store(ask, ("accept-language",), entry_of(missing.start, missing.now), budget())
    other = await harness.second()
    assert isinstance(await other.lookup(ask, budget()), Found)
    before = other.trips

    assert isinstance(await other.lookup(ask, budget()), Found)

    assert other.trips == before + 1


async def test_calls_of_one_turn_travel_as_one_pipeline(store):
    await store.lookup(Request(), budget())
    before = store.trips

    answers = await asyncio.gather(*[store.lookup(Request(b"/%d" % n), budget()) for n in range(64)])

    assert all(type(answer) is Missing for answer in answers)
    assert store.trips == before + 1


async def test_each_call_of_a_pipeline_gets_its_own_answer(store):
    bodies = {b"/%d" % n: b"%d" % n for n in range(64)}
    await asyncio.gather(*[fill(store, Request(path), body=body) for path, body in bodies.items()])

    answers = await asyncio.gather(*[store.lookup(Request(path), budget()) for path in bodies])

    assert [answer.entry.body for answer in answers] == list(bodies.values())


@pytest.mark.parametrize("is_sent", [False, True])
async def test_a_cancelled_call_leaves_the_others_their_answers(is_sent, store, caplog):
    for n in range(3):
        await fill(store, Request(b"/%d" % n), body=b"%d" % n)
    before = store.trips
    tasks = [asyncio.create_task(store.lookup(Request(b"/%d" % n), budget())) for n in range(3)]
    await asyncio.sleep(0)
    while is_sent and store.trips == before:
        await asyncio.sleep(0)
    tasks[1].cancel()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert answers[0].entry.body == b"0"
    assert isinstance(answers[1], asyncio.CancelledError)
    assert answers[2].entry.body == b"2"
    assert (await store.lookup(Request(b"/1"), budget())).entry.body == b"1"
    assert not caplog.records


async def test_scripts_that_redis_forgot_are_sent_again(harness: RedisHarness):
    await fill(harness.store, Request())
    harness.client.script_flush()

    assert isinstance(await harness.store.lookup(Request(), budget()), Found)


async def test_a_synchronous_purge_sends_its_script_where_redis_forgot_it(harness: RedisHarness):
    await fill(harness.store, Request())
    harness.client.script_flush()

    assert harness.store.purge_sync(["article:7"], 5.0).entries == 1


@pytest.mark.parametrize("hidden", ["", "hiredis"])
def test_replies_are_read_with_hiredis_and_without(hidden, redis_server):
    """In a process of its own: the driver chooses its parser when it is imported."""
    program = f"""
import asyncio, sys
if {hidden!r}:
    sys.modules[{hidden!r}] = None
from rcache.core.entry import Found
from rcache.stores.redis import RedisStore
from redis.utils import HIREDIS_AVAILABLE
from tests.stores.redis.conftest import Request, budget, fill

async def main():
    assert HIREDIS_AVAILABLE != bool({hidden!r})
    store = RedisStore({redis_server.url!r}, namespace="parser" + {hidden!r})
    for n in range(8):
        await fill(store, Request(b"/%d" % n), body=b"%d" % n * 40_000)
    for _ in range(2):
        answers = await asyncio.gather(*[store.lookup(Request(b"/%d" % n), budget()) for n in range(8)])
        assert [answer.entry.body for answer in answers] == [b"%d" % n * 40_000 for n in range(8)]
    await store.aclose()

asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)

    assert (run.returncode, run.stderr) == (0, "")
