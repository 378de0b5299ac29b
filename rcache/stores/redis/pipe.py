"""Calls to Redis from one event loop: those that wait in the same turn of the loop travel as one pipeline.

A `Pipe` belongs to one loop. Calls queue; at the end of the turn a connection that is free takes the whole queue, and
while all are busy the next batch grows. A reply that comes too late for its caller is still read by the connection that
owes it, so replies are never taken for one another.

A late event loop is not a late Redis. Deadlines are therefore measured on the time that the loop was *attentive*: of a
turn that took longer than a tick or two, only these count, and the replies that arrived meanwhile are read before the
next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from rcache.core.errors import BackendError
from rcache.stores.redis.address import Way
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.wire import Call, Counters, Wire, drop_socket

CONNECTIONS = 2  # per loop: Redis carries out one script at a time, more only make batches smaller
TICK = 0.005  # seconds between looks at the deadlines
PATIENCE = 1.0  # seconds in which a connection may still get the replies that nobody waits for
BATCH = 256  # calls per pipeline


class Pipe:
    """The connections of one event loop to one server."""

    def __init__(self, way: Way, opening: Opening, counters: Counters) -> None:
        self.loop = asyncio.get_running_loop()
        self.way = way
        self.opening = opening
        self.counters = counters
        self.queue: deque[Call] = deque()
        self.wires: list[Wire] = []
        self._is_flushing = False
        self._attended = 0.0
        self._looked_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._end_of_loop: AsyncGenerator[None, None] | None = None
        self._confirming: asyncio.Task[None] | None = None

    def call(self, command: bytes, deadline: float, is_asking: bool = False) -> asyncio.Future[Any]:
        """The reply to a command that `pack` made, to be awaited: raises the driver's errors and TimeoutError.

        `deadline` is a moment on the scale of `attended`. With `is_asking` an ASKING stands before the command.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        if self._watch is None:
            self._attended = self.attended()
            self._looked_at = self.loop.time()
            self._watch = self.loop.call_later(min(TICK, max(deadline - self._attended, 0.0)), self._look)
        self.queue.append(Call(command, future, deadline, is_asking))
        if not self._is_flushing:
            self._is_flushing = True
            self.loop.call_soon(self._flush)
        return future

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self.queue and all(wire.task is None for wire in self.wires)

    def attended(self) -> float:
        """Seconds during which this loop could read what arrived, on a scale of its own."""
        return self._attended + min(self.loop.time() - self._looked_at, 2 * TICK)

    # Sending

    def _flush(self) -> None:
        self._is_flushing = False
        self.resume()

    def resume(self) -> None:
        """Lets a free connection take the queue, or a new one; failing that, the next to become free does."""
        if not self.queue or self.loop.is_closed():
            return
        free = [wire for wire in self.wires if wire.task is None]
        if free:
            min(free, key=_is_unconnected).start()
        elif len(self.wires) < CONNECTIONS:
            self.wires.append(Wire(self))
            self.wires[-1].start()

    def take(self) -> list[Call]:
        """The calls that still have somebody waiting, in order."""
        batch: list[Call] = []
        while self.queue and len(batch) < BATCH:
            call = self.queue.popleft()
            if not call.future.done():
                batch.append(call)
        return batch

    def fail(self, wire: Wire, error: BaseException) -> None:
        """What `wire` had sent fails; what waits in the queue does too, unless another connection can take it."""
        for call in wire.batch:
            call.settle(error)
        if not any(other.connection is not None for other in self.wires):
            while self.queue:
                self.queue.popleft().settle(error)

    def confirm(self) -> None:
        """Finds out, behind the calls, whether the way still leads to the same server."""
        if self._confirming is None or self._confirming.done():
            self._confirming = self.loop.create_task(self._confirm())

    async def _confirm(self) -> None:
        with contextlib.suppress(*DRIVER_ERRORS):  # whoever has to connect anew meets it too
            await self.way.confirm()

    # Waiting

    def _look(self) -> None:
        """Gives up what is past its deadline; runs every tick while anything is due."""
        self._attended = self.attended()
        self._looked_at = self.loop.time()
        soonest = self._overdue(self.queue)
        for wire in self.wires:
            if wire.task is not None:
                soonest = min(soonest, self._attend(wire))
        self._watch = None
        if soonest != float("inf") or any(wire.owing_since is not None for wire in self.wires):
            wait = min(TICK, max(soonest - self._attended, 0.0005))
            self._watch = self.loop.call_later(wait, self._look)

    def _overdue(self, calls: list[Call] | deque[Call]) -> float:
        """Fails the calls whose time is over; the earliest deadline among the others."""
        soonest = float("inf")
        for call in calls:
            if call.future.done():
                continue
            if call.deadline <= self._attended:
                call.settle(TimeoutError("no reply within the deadline"))
            else:
                soonest = min(soonest, call.deadline)
        return soonest

    def _attend(self, wire: Wire) -> float:
        soonest = self._overdue(wire.batch)
        if soonest == float("inf") and wire.batch:
            if wire.owing_since is None:
                wire.owing_since = self._attended
            elif self._attended - wire.owing_since > PATIENCE and wire.task is not None:
                wire.task.cancel()
        return soonest

    # Ending

    async def outlive_no_loop(self) -> None:
        """From now on the loop's own end closes the connections: it finishes the generators that it started."""
        if self._end_of_loop is None:
            self._end_of_loop = self._until_the_loop_ends()
            await anext(self._end_of_loop)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._disconnect()

    async def aclose(self) -> None:
        """Closes the connections; whoever still waits gets an error."""
        ending, self._end_of_loop = self._end_of_loop, None
        if ending is not None:
            await ending.aclose()
        else:
            await self._disconnect()

    async def _disconnect(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        error = BackendError("the store was closed")
        while self.queue:
            self.queue.popleft().settle(error)
        wires, self.wires = self.wires, []
        for wire in wires:
            for call in wire.batch:
                call.settle(error)
        tasks = [task for task in (self._confirming, *[wire.task for wire in wires]) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in wires:
            await wire.disconnect()
        # A transport closes its socket a turn after it was told to.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def discard(self) -> None:
        """Closes the sockets of a loop that was closed before it could: its transports can no longer be asked to."""
        self._end_of_loop = None
        for wire in self.wires:
            connection, wire.connection = wire.connection, None
            if connection is not None:
                drop_socket(connection)
        self.wires = []


def _is_unconnected(wire: Wire) -> bool:
    return wire.connection is None
