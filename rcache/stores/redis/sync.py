"""Calls to Redis without an event loop: from scripts, from threads, from code that must not await."""

from __future__ import annotations

import threading
from typing import Any

import redis
from redis import exceptions as driver

from rcache.stores.redis.address import Address
from rcache.stores.redis.scripts import Script
from rcache.stores.redis.wire import Counters

KEPT = 4  # idle connections


class SyncPipe:
    """A few blocking connections, one call at a time on each. Safe in threads; not shared across a fork."""

    def __init__(self, address: Address, counters: Counters) -> None:
        self._address = address
        self._counters = counters
        self._lock = threading.Lock()
        self._idle: list[tuple[float, redis.Connection]] = []

    def call(self, script: Script, keys: int, arguments: tuple[bytes, ...], timeout: float) -> Any:
        """The reply of `script`, whose first `keys` arguments are keys. Raises the driver's errors."""
        connection, is_reused = self._take(timeout)
        try:
            try:
                reply = self._exchange(connection, script, keys, arguments)
            except driver.ConnectionError:
                # Closed by the other side while idle; a second purge does no harm.
                if not is_reused:
                    raise
                connection.disconnect()  # type: ignore[no-untyped-call]
                reply = self._exchange(connection, script, keys, arguments)
        except driver.ResponseError:
            self._give_back(timeout, connection)
            raise
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        self._give_back(timeout, connection)
        return reply

    def _exchange(self, connection: redis.Connection, script: Script, keys: int, arguments: tuple[bytes, ...]) -> Any:
        self._counters.trips += 1
        connection.send_command("EVALSHA", script.sha, keys, *arguments)  # type: ignore[no-untyped-call]
        try:
            return connection.read_response(disable_decoding=True)
        except driver.NoScriptError:
            self._counters.trips += 1
            connection.send_command("EVAL", script.source, keys, *arguments)  # type: ignore[no-untyped-call]
            return connection.read_response(disable_decoding=True)

    def _take(self, timeout: float) -> tuple[redis.Connection, bool]:
        with self._lock:
            for position, (its_timeout, connection) in enumerate(self._idle):
                if its_timeout == timeout:
                    del self._idle[position]
                    return connection, True
        return self._address.sync_connection(timeout), False

    def _give_back(self, timeout: float, connection: redis.Connection) -> None:
        with self._lock:
            self._idle.append((timeout, connection))
            surplus = self._idle.pop(0) if len(self._idle) > KEPT else None
        if surplus is not None:
            surplus[1].disconnect()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Closes what is idle; what is under way closes nothing and may be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.disconnect()  # type: ignore[no-untyped-call]
