"""Hundreds of nodes as one process: each with a connection of its own on which it joins, reads the log and renews its lease.

    python -m benchmarks.fleet_nodes URL NAMESPACE NODES fast|strict LEASE

They say to Redis what `rcache.engine.follower` says, in the same order and at the same moments, and keep no entries. Prints
`joined` when all of them have joined; then answers each line on standard input with what it has seen, as JSON: for each
record the moments (of the monotonic clock) at which the first, the middle and the last node had read it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import sys
import time
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis
import uvloop

from rcache.core.keys import RedisNames
from rcache.engine.follower import RENEWALS
from rcache.stores.redis.log import FORGOTTEN, MOST
from rcache.stores.redis.scripts import JOIN, RENEW, pack


class Node(asyncio.Protocol):
    """One node of the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.joined = asyncio.get_running_loop().create_future()
        self._fleet = fleet
        self._reader = hiredis.Reader()
        self._node = secrets.token_hex(8).encode()
        self._counter = 0
        self._tail = 0
        self._renew_at = 0.0
        self._waits_for: list[str] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Loads the scripts, and joins."""
        self._transport = cast("asyncio.Transport", transport)
        for script in (JOIN, RENEW):
            self._say("load", pack((b"SCRIPT", b"LOAD", script.source)))
        fleet = self._fleet
        forgotten = b"%d" % (1000 * max(FORGOTTEN, 10 * fleet.lease))
        self._counter += 1
        arguments = (self._node, fleet.mode, b"%d" % (1000 * fleet.lease), b"%d" % self._counter, forgotten)
        self._renew_at = time.monotonic() + fleet.lease / RENEWALS
        self._say("join", JOIN.call(2, *fleet.keys, *arguments))

    def _say(self, what: str, command: bytes) -> None:
        self._waits_for.append(what)
        self._transport.write(command)

    def data_received(self, data: bytes) -> None:
        """Takes what comes, and goes on."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            what = self._waits_for.pop(0)
            if isinstance(reply, hiredis.ReplyError):
                raise RuntimeError(f"{what}: {reply}")
            if what == "load":
                continue
            if what == "read":
                self._take(reply)
            else:
                self._joined_or_renewed(what, reply)
            self._go_on()

    def _joined_or_renewed(self, what: str, reply: list[Any]) -> None:
        if reply[0] not in (b"joined", b"renewed"):
            raise RuntimeError(f"{what}: {reply}")
        if what == "join":
            self._tail = int(reply[2])
            self.joined.set_result(None)

    def _take(self, reply: list[Any] | None) -> None:
        is_awaited = False
        for identifier, fields in reply[0][1] if reply else ():
            self._tail = int(identifier.partition(b"-")[0])
            self._fleet.seen.setdefault(self._tail, []).append(time.monotonic())
            is_awaited |= fields[9] == b"1"
        if is_awaited and self._fleet.mode == b"strict":
            self._renew_at = 0.0

    def _go_on(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._counter += 1
            self._renew_at = now + self._fleet.lease / RENEWALS
            tail = b"%d" % self._tail
            self._say("renew", RENEW.call(2, *self._fleet.keys, self._node, b"%d" % self._counter, tail))
            return
        block = b"%d" % max(1, int(1000 * (self._renew_at - now)))
        command = (b"XREAD", b"COUNT", b"%d" % MOST, b"BLOCK", block, b"STREAMS", self._fleet.log, b"%d" % self._tail)
        self._say("read", pack(command))


class Fleet:
    """All nodes, and what they have seen."""

    def __init__(self, namespace: str, mode: str, lease: float) -> None:
        names = RedisNames(namespace)
        self.keys = (names.sequence.encode(), names.nodes.encode())
        self.log = names.log.encode()
        self.mode = mode.encode()
        self.lease = lease
        self.seen: dict[int, list[float]] = {}

    async def run(self, url: str, nodes: int) -> None:
        """Until standard input ends."""
        loop = asyncio.get_running_loop()
        host, port = urlsplit(url).hostname, urlsplit(url).port
        made = [await loop.create_connection(lambda: Node(self), host, port) for _ in range(nodes)]
        await asyncio.gather(*(node.joined for _, node in made))
        print("joined", flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(self._told()), flush=True)

    def _told(self) -> dict[int, list[float]]:
        return {number: [min(at), statistics.median(at), max(at), len(at)] for number, at in self.seen.items()}


if __name__ == "__main__":
    _, told_url, told_namespace, told_nodes, told_mode, told_lease = sys.argv
    uvloop.run(Fleet(told_namespace, told_mode, float(told_lease)).run(told_url, int(told_nodes)))
