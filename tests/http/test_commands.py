"""The servers as they are started in earnest: by their own commands, in processes of their own, until a signal ends them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.http.client import Connection, fetch
from tests.http.frameworks import FRAMEWORKS, pages
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
READY_WITHIN = 30.0

COMMANDS = {
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--log-level", "warning", "--port"],
    "hypercorn": ["hypercorn", "--log-level", "warning", "--bind"],
    "granian": ["granian", "--interface", "asgi", "--host", "127.0.0.1", "--log-level", "warning", "--port"],
}


@dataclass
class Running:
    """A server's process."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def accepts(self) -> bool:
        """Whether it takes connections already."""
        assert self.process.poll() is None, f"{self.name} did not start"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Running]]:
    """All of them at once, each with another framework."""
    started = {}
    for (name, command), framework in zip(COMMANDS.items(), FRAMEWORKS, strict=False):
        port = free_port()
        place = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
        whole = [sys.executable, "-m", *command, place, "tests.http.frameworks.served:app"]
        environment = {**os.environ, "FRAMEWORK": framework}
        started[name] = Running(name, port, subprocess.Popen(whole, cwd=ROOT, env=environment))
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not all(each.accepts() for each in started.values()):
            assert time.monotonic() < deadline, "not all servers came up"
            time.sleep(0.02)
        yield started
    finally:
        for each in started.values():
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_server_of_its_own_answers_from_the_cache_and_ends_when_it_is_told(
    running: dict[str, Running], name: str
):
    server = running[name]
    async with Connection(server.port) as connection:
        miss, hit = [await connection.get("/items/a") for _ in range(2)]
        assert (miss.is_stored, hit.is_hit, miss.body == hit.body) == (True, True, True)
        assert (await connection.get("/items/a", {"If-None-Match": '"a-new"'})).status == 304
        assert [(await connection.get("/stream/a")).text for _ in range(2)] == ["".join(pages.PIECES)] * 2
    await fetch(server.port, "POST", "/items/a", {"Content-Type": "text/plain"}, "changed")
    assert b"changed" in (await fetch(server.port, "GET", "/items/a")).body
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(READY_WITHIN) in (0, -signal.SIGTERM)
