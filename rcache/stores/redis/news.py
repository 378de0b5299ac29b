"""What other nodes say of the answers they make, as it comes: a stream that one connection per event loop waits on.

The connection is there while somebody waits. Whoever waits asks afterwards whether there is still something to wait for, and
by then the reader has found its place: so no word is missed. Where the news cannot be had, those who wait are let go at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from redis import asyncio as aredis

from rcache.core.lease import Word
from rcache.stores.redis.address import CONNECT_TIMEOUT, Way
from rcache.stores.redis.failures import DRIVER_ERRORS, translated

BLOCK: Final = 500  # milliseconds of one blocking read; who reads asks as often whether the server is still the one
PATIENCE: Final = 0.5  # seconds beyond them in which Redis has to answer
MOST: Final = 1000  # news of one read

Event = tuple[bytes, Word]
"""Whose lease has ended, and how."""


class Inbox:
    """What is said of one lease from now on."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._arrived = asyncio.Event()

    def put(self, event: Event) -> None:
        """The holder of a lease said how it ended."""
        self._events.append(event)
        self._arrived.set()

    async def word(self, holder: bytes, timeout: float) -> Word | None:
        """What that holder said; None where it said nothing for `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    for by, word in self._events:
                        if by in (holder, NOBODY):
                            return word
                    self._arrived.clear()
                    await self._arrived.wait()
        return None


NOBODY: Final = b""
"""Says that the news cannot be had."""


class News:
    """The news of one namespace, for one event loop."""

    def __init__(self, way: Way, key: bytes) -> None:
        self._way = way
        self._key = key
        self._inboxes: dict[bytes, list[Inbox]] = {}
        self._task: asyncio.Task[None] | None = None
        self._placed: asyncio.Future[None] | None = None

    @contextlib.contextmanager
    def inbox(self, lease: bytes) -> Iterator[Inbox]:
        """Gathers what is said of the lease meanwhile, once `placed` has returned."""
        inbox = Inbox()
        self._inboxes.setdefault(lease, []).append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes[lease].remove(inbox)
            if not self._inboxes[lease]:
                del self._inboxes[lease]

    async def placed(self, timeout: float) -> bool:
        """Whether the reader has found its place within that time. Raises BackendError where it cannot."""
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._placed = loop.create_future()
            self._task = loop.create_task(self._read(self._placed))
        assert self._placed is not None  # noqa: S101 (made with the task)
        done, _ = await asyncio.wait({self._placed}, timeout=timeout)
        if done:
            self._placed.result()
        return bool(done)

    async def _read(self, placed: asyncio.Future[None]) -> None:
        try:
            async with self._connected() as (connection, generation):
                position = await self._head(connection)
                placed.set_result(None)
                while self._inboxes:
                    if not self._way.is_sure:
                        await self._way.confirm()
                    if self._way.generation != generation:
                        break
                    position = await self._news(connection, position)
        except DRIVER_ERRORS as error:
            if not placed.done():
                placed.set_exception(translated(error))
                placed.exception()  # seen: who waited for it may be gone
        finally:
            placed.cancel()
            for inboxes in self._inboxes.values():
                for inbox in inboxes:
                    inbox.put((NOBODY, Word.ALONE))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[aredis.Connection, int]]:
        way = self._way
        connection = await way.connection()
        generation, greeting = way.generation, way.greeting()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
                if greeting is not None:
                    await connection.send_packed_command([greeting], check_health=False)
                    way.greeted(await connection.read_response(disable_decoding=True))
            yield connection, generation
        finally:
            await connection.disconnect(nowait=True)

    async def _head(self, connection: aredis.Connection) -> bytes:
        """The last of the news."""
        newest = await self._ask(connection, PATIENCE, "XREVRANGE", self._key, "+", "-", "COUNT", 1)
        position: bytes = newest[0][0] if newest else b"0-0"
        return position

    async def _news(self, connection: aredis.Connection, position: bytes) -> bytes:
        """Hands out what is said next; the place after it."""
        wait = BLOCK / 1000 + PATIENCE
        command = ("XREAD", "COUNT", MOST, "BLOCK", BLOCK, "STREAMS", self._key, position)
        reply = await self._ask(connection, wait, *command)
        for identifier, pairs in reply[0][1] if reply else ():
            position = identifier
            with contextlib.suppress(KeyError, ValueError):  # somebody else's
                fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
                event = fields[b"by"], Word(fields[b"word"].decode())
                for inbox in self._inboxes.get(fields[b"lease"], ()):
                    inbox.put(event)
        return position

    async def _ask(self, connection: aredis.Connection, timeout: float, *command: Any) -> Any:
        async with asyncio.timeout(timeout):
            await connection.send_command(*command)
            return await connection.read_response(disable_decoding=True)

    async def aclose(self) -> None:
        """Lets go of the connection, and of whoever waits."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
