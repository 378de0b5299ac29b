"""Workers that are processes, and are killed."""

from __future__ import annotations

import asyncio
import signal
from itertools import pairwise

import pytest

from rcache.core.jobs import Job
from tests.queues.fleet import Fleet
from tests.servers import RedisServer


@pytest.fixture
async def fleet(redis_server):
    """Two workers with a schedule of one second; whose process is silent for two seconds has lost its jobs."""
    made = Fleet(redis_server, TEST_TICKS="1", TEST_LEASE="2")
    await made.start(2)
    yield made
    await made.close()


def gaps(ticks):
    return [later - tick for tick, later in pairwise(ticks)]


async def test_a_killed_worker_takes_nothing_with_it(fleet):
    """Its schedule goes on, and what it had begun begins anew in the other; who is asked to end waits for what it has begun."""
    await fleet.queue.add(Job("gated", (1,), key="flight"))
    (begun,) = await fleet.lines("began", 1)
    before = len(await fleet.lines("tick", 2))
    fleet.kill(begun.pid)
    assert not await fleet.queue.add(Job("gated", (2,), key="flight"))

    first, second = await fleet.lines("began", 2)
    assert (first.value, second.value) == ("1", "1")
    assert first.pid != second.pid
    ticks = [line.at for line in await fleet.lines("tick", before + 3)]
    assert len(ticks) >= before + 3

    (pid,) = fleet.processes
    ending = asyncio.create_task(fleet.terminate(pid))
    await fleet.until(lambda view: view.lanes[1].running == 1)
    fleet.open_gate()
    assert await ending == 0
    assert [line.value for line in await fleet.lines("ended")] == ["1"]
    seconds = await fleet.ticks()
    assert gaps(seconds) == [1] * (len(seconds) - 1)
    assert len(await fleet.lines("tick")) == len(seconds)


@pytest.mark.long
async def test_a_schedule_of_one_second_fires_twenty_times_in_twenty_seconds(redis_server):
    fleet = Fleet(redis_server, TEST_TICKS="1")
    await fleet.start(2)
    first = (await fleet.lines("tick", 1))[-1].at
    await asyncio.sleep(21)
    lines = await fleet.lines("tick")
    seconds = await fleet.ticks()
    assert gaps(seconds) == [1] * (len(seconds) - 1)
    assert len(lines) == len(seconds)
    assert sum(first < line.at <= first + 20 for line in lines) in (20, 21)  # each is a few milliseconds late

    for _ in range(3):
        last = (await fleet.lines("tick"))[-1]
        fleet.kill(last.pid)
        await asyncio.sleep(4)
        fires = [line.at for line in await fleet.lines("tick")]
        assert max(gaps([at for at in fires if at >= last.at])) <= 2.0
        await fleet.start()
    await fleet.close()


@pytest.mark.long
async def test_a_job_in_flight_begins_anew_within_half_a_minute(redis_server):
    fleet = Fleet(redis_server)
    await fleet.start(2)
    await fleet.queue.add(Job("gated", (1,)))
    (begun,) = await fleet.lines("began", 1)
    fleet.kill(begun.pid)
    _, again = await fleet.lines("began", 2)
    assert again.at - begun.at <= 31
    fleet.open_gate()
    await fleet.lines("ended", 1)
    await fleet.close()


@pytest.mark.parametrize("keep_data", [pytest.param(True, marks=pytest.mark.long), False])
async def test_a_restart_of_redis_is_survived(keep_data):
    server = RedisServer()
    fleet = Fleet(server)
    try:
        await fleet.start()
        await fleet.queue.add(Job("gated", (1,)))
        await fleet.lines("began", 1)
        server.restart(keep_data=keep_data)
        fleet.open_gate()
        await fleet.lines("ended", 1)  # what runs goes on
        await fleet.until(lambda view: view.workers == 1 and view.counts["done"] == 1)
        assert await fleet.queue.add(Job("note", (2,)))
        await fleet.lines("note", 1)
        assert len(await fleet.lines("ended")) == 1
        (pid,) = fleet.processes
        assert await fleet.terminate(pid, signal.SIGINT) == 130
    finally:
        await fleet.close()
        server.stop()


async def test_without_workers_web_processes_run_jobs_and_schedules_once_across_all(redis_server):
    """Signals are the server's: one that is told to end does so, once its jobs have."""
    fleet = Fleet(redis_server, TEST_TICKS="1")
    for _ in range(2):
        fleet.start_web()
    await fleet.queue.add(Job("gated", (1,)))
    (begun,) = await fleet.lines("began", 1)
    ending = asyncio.create_task(fleet.terminate(begun.pid))
    await fleet.lines("tick", 4)
    assert not ending.done()
    fleet.open_gate()
    await asyncio.wait_for(ending, 60)
    await fleet.lines("tick", len(await fleet.lines("tick")) + 2)

    for pid in list(fleet.processes):
        await fleet.terminate(pid)
    assert len(await fleet.lines("tick")) == len(await fleet.ticks())
    assert [line.value for line in await fleet.lines("ended")] == ["1"]
    await fleet.close()
