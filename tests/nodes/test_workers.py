"""Servers of several processes: each worker follows the log for itself, and no client is shared across a fork."""

from __future__ import annotations

import concurrent.futures
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.nodes.processes import READY_WITHIN, ROOT
from tests.servers import RedisServer, free_port

APPLICATION = "tests.nodes.near_application:app"
WORKERS = 2
GUNICORN = (
    "gunicorn",
    APPLICATION,
    "--workers",
    f"{WORKERS}",
    "--log-level",
    "warning",
    "-k",
    "uvicorn_worker.UvicornWorker",
)
SERVERS: dict[str, Callable[[int], tuple[str, ...]]] = {
    "uvicorn": lambda port: (
        *("uvicorn", APPLICATION, "--workers", f"{WORKERS}", "--log-level", "warning"),
        *("--port", f"{port}"),
    ),
    "gunicorn": lambda port: (*GUNICORN, "--bind", f"127.0.0.1:{port}"),
    "gunicorn, preloaded": lambda port: (*GUNICORN, "--preload", "--bind", f"127.0.0.1:{port}"),
    "granian": lambda port: (
        *("granian", APPLICATION, "--interface", "asgi", "--workers", f"{WORKERS}", "--log-level", "warning"),
        *("--port", f"{port}"),
    ),
}


class Server:
    """A server with its workers."""

    def __init__(self, command: tuple[str, ...], port: int, **environment: str) -> None:
        self.port = port
        self.process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **environment})

    def ask(self, path: str, method: str = "GET") -> tuple[str, str]:
        """Body and Cache-Status, by a connection of its own: whichever worker takes it."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read().decode(), response.headers.get("cache-status", "")

    def workers(self) -> set[str]:
        """Their process ids, once all have answered."""
        seen: set[str] = set()
        deadline = time.monotonic() + READY_WITHIN
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            while len(seen) < WORKERS:
                assert time.monotonic() < deadline, f"only {seen} answer"
                assert self.process.poll() is None
                for told in pool.map(lambda _: self._process_or_none(), range(16)):
                    seen |= told
        return seen

    def _process_or_none(self) -> set[str]:
        try:
            return {self.ask("/process")[0]}
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
            return set()

    def stop(self) -> None:
        """Ends it in order."""
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    database = sqlite3.connect(tmp_path / "pages", isolation_level=None)
    database.execute("CREATE TABLE pages (id INTEGER PRIMARY KEY, version INTEGER)")
    database.executemany("INSERT INTO pages VALUES (?, 1)", [(page,) for page in range(4)])
    database.close()
    servers: list[Server] = []

    def start(server: str, near: str, **environment: str) -> Server:
        port = free_port()
        settings = {"PAGES": str(tmp_path / "pages"), "RCACHE_URL": redis_server.url, "NEAR": near}
        servers.append(Server(SERVERS[server](port), port, **settings, **environment))
        return servers[-1]

    with redis_server.client() as client:
        client.flushall()
        yield start
        for server in servers:
            if server.process.poll() is None:
                server.stop()
        client.flushall()


def test_strict_workers_answer_nothing_older_than_what_any_of_them_wrote(start, server, redis_server):
    running = start(server, "strict", USED_BEFORE="1")
    workers = running.workers()
    hits = 0
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for turn in range(12):
            page = f"/pages/{turn % 4}"
            version = int(running.ask(page, "PUT")[0])
            assert version
            answers = list(pool.map(lambda _, path=page: running.ask(path), range(12)))
            assert {int(body) for body, _ in answers} == {version}
            hits += sum(status.startswith("rcache; hit") for _, status in answers)
    assert hits
    assert running.workers() == workers

    with redis_server.client() as client:
        nodes = client.hkeys("rc:{rcache}:nodes")
        # One per worker; a parent that used the cache before it forked, or before it was asked to stop, is one as well.
        assert len(nodes) - 2 >= len(workers)
    running.stop()


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_child_of_a_fork_sends_nothing_on_its_parent_s_connections(start, redis_server):
    """What the parent had opened stays open and silent; each worker opens its own: for its loop, for threads, for the log."""
    running = start("gunicorn, preloaded", "strict", USED_BEFORE="1")
    workers = running.workers()
    parent = _sockets(f"{running.process.pid}", redis_server.port)
    assert parent
    deadline = time.monotonic() + READY_WITHIN
    while True:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda turn: running.ask(f"/pages/{turn % 4}", "PUT"), range(16)))
        own = [_sockets(worker, redis_server.port) - parent for worker in workers]
        if all(len(sockets) >= 3 for sockets in own):
            break
        assert time.monotonic() < deadline, f"{own} beside the parent's {parent}"
    assert not own[0] & own[1]
    running.stop()


def _sockets(process: str, port: int) -> set[str]:
    """The sockets of a process that lead to that port of this machine."""
    leading = set()
    for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == port:
            leading.add(f"socket:[{fields[9]}]")
    return {name for name in _descriptors(process) if name in leading}


def _descriptors(process: str) -> Iterator[str]:
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            yield os.readlink(descriptor)
        except OSError:  # closed meanwhile
            continue
