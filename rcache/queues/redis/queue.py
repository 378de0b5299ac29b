"""The queue of a namespace on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar
from uuid import uuid4

import orjson
from coredis import exceptions
from streaq import Worker
from streaq.constants import REDIS_GROUP

from rcache import logs
from rcache.clock import Clock
from rcache.core.codec import CodecError
from rcache.core.errors import BackendError
from rcache.core.jobs import (
    KEPT_ROWS,
    LANES,
    Job,
    Lane,
    LaneRow,
    QueueView,
    Ticket,
    decode_ticket,
    encode_ticket,
)
from rcache.core.keys import RedisNames, digest
from rcache.queues.redis.entry import entry
from rcache.queues.redis.lane import NAME, PAUSE, LaneWorker, dumps, prepare
from rcache.queues.redis.ledger import Ledger, read_counts, read_row
from rcache.queues.runs import Ended, Run, carry_out, this_node
from rcache.stores.redis.urls import Place

T = TypeVar("T")

TIMEOUT: Final = 10.0
"""Seconds that adding and looking may take: a burst of a thousand needs some."""

PATIENCE: Final = 2.0
"""Seconds for which it is tried again where connections turn out to be dead: as long as a server takes to restart."""

LOOK: Final = 0.25
"""Seconds between two looks of a process that serves: what is paused, and what it has to tell."""

BEAT: Final = 4  # looks between two words of a worker that it lives
ALIVE: Final = 5.0
"""Seconds for which a worker counts that has said nothing more."""

FORGET: Final = 2400  # looks between two searches for names of processes that are gone

LOOKED_AT: Final = 500
"""Messages that are looked at for a view, however many there are."""

IDLE: Final = 3_600_000  # milliseconds after which a process that left its name in the group is forgotten


# Workers by the moment until which each counts, on the clock of the server: those of machines differ.
_BEAT: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], 60)
"""
_LIVING: Final = "return redis.call('ZCOUNT', KEYS[1], redis.call('TIME')[1], '+inf')"


class RedisQueue:
    """Jobs of all processes that use the namespace. Those that add have one connection, those that serve a few."""

    def __init__(self, place: Place, namespace: str, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self.names = RedisNames(namespace)
        self._paused: set[str] | None = None  # lanes; None: nobody has looked yet
        self._ledger = Ledger(self.names)
        self._desks: dict[asyncio.AbstractEventLoop, _Desk] = {}

    def __repr__(self) -> str:
        return f"<queue of {self.names.namespace!r} on Redis>"

    async def add(self, job: Job) -> bool:
        """As `Queue.add`."""
        now = self._clock.time()
        ticket = encode_ticket(Ticket(job, now + job.delay))
        return await self._ask(lambda desk: self._add(desk, job, ticket, round(now * 1000)))

    async def _add(self, desk: Worker[None], job: Job, ticket: str, now: int) -> bool:
        if await self._is_apart(desk, job.key):
            return False
        task = desk.enqueue_unsafe(NAME, ticket).start(delay=None, priority=job.priority)
        task.id = uuid4().hex if job.key is None else digest(job.key.encode())
        score = now + round(job.delay * 1000) if job.delay else 0
        added: object = await desk._lib.publish_task(  # type: ignore[func-returns-value]  # 0, 1 or the message's number
            desk.stream_key + job.priority,
            desk.queue_key + job.priority,
            desk.task_key + task.id,
            desk.dependents_key,
            desk.dependencies_key,
            desk.results_key,
            task.id,
            await task.serialize(now),
            score,
            0,
            now,
        )
        # 0 where the id is known already: one of its key, or, without a key, this very one, sent again by the driver.
        return job.key is None or bool(added)

    async def pause(self, lane: Lane | None = None) -> None:
        """As `Queue.pause`."""
        await self._ask(lambda desk: desk.redis.sadd(self.names.paused, _chosen(lane)))
        await asyncio.sleep(2 * LOOK)  # by then everybody who serves has seen it

    async def resume(self, lane: Lane | None = None) -> None:
        """As `Queue.resume`."""
        await self._ask(lambda desk: desk.redis.srem(self.names.paused, _chosen(lane)))

    async def workers(self) -> int:
        """As `Queue.workers`."""
        return await self._ask(self._workers)

    async def _workers(self, desk: Worker[None]) -> int:
        return int(str(await desk.redis.eval(_LIVING, [self.names.workers])))

    # The view

    async def view(self) -> QueueView:
        """As `Queue.view`."""
        return await self._ask(self._view)

    async def _view(self, desk: Worker[None]) -> QueueView:
        now = self._clock.time()
        async with desk.redis.pipeline(transaction=False) as pipe:
            paused = pipe.smembers(self.names.paused)
            counts = pipe.hgetall(self.names.counts)
            failures = pipe.lrange(self.names.failures, 0, KEPT_ROWS - 1)
            runs = pipe.lrange(self.names.runs, 0, KEPT_ROWS - 1)
            workers = pipe.eval(_LIVING, [self.names.workers])
            running = pipe.smembers(desk._running_set)
            streams = [
                (pipe.xlen(desk.stream_key + lane), pipe.xrange(desk.stream_key + lane, count=LOOKED_AT))
                for lane in LANES
            ]
            delayed = [pipe.zcard(desk.queue_key + lane) for lane in LANES]
        under_way = await running
        stopped = await paused
        rows = []
        for lane, (length, messages), later in zip(LANES, streams, delayed, strict=True):
            found = [message.field_values for message in await messages]
            busy = sum(1 for fields in found if fields["task_id"] in under_way)
            first = next((fields for fields in found if fields["task_id"] not in under_way), None)
            oldest = 0.0 if first is None else max(0.0, now - int(first["enqueue_time"]) / 1000)
            rows.append(LaneRow(lane, max(0, await length - busy), await later, busy, oldest, lane in stopped))
        counted = await counts
        return QueueView(
            tuple(rows),
            int(str(await workers)),
            read_counts(counted),
            tuple(map(read_row, await failures)),
            tuple(map(read_row, await runs)),
        )

    # Serving

    async def serve(
        self, run: Run, told: asyncio.Event, *, lanes: Collection[Lane], concurrency: int, is_worker: bool
    ) -> None:
        """As `Queue.serve`."""
        async with asyncio.TaskGroup() as group:
            attending = group.create_task(self._attend(is_worker))
            async with asyncio.TaskGroup() as serving:
                for lane in lanes:
                    serving.create_task(self._serve(lane, run, told, concurrency))
            attending.cancel()

    async def _serve(self, lane: Lane, run: Run, told: asyncio.Event, concurrency: int) -> None:
        async def carried_out(text: str, attempt: int) -> Ended | None:
            try:
                ticket = decode_ticket(text)
            except CodecError as error:
                logs.QUEUE_STRANGE.tell(error=str(error))
                return None
            if ticket.job.apart and await self._ask(lambda desk: self._is_apart(desk, ticket.job.key)):
                return None
            return await carry_out(run, ticket, attempt, self._clock)

        while not told.is_set():
            worker = LaneWorker(
                lane,
                carried_out,
                lambda: self._paused is not None and lane not in self._paused,
                self._tell,
                self._keep_apart,
                told,
                concurrency=concurrency,
                queue_name=self.names.queue,
                id=f"{this_node()}#{secrets.token_hex(4)}",
                **await entry(self._place),
            )
            try:
                await _lasting(worker)
            except Exception as error:
                if told.is_set():
                    logs.QUEUE_DISORDER.tell(exc_info=error, lane=lane)
                    return
                logs.QUEUE_LOST.tell(lane=lane, error=str(_told_by(error)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), PAUSE)

    async def _is_apart(self, desk: Worker[None], key: str | None) -> bool:
        return key is not None and bool(await desk.redis.exists([self.names.apart(digest(key.encode()))]))

    async def _keep_apart(self, ended: Ended) -> None:
        """Before its key is free."""
        job = ended.job
        if job.apart and job.key is not None and ended.again is None:
            name = self.names.apart(digest(job.key.encode()))
            await self._ask(lambda desk: desk.redis.set(name, "1", px=max(1, round(job.apart * 1000))))

    async def _tell(self, ended: Ended) -> None:
        """After its key is free: what became of it, and what follows."""
        self._ledger.note(ended.row)
        if ended.follow is not None:
            try:
                await self.add(ended.follow)
            except BackendError as error:
                logs.JOB_UNFOLLOWED.tell(job=ended.row.name, error=str(error))

    async def _attend(self, is_worker: bool) -> None:
        """What a process that serves does beside: looks what is paused, tells that it lives and what became of its jobs."""
        me = f"{this_node()}#{secrets.token_hex(4)}"
        looks = 0
        try:
            while True:
                with contextlib.suppress(BackendError):
                    self._paused = await self._ask(lambda desk: desk.redis.smembers(self.names.paused))
                    await self._ask(self._ledger.write)
                    if is_worker and looks % BEAT == 0:
                        await self._ask(lambda desk: desk.redis.eval(_BEAT, [self.names.workers], [me, ALIVE]))
                    if looks % FORGET == 0:
                        await self._ask(_forget_consumers)
                looks += 1
                await asyncio.sleep(LOOK)
        finally:
            with contextlib.suppress(BackendError):
                await self._ask(self._ledger.write)
                if is_worker:
                    await self._ask(lambda desk: desk.redis.zrem(self.names.workers, [me]))

    # The way to Redis

    async def _ask(self, question: Callable[[Worker[None]], Awaitable[T]]) -> T:
        """What Redis says. Raises BackendError."""
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            for each in [each for each in self._desks if each.is_closed()]:
                del self._desks[each]
            desk = self._desks[loop] = _Desk(self._place, self.names.queue)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await _answered(desk, question)
        except Exception as error:
            raise BackendError(f"the queue cannot be reached: {_told_by(error)}") from error

    async def aclose(self) -> None:
        """As `Queue.aclose`."""
        desk = self._desks.pop(asyncio.get_running_loop(), None)
        if desk is not None:
            await desk.aclose()


class _Desk:
    """The connections of one loop: the driver wants them closed by the task that has opened them."""

    def __init__(self, place: Place, queue_name: str) -> None:
        self._place = place
        self._queue_name = queue_name
        self._holder: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[Worker[None]] | None = None
        self._leave = asyncio.Event()

    async def opened(self) -> Worker[None]:
        """Ready to be asked. Raises what keeps it from being opened."""
        if self._opened is None or self._holder is None or self._holder.done():
            self._opened = asyncio.get_running_loop().create_future()
            self._holder = asyncio.create_task(self._hold(self._opened))
        return await asyncio.shield(self._opened)

    async def _hold(self, opened: asyncio.Future[Worker[None]]) -> None:
        try:
            worker: Worker[None] = Worker(
                queue_name=self._queue_name,
                priorities=list(LANES),
                serializer=dumps,
                deserializer=orjson.loads,
                **await entry(self._place),
            )
            async with worker:
                opened.set_result(worker)
                await self._leave.wait()
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # whoever asked has been told, or has gone
            else:
                logs.QUEUE_NOT_ASKED.tell(exc_info=error, what="the way to it was lost")

    async def aclose(self) -> None:
        """Closes the connections."""
        self._leave.set()
        if self._holder is not None:
            await asyncio.wait([self._holder], timeout=TIMEOUT)
            self._holder.cancel()


async def _lasting(worker: LaneWorker) -> None:
    """Until the worker has ended. What is under way is shielded from a cancellation, and is given back here."""
    running = asyncio.create_task(worker.run_async())
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        worker.relinquish()
        running.cancel()
        await asyncio.wait([running], timeout=PATIENCE)
        raise
    running.result()


async def _answered(desk: _Desk, question: Callable[[Worker[None]], Awaitable[T]]) -> T:
    """What it says, asked again for a while where connections are dead; after a restart the server lacks streaq's functions."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        worker = await desk.opened()
        try:
            return await question(worker)
        except (exceptions.ConnectionError, OSError) as error:
            if loop.time() > deadline:
                raise
            logs.QUEUE_NOT_ASKED.tell(exc_info=error, what="it is asked again")
            await asyncio.sleep(PAUSE / 5)
        except exceptions.ResponseError as error:
            if "Function not found" not in str(error):
                raise
            await prepare(worker)


async def _forget_consumers(desk: Worker[None]) -> None:
    """Takes out of the groups the processes that are long gone, and left nothing behind."""
    for lane in LANES:
        with contextlib.suppress(Exception):  # there is no group yet
            for consumer in await desk.redis.xinfo_consumers(desk.stream_key + lane, REDIS_GROUP):
                if not consumer["pending"] and int(consumer["idle"] or 0) > IDLE:
                    name = str(consumer["name"])
                    await desk.redis.xgroup_delconsumer(desk.stream_key + lane, REDIS_GROUP, name)


def _chosen(lane: Lane | None) -> list[str]:
    return list(LANES) if lane is None else [lane]


def _told_by(error: BaseException) -> str:
    """The words of the first error that is not a group of them, and of what is at the bottom of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error
    while (before := cause.__cause__ or cause.__context__) is not None:
        cause = before
    words = [f"{type(each).__name__} {each}".strip() for each in (error, cause)]
    return " from ".join(dict.fromkeys(words))
