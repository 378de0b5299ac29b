"""`python -m benchmarks.fleet`: how the log carries 1 to 500 nodes, and where one log no longer suffices.

A fleet of tail readers (`fleet_nodes.py`), and one writer that purges. For each number of nodes, near fast and near strict:
milliseconds until `invalidate` returned and until the middle and the last node had read of it, the time Redis spent per purge
and per second without purges, and the connections. Lines are fitted through Redis' time; writes fleet.json, plots/fleet.svg and
docs/fleet.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.servers import PROJECT, redis_server
from rcache import Cache
from rcache.stores.redis.address import CLIENT_NAME

COUNTS: Final = (1, 10, 25, 50, 100, 200, 350, 500)
LEASE: Final = 2.0
PURGES: Final = 100
PAUSE: Final = 0.02  # seconds between two purges
IDLE: Final = 3.0  # seconds without purges
PATIENCE: Final = 20.0  # seconds until the last node must have read everything
BUDGET: Final = 0.5  # of one core: what the log may take of Redis, which also answers look-ups
HERE: Final = Path(__file__).resolve().parent


def measure(counts: tuple[int, ...] = COUNTS, purges: int = PURGES) -> dict[str, Any]:
    """The result; a few seconds per number of nodes and mode."""
    load = round(os.getloadavg()[0], 1)
    with redis_server() as url:
        points = {mode: [_point(url, mode, count, purges) for count in counts] for mode in ("fast", "strict")}
    return {
        "settings": {
            "lease": LEASE,
            "purges": purges,
            "pause": PAUSE,
            "budget": BUDGET,
            "load": load,
            "cores": os.cpu_count(),
        },
        **points,
        "fit": {mode: _fit(series) for mode, series in points.items()},
    }


def _point(url: str, mode: str, nodes: int, purges: int) -> dict[str, Any]:
    print(f"fleet: {nodes} {mode}", flush=True)
    namespace = f"fleet-{mode}-{nodes}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
        return asyncio.run(_measure(url, client, namespace, mode, nodes, purges))


async def _measure(url: str, client: redis.Redis, namespace: str, mode: str, nodes: int, purges: int) -> dict[str, Any]:
    cache = Cache(url, namespace=namespace, near_lease=LEASE, purge_timeout=10, commit_timeout=10)
    async with cache.writing("item:0"):  # makes the epoch
        pass
    command = [sys.executable, "-m", "benchmarks.fleet_nodes", url, namespace, str(nodes), mode, str(LEASE)]
    fleet = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    try:
        if fleet.stdout.readline().strip() != "joined":
            raise RuntimeError("the fleet did not join")
        await asyncio.sleep(1.25 * LEASE)  # a table that was just made is not trusted before
        await cache.invalidate("item:0")
        connections = _connections(client)
        idle = await _idle(client)
        began, cpu = time.monotonic(), _cpu(client)
        moments = []
        for number in range(purges):
            sent = time.monotonic()
            purged = await cache.invalidate(f"item:{number % 10}")
            assert purged.sequence is not None
            moments.append((purged.sequence + 1, sent, time.monotonic()))  # its record takes the number after its own
            await asyncio.sleep(PAUSE)
        spent, seconds = _cpu(client) - cpu, time.monotonic() - began
        seen = await _seen_by_all(fleet, nodes, [number for number, _, _ in moments])
    finally:
        fleet.stdin.close()
        fleet.wait(30)
        fleet.stdout.close()
        await cache.close()
    return {
        "nodes": nodes,
        "connections": connections,
        "returned_ms": _milliseconds([done - sent for _, sent, done in moments]),
        "middle_ms": _milliseconds([seen[number][1] - sent for number, sent, _ in moments]),
        "last_ms": _milliseconds([seen[number][2] - sent for number, sent, _ in moments]),
        "redis_idle": round(idle, 6),
        "redis_per_purge_us": round((spent - idle * seconds) / purges * 1e6, 1),
    }


async def _seen_by_all(fleet: subprocess.Popen[str], nodes: int, numbers: list[int]) -> dict[int, list[float]]:
    """When the first, the middle and the last node had read of each, once all have."""
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    deadline = time.monotonic() + PATIENCE
    while True:
        fleet.stdin.write("\n")
        fleet.stdin.flush()
        seen = {int(number): at for number, at in json.loads(fleet.stdout.readline()).items()}
        if all(number in seen and seen[number][3] == nodes for number in numbers):
            return seen
        if time.monotonic() > deadline:
            raise RuntimeError("a node has not read every record")
        await asyncio.sleep(0.2)


def _connections(client: redis.Redis) -> int:
    """The nodes': they have no name, while the cache of this process says its own, and the client that asks is known."""
    mine = str(client.client_id())
    return sum(each["name"] != CLIENT_NAME and each["id"] != mine for each in client.client_list())


async def _idle(client: redis.Redis) -> float:
    """Seconds of Redis' time per second while nobody purges: the leases."""
    began, cpu = time.monotonic(), _cpu(client)
    await asyncio.sleep(IDLE)
    return (_cpu(client) - cpu) / (time.monotonic() - began)


def _cpu(client: redis.Redis) -> float:
    told = client.info("cpu")
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


def _milliseconds(seconds: list[float]) -> list[float]:
    """Median and p99."""
    ordered = sorted(seconds)
    return [round(1e3 * statistics.median(ordered), 3), round(1e3 * ordered[int(len(ordered) * 0.99)], 3)]


def _fit(series: list[dict[str, Any]]) -> dict[str, float]:
    """Redis' microseconds per purge as `base + each * nodes`, per second without purges as `lease * nodes`."""
    nodes = [point["nodes"] for point in series]
    each, base = statistics.linear_regression(nodes, [point["redis_per_purge_us"] for point in series])
    lease, _ = statistics.linear_regression(nodes, [point["redis_idle"] * 1e6 for point in series])
    wait, _ = statistics.linear_regression(nodes, [point["returned_ms"][0] for point in series])
    return {
        "base_us": round(max(base, 0.0), 1),
        "each_us": round(each, 2),
        "lease_us": round(lease, 1),
        "wait_ms": round(wait, 4),
    }


def most_purges(fit: dict[str, float], nodes: int) -> float:
    """Purges per second that leave Redis half of its core, by the fitted line."""
    left = BUDGET * 1e6 - fit["lease_us"] * nodes
    return max(0.0, left / (fit["base_us"] + fit["each_us"] * nodes))


def render(result: dict[str, Any]) -> str:
    """docs/fleet.md."""
    lines = [
        "# How many nodes one log carries",
        "",
        "Each node with a near cache follows the log on a connection of its own: one blocking read, and a renewal of its",
        f"lease four times per lease ({LEASE:g} s here). Measured by `make fleet` with hundreds of such readers in one process,",
        f"one Redis and one writer that purges every {1000 * PAUSE:.0f} ms. The readers share the machine's cores with Redis, so",
        "the time until the last one has read is theirs as much as Redis'. " + _told_load(result["settings"]),
        "",
    ]
    for mode, title in (("fast", '`near="fast"`'), ("strict", '`near="strict"`')):
        lines += [
            f"## {title}",
            "",
            "| nodes = connections | `invalidate` returned, ms (p99) | middle node | last node | us of Redis per purge | idle, % |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for point in result[mode]:
            times = [f"{point[name][0]:.2f} ({point[name][1]:.1f})" for name in ("returned_ms", "middle_ms", "last_ms")]
            cells = [f"{point['connections']}", *times]
            cells += [f"{point['redis_per_purge_us']:.0f}", f"{100 * point['redis_idle']:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [*_formula(result), "![fleet](../benchmarks/plots/fleet.svg)"]
    return "\n".join(lines) + "\n"


def _told_load(settings: dict[str, Any]) -> str:
    return f"The load average was {settings['load']:g} on {settings['cores']} cores before it began."


def _formula(result: dict[str, Any]) -> list[str]:
    wait = 1000 * result["fit"]["strict"]["wait_ms"]
    lines = [
        "## The formula",
        "",
        "With `n` nodes and `r` purges per second Redis is busy for `r * (base + each * n) + lease * n` of each second:",
        "",
        "| | base, us | each, us | lease, us per second |",
        "| --- | ---: | ---: | ---: |",
    ]
    for mode, fit in result["fit"].items():
        lines.append(f"| {mode} | {fit['base_us']:.0f} | {fit['each_us']:.1f} | {fit['lease_us']:.0f} |")
    lines += [
        "",
        f"A strict purge returns when the last node has read of it: every node adds {wait:.0f} us to its time.",
        "Purges per second that leave Redis half of a core for look-ups:",
        "",
        "| nodes | fast | strict |",
        "| ---: | ---: | ---: |",
    ]
    for nodes in (10, 50, 100, 200, 500):
        rates = [f"{most_purges(result['fit'][mode], nodes):,.0f}" for mode in ("fast", "strict")]
        lines.append(f"| {nodes} | {' | '.join(rates)} |")
    return [
        *lines,
        "",
        "Purges that come together cost less: a reader that is busy takes up to 1,000 records in one read, and the tags of a",
        "transaction, however many, are one record.",
        "",
        "## Beyond one log",
        "",
        'A log belongs to a namespace. Split by what is written together: `Cache(url, namespace="catalogue")` and',
        '`Cache(url, namespace="accounts")` have a log, a sequence and a table of nodes each, and a node follows only those that',
        "it has a cache of. Namespaces that different nodes follow divide `n`; on different Redis servers they divide Redis' time",
        "as well, even where every node follows all of them. A tag is purged in the namespace that its entries are in. Nodes that",
        "do without a near cache cost the log nothing.",
        "",
    ]


def main() -> None:
    """Measures, and writes result, plot and page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE, help="directory for result and plot")
    parser.add_argument("--page", type=Path, default=PROJECT / "docs" / "fleet.md")
    asked = parser.parse_args()
    result = measure()
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / "fleet.json").write_text(json.dumps(result, indent=1) + "\n")
    from benchmarks import plots  # measuring alone needs no plots

    plots.draw_fleet(result, asked.output / "plots")
    asked.page.write_text(render(result))
    print(render(result))


if __name__ == "__main__":
    main()
