"""`invalidate`: from tags to a purge that has landed, or is known not to have.

The promise begins when the call returns with `landed=True`: a request that begins then is not answered, on any node, from an
entry that carries one of the tags and was begun before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rcache import logs
from rcache.core.configuration import OnOutage
from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.core.schemes import NO_EFFECT, Effect
from rcache.core.tags import listed
from rcache.engine.journal import Journal
from rcache.engine.known import Known
from rcache.engine.watching import watched, watched_sync
from rcache.ports import Observer, Store

T = TypeVar("T")

REPLAYED = 10.0  # seconds: what landed so shortly before a failover may be missing where the new primary begins
MOST_REPLAYED = 1000  # purges


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did.

    `entries` is an upper bound, taken from the sizes of the registries: an exact count would take as long as there are
    entries. `sequence` is the purge's number, None until it has landed.
    """

    tags: tuple[str, ...]
    entries: int
    sequence: int | None
    landed: bool


class Purger:
    """Sends purges; what cannot land now goes to the journal."""

    def __init__(
        self,
        store: Store,
        *,
        timeout: float,
        on_outage: OnOutage,
        before: Callable[[], None],
        max_pending: int = 100_000,
    ) -> None:
        self.timeout = timeout
        self.on_outage = on_outage
        self.observer: Observer | None = None
        self.known = Known()
        self._store = store
        self._before = before
        self._running: set[asyncio.Task[Any]] = set()
        self._recent: deque[tuple[float, tuple[str, ...]]] = deque(maxlen=MOST_REPLAYED)
        self.journal = Journal(self._send, self._flush, timeout, max_pending)
        store.watch_epoch(self._replay)

    @watched
    async def purge(
        self, tags: tuple[str, ...], *, wait: bool = True, transaction: str = "", effect: Effect = NO_EFFECT
    ) -> Purged:
        """Returns once the purge has landed, or after `timeout` seconds (none while the breaker is open).

        The transaction's holds on the tags end with it, unless it has to go through the journal: then they run out. With an
        `effect`, what it purges is purged too, also by schemes that only the store knows of.
        """
        self._before()
        widest = _widest(tags, effect)
        if not wait:
            return self._later(widest)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        was_down = self._store.is_down
        if not was_down and not self.journal.waiting:
            try:
                return await self._shielded(tags, transaction, effect)
            except BackendError as error:
                logs.PURGE_JOURNALLED.tell(tags=listed(tags), error=str(error))
        ticket = self.journal.add(widest)
        patience = 0.0 if was_down else deadline - loop.time()
        purge = await self.journal.wait_async(ticket, patience) if patience > 0 else self.journal.landed(ticket)
        return self._outcome(widest, purge)

    @watched_sync
    def purge_sync(
        self, tags: tuple[str, ...], *, wait: bool = True, transaction: str = "", effect: Effect = NO_EFFECT
    ) -> Purged:
        """`purge` for code without an event loop; on a loop's thread it blocks for one trip."""
        self._before()
        widest = _widest(tags, effect)
        if not wait:
            return self._later(widest)
        deadline = time.monotonic() + self.timeout
        was_down = self._store.is_down
        if not was_down and not self.journal.waiting:
            try:
                tags = self._guessed(tags, effect)
                purge = self._store.purge_sync(tags, self.timeout, *_ending(transaction, effect.tables))
                more = self._unknown(tags, effect, purge)
                further = self._store.purge_sync(more, self.timeout, *_ending(transaction)) if more else None
                return self._landed(tags, effect, purge, more, further)
            except BackendError as error:
                logs.PURGE_JOURNALLED.tell(tags=listed(tags), error=str(error))
        ticket = self.journal.add(widest)
        patience = 0.0 if was_down else max(0.0, deadline - time.monotonic())
        return self._outcome(widest, self.journal.wait(ticket, patience))

    @watched
    async def soften(self, tags: tuple[str, ...], *, wait: bool = True) -> Purged:
        """A soft purge. Where the store cannot be reached it goes through the journal, and lands as a hard one."""
        self._before()
        if wait and not self._store.is_down and not self.journal.waiting:
            try:
                return _landed(tags, await self._store.soften(tags, self.timeout))
            except BackendError as error:
                logs.PURGE_JOURNALLED.tell(tags=listed(tags), error=str(error))
        return await self.purge(tags, wait=wait)

    @watched_sync
    def soften_sync(self, tags: tuple[str, ...], *, wait: bool = True) -> Purged:
        """`soften` for code without an event loop."""
        self._before()
        if wait and not self._store.is_down and not self.journal.waiting:
            try:
                return _landed(tags, self._store.soften_sync(tags, self.timeout))
            except BackendError as error:
                logs.PURGE_JOURNALLED.tell(tags=listed(tags), error=str(error))
        return self.purge_sync(tags, wait=wait)

    async def _purge(self, tags: tuple[str, ...], transaction: str, effect: Effect) -> Purged:
        tags = self._guessed(tags, effect)
        purge = await self._store.purge(tags, self.timeout, *_ending(transaction, effect.tables))
        more = self._unknown(tags, effect, purge)
        further = await self._store.purge(more, self.timeout, *_ending(transaction)) if more else None
        return self._landed(tags, effect, purge, more, further)

    def _guessed(self, tags: tuple[str, ...], effect: Effect) -> tuple[str, ...]:
        """All tags that are known to go before the store has told its schemes."""
        return tuple(dict.fromkeys((*tags, *sorted(self.known.tags(effect))))) if effect is not NO_EFFECT else tags

    def _unknown(self, tags: tuple[str, ...], effect: Effect, purge: Purge) -> tuple[str, ...]:
        """The tags that only the store's answer has told of: they are purged before anybody hears that the purge has landed."""
        self.known.learn(purge.schemes)
        return tuple(sorted(effect.made_by(purge.schemes).difference(tags)))

    def _send(self, tags: Sequence[str], timeout: float) -> Purge:
        """The journal's way to the store."""
        purge = self._store.purge_sync(tags, timeout, probe=True)
        self._recent.append((time.monotonic(), tuple(tags)))
        return purge

    def _flush(self, timeout: float) -> Purge:
        self._before()
        return self._store.flush_sync(timeout, probe=True)

    def _landed(
        self, tags: tuple[str, ...], effect: Effect, purge: Purge, more: tuple[str, ...], further: Purge | None
    ) -> Purged:
        self._recent.append((time.monotonic(), _widest(tags, effect)))
        if further is not None:
            purge = Purge(further.number, purge.entries + further.entries)
        return _landed((*tags, *more), purge)

    def _replay(self) -> None:
        """The store may have forgotten what landed last: it is sent again."""
        since = time.monotonic() - REPLAYED
        tags = [tag for at, tags in tuple(self._recent) if at >= since for tag in tags]
        if tags:
            self.journal.add(dict.fromkeys(tags))

    def _later(self, tags: tuple[str, ...]) -> Purged:
        self.journal.add(tags)
        return Purged(tags, 0, None, landed=False)

    def _outcome(self, tags: tuple[str, ...], purge: Purge | None) -> Purged:
        if purge is not None:
            return _landed(tags, purge)
        if self.on_outage == "abort":
            raise BackendError(
                f"the purge of {listed(tags)} has not landed: the store cannot be reached; it is sent until it lands"
            )
        logs.PURGE_PENDING.tell(tags=listed(tags))
        return Purged(tags, 0, None, landed=False)

    async def _shielded(self, tags: tuple[str, ...], transaction: str, effect: Effect) -> Purged:
        """The purge is carried out to its end even where its caller is cancelled; only then is the caller let go."""
        task: asyncio.Task[Purged] = asyncio.ensure_future(self._purge(tags, transaction, effect))
        try:
            return await self.to_the_end(task)
        except asyncio.CancelledError:
            # A loop that ends cancels the task too, and then nobody knows whether the purge has landed.
            if task.cancelled() or task.exception() is not None:
                self.journal.add(_widest(tags, effect))
            raise

    async def to_the_end(self, task: asyncio.Task[T]) -> T:
        """Its result. A caller that is cancelled is let go only when the task has ended, which may be awaited at a close."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError:
                    continue
            if not task.cancelled():
                task.exception()  # seen, whether or not anybody asks for it
            raise

    async def aclose(self) -> None:
        """Waits for what is under way, and gives the journal its last chance."""
        loop = asyncio.get_running_loop()
        mine = {task for task in tuple(self._running) if task.get_loop() is loop}
        if mine:
            await asyncio.wait(mine, timeout=self.timeout)
        if self.journal.waiting:
            await asyncio.to_thread(self.journal.close, self.timeout)

    def close(self) -> None:
        """`aclose` where no loop runs."""
        if self.journal.waiting:
            self.journal.close(self.timeout)


def _ending(transaction: str, tables: tuple[str, ...] = ()) -> tuple[Any, ...]:
    return (transaction, tables) if tables else (transaction,) if transaction else ()


def _widest(tags: tuple[str, ...], effect: Effect) -> tuple[str, ...]:
    """What reaches all that the effect purges where nobody asks the store for its schemes."""
    return tuple(dict.fromkeys((*tags, *effect.widest)))


def _landed(tags: tuple[str, ...], purge: Purge) -> Purged:
    return Purged(tags, purge.entries, purge.number, landed=True)
