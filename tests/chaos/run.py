"""One run of chaos: four nodes, two writers, one PostgreSQL that is the truth, and faults without end.

Nodes: one without a near cache, one `fast`, two `strict`, one of them with a clock that steps. Each has a link of its own to
Redis. Readers ask all of them as fast as they answer, and check each answer against the newest version that was known to be
committed before the request began.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from tests.chaos.board import ITEMS, MONITOR, Board, is_held
from tests.chaos.events import Events, around
from tests.chaos.faults import Fault
from tests.chaos.processes import READY_WITHIN, Process, await_port, uvicorn
from tests.chaos.proxy import Link
from tests.chaos.topologies import TOPOLOGIES, ClusteredServers, Topology, WatchedServers
from tests.clusters import Cluster
from tests.postgres import PostgresServer
from tests.sentinels import Sentinels
from tests.servers import RedisServer, free_port

KINDS = {"plain": "", "fast": "fast", "strict": "strict", "stepped": "strict"}  # the nodes by name
WRITERS = 2
LOOK_EVERY = 0.02  # seconds between two looks of the monitor at the database
TROUBLE = 0.01  # seconds that a look may take before it says nothing of a moment


@dataclass
class Settings:
    """How long, how fast, how broken."""

    seconds: float
    redis: str = "one"  # of TOPOLOGIES
    lease: float = 2.0
    longest_commit: float = 3.0
    connections: int = 6  # per node
    reader_pause: float = 0.0
    writer_pause: float = 0.1
    writer_kills: float = 0.002  # chance at each of a writer's steps
    quiet: float = 1.5  # seconds between two faults, at most
    seed: int | None = None
    faults: Sequence[Fault] | None = None  # all that fit, where none are named
    forgets: bool = False  # writers do not purge: to see that the readers find it


@dataclass
class Run:
    """The parts of a run, for faults to do things to."""

    settings: Settings
    directory: Path
    topology: Topology
    postgres: PostgresServer
    board: Board
    events: Events
    nodes: dict[str, Process] = field(default_factory=dict)
    writers: dict[str, Process] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    restarted: int = 0

    @property
    def redis(self) -> RedisServer:
        """The server that is the primary now."""
        return self.topology.server

    @property
    def sentinels(self) -> Sentinels:
        """Those that watch it."""
        assert isinstance(self.topology, WatchedServers)
        return self.topology.sentinels

    @property
    def cluster(self) -> Cluster:
        """All of its servers."""
        assert isinstance(self.topology, ClusteredServers)
        return self.topology.cluster

    @property
    def lease(self) -> float:
        """Seconds that a near cache lives without word from Redis."""
        return self.settings.lease


def carry_out(settings: Settings) -> dict[str, Any]:
    """The result of one run."""
    with tempfile.TemporaryDirectory(prefix="rcache-chaos-") as name:
        directory = Path(name)
        postgres = PostgresServer()
        try:
            topology: Topology = TOPOLOGIES[settings.redis]()
            try:
                board, events = Board(directory / "board"), Events(directory / "events", "run")
                run = Run(settings, directory, topology, postgres, board, events)
                return uvloop.run(_carry_out(run))
            finally:
                topology.stop()
        finally:
            postgres.stop()


async def _carry_out(run: Run) -> dict[str, Any]:
    settings = run.settings
    if settings.seed is not None:
        random.seed(settings.seed)
    await _make_table(run.postgres)
    try:
        ports = await _start(run)
        reader = _start_reader(run, ports)
        began = time.monotonic()
        watching = [asyncio.create_task(_monitor(run)), asyncio.create_task(_revive(run))]
        breaking = asyncio.create_task(_break(run))
        done, _ = await asyncio.wait({*watching, breaking}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        seconds = time.monotonic() - began
        run.board.end()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        if await asyncio.to_thread(reader.popen.wait, 60):
            raise RuntimeError(f"the reader failed: {(run.directory / 'reader.log').read_text()[-2000:]}")
    finally:
        run.board.end()
        await asyncio.to_thread(_stop, run)
        for link in run.links.values():
            await link.close()
    tallies = json.loads((run.directory / "read").read_text())
    return _result(run, tallies, seconds)


async def _make_table(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url(""))
    await connection.execute("CREATE TABLE item (id int PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 50)")
    await connection.executemany("INSERT INTO item VALUES ($1, 1)", [(item,) for item in range(ITEMS)])
    await connection.close()


async def _start(run: Run) -> dict[str, int]:
    """Starts nodes and writers, each behind a link of its own; the nodes' ports."""
    ports = {name: free_port() for name in KINDS}
    for name in (*KINDS, *(f"writer{number}" for number in range(WRITERS))):
        link = run.links[name] = Link(run.topology.ports)
        await link.open()
    for name, kind in KINDS.items():
        environment = _environment(run, name) | {"CHAOS_NAME": name, "CHAOS_NEAR": kind}
        environment["CHAOS_STEPS"] = "1" if name == "stepped" else "0"
        application = uvicorn("tests.chaos.application:app", ports[name])
        run.nodes[name] = Process(*application, log=run.directory / f"{name}.log", **environment)
    for name, port in ports.items():
        await asyncio.to_thread(await_port, port, run.nodes[name])
    for number in range(WRITERS):
        name = f"writer{number}"
        log = run.directory / f"{name}.log"
        run.writers[name] = Process("-m", "tests.chaos.writer", str(number), log=log, **_environment(run, name))
    await _await_writers(run)
    return ports


async def _await_writers(run: Run) -> None:
    """Returns when each has published something."""
    deadline = time.monotonic() + READY_WITHIN
    while not all(any(run.board.columns[number]) for number in range(WRITERS)):
        if time.monotonic() > deadline:
            raise RuntimeError("a writer has not begun")
        await _start_again(run)
        await asyncio.sleep(0.05)


def _environment(run: Run, name: str) -> dict[str, str]:
    settings = run.settings
    ports = run.links[name].ports if name in run.links else {}
    return {
        "RCACHE_URL": run.topology.url_through(ports) if ports else run.topology.url,
        "CHAOS_LINKS": json.dumps(ports),
        "CHAOS_BOARD": str(run.directory / "board"),
        "CHAOS_EVENTS": str(run.directory / "events"),
        "CHAOS_READ": str(run.directory / "read"),
        "CHAOS_POSTGRES": run.postgres.url(""),
        "CHAOS_LEASE": str(settings.lease),
        "CHAOS_COMMIT": str(settings.longest_commit),
        "CHAOS_CONNECTIONS": str(settings.connections),
        "CHAOS_READER_PAUSE": str(settings.reader_pause),
        "CHAOS_WRITER_PAUSE": str(settings.writer_pause),
        "CHAOS_FORGETS": "1" if settings.forgets else "",
        "CHAOS_WRITER_KILLS": str(settings.writer_kills),
    }


def _start_reader(run: Run, ports: dict[str, int]) -> Process:
    nodes = [f"{name}:{KINDS[name] or 'none'}:{port}" for name, port in ports.items()]
    log = run.directory / "reader.log"
    return Process("-m", "tests.chaos.reader", *nodes, log=log, **_environment(run, "reader"))


async def _monitor(run: Run) -> None:
    """Asks the database what is committed: a writer that was killed right after its COMMIT told nobody.

    Only of what is held: who invalidates after the COMMIT is promised nothing before that has returned.
    """
    connection = await asyncpg.connect(run.postgres.url(""))
    known = dict.fromkeys(range(ITEMS), 0)
    while True:
        for row in await connection.fetch("SELECT id, version FROM item"):
            item, version = row["id"], row["version"]
            if version > known[item]:
                known[item] = version
                if is_held(item):
                    run.board.publish(MONITOR, item, version)
        await asyncio.sleep(LOOK_EVERY)


async def _revive(run: Run) -> None:
    """Starts writers again that were killed, or killed themselves; nodes must not end by themselves."""
    while True:
        await _start_again(run)
        await asyncio.sleep(0.1)


async def _start_again(run: Run) -> None:
    for name, writer in run.writers.items():
        if not writer.is_running:
            if writer.popen.returncode not in (0, -9):
                log = (run.directory / f"{name}.log").read_text()
                raise RuntimeError(f"{name} ended with {writer.popen.returncode}: {log[-2000:]}")
            run.restarted += 1
            run.events.note(f"{name} starts again")
            await asyncio.to_thread(writer.start)


async def _break(run: Run) -> None:
    """One fault after the other, each as often as the others, until the time is over; then all is healed."""
    until = time.monotonic() + run.settings.seconds
    deck: list[Fault] = []
    fitting = run.topology.faults if run.settings.faults is None else run.settings.faults
    await asyncio.sleep(min(1.0, run.settings.quiet))
    while (left := until - time.monotonic()) > 0:
        if not deck:
            deck = random.sample(fitting, len(fitting))
        if not deck:
            await asyncio.sleep(left)
            continue
        fault = deck.pop()
        run.events.note(f"FAULT {fault.__name__} begins")
        told = await fault(run)
        run.events.note(f"FAULT {fault.__name__} is over: {told}")
        run.happened[fault.__name__] += 1
        await asyncio.sleep(random.uniform(0, run.settings.quiet))
    await asyncio.sleep(min(run.lease, run.settings.quiet))


def _stop(run: Run) -> None:
    for process in (*run.writers.values(), *run.nodes.values()):
        if process.is_frozen:
            process.thaw()
        if process.is_running:
            process.popen.terminate()
    for process in (*run.writers.values(), *run.nodes.values()):
        try:
            process.popen.wait(20)
        except Exception:
            process.kill()


def _result(run: Run, tallies: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    written = Counter(_kinds(run.directory / "events"))
    stale, forgiven = [], 0
    for tally in tallies:
        for told in tally["told"]:
            since = min(told["overtaken"], told["began"]) - 3 * run.lease
            lines = around(run.directory / "events", told["item"], since, told["ended"])
            if any(f"late commit {version} " in line for line in lines for version in _between(told)):
                forgiven += 1
            else:
                stale.append({**told, "interleaving": lines})
    lines = {"none": "P1, P2 from the store", "strict": "P3", "fast": "P4"}
    return {
        "settings": {
            "seconds": round(seconds, 1),
            "lease": run.lease,
            "load": round(os.getloadavg()[0], 1),
            "cores": os.cpu_count(),
            "seed": run.settings.seed,
            "redis": run.topology.title,
        },
        "nodes": [
            {
                "name": tally["name"],
                "promise": lines[tally["kind"]],
                **{what: tally[what] for what in ("answers", "hits", "failures", "old")},
                "latest": round(tally["latest"], 4),
            }
            for tally in tallies
        ],
        "writes": dict(written),
        "writers_restarted": run.restarted,
        "faults": dict(sorted(run.happened.items())),
        "links": {name: link.opened for name, link in run.links.items()},
        "late_commits_forgiven": forgiven,
        "stale": stale,
    }


def _between(told: dict[str, Any]) -> range:
    return range(told["version"] + 1, told["committed"] + 1)


def _kinds(path: Path) -> list[str]:
    kinds = ("committed", "tracked", "invalidated", "purged", "rolled", "outage", "holds", "late", "kills")
    with path.open(errors="replace") as file:
        words = (line.split(" ", 3)[2:3] for line in file if " writer" in line[:30])
        return [word[0].strip() for word in words if word and word[0].strip() in kinds]


def checked(result: dict[str, Any]) -> int:
    """Answers that a promise of no staleness at all was checked on."""
    return sum(node["answers"] for node in result["nodes"] if node["promise"] != "P4")


def told(result: dict[str, Any]) -> str:
    """The stale answers, each with what happened around it."""
    parts = []
    for each in result["stale"][:5]:
        late = each["began"] - each["overtaken"]
        parts.append(
            f"item {each['item']} on {each['node']} ({each['kind']}): version {each['version']}, though {each['committed']} was"
            f" committed before the request began; the first later one {late:.4f} s before ({each['status']})"
        )
        parts += [f"    {line}" for line in each["interleaving"]]
    return "\n".join(parts)
