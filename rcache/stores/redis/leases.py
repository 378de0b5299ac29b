"""Which node makes an answer that all of them miss: the first to ask; the others are told when it is done.

A lease is short, and renewed while the run goes on, so that another node takes over soon from one that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from rcache import logs
from rcache.core.errors import BackendError
from rcache.core.keys import RedisNames
from rcache.core.lease import Word
from rcache.ports import Budget
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Way
from rcache.stores.redis.news import News
from rcache.stores.redis.steps import Step

LASTS: Final = 2.0  # seconds
RENEWED: Final = 0.5  # seconds between renewals
PATIENCE: Final = 1.0  # seconds for what happens behind a request's back
NEWS_KEPT: Final = (b"10000", b"60000")  # in number, and milliseconds

LEASING: Final = (scripts.LEASE, scripts.AWAIT, scripts.PROLONG, scripts.SETTLE, scripts.TELL)
"""The scripts that leases need."""

_LASTS: Final = b"%d" % (LASTS * 1000)


class Held:
    """A lease of this process."""

    is_mine = True

    def __init__(self, leases: LoopLeases, key: bytes, holder: bytes) -> None:
        self.key = key
        self.holder = holder
        self._leases = leases

    async def word(self, timeout: float) -> Word | None:
        """This process holds it, and waits for nobody."""
        return Word.AGAIN

    def settle(self, word: Word) -> None:
        """It has ended; those who wait are told."""
        self._leases.settle(self, word)


class Awaited:
    """A lease of another process."""

    is_mine = False

    def __init__(self, leases: LoopLeases, key: bytes, holder: bytes) -> None:
        self._leases = leases
        self._key = key
        self._holder = holder

    async def word(self, timeout: float) -> Word | None:
        """What the holder says when it is done; AGAIN where its lease ran out, None after `timeout` seconds."""
        return await self._leases.wait(self._key, self._holder, timeout)

    def settle(self, word: Word) -> None:
        """It is another's to settle."""


class LoopLeases:
    """The leases of one event loop: those it holds, and those it waits for."""

    def __init__(self, take: Callable[[Step, float], Awaitable[Any]], way: Way, names: RedisNames) -> None:
        self._take = take
        self._names_news = names.news.encode()
        self._news = News(way, self._names_news)
        self._held: dict[bytes, Held] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def held(self, key: bytes, holder: bytes) -> Held:
        """A lease that this process was given; it is renewed until it is settled."""
        lease = self._held[holder] = Held(self, key, holder)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return lease

    def settle(self, lease: Held, word: Word) -> None:
        """The lease has ended, in the background."""
        if self._held.pop(lease.holder, None) is not None:
            self.end(lease.key, lease.holder, word)

    def end(self, key: bytes, holder: bytes, word: Word) -> None:
        """Whatever `holder` holds of the key has ended, in the background."""
        task = asyncio.get_running_loop().create_task(self._end(key, holder, word))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _end(self, key: bytes, holder: bytes, word: Word) -> None:
        with contextlib.suppress(BackendError):  # it runs out by itself
            if await self._take(Step(scripts.SETTLE, (key,), (holder,)), PATIENCE):
                told = (key, holder, word.value.encode(), *NEWS_KEPT)
                await self._take(Step(scripts.TELL, (self._names_news,), told), PATIENCE)

    async def _renew(self) -> None:
        while self._held:
            await asyncio.sleep(RENEWED)
            steps = [Step(scripts.PROLONG, (lease.key,), (holder, _LASTS)) for holder, lease in self._held.items()]
            await asyncio.gather(*(self._take(step, PATIENCE) for step in steps), return_exceptions=True)

    async def wait(self, key: bytes, holder: bytes, timeout: float) -> Word | None:
        """What the holder says; AGAIN where it holds the lease no more, None after `timeout` seconds.

        Where nothing can be heard of it, ALONE.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        with self._news.inbox(key) as inbox:
            try:
                if not await self._news.placed(min(timeout, PATIENCE)):
                    return None if timeout <= PATIENCE else Word.ALONE
                while (left := until - loop.time()) > 0:
                    # However little is left: a trip cut short would be taken for a server that does not answer.
                    lasts = await self._take(Step(scripts.AWAIT, (key,), (holder,)), PATIENCE) / 1000
                    # Once more after its end: it may just have been settled.
                    word = await inbox.word(holder, min(left, lasts))
                    if word is not None or lasts <= 0:
                        return word or Word.AGAIN
            except BackendError as error:
                logs.LEASE_UNHEARD.tell(error=str(error))
                return Word.ALONE
        return None

    async def aclose(self) -> None:
        """Settles what is held, so that other nodes need not wait for its end."""
        for lease in list(self._held.values()):
            self.settle(lease, Word.AGAIN)
        if self._telling:
            await asyncio.wait(self._telling, timeout=PATIENCE)
        tasks = [*self._telling, *([] if self._renewing is None else [self._renewing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._news.aclose()


class Leasing(Protocol):
    """What leases need of their store."""

    way: Way
    names: RedisNames

    async def _take(self, step: Any, timeout: float) -> Any: ...

    async def _spend(self, step: Any, budget: Budget) -> Any: ...


class Leases:
    """The leases of one store, in each loop that uses it."""

    def __init__(self, store: Leasing) -> None:
        self._store = store
        self._loops: dict[asyncio.AbstractEventLoop, LoopLeases] = {}

    async def take(self, key: bytes, budget: Budget) -> Held | Awaited:
        """The lease of that key: this process' own, or the one of whoever was first."""
        leases = self._here()
        holder = secrets.token_hex(8).encode()
        try:
            elected: bytes = await self._store._spend(Step(scripts.LEASE, (key,), (holder, _LASTS)), budget)
        except BaseException:  # it may have been given all the same
            leases.end(key, holder, Word.AGAIN)
            raise
        return leases.held(key, holder) if elected == holder else Awaited(leases, key, elected)

    def _here(self) -> LoopLeases:
        loop = asyncio.get_running_loop()
        leases = self._loops.get(loop)
        if leases is None:
            for other in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(other, None)
            leases = self._loops[loop] = LoopLeases(self._store._take, self._store.way, self._store.names)
        return leases

    def forget_parent(self) -> None:
        """In a forked child: what the parent holds and reads is the parent's."""
        _INHERITED.append(self._loops)
        self._loops = {}

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop."""
        leases = self._loops.pop(asyncio.get_running_loop(), None)
        if leases is not None:
            await leases.aclose()


_INHERITED: list[object] = []  # connections of a parent process: closing them would disturb its event loop
