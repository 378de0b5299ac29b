"""The queue of an embedded cache: in this process, gone with it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from rcache.clock import Clock
from rcache.core.jobs import KEPT_ROWS, LANES, OUTCOMES, Job, Lane, LaneRow, QueueView, RunRow, Ticket, encode_ticket
from rcache.queues.runs import Ended, Run, carry_out

_FORGET: Final = 1000  # ends of keys that are remembered before those that do not matter any more are looked for


@dataclass(slots=True, order=True)
class _Waiting:
    at: float
    number: int  # those of one moment begin in the order in which they were added
    ticket: Ticket = field(compare=False)
    attempt: int = field(compare=False, default=1)


class MemoryQueue:
    """Jobs in this process, for whichever of its loops serves them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[Lane, list[_Waiting]] = {lane: [] for lane in LANES}  # heaps
        self._running: Counter[Lane] = Counter()
        self._keys: set[str] = set()  # of what waits or runs
        self._apart: dict[str, float] = {}  # key -> until when
        self._paused: set[Lane] = set()
        self._counts: Counter[str] = Counter()
        self._failures: deque[RunRow] = deque(maxlen=KEPT_ROWS)
        self._runs: deque[RunRow] = deque(maxlen=KEPT_ROWS)
        self._number = 0
        self._workers = 0
        self._watchers: set[Callable[[], None]] = set()

    async def add(self, job: Job) -> bool:
        """As `Queue.add`."""
        now = self._clock.time()
        ticket = Ticket(job, now + job.delay)
        encode_ticket(ticket)  # what would not fit on Redis does not fit here
        with self._lock:
            if job.key is not None:
                if job.key in self._keys or self._apart.get(job.key, now) > now:
                    return False
                self._keys.add(job.key)
            self._place(ticket, ticket.due, 1)
        self._changed()
        return True

    def _place(self, ticket: Ticket, at: float, attempt: int) -> None:
        self._number += 1
        heapq.heappush(self._lanes[ticket.job.priority], _Waiting(at, self._number, ticket, attempt))

    async def view(self) -> QueueView:
        """As `Queue.view`."""
        now = self._clock.time()
        with self._lock:
            lanes = tuple(self._lane_row(lane, now) for lane in LANES)
            counts = {outcome: self._counts[outcome] for outcome in OUTCOMES}
            return QueueView(lanes, self._workers, counts, tuple(reversed(self._failures)), tuple(reversed(self._runs)))

    def _lane_row(self, lane: Lane, now: float) -> LaneRow:
        waiting = [each.at for each in self._lanes[lane] if each.at <= now]
        delayed = len(self._lanes[lane]) - len(waiting)
        oldest = now - min(waiting) if waiting else 0.0
        return LaneRow(lane, len(waiting), delayed, self._running[lane], oldest, lane in self._paused)

    async def workers(self) -> int:
        """As `Queue.workers`."""
        return self._workers

    async def pause(self, lane: Lane | None = None) -> None:
        """As `Queue.pause`."""
        self._paused.update(LANES if lane is None else (lane,))

    async def resume(self, lane: Lane | None = None) -> None:
        """As `Queue.resume`."""
        self._paused.difference_update(LANES if lane is None else (lane,))
        self._changed()

    async def serve(
        self, run: Run, told: asyncio.Event, *, lanes: Collection[Lane], concurrency: int, is_worker: bool
    ) -> None:
        """As `Queue.serve`."""
        self._workers += is_worker
        try:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(self._serve(lane, run, told, concurrency))
        finally:
            self._workers -= is_worker

    async def _serve(self, lane: Lane, run: Run, told: asyncio.Event, concurrency: int) -> None:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)

        ending = loop.create_task(told.wait())
        ending.add_done_callback(lambda _: changed.set())
        self._watchers.add(wake)
        under_way: set[asyncio.Task[None]] = set()
        try:
            while not told.is_set():
                changed.clear()
                found = self._take(lane) if len(under_way) < concurrency else None
                if found is not None:
                    task = loop.create_task(self._run(lane, run, found))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    task.add_done_callback(lambda _: changed.set())
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), self._until_next(lane))
        finally:
            self._watchers.discard(wake)
            ending.cancel()
            if not told.is_set():
                _cancel(under_way)
            try:
                while under_way:
                    await asyncio.wait(under_way)
            except asyncio.CancelledError:
                _cancel(under_way)
                raise

    def _take(self, lane: Lane) -> _Waiting | None:
        with self._lock:
            heap = self._lanes[lane]
            if lane in self._paused or not heap or heap[0].at > self._clock.time():
                return None
            self._running[lane] += 1
            return heapq.heappop(heap)

    def _until_next(self, lane: Lane) -> float | None:
        with self._lock:
            heap = self._lanes[lane]
            return None if lane in self._paused or not heap else max(0.0, heap[0].at - self._clock.time())

    async def _run(self, lane: Lane, run: Run, waiting: _Waiting) -> None:
        ended = None
        try:
            ended = await carry_out(run, waiting.ticket, waiting.attempt, self._clock)
        finally:
            self._end(lane, waiting, ended)
        if ended.follow is not None:
            await self.add(ended.follow)

    def _end(self, lane: Lane, waiting: _Waiting, ended: Ended | None) -> None:
        job = waiting.ticket.job
        with self._lock:
            self._running[lane] -= 1
            if ended is None:  # cancelled: it begins anew with whoever serves next
                self._place(waiting.ticket, waiting.at, waiting.attempt)
                return
            row = ended.row
            self._counts[row.outcome] += 1
            self._runs.append(row)
            if row.outcome != "done":
                self._failures.append(row)
            if ended.again is not None:
                self._place(waiting.ticket, row.ended + ended.again, waiting.attempt + 1)
            elif job.key is not None:
                self._keys.discard(job.key)
                if job.apart:
                    self._keep_apart(job.key, row.ended, job.apart)
        self._changed()

    def _keep_apart(self, key: str, now: float, apart: float) -> None:
        if len(self._apart) >= _FORGET and len(self._apart) % _FORGET == 0:
            self._apart = {each: until for each, until in self._apart.items() if until > now}
        self._apart[key] = now + apart

    def _changed(self) -> None:
        for wake in tuple(self._watchers):
            wake()

    async def aclose(self) -> None:
        """Nothing belongs to a loop. What waits goes on waiting."""


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Whoever serves was cancelled, too: what is under way begins anew with the next who serves."""
    for task in tuple(tasks):
        task.cancel()
