"""`python -m benchmarks.rewarm`: what a purge of a thousand hot pages costs those who ask, with and without re-warming.

Two web processes under a steady load over all pages; one purge of all of them. Three ways take turns: nothing is made again; the
web processes make it, a few at a time; a worker does. Counted are the runs of the application after the purge, by who had them
made, and what the requests of the seconds after it waited. Writes rewarm.json and rewarm.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.apps import REDIS_URL
from benchmarks.rewarm_app import PAGES, REWARM, ROLE, TAKES
from benchmarks.servers import factory_server, redis_server
from benchmarks.waiting import Connection
from rcache import Cache

HERE: Final = Path(__file__).resolve().parent
APPLICATION: Final = "benchmarks.rewarm_app:application"
WEB: Final = 2
CONNECTIONS: Final = 64
RATE: Final = 100  # requests per second: a machine that is busy with them makes nothing beside
BEFORE, AFTER = 45.0, 15.0  # seconds
WAYS: Final = {"none": ("0", 0), "web": (str(PAGES), 0), "worker": (str(PAGES), 1)}


def measure() -> dict[str, Any]:
    """All of it, in about three minutes."""
    return {
        "pages": PAGES,
        "takes_ms": 1000 * TAKES,
        "rate": RATE,
        "seconds_after": AFTER,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "ways": {way: _measured(way, *settings) for way, settings in WAYS.items()},
    }


def _measured(way: str, most: str, workers: int) -> dict[str, Any]:
    print(f"rewarm: {way}", flush=True)
    os.environ[REWARM] = most
    with redis_server() as url, ExitStack() as stack:
        servers = [stack.enter_context(factory_server(APPLICATION, sys.executable, url)) for _ in range(WEB)]
        for _ in range(workers):
            stack.enter_context(_worker(url))
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return asyncio.run(_under_load(url, client, [server.port for server in servers], workers))


@contextmanager
def _worker(url: str) -> Iterator[None]:
    command = [sys.executable, "-m", "rcache.cli", "worker", "--factory", APPLICATION]
    environment = {**os.environ, ROLE: "worker", REDIS_URL: url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _under_load(url: str, client: redis.Redis, ports: list[int], workers: int) -> dict[str, Any]:
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    for number in range(CONNECTIONS):
        connections.put_nowait(await Connection.open(ports[number % len(ports)]))
    async with Cache(url, key_host=False, deadline=2.0) as cache:
        while workers and await cache.queue.workers() < workers:
            await asyncio.sleep(0.1)
        await _asked(connections, list(range(PAGES)), RATE)
        await _asked(connections, _drawn(BEFORE), RATE)
        client.delete("runs:asked", "runs:web", "runs:worker")
        # By a web process, as an endpoint does it: so whoever has the application sees to it.
        purged = await _purged(ports[0])
        waits = await _asked(connections, _drawn(AFTER), RATE)
    runs = {whose: int(client.get(f"runs:{whose}") or 0) for whose in ("asked", "web", "worker")}
    waits.sort()
    return {
        "purge_ms": round(1000 * purged, 1),
        "runs": runs,
        "requests": len(waits),
        "waited": sum(wait >= TAKES for wait in waits),
        "p50_ms": round(1000 * waits[len(waits) // 2], 2),
        "p99_ms": round(1000 * waits[int(len(waits) * 0.99)], 1),
    }


async def _purged(port: int) -> float:
    connection = await Connection.open(port)
    began = time.perf_counter()
    await connection.get("/purge", "en")
    connection.close()
    return time.perf_counter() - began


def _drawn(seconds: float) -> list[int]:
    chance = random.Random(7)
    return [chance.randrange(PAGES) for _ in range(int(seconds * RATE))]


async def _asked(connections: asyncio.Queue[Connection], pages: list[int], rate: float) -> list[float]:
    """Seconds that each request took from when it was due, whether or not those before it are answered."""
    clock = asyncio.get_running_loop().time
    began = clock()
    taken: list[float] = []

    async def ask(number: int, page: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - clock()))
        connection = await connections.get()
        try:
            await connection.get(f"/{page}", "en")
        finally:
            connections.put_nowait(connection)
        taken.append(clock() - due)

    await asyncio.gather(*(ask(number, page) for number, page in enumerate(pages)))
    return taken


def render(result: dict[str, Any]) -> str:
    """As Markdown."""
    names = {"none": "without", "web": "`rewarm=`, web processes alone", "worker": "`rewarm=`, one worker"}
    lines = [
        f"| {names[way]} | {told['runs']['asked']:,} | {told['runs']['web']:,} | {told['runs']['worker']:,} |"
        f" {told['waited']:,} of {told['requests']:,} | {told['p50_ms']} | {told['p99_ms']} |"
        for way, told in result["ways"].items()
    ]
    return (
        "# After a purge of a thousand hot pages\n\n"
        f"Two web processes, {result['rate']} requests per second over {result['pages']:,} pages that take"
        f" {result['takes_ms']:g} ms each to make, one purge of all; the {result['seconds_after']:g} seconds after it, on"
        f" {result['cores']} processors (load {result['load']} before), by `python -m benchmarks.rewarm`.\n\n"
        "| | runs that a request waited for | others in the web processes | in workers | requests that waited | p50 ms | p99 ms |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(lines) + "\n\n"
        "Renders take processors like any run: while they are under way, and none is to spare, the slowest requests wait longer.\n"
    )


def main() -> None:
    """Measures, prints and keeps."""
    result = measure()
    (HERE / "rewarm.json").write_text(json.dumps(result, indent=2) + "\n")
    text = render(result)
    (HERE / "rewarm.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
