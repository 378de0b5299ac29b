"""The queue in this process, by a clock that is set by hand."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rcache.core.jobs import Job, Ticket
from rcache.queues.memory import MemoryQueue
from rcache.queues.runs import DEATHS, STRANGE_RUNS, carry_out
from tests.queues.support import Runs, seen, served
from tests.support import EPOCH, HandClock


async def passes(queue, clock, seconds):
    """Time passes, and whoever serves looks at the clock."""
    clock.advance(seconds)
    await queue.resume()
    await asyncio.sleep(0.01)


async def test_a_delayed_job_begins_when_its_time_has_come():
    clock = HandClock()
    queue, runs = MemoryQueue(clock), Runs()
    async with served(queue, runs):
        await queue.add(Job("second", delay=20))
        await queue.add(Job("first", delay=10))
        await passes(queue, clock, 9.9)
        assert runs.names == []
        await passes(queue, clock, 0.1)
        await runs.began(1)
        await passes(queue, clock, 10)
        await runs.began(2)
    assert runs.names == ["first", "second"]


async def test_each_retry_comes_later_and_the_last_one_is_the_last():
    clock = HandClock()
    queue, runs = MemoryQueue(clock), Runs()

    def act(job):
        raise ValueError

    runs.act = act
    async with served(queue, runs):
        await queue.add(Job("bad", key="k", retries=3))
        for count, longest in ((1, 1.0), (2, 2.0), (3, 4.0)):
            await runs.began(count)
            view = await seen(queue, lambda view, count=count: view.counts["again"] == count)
            assert (view.lanes[1].delayed, view.lanes[1].waiting) == (1, 0)
            await passes(queue, clock, longest / 2 - 0.01)
            assert len(runs.jobs) == count
            await passes(queue, clock, longest / 2 + 0.01)
        view = await seen(queue, lambda view: view.counts["failed"] == 1)
        await passes(queue, clock, 10_000)
    assert len(runs.jobs) == 4
    assert [row.attempt for row in view.runs] == [4, 3, 2, 1]


async def test_a_job_that_waits_for_too_long_is_late():
    clock = HandClock()
    queue, runs = MemoryQueue(clock), Runs()
    await queue.add(Job("in time", delay=5, ttl=10))
    await queue.add(Job("late", ttl=10))
    clock.advance(15)
    async with served(queue, runs):
        view = await seen(queue, lambda view: sum(view.counts.values()) == 2)
    assert runs.names == ["in time"]
    assert view.counts["late"] == 1


async def test_keys_are_apart_for_exactly_as_long_as_they_ask():
    clock = HandClock()
    queue, runs = MemoryQueue(clock), Runs()
    job = Job("a", key="k", apart=60)
    async with served(queue, runs):
        assert await queue.add(job)
        await seen(queue, lambda view: view.counts["done"] == 1)
        clock.advance(59)
        assert not await queue.add(job)
        clock.advance(1)
        assert await queue.add(job)


async def test_what_was_apart_long_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr("rcache.queues.memory._FORGET", 10)
    clock = HandClock()
    queue = MemoryQueue(clock)
    async with served(queue, Runs()):
        for number in range(40):
            await queue.add(Job("a", key=str(number), apart=1))
            await seen(queue, lambda view, number=number: view.counts["done"] == number + 1)
            clock.advance(2)
    assert len(queue._apart) <= 10


async def test_another_thread_may_add():
    queue, runs = MemoryQueue(HandClock()), Runs()
    async with served(queue, runs):
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: asyncio.run(queue.add(Job("a"))))
        thread.start()
        await runs.began(1)
        await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("retries", [0, 20])
async def test_a_job_whose_processes_die_is_given_up(retries):
    runs = Runs()
    last = max(STRANGE_RUNS, retries + DEATHS + 1)
    for attempt, outcome in ((last, "done"), (last + 1, "failed")):
        ended = await carry_out(runs, Ticket(Job("a", retries=retries), EPOCH), attempt, HandClock())
        assert ended.row.outcome == outcome
    assert len(runs.jobs) == 1
