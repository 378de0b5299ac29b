"""An application that runs without a server: what it opens at its start is open, and no request comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import ASGIApp, Message

from rcache.core.errors import RCacheError


class StartupError(RCacheError):
    """The application did not start. Its own words are in the text."""


@contextlib.asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """The application has started within the block, and has ended after it; one that knows no lifespan is just there.

    Gives what its start has left for requests.

    Raises StartupError.
    """
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))

    async def told(kind: str) -> Message | None:
        """What it answers; None where it has ended without an answer."""
        inbox.put_nowait({"type": f"lifespan.{kind}"})
        answer = asyncio.create_task(outbox.get())
        await asyncio.wait([answer, task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    started = await told("startup")
    if started is not None and started["type"] == "lifespan.startup.failed":
        await asyncio.wait([task])
        raise StartupError(
            f"the application did not start: {started.get('message') or _error(task) or 'it does not say why'}"
        )
    try:
        yield state
    finally:
        if started is not None:
            await told("shutdown")
        await asyncio.wait([task])


def _error(task: asyncio.Future[Any]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
