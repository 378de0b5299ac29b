"""A store with a near cache before it."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import cast

from rcache.clock import Clock
from rcache.core.entry import AtHand, Entry, Found, Missing, Purge
from rcache.core.keys import Carrier, Key
from rcache.core.schemes import Scheme, Schemes
from rcache.engine.follower import Follower
from rcache.engine.near_cache import NearCache
from rcache.ports import Ask, Budget, Lease, Log, Store, Sweeps, Told

_STORES: weakref.WeakSet[NearStore] = weakref.WeakSet()
_INHERITED: list[object] = []  # what a parent process follows its log with: closing it would disturb the parent


class NearStore:
    """`rcache.ports.Store`: answers from this process what it may, and asks the store for everything else.

    What a look-up found is kept; a fill is found by the next look-up, which knows all names that select among variants. The
    thread that follows the log starts on first use, in each process.
    """

    def __init__(
        self,
        store: Store,
        log: Callable[[], Log],
        *,
        max_bytes: int,
        lease: float,
        is_strict: bool,
        clock: Clock,
    ) -> None:
        """`log` makes a way to the log of `store`. With `is_strict` writers wait for this node."""
        self.store_behind = store
        self.near = NearCache(max_bytes, clock)
        self._make_log = log
        self._lease = lease
        self._is_strict = is_strict
        self._clock = clock
        self._follower: Follower | None = None
        self._lock = threading.Lock()
        _STORES.add(self)

    @property
    def is_down(self) -> bool:
        """The breaker is open: calls fail at once."""
        return self.store_behind.is_down

    def follow(self) -> Follower:
        """Whoever follows the log here; begins where nobody does."""
        follower = self._follower
        if follower is None or not follower.is_alive:
            with self._lock:
                follower = self._follower
                if follower is None or not follower.is_alive:
                    follower = self._follower = Follower(
                        self.near,
                        self._make_log(),
                        lease=self._lease,
                        is_strict=self._is_strict,
                        clock=self._clock,
                    )
        return follower

    def at_hand(self, key: Key) -> AtHand | None:
        """What is kept of a URL without variants, while it is fresh."""
        return self.near.at_hand(key)

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """The entry that `ask` selects if it may be used, fresh or not, else the start of a fill."""
        found: Found | Missing | None = self.near.find(ask)
        if found is None:
            self.follow()
            found = await self.store_behind.lookup(ask, budget)
            if isinstance(found, Found):
                self.near.keep(ask, found)
        return found

    async def lease(self, ask: Ask, names: tuple[str, ...], budget: Budget) -> Lease | None:
        """Elects the node that makes what a look-up missed."""
        return await self.store_behind.lease(ask, names, budget)

    async def store(
        self,
        ask: Ask,
        names: tuple[str, ...],
        entry: Entry,
        budget: Budget,
        schemes: Collection[Scheme] = (),
    ) -> bool:
        """Whether the entry was accepted."""
        is_accepted = await self.store_behind.store(ask, names, entry, budget, schemes)
        if is_accepted:
            self.near.replaced(ask.key)
        return is_accepted

    async def hold(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """Nothing that carries one of `tags` is used or stored until `transaction` is over, or `lasts` seconds have passed."""
        return await self.store_behind.hold(tags, transaction, lasts, timeout, tables, is_known)

    def hold_sync(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """`hold`, from any thread."""
        return self.store_behind.hold_sync(tags, transaction, lasts, timeout, tables, is_known)

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """What the transaction held is good again."""
        await self.store_behind.release(tags, transaction, timeout)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """`release`, from any thread."""
        self.store_behind.release_sync(tags, transaction, timeout)

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by this process after this returned."""
        purge = await self.store_behind.purge(tags, timeout, transaction, tables)
        self.near.purged(tags, purge.number)
        return purge

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        """`purge`, from any thread."""
        purge = self.store_behind.purge_sync(tags, timeout, transaction, tables, probe=probe)
        self.near.purged(tags, purge.number)
        return purge

    async def soften(self, tags: Sequence[str], timeout: float) -> Purge:
        """What carries one of `tags`, and was started before, is stale in this process after this returned."""
        purge = await self.store_behind.soften(tags, timeout)
        self.near.purged(tags, purge.number)
        return purge

    def soften_sync(self, tags: Sequence[str], timeout: float) -> Purge:
        """`soften`, from any thread."""
        purge = self.store_behind.soften_sync(tags, timeout)
        self.near.purged(tags, purge.number)
        return purge

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """No entry that was started before is used by this process after this returned."""
        purge = self.store_behind.flush_sync(timeout, probe=probe)
        self.near.flushed(purge.number)
        return purge

    def tell_freed(self, told: Told | None, *, by_others: bool = False) -> None:
        """`told` hears of the entries whose bytes are freed in the store."""
        cast("Sweeps", self.store_behind).tell_freed(told, by_others=by_others)

    async def sweep(self) -> int:
        """Frees the bytes of what purges killed in the store."""
        return await cast("Sweeps", self.store_behind).sweep()

    def carriers(self, tag: str) -> AsyncIterator[Sequence[Carrier]]:
        """The entries that carry `tag` in the store."""
        return cast("Sweeps", self.store_behind).carriers(tag)

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """`changed` is called when what this process knew of the store may be lost."""
        self.store_behind.watch_epoch(changed)

    def watch_burials(self, buried: Callable[[Sequence[str], Purge], None]) -> None:
        """`buried` is called when this process has purged tags for a writer whose hold ran out."""
        self.store_behind.watch_burials(buried)

    async def aclose(self) -> None:
        """Lets go of what is kept, and of everything that belongs to the running loop. It opens again when it is used."""
        if self._follower is not None:
            await asyncio.to_thread(self._stop)
        await self.store_behind.aclose()

    def close(self) -> None:
        """`aclose` where no loop runs."""
        self._stop()
        self.store_behind.close()

    def _stop(self) -> None:
        with self._lock:
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()

    def forget_parent(self) -> None:
        """In a forked child: the parent's thread is not here, and its node is the parent's."""
        _INHERITED.append(self._follower)
        self._lock = threading.Lock()
        self._follower = None
        self.near.forget_parent()


def _forget_parents() -> None:
    for store in list(_STORES):
        store.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
