"""Near caches: hits over the wire, how soon a purge is known on eight other nodes, what following the log costs.

Each figure stands beside its floor of the same run: a hit beside bare ASGI, a purge beside a bare PUBLISH to eight subscribers
that live in the same eight processes and hear of it by a blocking read as well. Purges and PUBLISHes take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio
import uvloop

from benchmarks import wire
from benchmarks.near_nodes import CHANNEL
from benchmarks.payload import BODY, HEADERS
from benchmarks.servers import PROJECT, app_server, redis_server, require
from benchmarks.wire import Row
from rcache import Cache
from rcache.clock import SystemClock
from rcache.core.entry import Entry, Found, Start
from rcache.core.keys import Key
from rcache.core.log import Head
from rcache.engine.near_cache import NearCache
from rcache.stores.redis import RedisStore, writing

NODES: Final = 8
LEASE: Final = 2.0
PAUSE: Final = 0.004  # seconds between two purges
AT_ONCE: Final = 64  # purges under way where their rate is measured
RATES: Final = (1_000, 10_000)  # purges per second that a node reads of
ROWS: Final = (
    Row("bare", "bare ASGI, constant bytes"),
    Row("bare_with_fields", "bare, with a hit's header fields"),
    Row("rcache_near", "near hit", "near"),
    Row("rcache_near_around", "near hit, around the app", "near"),
)
PROCESSES: Final = (1, 2, 4)


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """The section of the results."""
    load = round(os.getloadavg()[0], 1)
    return {
        "settings": {
            "nodes": NODES,
            "lease": LEASE,
            "at_once": AT_ONCE,
            "purges": 100 * rounds,
            "load": load,
            "cores": os.cpu_count(),
        },
        "wire": wire.measure(seconds, rounds, ROWS)["rows"],
        "processes": [_over(count, seconds) for count in PROCESSES],
        "fast": _purges("fast", 100 * rounds),
        "strict": _purges("strict", 100 * rounds),
        "reader": [_reader(rate, seconds=3.0) for rate in RATES],
        "memory": [_memory(size) for size in (100, len(BODY))],
    }


# Hits over several processes


def _over(processes: int, seconds: float) -> dict[str, Any]:
    """Hits per second of a server with so many workers."""
    wrk = require("wrk", "wrk")
    print(f"near: {processes} processes", flush=True)
    with redis_server() as url, app_server("rcache_near_around", sys.executable, url, workers=processes) as server:
        wire.visit(wrk, server, 2)  # each worker has filled, and follows the log
        counted = wire.visit(wrk, server, 2 * seconds)
    return {"processes": processes, "hits_per_second": round(counted["requests"] / counted["microseconds"] * 1e6)}


# Purges


def _purges(mode: str, count: int) -> dict[str, Any]:
    print(f"near: purges with {NODES} {mode} nodes", flush=True)
    with redis_server() as url, ExitStack() as stack:
        cache = Cache(url, namespace="near", near_lease=LEASE, deadline=5, purge_timeout=10)
        with cache.writing_sync("item"):  # makes the epoch
            pass
        nodes = [stack.enter_context(_node(url, mode)) for _ in range(NODES)]
        time.sleep(1.25 * LEASE)  # a table that was just made is not trusted before
        return uvloop.run(_alternate(url, cache, nodes, count))


@contextmanager
def _node(url: str, mode: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.near_nodes", url, "near", mode, str(LEASE)]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "joined":
            raise RuntimeError("a node did not join")
        yield process
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


async def _alternate(url: str, cache: Cache, nodes: Sequence[subprocess.Popen[str]], count: int) -> dict[str, Any]:
    client = redis.asyncio.Redis.from_url(url)
    await client.ping()
    await cache.invalidate("item")
    returned, purges, publishes = [], {}, {}
    for number in range(count):
        sent = time.monotonic()
        purged = await cache.invalidate("item")
        returned.append(time.monotonic() - sent)
        assert purged.sequence is not None
        purges[purged.sequence + 1] = sent  # its record takes the number after its own
        await asyncio.sleep(PAUSE)
        publishes[number] = time.monotonic()
        await client.publish(CHANNEL, number)
        await asyncio.sleep(PAUSE)
    await asyncio.sleep(0.3)
    seen = [_told(node) for node in nodes]
    rates = {
        "purges": await _rate(lambda: cache.invalidate("item")),
        "publishes": await _rate(lambda: client.publish(CHANNEL, -1)),
    }
    await client.aclose()
    await cache.close()
    return {
        "visible_ms": _milliseconds(_last(purges, [purged for purged, _ in seen])),
        "publish_ms": _milliseconds(_last(publishes, [published for _, published in seen])),
        "returned_ms": _milliseconds(returned),
        "purges_per_second": rates["purges"],
        "publishes_per_second": rates["publishes"],
    }


def _told(node: subprocess.Popen[str]) -> tuple[dict[int, float], dict[int, float]]:
    assert node.stdin is not None
    assert node.stdout is not None
    node.stdin.write("\n")
    node.stdin.flush()
    purged, published = json.loads(node.stdout.readline())
    return {int(number): at for number, at in purged.items()}, {int(number): at for number, at in published.items()}


def _last(sent: dict[int, float], seen: list[dict[int, float]]) -> list[float]:
    """Seconds from when each was sent until the last node knew."""
    return [max(node[number] for node in seen) - at for number, at in sent.items()]


def _milliseconds(seconds: list[float]) -> list[float]:
    """Median and p99."""
    ordered = sorted(seconds)
    return [round(1e3 * statistics.median(ordered), 3), round(1e3 * ordered[int(len(ordered) * 0.99)], 3)]


async def _rate(call: Callable[[], Any], seconds: float = 2.0) -> int:
    """Calls per second, so many at once."""
    until, done = time.monotonic() + seconds, 0

    async def work() -> None:
        nonlocal done
        while time.monotonic() < until:
            await call()
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return round(done / (time.monotonic() - began))


# The reader


def _reader(rate: int, seconds: float) -> dict[str, Any]:
    """CPU of one node that does nothing but follow a log of so many purges per second."""
    print(f"near: a reader at {rate:,} purges per second", flush=True)
    with redis_server() as url, ExitStack() as stack:
        cache = Cache(url, namespace="near", near_lease=LEASE)
        with cache.writing_sync("item"):
            pass
        node = stack.enter_context(_node(url, "fast"))
        _told(node)
        idle = _cpu_share(node.pid, lambda: time.sleep(1.0))
        sent = 0

        def write() -> None:
            nonlocal sent
            sent = _write(url, rate, seconds)

        busy = _cpu_share(node.pid, write)
        time.sleep(0.2)
        purged, _ = _told(node)
        cache.close_sync()
    return {
        "rate": round(sent / seconds),
        "asked": rate,
        "cpu": round(busy - idle, 4),
        "read": len(purged),
        "sent": sent,
    }


def _write(url: str, rate: int, seconds: float) -> int:
    """Purges of many tags in turn, in pipelines every ten milliseconds; how many."""
    store = RedisStore(url, namespace="near")
    sent = 0
    with redis.Redis.from_url(url) as client:
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            due = int(now * rate) - sent
            with client.pipeline(transaction=False) as pipeline:
                for number in range(sent, sent + due):
                    step = writing.purge_step(store, (f"item:{number % 1000}",))
                    pipeline.execute_command("EVALSHA", step.script.sha, len(step.keys), *step.keys, *step.arguments)
                pipeline.execute()
            sent += due
            time.sleep(0.01)
    store.close()
    return sent


def _cpu_share(pid: int, meanwhile: Callable[[], None]) -> float:
    """Of one core, while something else is done."""
    began, before = time.monotonic(), _cpu(pid)
    meanwhile()
    return (_cpu(pid) - before) / (time.monotonic() - began)


def _cpu(pid: int) -> float:
    """Seconds, to the nanosecond: the clock ticks of /proc/PID/stat are too coarse for this."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


# Memory


class _Plain:
    """A request for a URL without variants."""

    names = ()

    def __init__(self, key: Key) -> None:
        self.key = key

    def variant(self, names: tuple[str, ...]) -> bytes:
        """Nothing selects."""
        return b""


def _memory(size: int, entries: int = 5_000) -> dict[str, Any]:
    """Bytes per entry that is kept, over its body."""
    near = NearCache(1 << 30, SystemClock())
    near.join(Head("epoch", 1, 1, time.time()), SystemClock.boottime(), 3600.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(entries):
        headers = tuple((bytes(bytearray(name)), bytes(bytearray(value))) for name, value in HEADERS)
        tags = (f"item:{number}", "item")
        entry = Entry(Start("epoch", 1), 200, headers, bytes(size), tags, time.time(), 0.0, 3600.0)
        key = Key("https", b"example.org", b"/items/%d" % number, b"")
        near.keep(_Plain(key), Found(entry, time.time(), Start("epoch", 1)))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(near) == entries
    return {"body": size, "per_entry": round(used / entries), "counted": round(near.used_bytes / entries)}
