"""Requests per second over the wire, relative to a bare ASGI application that sends the same bytes.

One uvicorn process per row, all alive for the whole run; wrk visits the rows in a new order each round, so that noise
hits all alike, and each ratio is formed within its round.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.environments import python_of, versions
from benchmarks.payload import BODY, PATH
from benchmarks.servers import LOOPBACK, AppServer, DoesNotRun, app_server, redis_server, require
from benchmarks.spread import Spread

CONNECTIONS: Final = 32
SCRIPT: Final = str(Path(__file__).with_name("wrk_summary.lua"))


@dataclass(frozen=True)
class Row:
    """One line of the table; `peer` names the environment it runs in, `store` the class it competes in."""

    name: str
    title: str
    store: str | None = None
    peer: str | None = None

    @property
    def is_cache(self) -> bool:
        """Its endpoint may run once, and never again."""
        return self.store is not None


ROWS: Final = (
    Row("bare", "bare ASGI, constant bytes"),
    Row("bare_with_fields", "bare, with a hit's header fields"),
    Row("rcache_pass", "rcache pass (bare, no rule)"),
    Row("starlette", "Starlette, ready body"),
    Row("fastapi", "FastAPI, returns the list"),
    Row("rcache_memory", "rcache embedded", "memory"),
    Row("rcache_memory_around", "rcache embedded, around the app", "memory"),
    Row("fastapi_cache2_memory", "fastapi-cache2 memory", "memory", "fastapi-cache2"),
    Row("cashews_memory", "cashews memory", "memory", "cashews"),
    Row("starlette_caches_memory", "starlette-caches memory", "memory", "starlette-caches"),
    Row("rcache_redis", "rcache on Redis", "redis"),
    Row("rcache_redis_around", "rcache on Redis, around the app", "redis"),
    Row("fastapi_cache2_redis", "fastapi-cache2 Redis", "redis", "fastapi-cache2"),
    Row("cashews_redis", "cashews Redis", "redis", "cashews"),
    Row("starlette_caches_redis", "starlette-caches Redis", "redis", "starlette-caches"),
)


@dataclass
class Subject:
    """A row while it runs."""

    row: Row
    server: AppServer
    calls: int
    rates: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    bad: int = 0
    reached: int = 0


def measure(seconds: float, rounds: int, rows: Sequence[Row] = ROWS) -> dict[str, Any]:
    """The section of the results; each row takes `seconds` in each of `rounds`."""
    wrk = require("wrk", "wrk")
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server())
        subjects = []
        for row in rows:
            try:
                subjects.append(_start(row, redis_url, stack))
            except DoesNotRun as reason:
                failures[row.name] = str(reason)
                print(f"{row.title}: does not run: {reason}", flush=True)
        for subject in subjects:
            visit(wrk, subject.server, 1)
        for number in range(rounds):
            print(f"wire: round {number + 1} of {rounds}", flush=True)
            for subject in random.sample(subjects, len(subjects)):
                _take(wrk, subject, seconds)
        for subject in subjects:
            _finish(subject, failures)
    bare = next(subject for subject in subjects if subject.row.name == "bare")
    settings = {"connections": CONNECTIONS, "seconds": seconds, "rounds": rounds, "body_bytes": len(BODY)}
    return {"settings": settings, "rows": [_line(row, subjects, bare, failures) for row in rows]}


def _start(row: Row, redis_url: str, stack: ExitStack) -> Subject:
    server = stack.enter_context(app_server(row.name, python_of(row.peer), redis_url))
    _verify(server)
    _verify(server)  # from the cache, where there is one
    calls = server.calls() if row.is_cache else 0
    if calls > 1:
        raise DoesNotRun("the second request was not answered from the cache")
    return Subject(row, server, calls)


def _verify(server: AppServer) -> None:
    status, body = server.fetch(PATH)
    if status != 200:
        raise DoesNotRun(f"answered {status}")
    if body != BODY:
        raise DoesNotRun("answered other bytes")


def visit(wrk: str, server: AppServer, seconds: float) -> dict[str, int]:
    """What wrk counted in so many seconds."""
    url = f"http://{LOOPBACK}:{server.port}{PATH}"
    command = [wrk, "--threads", "1", "--connections", str(CONNECTIONS), "--script", SCRIPT]
    command += ["--duration", f"{max(1, round(seconds))}s", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counted: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counted


def _take(wrk: str, subject: Subject, seconds: float) -> None:
    before = subject.server.cpu_seconds()
    counted = visit(wrk, subject.server, seconds)
    after = subject.server.cpu_seconds()
    requests = max(1, counted["requests"])
    subject.rates.append(counted["requests"] / counted["microseconds"] * 1e6)
    subject.p99.append(counted["p99"] / 1000)
    subject.bad += counted["failed"] + counted["not_ok"]
    if before is not None and after is not None:
        subject.cpu.append((after - before) / requests * 1e6)


def _finish(subject: Subject, failures: dict[str, str]) -> None:
    try:
        _verify(subject.server)
        if subject.row.is_cache:
            subject.reached = subject.server.calls() - subject.calls
    except (DoesNotRun, OSError) as reason:
        failures[subject.row.name] = f"after the run: {reason}"
    if subject.bad:
        failures[subject.row.name] = f"{subject.bad} requests failed or were not answered with 200"


def _line(row: Row, subjects: list[Subject], bare: Subject, failures: dict[str, str]) -> dict[str, Any]:
    line: dict[str, Any] = {"name": row.name, "title": row.title, "store": row.store, "peer": row.peer}
    if row.name in failures:
        return {**line, "failure": failures[row.name]}
    subject = next(subject for subject in subjects if subject.row is row)
    line["ratio"] = Spread.of([rate / one for rate, one in zip(subject.rates, bare.rates, strict=True)]).rounded(3)
    line["requests_per_second"] = round(Spread.of(subject.rates).median)
    line["p99_ms"] = round(Spread.of(subject.p99).median, 2)
    if subject.cpu:
        line["cpu"] = Spread.of([own / one for own, one in zip(subject.cpu, bare.cpu, strict=True)]).rounded(3)
    if subject.reached:
        line["note"] = f"{subject.reached} requests reached the application"
    if row.peer:
        line["versions"] = versions(row.peer)
    return line
