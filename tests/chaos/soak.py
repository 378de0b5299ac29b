"""An hour of mixed traffic, and whether anything grew or was left behind.

    python -m tests.chaos.soak --seconds 3600 --output benchmarks

Three nodes (near strict, near fast, no near cache) on one Redis. Readers ask for items that are written all the time, for
pages that nobody asks for twice, for variants and for a route without a rule; writers purge, hold, release. What must hold:

- memory: the last quarter's median, of each node and of Redis, is not above the second quarter's by more than a bound;
- keys: their number does not grow either, and every key but those that docs/coherence.md exempts has a TTL at all times;
- afterwards: no task, no thread and no open file more than before the traffic; all entries, registries and names end by their
  TTL; no connection to Redis, and no node in its table, once the nodes have closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.chaos.http import visit
from tests.chaos.processes import Process, await_port, uvicorn
from tests.servers import RedisServer, free_port

KINDS = {"strict": "strict", "fast": "fast", "none": ""}
EXEMPT = {"rc:{soak}:seq", "rc:{soak}:log", "rc:{soak}:nodes", "rc:{soak:0}:guard", "rc:{soak:0}:marks"}
SWEEPS = "rc:{soak}:sweep"  # what the next purge is to sweep stays for a day
TOLD = tuple(f"rc:{{soak}}:{what}" for what in ("node:", "fleet", "events", "second:", "minute:", "popular:"))
"""What nodes tell of themselves: a row while they live, the rest for hours, or a week."""
ITEMS = 2000
ENOUGH = 40  # samples without which nothing is said of growth
GROWTH = 0.05  # of memory and keys, between the second quarter and the last
SLACK = 3 * 2**20  # bytes: what an allocator may keep or give back as it likes
LANGUAGES = (b"en", b"de", b"fr", b"pl", b"da", b"it")


class Mixed:
    """What one connection asks: three quarters items, then variants, pages, the plain route, now and then a write."""

    counts: dict[str, int]

    def __init__(self, counts: dict[str, int], seed: int) -> None:
        self.counts = counts
        self._random = random.Random(seed)
        self._unique = seed * 10_000_000

    def ask(self) -> bytes:
        """One request."""
        chance = self._random.random()
        number = int(ITEMS * self._random.random() ** 3)  # a few are asked for much more often than the rest
        if chance < 0.03:
            self.counts["writes"] += 1
            return b"PUT /items/%d HTTP/1.1\r\nhost: soak\r\ncontent-length: 0\r\n\r\n" % number
        self.counts["requests"] += 1
        if chance < 0.15:
            self._unique += 1
            path = b"/pages/%d" % self._unique
        elif chance < 0.30:
            path = b"/words/%d" % (number // 10)
        else:
            path = b"/plain" if chance < 0.35 else b"/items/%d" % number
        return b"GET %s HTTP/1.1\r\nhost: soak\r\naccept-language: %s\r\n\r\n" % (path, self._random.choice(LANGUAGES))

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Counts it."""
        if status != 200:
            self.counts["failures"] += 1
        elif b"rcache; hit" in head:
            self.counts["hits"] += 1

    def lost(self) -> None:
        """Only at the end."""


@dataclass
class Soak:
    """One run."""

    seconds: float
    every: float  # seconds between two samples
    ttl: float
    pause: float  # seconds from one request of a connection to its next, however soon it was answered: as much traffic at all times
    idle: float = 10.0  # seconds that the thread which renews holds stays when there are none
    connections: int = 4
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("requests", "hits", "writes", "failures"), 0))
    samples: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """The result."""
        server = RedisServer("--maxmemory", "512mb", "--maxmemory-policy", "volatile-lru")
        nodes: dict[str, Process] = {}
        try:
            ports = {kind: free_port() for kind in KINDS}
            for kind, near in KINDS.items():
                environment = {"RCACHE_URL": server.url, "SOAK_NEAR": near, "SOAK_TTL": str(self.ttl)}
                environment["SOAK_IDLE"] = str(self.idle)
                application = uvicorn("tests.chaos.soak_application:app", ports[kind])
                nodes[kind] = Process(*application, **environment)
            for kind, port in ports.items():
                await_port(port, nodes[kind])
            return self._run(server, nodes, ports)
        finally:
            for node in nodes.values():
                if node.is_running:
                    node.stop()
            server.stop()

    def _run(self, server: RedisServer, nodes: dict[str, Process], ports: dict[str, int]) -> dict[str, Any]:
        with server.client() as client:
            asyncio.run(self._traffic(client, ports, min(2.0, self.seconds / 4)))  # opens whatever stays open
            before = self._settled(ports, None)
            asyncio.run(self._traffic(client, ports, self.seconds, takes_samples=True))
            after = self._settled(ports, before)
            keys_left = self._keys_left(client)
            for node in nodes.values():
                node.stop()
            connections = self._connections_left(client)
            members = {name.decode() for name in client.hkeys("rc:{soak}:nodes")} - {"epoch", "born"}
        if len(self.samples) >= ENOUGH:
            self._judge_memory()
            self._judge_keys()
        for kind in KINDS:
            for what in ("tasks", "threads", "descriptors"):
                if after[kind][what] > before[kind][what]:
                    self.complaints.append(f"{kind}: {what} {after[kind][what]} after, {before[kind][what]} before")
        if self.counts["failures"]:
            self.complaints.append(f"{self.counts['failures']} requests failed")
        if keys_left:
            self.complaints.append(f"keys that outlived their TTL: {sorted(keys_left)[:5]}")
        if connections or members:
            self.complaints.append(f"after the nodes closed: {connections} connections, nodes {members}")
        return {
            "settings": {
                "seconds": self.seconds,
                "ttl": self.ttl,
                "items": ITEMS,
                "load": round(os.getloadavg()[2], 1),
                "cores": os.cpu_count(),
                "redis": "one server",
            },
            "counts": self.counts,
            "left": {"keys": sorted(keys_left), "connections": connections, "nodes": len(members)},
            "samples": self.samples,
            "complaints": self.complaints,
        }

    async def _traffic(
        self, client: redis.Redis, ports: dict[str, int], seconds: float, *, takes_samples: bool = False
    ) -> None:
        ended = asyncio.Event()
        visits = [
            asyncio.create_task(visit(port, Mixed(self.counts, 1 + place * 100 + number), ended, self.pause))
            for place, port in enumerate(ports.values())
            for number in range(self.connections)
        ]
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self.every))
            if takes_samples:
                self.samples.append(
                    await asyncio.to_thread(self._sample, client, ports, seconds - (until - time.monotonic()))
                )
        ended.set()
        await asyncio.gather(*visits)

    def _sample(self, client: redis.Redis, ports: dict[str, int], at: float) -> dict[str, Any]:
        info = client.info()
        names = list(client.scan_iter(count=1000))
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.ttl(name)
            lasting = {name.decode() for name, ttl in zip(names, pipeline.execute(), strict=True) if ttl == -1}
        if lasting - EXEMPT:
            self.complaints.append(f"after {at:.0f} s, without a TTL: {sorted(lasting - EXEMPT)[:5]}")
        vitals = {kind: _vitals(port) for kind, port in ports.items()}
        return {
            "at": round(at),
            "redis_bytes": info["used_memory"],
            "keys": len(names),
            "connections": info["connected_clients"] - 1,
            "log": client.xlen("rc:{soak}:log"),
            "marks": client.zcard("rc:{soak:0}:marks"),
            **{f"{kind}_bytes": told["rss"] for kind, told in vitals.items()},
            **{f"{kind}_near": told["near_entries"] for kind, told in vitals.items()},
            **{f"{kind}_threads": len(told["threads"]) for kind, told in vitals.items()},
        }

    def _settled(self, ports: dict[str, int], before: dict[str, Any] | None) -> dict[str, Any]:
        """Vitals once what idles has ended: the thread that renews holds stays a while."""
        deadline = time.monotonic() + 60
        while True:
            now = {kind: _vitals(port) for kind, port in ports.items()}
            idle = all("rcache-renewals" not in told["threads"] and not told["waiting"] for told in now.values())
            same = before is None or all(
                now[kind][what] <= before[kind][what] for kind in KINDS for what in ("tasks", "threads", "descriptors")
            )
            if (idle and same) or time.monotonic() > deadline:
                return now
            time.sleep(0.25)

    def _keys_left(self, client: redis.Redis) -> set[str]:
        """What outlives the longest TTL, and is not meant to."""
        deadline = time.monotonic() + self.ttl + 60
        while True:
            names = {name.decode() for name in client.scan_iter(count=1000)} - EXEMPT - {SWEEPS}
            left = {name for name in names if not name.startswith(TOLD)}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.25)

    def _connections_left(self, client: redis.Redis) -> int:
        deadline = time.monotonic() + 10
        while True:
            left: int = client.info("clients")["connected_clients"] - 1
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def _judge_memory(self) -> None:
        for name in ("redis_bytes", *(f"{kind}_bytes" for kind in KINDS)):
            early, late = self._quarters(name)
            if late > early * (1 + GROWTH) + SLACK:
                self.complaints.append(f"{name} grew from {early / 2**20:.1f} to {late / 2**20:.1f} MiB")

    def _judge_keys(self) -> None:
        early, late = self._quarters("keys")
        if late > early * (1 + GROWTH) + 500:
            self.complaints.append(f"keys grew from {early} to {late}")

    def _quarters(self, name: str) -> tuple[float, float]:
        values = [sample[name] for sample in self.samples]
        quarter = len(values) // 4
        return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])


def _vitals(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/vitals", timeout=60) as response:
        told: dict[str, Any] = json.loads(response.read())
    # Threads of the pools that sync endpoints and `to_thread` run in stay for the next that needs one.
    told["threads"] = [name for name in told["threads"] if name.startswith("rcache") or name == "MainThread"]
    return told


def render(result: dict[str, Any]) -> str:
    """The result in words."""
    counts, samples, settings = result["counts"], result["samples"], result["settings"]
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    lines = [
        "# Soak",
        "",
        f"{settings['seconds'] / 60:.0f} minutes of mixed traffic on three nodes and one Redis: {counts['requests']:,} requests,",
        f"{counts['hits']:,} hits, {counts['writes']:,} writes (purges, holds, releases), {counts['failures']} failures.",
        f"The load average was {settings['load']:g} on {settings['cores']} cores.",
        "Medians of the second and of the last quarter:",
        "",
        "| | second quarter | last quarter |",
        "| --- | ---: | ---: |",
    ]
    for title, name, unit in ROWS:
        early, late = (statistics.median(sample[name] for sample in part) for part in (second, last))
        lines.append(f"| {title} | {_told(early, unit)} | {_told(late, unit)} |")
    left = result["left"]
    lines += [
        "",
        f"Once the last TTL had ended, {len(left['keys'])} keys were left beside those that have none and the list of what is to",
        f"be swept; once the nodes had closed, {left['connections']} connections and {left['nodes']} nodes.",
        "",
        "What did not hold: " + ("nothing." if not result["complaints"] else ""),
        *[f"- {complaint}" for complaint in result["complaints"]],
    ]
    return "\n".join(lines).rstrip() + "\n"


ROWS = (
    ("memory of a node, near strict", "strict_bytes", "MiB"),
    ("memory of a node, near fast", "fast_bytes", "MiB"),
    ("memory of a node without", "none_bytes", "MiB"),
    ("memory of Redis", "redis_bytes", "MiB"),
    ("keys", "keys", ""),
    ("records in the log", "log", ""),
    ("marks", "marks", ""),
    ("connections to Redis", "connections", ""),
)


def _told(number: float, unit: str) -> str:
    return f"{number / 2**20:.1f} MiB" if unit else f"{number:,.0f}"


def main() -> None:
    """Runs, writes `soak.json` and `soak.md`, and fails where something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--output", type=Path, default=Path("benchmarks"))
    asked = parser.parse_args()
    result = Soak(asked.seconds, every=max(0.5, asked.seconds / 240), ttl=60, pause=0.1).run()
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    (asked.output / "soak.md").write_text(render(result))
    print(render(result))
    if result["complaints"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
