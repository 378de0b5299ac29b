"""A run of the application that nobody waits for without end.

After the soft timeout a former answer is sent where it may stand in for a failure, and the run goes on in the background; after
the hard one the run is cancelled. An answer that has begun is never cut.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Send

from rcache import logs
from rcache.asgi.errand import Errand
from rcache.asgi.fill import Fill
from rcache.core.cache_status import forward
from rcache.engine.single_flight import Ending

_LATE = b"The application did not answer in time.\n"


class Timed:
    """One such run."""

    def __init__(self, errand: Errand) -> None:
        plan = errand.plan
        self._errand = errand
        self._fill = Fill(errand)
        self._soft = None if errand.is_refresh else plan.timeout
        self._hard = plan.hard_timeout
        self._until = float("inf")

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Calls the application. Returns when the client has its answer."""
        loop = asyncio.get_running_loop()
        if self._hard is not None:
            self._until = loop.time() + self._hard
        task = loop.create_task(self._fill.run(app, receive, send))
        try:
            if self._soft is not None and not await _ends(task, self._soft) and await self._is_covered(task):
                return
            if self._hard is not None and not await _ends(task, self._until - loop.time()):
                if self._errand.is_refresh:
                    task.cancel()
                elif await self._is_given_up(task, send):
                    return
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        await task

    async def _is_covered(self, task: asyncio.Task[None]) -> bool:
        """Whether a former answer was sent, and the run goes on in the background."""
        refreshes, errand = self._errand.cache.refreshes, self._errand
        if errand.stand_in() is None or refreshes.is_full:
            return False
        if not await self._fill.cover_late():
            return False

        async def finish() -> None:
            try:
                left = self._until - asyncio.get_running_loop().time()
                if not await _ends(task, left if left < float("inf") else None):
                    self._tell()
            finally:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        refreshes.start((task,), finish)
        return True

    async def _is_given_up(self, task: asyncio.Task[None], send: Send) -> bool:
        """Whether the run was cancelled, and the client told: not where its answer has begun."""
        errand = self._errand
        if self._fill.has_sent:
            return False
        self._tell()
        is_covered = await self._fill.cover_late()
        if not is_covered:
            self._fill.fall_silent()
        # Those who wait here have waited as long; one of them tries again, and the others go on waiting.
        errand.land(Ending.AGAIN)
        task.cancel()
        # A thread cannot be cancelled: whoever waits for it is not the client.
        errand.cache.refreshes.start((task,), lambda: _gone(task))
        if not is_covered:
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(_LATE)),
                (b"cache-status", forward(errand.reason, detail="timeout")),
            ]
            await send({"type": "http.response.start", "status": 504, "headers": headers})
            await send({"type": "http.response.body", "body": _LATE})
        return True

    def _tell(self) -> None:
        logs.TOO_LATE.tell(route=self._errand.plan.label, seconds=self._hard)


async def _ends(task: asyncio.Task[None], seconds: float | None) -> bool:
    done, _ = await asyncio.wait({task}, timeout=None if seconds is None else max(0.0, seconds))
    return bool(done)


async def _gone(task: asyncio.Task[None]) -> None:
    await asyncio.gather(task, return_exceptions=True)
