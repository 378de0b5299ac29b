"""What runs jobs and schedules in a process: the functions by name, and who attends to the queue.

Nothing is ever imported because a queue names it: a function runs if this process has registered it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from rcache import logs
from rcache.clock import Clock
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.jobs import LANES, Job, Lane, QueueView, ScheduleRow, UnknownJobError
from rcache.core.schedules import Schedule
from rcache.ports import Queue

Function = Callable[..., Awaitable[Any]]

APART: Final = 600.0
"""Seconds for which a tick that was done is remembered: clocks of machines may differ by that much, and nothing fires twice."""

GRACE: Final = 30.0
"""Seconds for which a tick that could not be added is tried again."""

RETRY: Final = 0.25  # seconds between two such attempts

WATCH: Final = 2.0
"""Seconds between two looks at whether there are workers."""

CONCURRENCY: Final = 16
"""Jobs of one lane that run at a time in one process, unless told otherwise."""

IN_WEB: Final = 4
"""The same in a web process, which has requests to answer."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule, and the job that each of its ticks becomes."""

    schedule: Schedule
    job: Job

    def at(self, tick: float) -> Job:
        """The job of one tick, which no other tick and no other schedule has: whoever adds it second adds nothing."""
        rhythm = self.schedule.rhythm
        key = f"tick:{self.job.name}:{rhythm}:{self.schedule.tz}:{tick:.3f}"
        job = self.job
        return Job(job.name, key=key, priority=job.priority, ttl=job.ttl, retries=job.retries, apart=APART)


class Functions:
    """Functions by name, and schedules of them. One that `falls_back` finds there what it does not have itself."""

    def __init__(self, falls_back: Functions | None = None) -> None:
        self._functions: dict[str, Function] = {}
        self._schedules: list[Scheduled] = []
        self._falls_back = falls_back

    def add(self, name: str, function: Function) -> None:
        """From here on jobs of that name call it. Raises ConfigurationError where the name is another function's."""
        Job(name)  # checks the name
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"{function!r} is not asynchronous: write async def, and await asyncio.to_thread(...) in it"
            )
        known = self._functions.get(name)
        if known is not None and _place(known) != _place(function):
            raise ConfigurationError(
                f"two functions are registered as {name!r}: {_place(known)} and {_place(function)}"
            )
        self._functions[name] = function

    def schedule(self, scheduled: Scheduled) -> None:
        """From here on it fires. One that is registered again, as in a module that is loaded anew, is the same one."""
        if scheduled not in self._schedules:
            self._schedules.append(scheduled)

    def name_of(self, function: Function) -> str | None:
        """The first name that it is registered under."""
        found = next((name for name, each in self._functions.items() if each is function), None)
        return found if found is not None or self._falls_back is None else self._falls_back.name_of(function)

    def find(self, name: str) -> Function | None:
        """The function of that name."""
        found = self._functions.get(name)
        return found if found is not None or self._falls_back is None else self._falls_back.find(name)

    @property
    def schedules(self) -> tuple[Scheduled, ...]:
        """All that fire."""
        return (*self._schedules, *(() if self._falls_back is None else self._falls_back.schedules))

    @property
    def is_empty(self) -> bool:
        """There is nothing that could run."""
        return not self._functions and (self._falls_back is None or self._falls_back.is_empty)


def _place(function: Function) -> str:
    return f"{function.__module__}:{function.__qualname__}"


APPLICATION: Final = Functions()
"""What the application has marked, in all its modules: for every cache of the process."""


class Work:
    """Attends to a queue in this process: adds the ticks of its schedules, and runs jobs."""

    def __init__(self, queue: Queue, functions: Functions, clock: Clock) -> None:
        self._queue = queue
        self._functions = functions
        self._clock = clock

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """When each fires next, soonest first."""
        now = self._clock.time()
        rows = [
            ScheduleRow(each.job.name, each.schedule.rhythm, each.schedule.tz, tick)
            for each in self._functions.schedules
            if (tick := next(each.schedule.ticks(now), None)) is not None
        ]
        return tuple(sorted(rows, key=lambda row: row.next))

    async def view(self) -> QueueView:
        """As `Queue.view`, with the schedules of this process."""
        return replace(await self._queue.view(), schedules=self.schedules())

    async def run(self, job: Job) -> Job | None:
        """Calls the function of the job. Raises UnknownJobError, and what the function raises."""
        function = self._functions.find(job.name)
        if function is None:
            raise UnknownJobError(f"no function is registered as {job.name!r} here")
        result = await function(*job.arguments, **job.named)
        return result if isinstance(result, Job) else None

    async def serve(
        self,
        told: asyncio.Event,
        *,
        lanes: Collection[Lane] = LANES,
        concurrency: int = CONCURRENCY,
        is_worker: bool = False,
    ) -> None:
        """Runs jobs and schedules until `told` to end; those under way are waited for."""
        ticking = asyncio.create_task(self._tick())
        try:
            await self._queue.serve(self.run, told, lanes=lanes, concurrency=concurrency, is_worker=is_worker)
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
        if not ticking.cancelled() and (error := ticking.exception()) is not None:
            raise error

    async def stand_in(self, told: asyncio.Event) -> None:
        """Serves, in a web process, while there are no workers, until `told` to end."""
        while not told.is_set():
            if await self._has_workers():
                await _either(told, WATCH)
                continue
            enough = asyncio.Event()
            watching = asyncio.create_task(self._watch(told, enough))
            try:
                await self.serve(enough, concurrency=IN_WEB)
            except Exception:
                logs.QUEUE_UNSERVED.tell(exc_info=True)
                await _either(told, WATCH)
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _watch(self, told: asyncio.Event, enough: asyncio.Event) -> None:
        try:
            while not await _either(told, WATCH):
                if await self._has_workers():
                    return
        finally:
            enough.set()

    async def _has_workers(self) -> bool:
        try:
            return await self._queue.workers() > 0
        except BackendError:
            return False

    async def _tick(self) -> None:
        """Adds a job for each tick, until it is cancelled."""
        began = self._clock.time()
        async with asyncio.TaskGroup() as group:
            for each in self._functions.schedules:
                group.create_task(self._follow(each, began))

    async def _follow(self, scheduled: Scheduled, began: float) -> None:
        for tick in scheduled.schedule.ticks(began):
            await self._until(tick)
            await self._fire(scheduled.at(tick), tick)

    async def _until(self, moment: float) -> None:
        left = moment - self._clock.time()
        while left > 0:
            await asyncio.sleep(min(left, 60.0))  # a clock that is set is noticed within a minute
            left = moment - self._clock.time()

    async def _fire(self, job: Job, tick: float) -> None:
        while self._clock.time() <= tick + GRACE:
            try:
                await self._queue.add(job)
            except BackendError:
                await asyncio.sleep(RETRY)
            else:
                return
        logs.JOB_NOT_FIRED.tell(job=job.name, tick=tick)


async def _either(told: asyncio.Event, longest: float) -> bool:
    """Waits until `told`, `longest` seconds at most; whether it was."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told.wait(), longest)
    return told.is_set()
