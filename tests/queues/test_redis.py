"""What only a queue between processes can get wrong."""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets

import pytest

from rcache.clock import SystemClock
from rcache.core.errors import BackendError
from rcache.core.jobs import Job
from rcache.core.keys import digest
from rcache.queues.redis import lane, open_queue
from rcache.queues.redis import queue as module
from tests.queues.support import Runs, seen, served
from tests.servers import RedisServer
from tests.support import PATIENCE


@pytest.fixture
async def queues(redis_server):
    """Two processes' queues, in one namespace."""
    namespace = f"test-{secrets.token_hex(6)}"
    made = [open_queue(redis_server.url, namespace, SystemClock()) for _ in range(2)]
    yield made
    for queue in made:
        await queue.aclose()


async def test_a_job_that_takes_longer_than_a_lease_is_left_alone(queues, monkeypatch):
    monkeypatch.setattr(lane, "LEASE", 0.5)
    runs = Runs()
    runs.gate.clear()
    async with served(queues[0], runs, concurrency=3), served(queues[1], runs, concurrency=3):
        for number in range(3):
            await queues[0].add(Job(f"j{number}"))
        await runs.began(3)
        await asyncio.sleep(2)  # both have places left
        runs.gate.set()
        await seen(queues[0], lambda view: view.counts["done"] == 3)
    assert sorted(runs.names) == ["j0", "j1", "j2"]


async def test_a_process_does_not_take_from_itself_what_it_is_late_to_renew(queues, monkeypatch):
    async def never(self, scope):
        with scope:
            await asyncio.Event().wait()

    monkeypatch.setattr(lane, "LEASE", 0.3)
    monkeypatch.setattr(lane.LaneWorker, "renew_idle_timeouts", never)
    runs = Runs()
    runs.gate.clear()
    async with served(queues[0], runs):
        await queues[0].add(Job("a"))
        await runs.began(1)
        await asyncio.sleep(1.5)
        runs.gate.set()
        view = await seen(queues[0], lambda view: view.counts["done"] >= 1)
    assert runs.names == ["a"]
    assert view.counts["done"] == 1


async def test_a_job_that_was_added_when_another_of_its_key_had_just_ended_does_not_run(queues, redis_server):
    """Between looking whether one has ended and adding, one may end."""
    job = Job("tick", key="tick:1", apart=60)
    assert await queues[0].add(job)
    with redis_server.client() as client:
        client.set(queues[0].names.apart(digest(b"tick:1")), "1", px=60_000)
    runs = Runs()
    async with served(queues[1], runs):
        await queues[1].add(Job("other"))
        await runs.began(1)
        await seen(queues[1], lambda view: view.lanes[1].waiting == view.lanes[1].running == 0)
    assert runs.names == ["other"]


class Trap:
    """Makes a directory where somebody unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


async def test_no_pickle_is_run_and_what_is_no_job_is_dropped(queues, redis_server, tmp_path, caplog):
    """Whoever can write to the queue can start registered functions, and nothing else."""
    queue = queues[0]
    with redis_server.client() as client:
        for number in range(3):
            await queue.add(Job("a", key=f"k{number}"))
        keys = list(client.keys(f"streaq:{queue.names.queue}:task:data:*"))
        assert len(keys) == 3
        trap = pickle.dumps(Trap(tmp_path / "trap"), 0)
        for key, value in zip(
            keys,
            (trap, b'{"f":"job","a":["[1]"],"k":{},"t":1}', b'{"f":"os:mkdir","a":["/"],"k":{},"t":1}'),
            strict=True,
        ):
            client.set(key, value)
    runs = Runs()
    async with served(queue, runs):
        await queue.add(Job("good"))
        await runs.began(1)
        await seen(queue, lambda view: view.lanes[1].waiting == view.lanes[1].running == 0)
    assert runs.names == ["good"]
    assert not (tmp_path / "trap").exists()
    assert "what lies in the queue is no job" in caplog.text


async def test_processes_that_are_gone_leave_no_names_behind(queues, redis_server, monkeypatch):
    monkeypatch.setattr(module, "IDLE", -1)
    queue = queues[0]
    async with served(queue, Runs(), lanes=["low"]):
        await queue.add(Job("a"))
        await seen(queue, lambda view: view.counts["done"] == 1)
    stream = f"streaq:{queue.names.queue}:queues:low"
    with redis_server.client() as client:
        before = {consumer["name"] for consumer in client.xinfo_consumers(stream, "workers")}
        await queue._ask(module._forget_consumers)
        assert before
        assert client.xinfo_consumers(stream, "workers") == []


async def test_no_more_rows_are_kept_than_are_shown(queues, redis_server, monkeypatch):
    monkeypatch.setattr("rcache.queues.redis.ledger.KEPT_ROWS", 3)
    queue = queues[0]
    async with served(queue, Runs()):
        for number in range(4):
            await queue.add(Job("a"))
            await seen(queue, lambda view, number=number: view.counts["done"] == number + 1)
    with redis_server.client() as client:
        assert client.llen(queue.names.runs) == 3


async def test_every_key_lies_in_the_namespace_and_one_slot(queues, redis_server):
    queue = queues[0]
    async with served(queue, Runs(), is_worker=True):
        await queue.pause("high")
        await queue.add(Job("a", key="k{x}", apart=60))
        await queue.add(Job("later", delay=60))
        await seen(queue, lambda view: view.counts["done"] == 1)
    with redis_server.client() as client:
        names = [key.decode() for key in client.keys(f"*{queue.names.namespace}*")]
    assert len(names) > 5
    for name in names:
        assert name.startswith((f"streaq:rc:{{{queue.names.namespace}}}:", f"rc:{{{queue.names.namespace}}}:queue:"))


async def test_a_queue_that_begins_before_its_server_waits_for_it():
    server = RedisServer()
    server.kill()
    queue, runs = open_queue(server.url, "n", SystemClock()), Runs()
    try:
        async with served(queue, runs):
            await asyncio.sleep(0.5)
            server.start()
            await queue.add(Job("a"))
            await runs.began(1)
    finally:
        await queue.aclose()
        server.stop()


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    server = RedisServer()
    queue = open_queue(server.url, "n", SystemClock())
    try:
        await queue.workers()
        server.pause()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(BackendError, match="cannot be reached"):
                await queue.add(Job("a"))
    finally:
        server.resume()
        await queue.aclose()
        server.stop()
