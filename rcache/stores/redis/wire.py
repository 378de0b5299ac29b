"""One connection of an event loop to Redis: sends a batch of calls in one piece, and hands out the replies in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import asyncio as aredis
from redis import exceptions as driver
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from rcache.stores.redis.address import CONNECT_TIMEOUT
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.scripts import pack

if TYPE_CHECKING:
    from rcache.stores.redis.pipe import Pipe


class Counters:
    """What a store has done, for its statistics and for tests that count trips."""

    __slots__ = ("damaged", "trips")

    def __init__(self) -> None:
        self.trips = 0  # pipelines sent, from every loop and thread
        self.damaged = 0  # entries that were there but could not be read


class Call:
    """A packed command, the future that waits for its reply, and until when."""

    __slots__ = ("command", "deadline", "future", "is_asking")

    def __init__(self, command: bytes, future: asyncio.Future[Any], deadline: float, is_asking: bool = False) -> None:
        self.command = command
        self.future = future
        self.deadline = deadline
        self.is_asking = is_asking  # an ASKING stands before the command, and has a reply of its own

    def settle(self, reply: object) -> None:
        """Hands the reply over, unless nobody waits any more."""
        if self.future.done():
            return
        if isinstance(reply, BaseException):
            self.future.set_exception(reply)
            self.future.exception()  # seen: a caller cancelled in this very turn does not come for it any more
        else:
            self.future.set_result(reply)


class Wire:
    """One connection. It works while there are calls, in a task of its own, and has none while idle."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.connection: aredis.Connection | None = None
        self.generation = 0  # of the way on which the connection was made
        self.task: asyncio.Task[None] | None = None
        self.batch: list[Call] = []
        self.owing_since: float | None = None  # since when a reply is due that nobody waits for

    def start(self) -> None:
        """Begins to work off the queue."""
        self.task = self.pipe.loop.create_task(self._work())

    async def _work(self) -> None:
        way = self.pipe.way
        try:
            while self.pipe.queue:
                # Connecting comes first: meanwhile another connection may take the calls.
                connection = self.connection
                if connection is None or not way.is_sure or self.generation != way.generation:
                    connection = await self._find()
                self.batch = self.pipe.take()
                if self.batch:
                    await self._serve(connection)
                self.batch = []
                self.owing_since = None
                if way.is_aging:
                    self.pipe.confirm()
        except DRIVER_ERRORS as error:
            await self.disconnect()
            self.pipe.fail(self, error)
        except BaseException:
            await self.disconnect()
            self.pipe.fail(self, driver.ConnectionError("the connection was given up"))
            raise
        finally:
            self.batch = []
            self.owing_since = None
            self.task = None
            self.pipe.resume()

    async def _find(self) -> aredis.Connection:
        """The connection, or a new one where that leads to a server which must not be asked any more."""
        way = self.pipe.way
        if self.connection is not None and not way.is_sure:
            await way.confirm()
        if self.generation != way.generation:
            await self.disconnect()
        return self.connection or await self._connect()

    async def _connect(self) -> aredis.Connection:
        await self.pipe.outlive_no_loop()
        way = self.pipe.way
        connection = await way.connection()
        generation, greeting = way.generation, way.greeting()
        try:
            # A server that is stopped accepts connections, and then says nothing.
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
                await self._load(connection)
                if greeting is not None:
                    await connection.send_packed_command([greeting], check_health=False)
                    way.greeted(await connection.read_response(disable_decoding=True))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.connection, self.generation = connection, generation
        return connection

    async def _load(self, connection: aredis.Connection) -> None:
        """Lets Redis know the scripts, and asks whether they may be run.

        It forgets them at each restart, and replicas never heard of them.
        """
        scripts, rights = self.pipe.opening
        commands = [pack((b"SCRIPT", b"LOAD", script.source)) for script in scripts]
        await connection.send_packed_command([*commands, rights.question], check_health=False)
        *replies, forbidden = [await _read(connection) for _ in range(len(commands) + 1)]
        for reply in replies:
            if isinstance(reply, driver.RedisError):
                raise reply
        rights.check(forbidden)

    async def _serve(self, connection: aredis.Connection) -> None:
        """Sends the batch and hands out its replies. A connection that was closed while idle is opened anew, once."""
        try:
            unknown = await self._exchange(connection, self.batch)
        except (driver.ConnectionError, OSError):
            if any(call.future.done() and not call.future.cancelled() for call in self.batch):
                raise
            await self.disconnect()
            connection = await self._connect()
            unknown = await self._exchange(connection, self.batch)
        if unknown:
            await self._load(connection)
            for call in await self._exchange(connection, unknown):
                call.settle(driver.NoScriptError("Redis forgets its scripts at once"))

    async def _exchange(self, connection: aredis.Connection, calls: list[Call]) -> list[Call]:
        """One trip. Gives back the calls whose script Redis does not know."""
        self.pipe.counters.trips += 1
        # In one piece: a transport asks more for many.
        await connection.send_packed_command(b"".join([call.command for call in calls]), check_health=False)
        unknown = []
        parsed = _parsed(connection)
        for call in calls:
            reply = parsed()
            if reply is NOT_ENOUGH_DATA:
                reply = await _read(connection)
            if call.is_asking:
                reply = await _read(connection)
            if isinstance(reply, driver.NoScriptError):
                unknown.append(call)
            else:
                call.settle(reply)
        return unknown

    async def disconnect(self) -> None:
        """Closes the socket, without waiting for the other side."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.disconnect(nowait=True)


def _parsed(connection: aredis.Connection) -> Callable[[], object]:
    """Gives the next reply if it has arrived complete, else NOT_ENOUGH_DATA.

    Most replies of a batch arrive with the first, and hiredis has parsed them by then: they need not pass through the
    driver's layers, which wait for the socket. Without hiredis every reply does.
    """
    gets = getattr(getattr(connection._parser, "_reader", None), "gets", None)
    if gets is None:
        return lambda: NOT_ENOUGH_DATA

    def parsed() -> object:
        reply: object = gets(False)
        if isinstance(reply, driver.ConnectionError) and not isinstance(reply, driver.BusyLoadingError):
            raise reply
        return reply

    return parsed


async def _read(connection: aredis.Connection) -> object:
    """The next reply; an error that Redis answered with is a reply like any other."""
    try:
        return await connection.read_response(disable_decoding=True)
    except driver.ResponseError as error:
        return error
    except driver.BusyLoadingError as error:  # the driver counts it among the connection errors
        return error


def drop_socket(connection: aredis.Connection) -> None:
    """Closes the socket of a connection whose loop is closed."""
    writer, connection._writer = connection._writer, None  # the driver would warn of what it cannot close either
    if writer is None:
        return
    transport = writer.transport
    kept = getattr(transport, "_sock", None)  # asyncio's own transport; uvloop closed its sockets with the loop
    if kept is not None:
        kept.close()
        transport.__dict__.update(_sock=None, _closing=True)
