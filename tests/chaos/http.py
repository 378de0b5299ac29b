"""A client lean enough to ask thousands of questions per second: one connection, one request in flight, no task per request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol, cast

RECONNECT_AFTER = 0.05  # seconds


class Visit(Protocol):
    """What one connection asks, again and again."""

    def ask(self) -> bytes:
        """The next request, as bytes."""
        ...

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """Its answer."""
        ...

    def lost(self) -> None:
        """The connection is gone, with or without an answer."""
        ...


class Connection(asyncio.Protocol):
    """Asks as soon as it is answered, and not before `pause` seconds after it asked last."""

    def __init__(self, visit: Visit, pause: float) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self.is_waiting = False
        self._visit = visit
        self._pause = pause
        self._asked_at = 0.0
        self._rest = b""
        self._transport: asyncio.Transport
        self._is_ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the first time."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._is_ending or self._transport.is_closing():
            self._transport.close()
            return
        self.is_waiting = True
        if self._pause:
            self._asked_at = asyncio.get_running_loop().time()
        self._transport.write(self._visit.ask())

    def data_received(self, data: bytes) -> None:
        """Takes the answer, once it is whole."""
        data = self._rest + data if self._rest else data
        end = data.find(b"\r\n\r\n")
        place = data.find(b"content-length: ", 0, end)
        length = int(data[place + 16 : data.index(b"\r", place)]) if place >= 0 else 0
        if end < 0 or len(data) < end + 4 + length:
            self._rest = data
            return
        self._rest = b""
        self.is_waiting = False
        self._visit.answered(int(data[9:12]), data[:end], data[end + 4 :])
        if self._pause:
            asyncio.get_running_loop().call_at(self._asked_at + self._pause, self._ask)
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits hears of it."""
        self._visit.lost()
        if not self.gone.done():
            self.gone.set_result(None)

    def end(self) -> None:
        """Asks no more; what is under way is answered first."""
        self._is_ending = True
        if not self.is_waiting:
            self._transport.close()


async def visit(port: int, asked: Visit, ended: asyncio.Event, pause: float = 0.0, patience: float = 10.0) -> None:
    """Keeps a connection to a local port asking until `ended`, and makes it anew whenever it is lost."""
    loop = asyncio.get_running_loop()
    ending = asyncio.create_task(ended.wait())
    while not ended.is_set():
        try:
            _, connection = await loop.create_connection(lambda: Connection(asked, pause), "127.0.0.1", port)
        except OSError:
            await asyncio.sleep(RECONNECT_AFTER)
            continue
        await asyncio.wait({connection.gone, ending}, return_when=asyncio.FIRST_COMPLETED)
        connection.end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(connection.gone), patience if ended.is_set() else 1)
        connection._transport.abort()
    ending.cancel()
