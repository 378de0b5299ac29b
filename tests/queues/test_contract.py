"""What every queue promises, in this process or on Redis."""

from __future__ import annotations

import asyncio

import pytest

from rcache.core.errors import ConfigurationError
from rcache.core.jobs import KEPT_ROWS, MAX_JOB, Job, UnknownJobError
from tests.queues.support import Runs, seen, served
from tests.support import PATIENCE


def lane(view, name):
    return next(row for row in view.lanes if row.lane == name)


async def test_a_job_runs_with_what_it_was_given(queue):
    job = Job("mail", ("ä", 1, 1.5, None, [True]), {"to": {"name": "x"}}, key="m1", priority="high", retries=2)
    runs = Runs()
    async with served(queue, runs):
        assert await queue.add(job)
        await runs.began(1)

    assert runs.jobs == [job]


async def test_what_was_added_before_anybody_served_runs_in_order(queue):
    for number in range(20):
        assert await queue.add(Job(f"j{number}"))
    runs = Runs()
    async with served(queue, runs, concurrency=1):
        await runs.until(lambda: len(runs.ended) == 20)

    assert runs.names == [f"j{number}" for number in range(20)]


async def test_one_key_runs_once_until_it_has_ended(queue):
    assert [await queue.add(Job("a", (number,), key="k")) for number in range(10)] == [True] + [False] * 9
    runs = Runs()
    runs.gate.clear()
    async with served(queue, runs):
        await runs.began(1)
        assert not await queue.add(Job("a", key="k"))
        assert not await queue.add(Job("b", key="k", priority="high"))  # in whichever lane
        assert await queue.add(Job("a", key="other"))
        runs.gate.set()
        await seen(queue, lambda view: view.counts["done"] == 2)
        assert await queue.add(Job("a", (99,), key="k"))
        await runs.began(3)

    assert sorted(job.arguments for job in runs.jobs) == [(), (0,), (99,)]


async def test_what_a_run_returns_is_added_once_its_key_is_free(queue):
    """Whoever finds that things have changed while it ran, when adding was refused, has itself run again."""
    runs = Runs()
    job = Job("a", key="k")
    runs.act = lambda ran: job if len(runs.jobs) == 1 else None
    async with served(queue, runs):
        await queue.add(job)
        await runs.until(lambda: len(runs.ended) == 2)

    assert runs.jobs == [job, job]


async def test_keys_are_kept_apart_for_as_long_as_they_ask(queue):
    job = Job("a", key="k", apart=3600)
    runs = Runs()
    async with served(queue, runs):
        assert await queue.add(job)
        await seen(queue, lambda view: view.counts["done"] == 1)
        assert not await queue.add(job)
        assert not await queue.add(Job("a", key="k"))
        short = Job("a", key="other", apart=0.01)
        assert await queue.add(short)
        await seen(queue, lambda view: view.counts["done"] == 2)
        await asyncio.sleep(0.02)
        assert await queue.add(short)


async def test_the_low_lane_never_keeps_the_high_one_waiting(queue):
    runs = Runs()
    runs.gate.clear()
    for number in range(10):
        await queue.add(Job(f"low{number}"))
    async with served(queue, runs, concurrency=2):
        await runs.began(2)
        await queue.add(Job("high", priority="high"))
        await runs.until(lambda: "high" in runs.names)
        assert len(runs.jobs) == 3
        runs.gate.set()
        await runs.until(lambda: len(runs.ended) == 11)

    assert runs.most == 3


async def test_only_the_lanes_that_are_asked_for_are_served(queue):
    runs = Runs()
    await queue.add(Job("low"))
    await queue.add(Job("high", priority="high"))
    async with served(queue, runs, lanes=["high"]):
        await runs.began(1)
        view = await seen(queue, lambda view: view.counts["done"] == 1)

    assert runs.names == ["high"]
    assert lane(view, "low").waiting == 1


async def test_a_delayed_job_waits(queue):
    runs = Runs()
    async with served(queue, runs, concurrency=1):
        await queue.add(Job("later", key="l", delay=0.6))
        await queue.add(Job("much later", delay=3600))
        await queue.add(Job("now"))
        assert not await queue.add(Job("later", key="l"))
        view = await seen(queue, lambda view: view.counts["done"] == 1)
        assert lane(view, "low").delayed == 2
        await runs.began(2)

    assert runs.names == ["now", "later"]


async def test_a_job_that_is_too_old_is_dropped_and_counted(queue):
    await queue.add(Job("old", key="k", ttl=0.01))
    await queue.add(Job("fresh", ttl=3600))
    await asyncio.sleep(0.05)
    runs = Runs()
    async with served(queue, runs):
        view = await seen(queue, lambda view: view.counts["done"] + view.counts["late"] == 2)
        assert await queue.add(Job("old", key="k"))

    assert runs.names[0] == "fresh"
    assert view.counts["late"] == 1
    assert [(row.name, row.outcome) for row in view.failures] == [("old", "late")]


async def test_a_job_that_raises_is_run_again_and_then_kept_for_the_view(queue):
    def act(job):
        raise ValueError(f"no\n {job.arguments[0]}")

    runs = Runs()
    runs.act = act
    async with served(queue, runs):
        await queue.add(Job("never", ("x" * 1000,), key="k"))
        await queue.add(Job("twice", (2,), key="other", retries=1))
        view = await seen(queue, lambda view: view.counts["failed"] == 1 and view.counts["again"] == 1)
        assert not await queue.add(Job("twice", key="other"))
        assert await queue.add(Job("never", (3,), key="k"))
        view = await seen(queue, lambda view: view.counts["failed"] == 3)

    assert runs.names.count("twice") == 2
    assert [(row.name, row.attempt, row.outcome) for row in view.failures if row.name == "twice"] == [
        ("twice", 2, "failed"),
        ("twice", 1, "again"),
    ]
    assert view.failures[0].error == "ValueError: no 2"
    assert all(len(row.error) <= 500 for row in view.failures)
    assert view.counts["again"] == 1
    assert view.runs[0].ended > 1_700_000_000


async def test_a_job_whose_function_is_unknown_is_left_for_a_process_that_knows_it(queue):
    def act(job):
        if len(runs.jobs) == 1:
            raise UnknownJobError("not here")

    runs = Runs()
    runs.act = act
    async with served(queue, runs):
        await queue.add(Job("new"))
        view = await seen(queue, lambda view: view.counts["done"] == 1)

    assert [row.outcome for row in view.runs] == ["done", "again"]
    assert view.failures[0].error == "UnknownJobError: not here"


async def test_no_more_run_at_a_time_than_are_allowed(queue):
    runs = Runs()
    runs.gate.clear()
    for number in range(30):
        await queue.add(Job(f"j{number}"))
    async with served(queue, runs, concurrency=3):
        await runs.began(3)
        view = await seen(queue, lambda view: lane(view, "low").running == 3)
        runs.gate.set()
        await runs.until(lambda: len(runs.ended) == 30)

    assert runs.most == 3
    assert lane(view, "low").waiting == 27


async def test_nothing_begins_in_a_lane_that_is_paused(queue):
    runs = Runs()
    async with served(queue, runs):
        await queue.pause("low")
        assert await queue.add(Job("low"))
        assert await queue.add(Job("high", priority="high"))
        view = await seen(queue, lambda view: view.counts["done"] == 1)
        await queue.pause()
        await queue.resume("low")
        await runs.began(2)
        await queue.add(Job("late", priority="high"))
        assert [row.is_paused for row in (await queue.view()).lanes] == [True, False]
        assert runs.names == ["high", "low"]
        await queue.resume()
        await runs.began(3)

    assert [row.is_paused for row in view.lanes] == [False, True]
    assert lane(view, "low").waiting == 1
    assert runs.names == ["high", "low", "late"]


async def test_whoever_is_told_to_end_waits_for_what_is_under_way(queue):
    runs = Runs()
    runs.gate.clear()
    await queue.add(Job("a"))
    await queue.add(Job("b"))
    async with served(queue, runs, concurrency=1) as told:
        await runs.began(1)
        told.set()
        await asyncio.sleep(0.05)
        assert runs.ended == []
        runs.gate.set()

    assert [job.name for job in runs.ended] == ["a"]
    view = await seen(queue, lambda view: view.counts["done"] == 1)
    assert (lane(view, "low").waiting, lane(view, "low").running) == (1, 0)


@pytest.mark.parametrize("is_told", [False, True])
async def test_whoever_serves_and_is_cancelled_leaves_its_jobs_to_the_next(queue, is_told):
    """A process that has to end does not wait for ever."""
    runs, told = Runs(), asyncio.Event()
    runs.gate.clear()
    await queue.add(Job("a", key="k"))
    await queue.add(Job("b", priority="high"))
    serving = asyncio.create_task(queue.serve(runs, told, lanes=["low", "high"], concurrency=1, is_worker=True))
    await runs.began(2)
    if is_told:
        told.set()
        await asyncio.sleep(0.05)
    serving.cancel()
    await asyncio.wait([serving], timeout=PATIENCE)
    assert serving.cancelled()
    assert await queue.workers() == 0
    runs.gate.set()
    async with served(queue, runs):
        view = await seen(queue, lambda view: view.counts["done"] == 2)

    assert sorted(runs.names) == ["a", "a", "b", "b"]
    assert view.counts["failed"] == 0


async def test_workers_are_counted_while_they_serve(queue):
    assert await queue.workers() == 0
    async with served(queue, Runs(), is_worker=True), served(queue, Runs(), is_worker=True), served(queue, Runs()):
        view = await seen(queue, lambda view: view.workers == 2)
        assert await queue.workers() == 2
    assert view.workers == 2
    assert await queue.workers() == 0


async def test_the_view_says_how_long_the_oldest_has_been_waiting(queue):
    assert all((row.waiting, row.oldest) == (0, 0) for row in (await queue.view()).lanes)
    await queue.add(Job("a"))
    await asyncio.sleep(0.05)
    await queue.add(Job("b"))

    assert 0.04 < lane(await queue.view(), "low").oldest < 60


async def test_rows_are_kept_in_bounds(queue):
    def act(job):
        raise ValueError

    runs = Runs()
    runs.act = act
    for number in range(KEPT_ROWS + 20):
        await queue.add(Job(f"j{number}"))
    async with served(queue, runs, concurrency=10):
        view = await seen(queue, lambda view: view.counts["failed"] == KEPT_ROWS + 20)

    assert len(view.failures) == len(view.runs) == KEPT_ROWS


async def test_a_job_that_is_too_long_is_refused(queue):
    with pytest.raises(ConfigurationError):
        await queue.add(Job("a", ("x" * MAX_JOB,), key="k"))
    assert await queue.add(Job("a", key="k"))


async def test_one_key_added_a_thousand_times_runs_once(queue):
    added = await asyncio.gather(*(queue.add(Job("a", (number,), key="k")) for number in range(1000)))
    runs = Runs()
    async with served(queue, runs):
        await seen(queue, lambda view: view.counts["done"] == 1)
        await queue.add(Job("b"))
        await runs.until(lambda: "b" in [job.name for job in runs.ended])

    assert sum(added) == 1
    assert runs.names == ["a", "b"]
