"""Who waits for the application: a crowd at a cold key, and requests at a steady rate for a hot one that expires.

The crowd stands on as many connections, spread over several processes. What it may take is the time of one run, 50 ms, and the
time of as many plain hits on the same connections in the same round. The steady requests are sent when they are due, whether or
not those before them are answered, and their latency counts from then; ways of refreshing take turns with plain hits.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import redis
import uvloop

from benchmarks.servers import LOOPBACK, AppServer, factory_server, redis_server
from benchmarks.waiting_app import COLD, HOT, LIFETIME, WAYS

CROWD: Final = 1000
PROCESSES: Final = 4
RATE: Final = 500  # requests per second
CONNECTIONS: Final = 64
SLICE: Final = 3.0  # seconds of one way before the next takes its turn
ALLOWANCE: Final = 0.05  # seconds


def measure(rounds: int) -> dict[str, Any]:
    """The section of the results."""
    return {
        "settings": {
            "crowd": CROWD,
            "processes": PROCESSES,
            "rate": RATE,
            "cold_s": COLD,
            "hot_s": HOT,
            "lifetime_s": LIFETIME,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "crowds": _crowds(rounds),
        "steady": _steady(rounds),
    }


# A crowd at a cold key


def _crowds(rounds: int) -> dict[str, Any]:
    print("waiting: crowds", flush=True)
    with redis_server() as url, ExitStack() as stack:
        servers = [stack.enter_context(factory_server(APPLICATION, sys.executable, url)) for _ in range(PROCESSES)]
        with redis.Redis.from_url(url, decode_responses=True) as client:
            told = uvloop.run(_gather(client, servers, rounds))
            told["killed_runs"] = uvloop.run(_killed(client, servers))
            return told


APPLICATION: Final = "benchmarks.waiting_app:application"


async def _gather(client: redis.Redis, servers: Sequence[AppServer], rounds: int) -> dict[str, Any]:
    ports = [servers[number % PROCESSES].port for number in range(CROWD)]
    connections = [await Connection.open(port) for port in ports]
    await _ask(connections, "/plain")
    waited, hits, runs, variants = [], [], [], []
    for _ in range(rounds):
        name = secrets.token_hex(4)
        waited.append(await _ask(connections, f"/cold/{name}"))
        hits.append(await _ask(connections, f"/cold/{name}"))
        runs.append(client.llen(f"runs:{name}"))
        name = secrets.token_hex(4)
        await _ask(connections, f"/cold/{name}", "en", "de")
        variants.append(client.llen(f"runs:{name}"))
    for connection in connections:
        connection.close()
    return {"waited_s": waited, "hits_s": hits, "runs": runs, "variant_runs": variants}


async def _ask(connections: Sequence[Connection], path: str, *languages: str) -> float:
    """Seconds from the first request to the last answer, one on each connection."""
    clock = asyncio.get_running_loop().time
    began = clock()
    named = languages or ("en",)
    await asyncio.gather(*(each.get(path, named[at % len(named)]) for at, each in enumerate(connections)))
    return clock() - began


async def _killed(client: redis.Redis, servers: Sequence[AppServer]) -> int:
    """Runs for a crowd whose leading process is killed while it runs. The last of all: a process is gone."""
    name = secrets.token_hex(4)
    connections = [await Connection.open(servers[number % PROCESSES].port) for number in range(CROWD)]
    asked = [asyncio.ensure_future(each.get(f"/cold/{name}", "en")) for each in connections]
    while not (pids := client.lrange(f"runs:{name}", 0, -1)):
        await asyncio.sleep(0.01)
    os.kill(int(pids[0]), signal.SIGKILL)
    await asyncio.gather(*asked, return_exceptions=True)
    for connection in connections:
        connection.close()
    return int(client.llen(f"runs:{name}"))


# A hot key at a steady rate


def _steady(rounds: int) -> dict[str, Any]:
    print("waiting: steady", flush=True)
    with redis_server() as url, factory_server(APPLICATION, sys.executable, url) as server:
        return uvloop.run(_take_turns(server, rounds))


async def _take_turns(server: AppServer, rounds: int) -> dict[str, Any]:
    latencies: dict[str, list[float]] = {way: [] for way in WAYS}
    slices: dict[str, list[float]] = {way: [] for way in WAYS}
    connections: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(CONNECTIONS):
        connections.put_nowait(await Connection.open(server.port))
    for _ in range(rounds):
        for way in WAYS:
            await _at_a_rate(connections, f"/{way}", LIFETIME + 0.2)  # it expires at least once in each slice
            told = await _at_a_rate(connections, f"/{way}", SLICE)
            latencies[way] += told
            slices[way].append(_percentile(told, 99))
    plain = slices["plain"]
    return {
        way: {
            "requests": len(latencies[way]),
            "p50_ms": 1000 * _percentile(latencies[way], 50),
            "p99_ms": 1000 * _percentile(latencies[way], 99),
            "most_ms": 1000 * max(latencies[way]),
            "p99_to_plain": [mine / theirs for mine, theirs in zip(slices[way], plain, strict=True)],
        }
        for way in WAYS
    }


async def _at_a_rate(connections: asyncio.LifoQueue[Connection], path: str, seconds: float) -> list[float]:
    """The latency of each request, in seconds from the moment it was due."""
    clock = asyncio.get_running_loop().time
    latencies = []

    async def one(due: float) -> None:
        connection = await connections.get()
        await connection.get(path, "en")
        latencies.append(clock() - due)
        connections.put_nowait(connection)

    began, under_way = clock(), []
    for number in range(int(RATE * seconds)):
        due = began + number / RATE
        if (early := due - clock()) > 0:
            await asyncio.sleep(early)
        under_way.append(asyncio.ensure_future(one(due)))
    await asyncio.gather(*under_way)
    return latencies


def _percentile(numbers: Sequence[float], percent: int) -> float:
    return statistics.quantiles(numbers, n=100)[percent - 1]


class Connection:
    """One connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """To a server on this machine."""
        return cls(*await asyncio.open_connection(LOOPBACK, port))

    async def get(self, path: str, language: str) -> None:
        """One GET, answered with 200. RuntimeError for anything else."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept-Language: {language}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        await self._reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    def close(self) -> None:
        """Hangs up."""
        self._writer.close()
