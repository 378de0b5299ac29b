"""What goes wrong in a run: each fault comes, stays a while, and goes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import redis

from tests.clusters import slot_of

if TYPE_CHECKING:
    from tests.chaos.run import Run

Fault = Callable[["Run"], Awaitable[str]]
POLICIES = (
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)
PRESSED = 2.0  # seconds of memory pressure


def _moment(run: Run) -> float:
    """Seconds that something stays broken: within the lease mostly, beyond it at times."""
    return run.lease * random.choice((0.1, 0.3, 0.7, 1.1, 1.6, 2.5)) * random.uniform(0.8, 1.2)


async def freeze_node(run: Run) -> str:
    """SIGSTOP, and SIGCONT later: it wakes up believing what it believed."""
    name, node = random.choice(list(run.nodes.items()))
    seconds = _moment(run)
    node.freeze()
    await asyncio.sleep(seconds)
    node.thaw()
    return f"{name}, {seconds:.2f} s"


async def kill_node(run: Run) -> str:
    """SIGKILL, and a new process in its place."""
    name, node = random.choice(list(run.nodes.items()))
    node.kill()
    await asyncio.sleep(random.choice((0.0, 0.5)))
    node.start()
    return name


async def kill_writer(run: Run) -> str:
    """SIGKILL at whatever step it is."""
    name, writer = random.choice(list(run.writers.items()))
    writer.kill()
    await asyncio.sleep(random.choice((0.0, 0.5)))
    return name  # the run starts it again


async def freeze_redis(run: Run) -> str:
    """SIGSTOP: it keeps its connections and says nothing; what was sent meanwhile is carried out later."""
    seconds = _moment(run)
    server = run.redis
    server.pause()
    await asyncio.sleep(seconds)
    server.resume()
    return f"{seconds:.2f} s"


async def restart_with_data(run: Run) -> str:
    """It ends after a snapshot of this very moment, and starts from it."""
    await asyncio.to_thread(run.redis.restart, keep_data=True)
    return ""


async def restart_with_old_data(run: Run) -> str:
    """It dies, and starts from a snapshot that knows nothing of the last seconds."""
    with run.redis.client() as client:
        client.save()
    await asyncio.sleep(random.uniform(0.3, 2.0))
    run.redis.kill()
    await asyncio.to_thread(run.redis.start)
    return ""


async def restart_without_data(run: Run) -> str:
    """It dies, and starts with nothing."""
    await asyncio.to_thread(run.redis.restart, keep_data=False)
    return ""


async def flush(run: Run) -> str:
    """FLUSHALL."""
    with run.redis.client() as client:
        client.flushall()
    return ""


async def forget_scripts(run: Run) -> str:
    """SCRIPT FLUSH, and all connections are closed by the server: as after a failover."""
    with run.redis.client() as client:
        client.script_flush()
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return ""


def pressure(policy: str) -> Fault:
    """Memory is full, and the server evicts as the policy says."""

    async def press(run: Run) -> str:
        server = run.redis
        prefix = await asyncio.to_thread(run.topology.filling, server)
        with server.client() as client:
            await asyncio.to_thread(_press, client, policy, prefix)
        return ""

    press.__name__ = f"pressure_{policy.replace('-', '_')}"
    return press


def _press(client: redis.Redis, policy: str, prefix: str) -> None:
    client.config_set("maxmemory-policy", policy)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 300_000)
    try:
        until, number = time.monotonic() + PRESSED, 0
        while time.monotonic() < until:
            number += 1
            try:
                client.set(f"{prefix}:{number}", bytes(2000), ex=5)
            except redis.OutOfMemoryError:
                time.sleep(0.05)
            time.sleep(0.001)
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


async def delay_link(run: Run) -> str:
    """One process' packets take their time, each way."""
    name, link = random.choice(list(run.links.items()))
    link.delay, seconds = run.lease * random.choice((0.02, 0.2, 0.45, 0.8)), run.lease * random.uniform(1, 3)
    delay = link.delay
    await asyncio.sleep(seconds)
    link.heal()
    return f"{name}, {delay:.2f} s each way for {seconds:.2f} s"


async def freeze_link(run: Run) -> str:
    """Nothing passes, one way or both, and what was held back comes when it is over, even from connections given up since."""
    name, link = random.choice(list(run.links.items()))
    up, down = random.choice(((True, True), (True, False), (False, True)))
    seconds = _moment(run)
    link.freeze(up=up, down=down)
    await asyncio.sleep(seconds)
    link.heal()
    return f"{name}, {'up ' if up else ''}{'down ' if down else ''}{seconds:.2f} s"


async def cut_link(run: Run) -> str:
    """Connections end, and new ones are refused for a while."""
    name, link = random.choice(list(run.links.items()))
    seconds = random.choice((0.0, _moment(run)))
    link.cut()
    await asyncio.sleep(seconds)
    link.heal()
    return f"{name}, {seconds:.2f} s"


async def step_clock(run: Run) -> str:
    """The clock of one node steps, for good until it steps again."""
    seconds = random.choice((-86_400.0, -30.0, -1.0, 0.0, 1.0, 30.0, 86_400.0))
    run.board.step_clock(seconds)
    return f"{seconds:+.0f} s"


async def freeze_all_and_flush(run: Run) -> str:
    """Two at once: nodes wake up after the server has lost everything."""
    frozen = random.sample(list(run.nodes.values()), 2)
    for node in frozen:
        node.freeze()
    await asyncio.sleep(run.lease * random.uniform(0.1, 0.6))
    with run.redis.client() as client:
        client.flushall()
    await asyncio.sleep(run.lease * random.uniform(0.1, 0.6))
    for node in frozen:
        node.thaw()
    return ""


async def freeze_link_and_flush(run: Run) -> str:
    """Two at once: what a node said in one epoch comes in the next."""
    name, link = random.choice(list(run.links.items()))
    link.freeze()
    await asyncio.sleep(run.lease * random.uniform(0.1, 1.2))
    with run.redis.client() as client:
        client.flushall()
    await asyncio.sleep(run.lease * random.uniform(0.1, 1.2))
    link.heal()
    return name


async def freeze_redis_briefly(run: Run) -> str:
    """SIGSTOP for less than anybody takes for an outage."""
    server, seconds = run.redis, random.uniform(0.05, 0.8)
    server.pause()
    await asyncio.sleep(seconds)
    server.resume()
    return f"{seconds:.2f} s"


async def fail_over(run: Run) -> str:
    """A replica becomes the primary, as ordered."""
    await asyncio.to_thread(run.sentinels.fail_over)
    await asyncio.to_thread(run.sentinels.settle)
    return ""


async def kill_primary(run: Run) -> str:
    """SIGKILL; a replica takes its place, and it comes back as a replica."""
    former = run.sentinels.kill_primary()
    await asyncio.to_thread(run.sentinels.succeeded, former)
    await asyncio.sleep(random.uniform(0.0, 2.0))
    await asyncio.to_thread(run.sentinels.revive, former)
    await asyncio.to_thread(run.sentinels.settle)  # a kill in the middle of a failover may be the end of all of them
    return ""


async def freeze_primary(run: Run) -> str:
    """SIGSTOP until a replica has taken its place; then it wakes up, and believes for a moment that it is the primary."""
    former = run.sentinels.primary
    former.pause()
    await asyncio.to_thread(run.sentinels.succeeded, former)
    await asyncio.sleep(random.uniform(0.0, 1.0))
    former.resume()
    await asyncio.to_thread(run.sentinels.settle)
    return ""


async def hand_over(run: Run) -> str:
    """A replica takes the place of its master, in agreement."""
    await asyncio.to_thread(run.cluster.hand_over, run.redis)
    return ""


async def kill_master(run: Run) -> str:
    """SIGKILL; its replica takes its place, and it comes back as a replica."""
    master = run.redis
    replica = run.cluster.replica_of(master)
    run.cluster.kill(master)
    await asyncio.sleep(random.uniform(0.0, 1.0))
    await asyncio.to_thread(run.cluster.take_over, replica)
    await asyncio.sleep(random.uniform(0.0, 1.0))
    await asyncio.to_thread(run.cluster.revive, master)
    return ""


async def reshard(run: Run) -> str:
    """The slot of the sequence, of a guard, or of some page goes to another master, step by step."""
    key = random.choice(("rc:{chaos}:seq", *(f"rc:{{chaos:{shard}}}:guard" for shard in range(64))))
    target = random.choice(run.cluster.masters())
    move = run.cluster.move(slot_of(key), target)
    if move.source is target:
        return f"{key} is there already"
    await asyncio.to_thread(move.begin)
    while await asyncio.to_thread(move.carry):
        await asyncio.sleep(random.uniform(0.0, 0.2))
    await asyncio.to_thread(move.end)
    await asyncio.to_thread(run.cluster.settle)
    return key


ON_NODES: tuple[Fault, ...] = (freeze_node, kill_node, kill_writer, step_clock)
ON_LINKS: tuple[Fault, ...] = (delay_link, freeze_link, cut_link, freeze_link_and_flush)
ON_SERVER: tuple[Fault, ...] = (
    flush,
    forget_scripts,
    freeze_all_and_flush,
    freeze_redis_briefly,
    *map(pressure, POLICIES),
)
ON_REDIS: tuple[Fault, ...] = (freeze_redis, restart_with_data, restart_with_old_data, restart_without_data)
ON_SENTINELS: tuple[Fault, ...] = (fail_over, kill_primary, freeze_primary)
ON_CLUSTER: tuple[Fault, ...] = (hand_over, kill_master, reshard)
