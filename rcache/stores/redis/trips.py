"""Trips to Redis: each within its time, spared while the breaker is open, from whatever loop or thread asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rcache.core.errors import BackendError
from rcache.ports import Budget
from rcache.stores.redis.address import Way
from rcache.stores.redis.breaker import Breaker
from rcache.stores.redis.failures import DRIVER_ERRORS, REFUSALS, ReplicaError, UnwritableError, refusal, translated
from rcache.stores.redis.pipe import Pipe
from rcache.stores.redis.rights import Opening
from rcache.stores.redis.sweeper import Listening, Sweeper
from rcache.stores.redis.sync import SyncPipe
from rcache.stores.redis.wire import Counters

_INHERITED: list[object] = []  # connections of a parent process: closing them would disturb its event loop
_OPEN = "Redis did not answer lately; it is tried again soon"


class Trips:
    """Every way of one store to its server. Opens by itself, in each loop and thread that uses it."""

    def __init__(
        self, way: Way, opening: Callable[[], Opening], sweeps: bytes, sweeping: bytes, listening: Listening
    ) -> None:
        """`sweeps` is the key that lists what is to be swept, `sweeping` the one that tells who does."""
        self.counters = Counters()
        self._way = way
        self._opening = opening
        self._sweeps = sweeps, sweeping, listening
        self._start_closed()

    def _start_closed(self) -> None:
        self._breaker = Breaker()
        self._pipes: dict[asyncio.AbstractEventLoop, Pipe] = {}
        self._sweepers: dict[asyncio.AbstractEventLoop, Sweeper] = {}
        self._sync = SyncPipe(self._way, self._opening, self.counters)

    @property
    def is_down(self) -> bool:
        """The breaker is open: calls fail at once, but for a probe now and then."""
        return self._breaker.is_open

    async def spend(self, command: bytes, budget: Budget) -> Any:
        """The reply, within what is left of the request's time, which is less afterwards."""
        if budget.left <= 0:
            raise BackendError("no time is left for Redis")
        pipe = self.pipe()
        began = pipe.attended()
        try:
            return self._accepted(await self._sent(pipe, command, began + budget.left))
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error
        finally:
            budget.spend(pipe.attended() - began)

    async def take(self, command: bytes, timeout: float) -> Any:
        """The reply, within `timeout` seconds."""
        pipe = self.pipe()
        try:
            return self._accepted(await self._sent(pipe, command, pipe.attended() + timeout))
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error

    async def read(self, command: bytes, timeout: float) -> Any:
        """The reply to a command that is no script's, within `timeout` seconds: any list, an empty one too."""
        pipe = self.pipe()
        try:
            return await self._sent(pipe, command, pipe.attended() + timeout)
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error

    def take_sync(self, command: bytes, timeout: float, probe: bool) -> Any:
        """The reply, from any thread, with no event loop. A probe goes out even while the breaker is open."""
        if not (probe or self._breaker.admits()):
            raise BackendError(_OPEN)
        try:
            reply = self._sync.call(command, timeout)
        except DRIVER_ERRORS as error:
            raise self._failed(error) from error
        self._breaker.succeed()
        return reply

    def sweep(self) -> None:
        """Begins to free, in the background of the running loop, what purges killed."""
        self._sweeper(self.pipe()).start()

    async def swept(self) -> int:
        """Returns when this loop has freed the bytes of what it purged: how many entries."""
        sweeper = self._sweepers.get(asyncio.get_running_loop())
        return await sweeper.wait() if sweeper is not None else 0

    def _sent(self, pipe: Pipe, command: bytes, deadline: float) -> asyncio.Future[Any]:
        if self._breaker.is_open and not self._breaker.admits():
            raise BackendError(_OPEN)
        return pipe.call(command, deadline)

    def _accepted(self, reply: Any) -> Any:
        if reply.__class__ is list and reply[0] in REFUSALS:
            raise self._failed(refusal(reply))
        if self._breaker.is_open:
            self._breaker.succeed()
        return reply

    def _failed(self, error: BaseException) -> BackendError:
        failure = translated(error)
        if isinstance(failure, UnwritableError):
            return failure
        if isinstance(failure, ReplicaError):
            self._way.doubt()
        self._breaker.fail(str(failure))
        return failure

    def pipe(self) -> Pipe:
        """The pipe of the running loop."""
        loop = asyncio.get_running_loop()
        pipe = self._pipes.get(loop)
        if pipe is None:
            self._forget_closed_loops()
            pipe = self._pipes[loop] = Pipe(self._way, self._opening(), self.counters)
        return pipe

    def _sweeper(self, pipe: Pipe) -> Sweeper:
        sweeper = self._sweepers.get(pipe.loop)
        if sweeper is None:
            sweeper = self._sweepers[pipe.loop] = Sweeper(pipe, *self._sweeps)
        return sweeper

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and locks may be held by threads that are not here."""
        _INHERITED.append((self._pipes, self._sweepers, self._sync))
        self._start_closed()

    def _forget_closed_loops(self) -> None:
        for loop, pipe in list(self._pipes.items()):
            if loop.is_closed():
                self._pipes.pop(loop, None)
                self._sweepers.pop(loop, None)
                pipe.discard()

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop, and of what belongs to none. It opens again when it is used."""
        loop = asyncio.get_running_loop()
        sweeper, pipe = self._sweepers.pop(loop, None), self._pipes.pop(loop, None)
        if sweeper is not None:
            await sweeper.aclose()
        if pipe is not None:
            await pipe.aclose()
        self.close()

    def close(self) -> None:
        """`aclose` where no loop runs. Connections of a running loop end with it."""
        self._sync.close()
        self._forget_closed_loops()
