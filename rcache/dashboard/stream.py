"""The log as it happens, as server-sent events: each is a row of the log's table, made by the same template."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rcache.core.errors import BackendError
from rcache.core.views import Event
from rcache.dashboard import ask
from rcache.dashboard.view import View

LASTS: Final = 20.0
"""Seconds after which a stream ends and the browser asks anew: a server that shuts down waits no longer for it, and whoever may
not look any more is out."""

BEAT: Final = 5.0
"""Seconds of silence after which a line is sent that says nothing, so that a client that left is noticed."""

MOST: Final = 64
"""Streams of one process."""

MISSED: Final = 100
"""Events that are made up for where a browser comes back."""

LATE: Final = 50
"""Numbers by which one node may tell of an event after another has told of a later one: so many are told again."""


class Stream:
    """The address `/log/stream`."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._open = 0

    async def answer(self, request: Request) -> Response:
        """What happens from the event on that the browser saw last; 204 tells it not to ask again."""
        if self._open >= MOST:
            return Response(
                "The log is followed by as many as this process allows.", 503, {"Retry-After": "20"}, "text/plain"
            )
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) <= 18 else ask.number(request, "after")
        headers = {"X-Accel-Buffering": "no"}  # nginx would keep the events until there are many
        return StreamingResponse(self._events(request, after), media_type="text/event-stream", headers=headers)

    async def _events(self, request: Request, after: int | None) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            yield b"retry: 1000\n\n"
            async with contextlib.aclosing(self._followed(after)) as followed:
                async for event in followed:
                    yield await self._told(request, event) if event is not None else b":\n\n"
        except BackendError:
            yield b"event: lost\ndata: \n\n"
        finally:
            self._open -= 1

    async def _followed(self, after: int | None) -> AsyncGenerator[Event | None, None]:
        """Those that were missed, then those that come; None where there was none for a while."""
        inspector = self._view.inspector
        loop = asyncio.get_running_loop()
        end = loop.time() + LASTS
        waiting: asyncio.Queue[Event | Exception] = asyncio.Queue()
        follower = asyncio.ensure_future(_fill(inspector.follow(), waiting))
        try:
            made_up_for: set[int] = set()
            if after is not None:
                for event in reversed(await inspector.events(count=MISSED)):
                    if event.number > after - LATE:
                        made_up_for.add(event.number)
                        yield event
            while (left := end - loop.time()) > 0:
                try:
                    found = await asyncio.wait_for(waiting.get(), min(BEAT, left))
                except TimeoutError:
                    yield None
                    continue
                if isinstance(found, Exception):
                    raise found
                if not found.number or found.number not in made_up_for:
                    yield found
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _told(self, request: Request, event: Event) -> bytes:
        row = await self._view.text(request, "event.html", event=event)
        number = b"id: %d\n" % event.number if event.number else b""
        return b"%bdata: %b\n\n" % (number, orjson.dumps(row))


async def _fill(events: AsyncIterator[Event], waiting: asyncio.Queue[Event | Exception]) -> None:
    try:
        async for event in events:
            waiting.put_nowait(event)
    except Exception as error:
        waiting.put_nowait(error)
