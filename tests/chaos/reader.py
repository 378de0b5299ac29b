"""Readers under chaos: note the newest committed version, *then* ask, then look whether the answer is older.

    python -m tests.chaos.reader NAME:KIND:PORT ...

Writes what it counted, and every answer that was older than what was known when its request began, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos.board import GROUP, ITEMS, Board
from tests.chaos.http import visit

MOST_TOLD = 50  # old answers that are told one by one


class Tally:
    """What was seen on one node."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.answers = 0
        self.hits = 0
        self.failures = 0
        self.old = 0
        self.latest = 0.0  # seconds that the latest old answer came late
        self.told: list[dict[str, Any]] = []


class Check:
    """What one connection asks of one node."""

    def __init__(self, board: Board, tally: Tally) -> None:
        self._board = board
        self._tally = tally
        self._items: range = range(0)
        self._floors: list[int] = []
        self._began = 0.0

    def ask(self) -> bytes:
        """A page; what is committed is noted before."""
        number = random.randrange(ITEMS + ITEMS // GROUP)
        if number < ITEMS:
            self._items = range(number, number + 1)
            path = b"/items/%d" % number
        else:
            first = (number - ITEMS) * GROUP
            self._items = range(first, first + GROUP)
            path = b"/groups/%d" % (number - ITEMS)
        self._floors = [self._board.newest(item) for item in self._items]
        self._began = time.monotonic()
        return b"GET %s HTTP/1.1\r\nhost: chaos\r\n\r\n" % path

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Checks it."""
        tally = self._tally
        if status != 200:
            tally.failures += 1
            return
        tally.answers += 1
        if b"rcache; hit" in head:
            tally.hits += 1
        versions = body.split()
        if len(versions) != len(self._items):  # nothing partial is served (P5)
            self._old(self._items[0], -1, self._floors[0], head)
            return
        for item, version, floor in zip(self._items, versions, self._floors, strict=True):
            if int(version) < floor:
                self._old(item, int(version), floor, head)

    def _old(self, item: int, version: int, floor: int, head: bytes) -> None:
        now = time.monotonic()
        overtaken = self._board.overtaken_at(item, version, floor)
        late = self._began - overtaken
        tally = self._tally
        tally.old += 1
        tally.latest = max(tally.latest, late)
        is_worth_telling = tally.kind != "fast" or late >= float(os.environ["CHAOS_LEASE"]) or late != late
        if is_worth_telling and len(tally.told) < MOST_TOLD:
            status = head.partition(b"cache-status: ")[2].partition(b"\r\n")[0].decode()
            told = {"item": item, "version": version, "committed": floor, "overtaken": overtaken, "status": status}
            tally.told.append({**told, "began": self._began, "ended": now, "node": tally.name, "kind": tally.kind})

    def lost(self) -> None:
        """Nothing was answered."""


async def run(nodes: list[str]) -> list[Tally]:
    """Until the board says that it is over."""
    board = Board(Path(os.environ["CHAOS_BOARD"]))
    ended = asyncio.Event()
    tallies, visits = [], []
    connections, pause = int(os.environ["CHAOS_CONNECTIONS"]), float(os.environ["CHAOS_READER_PAUSE"])
    for node in nodes:
        name, kind, port = node.split(":")
        tally = Tally(name, kind)
        tallies.append(tally)
        for _ in range(connections):
            visits.append(asyncio.create_task(visit(int(port), Check(board, tally), ended, pause)))
    while not board.is_over:
        await asyncio.sleep(0.05)
    ended.set()
    await asyncio.gather(*visits)
    return tallies


def main() -> None:
    """Reads until it is over, and writes what it saw."""
    tallies = uvloop.run(run(sys.argv[1:]))
    Path(os.environ["CHAOS_READ"]).write_text(json.dumps([vars(tally) for tally in tallies]))


if __name__ == "__main__":
    main()
