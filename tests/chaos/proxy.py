"""The links between one process and the servers of its Redis, with faults: TCP relays on the loopback interface.

What a client has sent before it went away still arrives, however late: as packets do that a network held back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import cast


class Link:
    """The relays of one process, one before each server's port. Healthy until it is told otherwise."""

    def __init__(self, targets: Iterable[int]) -> None:
        self.ports = dict.fromkeys(targets, 0)  # where to connect in place of these
        self.opened = 0  # connections
        self.delay = 0.0  # seconds, each way
        self.frozen = (False, False)  # whether what goes up, and what comes down, is held back
        self.is_cut = False
        self.ends: set[_End] = set()
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """Listens."""
        for target in self.ports:
            server = await asyncio.get_running_loop().create_server(
                lambda target=target: _End(self, target, None),  # type: ignore[misc]
                "127.0.0.1",
                0,
            )
            self._servers.append(server)
            self.ports[target] = server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """All connections end at once, and new ones as soon as they are made."""
        self.is_cut = True
        for end in tuple(self.ends):
            end.abort()

    def freeze(self, *, up: bool = True, down: bool = True) -> None:
        """What is sent is held back, and comes when the link is healed."""
        self.frozen = (up, down)

    def heal(self) -> None:
        """All is well again, and what was held back comes."""
        self.delay = 0.0
        self.is_cut = False
        self.frozen = (False, False)
        for end in tuple(self.ends):
            end.pump()

    async def close(self) -> None:
        """Ends it."""
        self.cut()
        for server in self._servers:
            server.close()
            await server.wait_closed()


class _End(asyncio.Protocol):
    """One side of a connection: what it receives goes out on the other side."""

    def __init__(self, link: Link, target: int, other: _End | None) -> None:
        self.link = link
        self.target = target
        self.other = other
        self.is_up = other is None  # what is received here goes up to the server
        self.transport: asyncio.Transport | None = None
        self.queue: deque[tuple[float, bytes | None]] = deque()  # when it may go out, and what; None: the end
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client's side makes the other one."""
        self.transport = cast("asyncio.Transport", transport)
        if self.link.is_cut:
            self.transport.abort()
            return
        self.link.ends.add(self)
        if self.is_up:
            self.link.opened += 1
            self._connecting = self._loop.create_task(self._connect())
        elif self.other is not None:
            self.other.pump()

    async def _connect(self) -> None:
        self.other = _End(self.link, self.target, self)
        try:
            await self._loop.create_connection(lambda: self.other, "127.0.0.1", self.target)  # type: ignore[arg-type,return-value]
        except OSError:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Passes it on, now or later."""
        other = self.other
        link = self.link
        if not self.queue and not link.delay and link.frozen == (False, False) and other and other.transport:
            other.transport.write(data)
            return
        self._put(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The other side ends too, when all that was sent has come."""
        self.transport = None
        self._put(None)

    def _put(self, data: bytes | None) -> None:
        self._due = max(self._due, self._loop.time() + self.link.delay)
        self.queue.append((self._due, data))
        self._loop.call_at(self._due, self.pump)

    def pump(self) -> None:
        """Sends what is due."""
        if self.link.frozen[0 if self.is_up else 1]:
            return
        other = self.other
        while self.queue and other is not None and (other.transport or self.queue[0][1] is None):
            due, data = self.queue[0]
            if due > self._loop.time() + 0.001:
                return
            self.queue.popleft()
            if data is None:
                self.link.ends.discard(self)
                if other.transport is not None:
                    other.transport.close()
            elif other.transport is not None:
                other.transport.write(data)

    def abort(self) -> None:
        """Ends both sides at once."""
        self.queue.clear()
        self.link.ends.discard(self)
        for end in (self, self.other):
            if end is not None and end.transport is not None:
                end.transport.abort()
