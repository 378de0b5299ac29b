"""Request bodies that join the key: read whole, and then read once more by the application."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Message, Receive


async def read_body(receive: Receive, most: int) -> tuple[bytes | None, list[Message]]:
    """The body, and the messages it came in; None where it is longer than `most` bytes, or the client left before its end."""
    messages: list[Message] = []
    chunks: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return None, messages
        chunk = message.get("body", b"")
        length += len(chunk)
        if length > most:
            return None, messages
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks), messages


class Reread:
    """Gives the messages that were read already, then those that are still to come."""

    def __init__(self, messages: Iterable[Message], receive: Receive) -> None:
        self._messages = [*messages]
        self._receive = receive
        self._next = 0

    async def __call__(self) -> Message:
        if self._next < len(self._messages):
            self._next += 1
            return self._messages[self._next - 1]
        return await self._receive()
