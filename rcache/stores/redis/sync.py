"""Calls to Redis without an event loop: from scripts, from threads, from code that must not await."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import redis
from redis import exceptions as driver

from rcache.stores.redis.address import Way
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.scripts import pack
from rcache.stores.redis.wire import Counters

KEPT = 4  # idle connections


class Idle(NamedTuple):
    """A connection that waits for its next call, how long it waits for replies, and on which way it was made."""

    timeout: float
    generation: int
    connection: redis.Connection


class SyncPipe:
    """A few blocking connections, one call at a time on each. Safe in threads; not shared across a fork."""

    def __init__(self, way: Way, opening: Callable[[], Opening], counters: Counters) -> None:
        self._way = way
        self._opening = opening
        self._counters = counters
        self._lock = threading.Lock()
        self._idle: list[Idle] = []

    def call(self, command: bytes, timeout: float, is_asking: bool = False) -> Any:
        """The reply to a command that `pack` made. Raises the driver's errors. With `is_asking` an ASKING stands before it."""
        if not self._way.is_sure:
            self._way.confirm_sync(timeout)
        idle = self._take(timeout)
        used = idle or self._connect(timeout)
        try:
            try:
                reply = self._exchange(used.connection, command, is_asking)
            except driver.ConnectionError:
                # Closed by the other side while idle; a second purge does no harm.
                if idle is None:
                    raise
                _disconnect([used])
                used = self._connect(timeout)
                reply = self._exchange(used.connection, command, is_asking)
        except driver.ResponseError:
            self._give_back(used)
            raise
        except BaseException:
            _disconnect([used])
            raise
        self._give_back(used)
        return reply

    def _connect(self, timeout: float) -> Idle:
        connection = self._way.sync_connection(timeout)
        generation = self._way.generation
        greet(self._way, connection)
        try:
            rights = self._opening().rights
            connection.send_packed_command([rights.question])  # type: ignore[no-untyped-call]
            rights.check(connection.read_response(disable_decoding=True))
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        return Idle(timeout, generation, connection)

    def _exchange(self, connection: redis.Connection, command: bytes, is_asking: bool) -> Any:
        try:
            return self._send(connection, command, is_asking)
        except driver.NoScriptError:
            self._load(connection)
            return self._send(connection, command, is_asking)

    def _send(self, connection: redis.Connection, command: bytes, is_asking: bool) -> Any:
        self._counters.trips += 1
        connection.send_packed_command([command])  # type: ignore[no-untyped-call]
        if is_asking:
            connection.read_response()
        return connection.read_response(disable_decoding=True)

    def _load(self, connection: redis.Connection) -> None:
        """Lets Redis know the scripts: it forgets them at each restart, and replicas never heard of them."""
        for script in self._opening().scripts:
            connection.send_packed_command([pack((b"SCRIPT", b"LOAD", script.source))])  # type: ignore[no-untyped-call]
            connection.read_response()

    def _take(self, timeout: float) -> Idle | None:
        """A connection that waits that long for replies, and leads where it should."""
        with self._lock:
            former = [idle for idle in self._idle if idle.generation != self._way.generation]
            self._idle = [idle for idle in self._idle if idle.generation == self._way.generation]
            found = next((idle for idle in self._idle if idle.timeout == timeout), None)
            if found is not None:
                self._idle.remove(found)
        _disconnect(former)
        return found

    def _give_back(self, idle: Idle) -> None:
        with self._lock:
            self._idle.append(idle)
            surplus = [self._idle.pop(0)] if len(self._idle) > KEPT else []
        _disconnect(surplus)

    def close(self) -> None:
        """Closes what is idle; what is under way closes nothing and may be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        _disconnect(idle)


def greet(way: Way, connection: redis.Connection) -> None:
    """Opens a connection, and says what it has to begin with."""
    greeting = way.greeting()
    try:
        connection.connect()  # type: ignore[no-untyped-call]
        if greeting is not None:
            connection.send_packed_command([greeting])  # type: ignore[no-untyped-call]
            way.greeted(connection.read_response(disable_decoding=True))
    except BaseException:
        connection.disconnect()  # type: ignore[no-untyped-call]
        raise


def _disconnect(connections: list[Idle]) -> None:
    for idle in connections:
        idle.connection.disconnect()  # type: ignore[no-untyped-call]
