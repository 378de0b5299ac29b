"""A node's way to the log: a connection of its own, on which it joins, renews its lease, and waits for records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import orjson
import redis
from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.core.keys import RedisNames
from rcache.core.log import Head, Record
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Way
from rcache.stores.redis.failures import DRIVER_ERRORS, ReplicaError, translated
from rcache.stores.redis.scripts import Script
from rcache.stores.redis.sync import greet

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
        self._way = way
        self._keys = (names.sequence, names.nodes)
        self._nodes = names.nodes
        self._log = names.log
        self._patience = patience
        self._connection: redis.Connection | None = None
        self._generation = 0

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
        reply = self._call("XREAD", "COUNT", MOST, *waits, "STREAMS", self._log, after)
        try:
            return list(_records(reply[0][1])) if reply else []
        except (ValueError, LookupError, TypeError) as error:
            raise BackendError("the log holds what is no record") from error

    def leave(self, node: str) -> None:
        """Nobody waits for the node any more. It has let go of its entries before."""
        self._call("HDEL", self._nodes, node)

    def _carry_out(self, script: Script, *arguments: str | int) -> list[Any]:
        """A lease counts from before it was sent, and so must what says that this server is the one."""
        self._confirm()
        reply: list[Any] = self._call("EVALSHA", script.sha, len(self._keys), *self._keys, *arguments)
        return reply

    def _confirm(self) -> None:
        try:
            self._way.confirm_sync(self._patience)
        except DRIVER_ERRORS as error:
            raise translated(error) from error
        if self._generation != self._way.generation:
            self.close()

    def _call(self, *command: str | bytes | int) -> Any:
        try:
            connection = self._connection or self._connect()
            connection.send_command(*command)  # type: ignore[no-untyped-call]
            return connection.read_response(disable_decoding=True)
        except (
            *DRIVER_ERRORS,
            ValueError,
            AttributeError,
        ) as error:  # the latter where it was closed by another thread
            self.close()
            failure = translated(error)
            if isinstance(failure, ReplicaError):
                self._way.doubt()
            raise failure from error

    def _connect(self) -> redis.Connection:
        connection = self._way.sync_connection(self._patience)
        generation = self._way.generation
        greet(self._way, connection)
        for script in (self.join_script, self.renew_script):
            connection.send_command("SCRIPT", "LOAD", script.source)  # type: ignore[no-untyped-call]
            connection.read_response()
        self._connection, self._generation = connection, generation
        return connection

    def close(self) -> None:
        """Lets go of the connection, from whatever thread: a call that waits there raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(driver.RedisError, OSError):
                connection.disconnect()  # type: ignore[no-untyped-call]


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
