"""`rcache worker` processes on a Redis, and what their jobs have written down."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rcache.clock import SystemClock
from rcache.core.jobs import QueueView
from rcache.core.keys import digest
from rcache.queues.redis import open_queue
from tests.servers import RedisServer, free_port

ROOT = Path(__file__).parents[2]
READY_WITHIN = 60.0


class Line(NamedTuple):
    """What a job has written down."""

    pid: int
    at: float
    value: str


class Fleet:
    """Workers of one namespace."""

    def __init__(self, server: RedisServer, **environment: str) -> None:
        self.namespace = f"test-{secrets.token_hex(6)}"
        self.server = server
        self.queue = open_queue(server.url, self.namespace, SystemClock())
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, "RCACHE_URL": server.url, "TEST_NAMESPACE": self.namespace, **environment}

    async def start(self, count: int = 1) -> None:
        """Returns when so many more serve."""
        await self.until(lambda view: view.workers == len(self.processes))  # those that were killed count no more
        for _ in range(count):
            command = [sys.executable, "-m", "rcache.cli", "worker", "tests.queues.application:app"]
            process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL)
            self.processes[process.pid] = process
        await self.until(lambda view: view.workers == len(self.processes))

    def start_web(self) -> None:
        """A web process more, which may take a moment until it serves."""
        command = [sys.executable, "-m", "uvicorn", "tests.queues.application:app", "--port", str(free_port())]
        process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL)
        self.processes[process.pid] = process

    def kill(self, pid: int) -> None:
        """Ends one at once."""
        process = self.processes.pop(pid)
        process.kill()
        process.wait()

    async def terminate(self, pid: int, number: int = signal.SIGTERM) -> int:
        """Tells one to end, and gives its exit code."""
        process = self.processes.pop(pid)
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, READY_WITHIN)

    async def until(self, condition: Callable[[QueueView], bool]) -> QueueView:
        """The first view for which it holds."""
        async with asyncio.timeout(READY_WITHIN):
            while not condition(view := await self.queue.view()):
                await asyncio.sleep(0.05)
        return view

    async def lines(self, name: str, count: int = 0) -> list[Line]:
        """What was written under a name, once it is so many lines."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            with self.server.client() as client:
                texts: Any = client.lrange(f"{self.namespace}:{name}", 0, -1)
            if len(texts) >= count:
                return [_line(text.decode()) for text in texts]
            assert time.monotonic() < deadline, f"{len(texts)} of {count} lines of {name!r}"
            await asyncio.sleep(0.05)

    def open_gate(self) -> None:
        """Gated jobs may end."""
        with self.server.client() as client:
            client.set(f"{self.namespace}:gate", 1)

    async def ticks(self) -> list[int]:
        """The seconds of the last minute for which the schedule has fired: each leaves its key behind."""
        now = int(time.time())
        keys = {second: f"tick:tick:every 1s:UTC:{second:.3f}" for second in range(now - 60, now + 1)}
        with self.server.client() as client:
            return [
                second for second, key in keys.items() if client.exists(self.queue.names.apart(digest(key.encode())))
            ]

    async def close(self) -> None:
        """Ends all."""
        for pid in list(self.processes):
            self.kill(pid)
        await self.queue.aclose()


def _line(text: str) -> Line:
    pid, at, *value = text.split(" ", 2)
    return Line(int(pid), float(at), value[0] if value else "")
