"""`invalidate`: from tags to a purge that has landed, or is known not to have.

The promise begins when the call returns with `landed=True`: a request that begins then is not answered, on any node, from an
entry that carries one of the tags and was begun before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.engine.journal import Journal
from rcache.ports import Store

logger = logging.getLogger("rcache")

OnOutage = Literal["proceed", "abort"]


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

    def __init__(self, store: Store, *, timeout: float, on_outage: OnOutage, before: Callable[[], None]) -> None:
        self._store = store
        self._timeout = timeout
        self._on_outage = on_outage
        self._before = before
        self._running: set[asyncio.Task[Purge]] = set()
        self.journal = Journal(lambda tags, seconds: store.purge_sync(tags, seconds, probe=True), timeout)

    async def purge(self, tags: tuple[str, ...], *, wait: bool = True) -> Purged:
        """Returns once the purge has landed, or after `timeout` seconds (none while the breaker is open)."""
        self._before()
        if not wait:
            return self._later(tags)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        was_down = self._store.is_down
        if not was_down and not self.journal.waiting:
            try:
                return _landed(tags, await self._shielded(tags))
            except BackendError as error:
                logger.debug("purge of %s goes to the journal: %s", tags, error)
        ticket = self.journal.add(tags)
        patience = 0.0 if was_down else deadline - loop.time()
        purge = await self.journal.wait_async(ticket, patience) if patience > 0 else self.journal.landed(ticket)
        return self._outcome(tags, purge)

    def purge_sync(self, tags: tuple[str, ...], *, wait: bool = True) -> Purged:
        """`purge` for code without an event loop; on a loop's thread it blocks for one trip."""
        self._before()
        if not wait:
            return self._later(tags)
        deadline = time.monotonic() + self._timeout
        was_down = self._store.is_down
        if not was_down and not self.journal.waiting:
            try:
                return _landed(tags, self._store.purge_sync(tags, self._timeout))
            except BackendError as error:
                logger.debug("purge of %s goes to the journal: %s", tags, error)
        ticket = self.journal.add(tags)
        patience = 0.0 if was_down else max(0.0, deadline - time.monotonic())
        return self._outcome(tags, self.journal.wait(ticket, patience))

    def _later(self, tags: tuple[str, ...]) -> Purged:
        self.journal.add(tags)
        return Purged(tags, 0, None, landed=False)

    def _outcome(self, tags: tuple[str, ...], purge: Purge | None) -> Purged:
        if purge is not None:
            return _landed(tags, purge)
        if self._on_outage == "abort":
            raise BackendError(
                f"the purge of {list(tags)} has not landed: the store cannot be reached; it is sent until it lands"
            )
        logger.warning(
            "the purge of %s has not landed yet: the store cannot be reached; it is sent until it lands", list(tags)
        )
        return Purged(tags, 0, None, landed=False)

    async def _shielded(self, tags: tuple[str, ...]) -> Purge:
        """The purge is carried out to its end even where its caller is cancelled; only then is the caller let go."""
        task = asyncio.ensure_future(self._store.purge(tags, self._timeout))
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
            # A loop that ends cancels the task too, and then nobody knows whether the purge has landed.
            if task.cancelled() or task.exception() is not None:
                self.journal.add(tags)
            raise

    async def aclose(self) -> None:
        """Waits for what is under way, and gives the journal its last chance."""
        loop = asyncio.get_running_loop()
        mine = {task for task in tuple(self._running) if task.get_loop() is loop}
        if mine:
            await asyncio.wait(mine, timeout=self._timeout)
        if self.journal.waiting:
            await asyncio.to_thread(self.journal.close, self._timeout)

    def close(self) -> None:
        """`aclose` where no loop runs."""
        if self.journal.waiting:
            self.journal.close(self._timeout)


def _landed(tags: tuple[str, ...], purge: Purge) -> Purged:
    return Purged(tags, purge.entries, purge.number, landed=True)
