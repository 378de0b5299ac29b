"""The processes of a run, on free loopback ports: each is started here and ended by its own id."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.apps import REDIS_URL

LOOPBACK: Final = "127.0.0.1"
PROJECT: Final = Path(__file__).resolve().parent.parent
START_DEADLINE: Final = 30.0  # seconds for a server to accept its first connection


class DoesNotRun(Exception):  # noqa: N818 - it is a result of the run, not a failure of it
    """A row that cannot be measured, with the reason that its process gave."""


def require(program: str, package: str) -> str:
    """Where `program` lies; ends the run with what to install where it is missing."""
    found = shutil.which(program)
    if found is None:
        sys.exit(f"The benchmark needs {program}. Install it first, on Debian or Ubuntu: apt-get install {package}")
    return found


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a redis-server of its own, which keeps nothing on disk."""
    with redis_process() as (url, _):
        yield url


@contextmanager
def redis_process() -> Iterator[tuple[str, int]]:
    """The URL and process id of a redis-server that may be stopped or killed meanwhile."""
    program = require("redis-server", "redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as directory:
        options = ["--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", directory]
        with _running([program, *options], {}, Path(directory, "log"), port) as process:
            yield f"redis://{LOOPBACK}:{port}/0", process.pid


class AppServer:
    """One uvicorn process that serves one application of `benchmarks.apps`."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process

    def fetch(self, path: str) -> tuple[int, bytes]:
        """Status and body of one GET."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def calls(self) -> int:
        """How often the endpoint ran so far."""
        return int(self.fetch("/calls")[1])

    def cpu_seconds(self) -> float | None:
        """CPU time the process has used so far; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def app_server(name: str, python: str, redis_url: str, workers: int = 1) -> Iterator[AppServer]:
    """Application `name` of `benchmarks.apps` behind uvicorn with uvloop and httptools, in the environment of `python`."""
    with factory_server(f"benchmarks.apps:{name}", python, redis_url, workers) as server:
        yield server


@contextmanager
def factory_server(factory: str, python: str, redis_url: str, workers: int = 1) -> Iterator[AppServer]:
    """What `factory` makes, as `app_server` serves it."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    options += ["--workers", str(workers), "--timeout-keep-alive", "3600"]
    command = [python, "-m", "uvicorn", "--factory", factory, "--host", LOOPBACK, *options]
    with tempfile.TemporaryDirectory(prefix="bench-app-") as directory:
        log = Path(directory, "log")
        with _running([*command, "--port", str(port)], {REDIS_URL: redis_url}, log, port) as process:
            yield AppServer(port, process)


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], log: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _await_port(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DoesNotRun(last_line(log.read_text(errors="replace")))
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise DoesNotRun("did not accept a connection in time")


def last_line(output: str) -> str:
    """The line in which Python and pip say what went wrong, without the paths of this machine."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return re.sub(r"(?:/[\w.+-]+)+/", "", lines[-1]) if lines else "ended without a word"
