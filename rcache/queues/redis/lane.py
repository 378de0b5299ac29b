"""One lane of the queue in one process: a Worker of streaq that outlives its server's restarts.

What streaq does: streams with a consumer group, keys that deduplicate, delays, retries, and messages that come back when their
process dies. What is added here, at methods of the Worker that are replaced:

- Trouble with Redis ends a Worker; this one waits and goes on, and makes anew what a server without its data has forgotten.
- The lease of a message is renewed while it waits in this process, too, and five times per lease: streaq renews what runs, once,
  when a tenth of it is left, so that a loop that is late for a moment has its job run twice.
- Signals belong to the application: streaq takes SIGTERM for itself, which a server such as uvicorn needs.
- A lane can be paused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib import resources
from typing import Any, Final, Self, cast

import orjson
from anyio import CancelScope, current_time
from streaq import Worker
from streaq.constants import REDIS_GROUP
from streaq.types import StreamMessage, Streaq, StreaqRetry

from rcache import logs
from rcache.core.jobs import Lane
from rcache.queues.runs import Ended

LEASE: Final = 15.0
"""Seconds after which a message is somebody else's whose process has gone silent; looked at once per lease: 15 to 30 seconds."""

PAUSE: Final = 0.25  # seconds between two attempts to come back to Redis
NAME: Final = "job"  # the one function that streaq knows: which one it stands for is in its argument

CODE: Final = resources.files("streaq").joinpath("lua/streaq.lua").read_text()


def dumps(value: Any) -> str:
    """What streaq writes, as JSON; of what it cannot hold (the exceptions of jobs it gives up) the words remain."""
    return orjson.dumps(value, default=repr).decode()


async def prepare(worker: Worker[Any], lane: Lane | None = None) -> None:
    """Makes anew what Redis may have forgotten: the functions of the library and, for a lane, its group."""
    await worker.redis.function_load(CODE, replace=True)
    if lane is not None:
        await Streaq(worker.redis).create_groups(worker.stream_key, REDIS_GROUP, lane)


class LaneWorker(Worker[None]):
    """Runs the jobs of one lane until `told` to end; what is under way is waited for."""

    def __init__(
        self,
        lane: Lane,
        carry_out: Callable[[str, int], Awaitable[Ended | None]],
        may_begin: Callable[[], bool],
        ended: Callable[[Ended], Awaitable[None]],
        before_end: Callable[[Ended], Awaitable[None]],
        told: asyncio.Event,
        *,
        concurrency: int,
        **how: Any,
    ) -> None:
        super().__init__(
            concurrency=concurrency,
            prefetch=1,
            priorities=[lane],
            serializer=dumps,
            deserializer=orjson.loads,
            idle_timeout=LEASE,
            **how,
        )
        self._lane: Lane = lane
        self._carry_out = carry_out
        self._may_begin = may_begin
        self._told_end = ended
        self._before_end = before_end
        self._told = told
        self._held: set[str] = set()  # messages that this process has: they wait here, or run
        self._ends: dict[str, Ended] = {}
        self._job = self.task(name=NAME, max_tries=None, ttl=0, silent=True)(self._run)

    async def _run(self, ticket: str) -> None:
        context = self._job.context
        ended = await self._carry_out(ticket, context.tries)
        if ended is not None:
            self._ends[context.task_id] = ended
            if ended.again is not None:
                raise StreaqRetry(delay=timedelta(seconds=ended.again))

    def relinquish(self) -> None:
        """Cancels what is under way: it begins anew, here or elsewhere."""
        for scope in self._cancel_scopes.values():
            scope.deadline = current_time()  # of all ways to end a job the one that streaq takes for "run it again"

    # What streaq's Worker does, done so that it lasts

    async def signal_handler(self, scope: CancelScope) -> None:
        """Ends once told to, and leaves signals to whom they belong."""
        await self._told.wait()
        scope.cancel()

    async def producer(self, queue: Any, limiter: Any, scope: CancelScope) -> None:
        """Reads messages, and goes on after trouble."""
        with queue:
            while True:
                try:
                    await super().producer(cast("Any", _Intake(self, queue)), limiter, scope)
                except Exception as error:
                    await self._recover(error)

    async def schedule_delayed_tasks(self) -> None:
        """Moves what is due, and goes on after trouble."""
        while True:
            try:
                await super().schedule_delayed_tasks()
            except Exception as error:
                await self._recover(error)

    async def renew_idle_timeouts(self, scope: CancelScope) -> None:
        """Keeps the messages that this process has."""
        with scope:
            while True:
                await asyncio.sleep(LEASE / 5)
                try:
                    if self._held:
                        held = tuple(self._held)
                        await self.redis.xclaim(
                            self.stream_key + self._lane, REDIS_GROUP, self.id, 0, held, justid=True
                        )
                except Exception as error:
                    logs.QUEUE_NOT_ASKED.tell(exc_info=error, what="leases could not be renewed")

    async def run_task(self, msg: StreamMessage) -> None:
        """Runs one, where its lane is not paused; one whose end could not be told comes back."""
        try:
            while not self._may_begin():  # noqa: ASYNC110 (what is paused is looked up now and then)
                await asyncio.sleep(PAUSE / 5)
            await super().run_task(msg)
        except Exception as error:
            logs.JOB_END_UNTOLD.tell(error=str(error))
        finally:
            self._held.discard(msg.message_id)
            self._ends.pop(msg.task_id, None)

    async def finish_task(self, msg: StreamMessage, *arguments: Any, **named: Any) -> None:
        """Tells the end, for some seconds also where Redis has to come back first."""
        ended = self._ends.get(msg.task_id)
        for attempt in range(1, 7):
            try:
                if ended is not None:
                    await self._before_end(ended)
                await super().finish_task(msg, *arguments, **named)
                break
            except Exception as error:
                if attempt == 6:
                    raise
                logs.JOB_END_LATE.tell(exc_info=error)
                await asyncio.sleep(PAUSE * 2**attempt / 2)
                await self._make_anew()
        if ended is not None:
            await self._told_end(ended)

    async def _recover(self, error: Exception) -> None:
        logs.QUEUE_LOST.tell(lane=self._lane, error=str(error))
        while True:
            await asyncio.sleep(PAUSE)
            if await self._make_anew():
                return

    async def _make_anew(self) -> bool:
        try:
            await prepare(self, self._lane)
        except Exception as error:
            logs.QUEUE_NOT_ASKED.tell(exc_info=error, what="it cannot be reached")
            return False
        return True


class _Intake:
    """Where the producer puts what it has read; what this process has already is not taken twice."""

    def __init__(self, lane: LaneWorker, queue: Any) -> None:
        self._lane = lane
        self._queue = queue

    def send_nowait(self, message: StreamMessage) -> None:
        held = self._lane._held
        if message.message_id in held:
            self._lane._count -= 1
        else:
            held.add(message.message_id)
            self._queue.send_nowait(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """The queue outlives the producer that reads for it."""
