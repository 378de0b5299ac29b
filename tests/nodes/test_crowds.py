"""A crowd that asks several processes for one cold key makes one of them run."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.nodes.processes import Node
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def processes(redis_server: RedisServer) -> Iterator[list[Node]]:
    with redis_server.client() as client:
        client.flushall()  # the applications take the default namespace
    environment = {"RCACHE_URL": redis_server.url, "COUNTED": redis_server.url}
    started = [Node("tests.nodes.slow_application:app", **environment) for _ in range(3)]
    yield started
    for node in started:
        node.stop()


class Crowd:
    """Requests for one key, spread over all nodes, and the runs that they cause."""

    def __init__(self, server: RedisServer, nodes: list[Node], path: str) -> None:
        self.client = server.client()
        self.name = secrets.token_hex(4)
        self.path = f"/{path}/{self.name}"
        self.nodes = nodes

    async def ask(self, requests: int, *languages: str) -> list[asyncio.Task[list[Any]]]:
        """Requests on as many connections; returns when they wait: every node has sent all of its own."""
        each = requests // len(self.nodes) // (len(languages) or 1)
        asked = [
            asyncio.ensure_future(node.get_all([self.path] * each, each, language=language))
            for node in self.nodes
            for language in languages or ("en",)
        ]
        await self._until(lambda: int(self.client.get(f"asked:{self.path}") or 0) == requests)
        await self._until(lambda: len(self.runs) == self._awaited() == (len(languages) or 1))
        return asked

    def _awaited(self) -> int:
        return sum(bool(self.client.hexists(key, "awaited")) for key in self.client.scan_iter("rc:*:lease:*"))

    @property
    def runs(self) -> list[int]:
        """The processes that have run the application, in order."""
        return [int(pid) for pid in self.client.lrange(f"runs:{self.name}", 0, -1)]

    def open(self) -> None:
        """Lets the runs end."""
        self.client.set(f"gate:{self.name}", 1)

    async def until_runs(self, count: int) -> None:
        """Returns when there were so many."""
        await self._until(lambda: len(self.runs) >= count)

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(condition):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.open()  # or no node could be stopped
            raise


async def test_two_hundred_requests_over_three_processes_are_one_run(redis_server, processes):
    crowd = Crowd(redis_server, processes, "slow")
    asked = await crowd.ask(201)
    crowd.open()
    replies = [reply for share in asked for reply in await share]
    assert [reply.status for reply in replies] == [200] * 201
    assert {reply.data for reply in replies} == set(crowd.runs)
    assert len(crowd.runs) == 1


async def test_two_variants_are_two_runs(redis_server, processes):
    crowd = Crowd(redis_server, processes, "spoken")
    asked = await crowd.ask(60, "en", "de")
    crowd.open()
    for share, language in zip(asked, ["en", "de"] * 3, strict=True):
        assert {reply.data for reply in await share} == {language}
    assert len(crowd.runs) == 2


async def test_when_the_node_that_runs_is_killed_another_takes_over(redis_server, processes):
    """The last of these tests: a node is gone afterwards."""
    await _killed(redis_server, processes, 60)


async def _killed(server: RedisServer, nodes: list[Node], requests: int) -> None:
    crowd = Crowd(server, nodes, "slow")
    asked = await crowd.ask(requests)
    os.kill(crowd.runs[0], signal.SIGKILL)
    await crowd.until_runs(2)
    crowd.open()
    shares = await asyncio.gather(*asked, return_exceptions=True)
    replies = [share for share in shares if not isinstance(share, BaseException)]
    assert len(replies) == len(nodes) - 1, "the clients of the killed node got nothing"
    assert {reply.data for share in replies for reply in share} == {crowd.runs[1]}
    assert len(crowd.runs) == 2


@pytest.mark.long
async def test_a_thousand_requests_over_four_processes_are_one_run_also_when_it_is_killed(redis_server):
    """All are answered within the time of the run, 50 ms, and what as many plain hits take."""
    environment = {"RCACHE_URL": redis_server.url, "COUNTED": redis_server.url}
    with redis_server.client() as client:
        client.flushall()
    nodes = [Node("tests.nodes.slow_application:app", **environment) for _ in range(4)]
    clock = asyncio.get_running_loop().time
    try:
        crowd = Crowd(redis_server, nodes, "slow")
        asked = await crowd.ask(1000)
        opened = clock()
        crowd.open()
        for share in asked:
            await share
        waited = clock() - opened
        assert len(crowd.runs) == 1
        began = clock()
        await asyncio.gather(*(node.get_all([crowd.path] * 250, 250) for node in nodes))
        print(f"answered {waited:.3f} s after the run might end; as many hits take {clock() - began:.3f} s")
        await _killed(redis_server, nodes, 1000)
    finally:
        for node in nodes:
            node.stop()
