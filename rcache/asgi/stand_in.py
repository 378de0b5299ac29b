"""Runs jobs and schedules in a web process while there are no workers, from the application's start to its end."""

from __future__ import annotations

import asyncio
import weakref
from typing import Final

from rcache import logs
from rcache.cache import Cache
from rcache.core.errors import ConfigurationError
from rcache.engine.work import APPLICATION

PATIENCE: Final = 30.0
"""Seconds that jobs under way may still take when the application ends; then they are cancelled, and begin anew elsewhere."""

_FIRING: weakref.WeakSet[Cache] = weakref.WeakSet()
"""Caches of this process on whose queues schedules fire at this moment."""


class StandIn:
    """What one lifespan of an application does for the queue of its cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises ConfigurationError where jobs or schedules could not work."""
        if not self._cache.settings.run_jobs or APPLICATION.is_empty:
            return
        _ = self._cache.queue
        if APPLICATION.schedules and set(_FIRING) - {self._cache}:
            raise ConfigurationError(
                "schedules would fire once in each cache whose application runs in this process: write "
                "Cache(..., run_jobs=False) for all but the one whose queue they are on"
            )

    def start(self) -> None:
        """From here on jobs run, where there is anything that could."""
        cache = self._cache
        if (
            self._task is not None
            or cache.telemetry.role == "worker"
            or not cache.settings.run_jobs
            or cache.functions.is_empty
        ):
            return
        try:
            work = cache.work
        except ConfigurationError as error:  # the application has no jobs of its own, and can do without ours
            logs.QUEUE_ABSENT.tell(error=str(error))
            return
        if cache.functions.schedules:
            _FIRING.add(cache)
        self._task = asyncio.create_task(work.stand_in(self._told))

    async def stop(self) -> None:
        """Nothing more begins, and what is under way has ended."""
        if self._task is None:
            return
        _FIRING.discard(self._cache)
        self._told.set()
        await asyncio.wait([self._task], timeout=PATIENCE)
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            logs.QUEUE_UNORDERLY.tell(exc_info=error)
