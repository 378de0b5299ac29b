"""A node's way to the log: a connection of its own, on which it joins, renews its lease, and waits for records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from rcache.core.errors import BackendError
from rcache.core.keys import RedisNames
from rcache.core.log import Head, Record
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Way
from rcache.stores.redis.line import Line
from rcache.stores.redis.scripts import Script

MOST: Final = 1000  # records of one read
FORGOTTEN: Final = (
    60.0  # seconds after which a node that renewed nothing leaves the table; more than any lease or clock step
)


class RedisLog:
    """`rcache.ports.Log` on one Redis server. Not shared between threads, but for `close`."""

    def __init__(self, way: Way, names: RedisNames, patience: float) -> None:
        """`patience`: seconds beyond which a server that says nothing is given up."""
        self.join_script = scripts.JOIN
        self.renew_script = scripts.RENEW
        self._line = Line(way, (self.join_script, self.renew_script), patience)
        self._keys = (names.sequence, names.nodes)
        self._nodes = names.nodes
        self._log = names.log

    def join(self, node: str, counter: int, lease: float, is_strict: bool) -> Head | None:
        """The node begins to read at the head; None where there is no epoch."""
        mode = "strict" if is_strict else "fast"
        forgotten = int(1000 * max(FORGOTTEN, 10 * lease))
        reply = self._carry_out(self.join_script, node, mode, int(1000 * lease), counter, forgotten)
        return _head(reply) if reply[0] == b"joined" else None

    def renew(self, node: str, counter: int, tail: int) -> Head | None:
        """Renews the node's lease and tells how far it has read; None where it lapsed, or was taken for dead."""
        reply = self._carry_out(self.renew_script, node, counter, tail)
        return _head(reply) if reply[0] == b"renewed" else None

    def read(self, after: int, wait: float) -> list[Record]:
        """The records after that number, waited for at most `wait` seconds."""
        block = int(1000 * wait)
        waits = ("BLOCK", block) if block else ()  # BLOCK 0 would wait for ever
        reply = self._line.call("XREAD", "COUNT", MOST, *waits, "STREAMS", self._log, after)
        try:
            return list(_records(reply[0][1])) if reply else []
        except (ValueError, LookupError, TypeError) as error:
            raise BackendError("the log holds what is no record") from error

    def leave(self, node: str) -> None:
        """Nobody waits for the node any more. It has let go of its entries before."""
        self._line.call("HDEL", self._nodes, node)

    def _carry_out(self, script: Script, *arguments: str | int) -> list[Any]:
        """A lease counts from before it was sent, and so must what says that this server is the one."""
        reply: list[Any] = self._line.carry_out(script, self._keys, *arguments)
        return reply

    def close(self) -> None:
        """Lets go of the connection, from whatever thread: a call that waits there raises."""
        self._line.close()


def _head(reply: list[Any]) -> Head:
    _, epoch, number, sequence, seconds, microseconds = reply
    try:
        return Head(epoch.decode(), int(number), int(sequence), int(seconds) + int(microseconds) / 1e6)
    except ValueError as error:  # until the next record is logged
        raise BackendError("what should be the log's head is no number") from error


def _records(entries: list[Any]) -> Iterator[Record]:
    for identifier, pairs in entries:
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        yield Record(
            epoch=fields[b"epoch"].decode(),
            number=int(identifier.partition(b"-")[0]),
            before=int(fields[b"before"]),
            kind=fields[b"kind"].decode(),
            changes=orjson.loads(fields[b"changes"]),
            is_awaited=fields[b"awaited"] == b"1",
        )
