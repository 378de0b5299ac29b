"""A connection of a thread's own, apart from those of requests: what fails on it opens no breaker."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NoReturn

import redis
from redis import exceptions as driver

from rcache.stores.redis.address import Way
from rcache.stores.redis.failures import DRIVER_ERRORS, ReplicaError, translated
from rcache.stores.redis.scripts import Script
from rcache.stores.redis.sync import greet

Command = Sequence[str | bytes | int]


class Line:
    """Opens by itself. Not shared between threads, but for `close`."""

    def __init__(self, way: Way, scripts: Sequence[Script], patience: float) -> None:
        """`scripts` are those that are carried out on it, `patience` the seconds beyond which a silent server is given up."""
        self._way = way
        self._scripts = scripts
        self._patience = patience
        self._connection: redis.Connection | None = None
        self._generation = 0

    def carry_out(self, script: Script, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """The reply of a script, from the server that is the one at this moment. Raises BackendError."""
        self.confirm()
        return self.call("EVALSHA", script.sha, len(keys), *keys, *arguments)

    def confirm(self) -> None:
        """Whoever answers from here on is the one at this moment."""
        try:
            self._way.confirm_sync(self._patience)
        except DRIVER_ERRORS as error:
            raise translated(error) from error
        if self._generation != self._way.generation:
            self.close()

    def call(self, *command: str | bytes | int) -> Any:
        """The reply to a command. Raises BackendError."""
        reply = self.ask([command])[0]
        if isinstance(reply, driver.ResponseError):
            self._failed(reply)
        return reply

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to commands that are sent together; an error of Redis' own is one too. Raises BackendError."""
        try:
            connection = self._connection or self._connect()
            replies = self._exchange(connection, commands)
            if any(isinstance(reply, driver.NoScriptError) for reply in replies):  # it was told to forget them
                self._load(connection)
                replies = self._exchange(connection, commands)
            return replies
        except (
            *DRIVER_ERRORS,
            ValueError,
            AttributeError,
        ) as error:  # the latter where it was closed by another thread
            self._failed(error)

    def _exchange(self, connection: redis.Connection, commands: Sequence[Command]) -> list[Any]:
        connection.send_packed_command(connection.pack_commands(commands))  # type: ignore[no-untyped-call]
        return [self._read(connection) for _ in commands]

    def _read(self, connection: redis.Connection) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except driver.ResponseError as error:
            return error

    def _failed(self, error: BaseException) -> NoReturn:
        self.close()
        failure = translated(error)
        if isinstance(failure, ReplicaError):
            self._way.doubt()
        raise failure from error

    def _connect(self) -> redis.Connection:
        connection = self._way.sync_connection(self._patience)
        generation = self._way.generation
        greet(self._way, connection)
        self._load(connection)
        self._connection, self._generation = connection, generation
        return connection

    def _load(self, connection: redis.Connection) -> None:
        for script in self._scripts:
            connection.send_command("SCRIPT", "LOAD", script.source)  # type: ignore[no-untyped-call]
            connection.read_response()

    def close(self) -> None:
        """Lets go of the connection, from whatever thread: a call that waits there raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(driver.RedisError, OSError):
                connection.disconnect()  # type: ignore[no-untyped-call]
