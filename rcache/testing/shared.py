"""What stands in for Redis in a fleet: one embedded store, and the log that near caches of nodes follow.

It obeys the rules of the real one: a record names what was purged or held before whoever did it is told so; strict writers
wait until every live node has read it, and where one is cut off until its lease is over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

from rcache.core.configuration import Near
from rcache.core.entry import Entry, Found, Missing, Purge
from rcache.core.errors import BackendError
from rcache.core.keys import Carrier, Key
from rcache.core.log import Head, Record
from rcache.core.schemes import Scheme, Schemes
from rcache.engine.near_store import NearStore
from rcache.ports import Ask, Budget, Lease, Told
from rcache.stores.memory import MemoryStore
from rcache.testing.clock import HandClock


class Shared:
    """The store, its log, and the nodes that follow it."""

    def __init__(self, clock: HandClock, *, near: Near | None, near_lease: float, **bounds: Any) -> None:
        self.clock = clock
        self.memory = MemoryStore(clock=clock, **bounds)
        self.is_strict = near == "strict"
        self.near_lease = near_lease
        self.is_prompt = True  # records are read at once
        self.records: list[Record] = []
        self.nodes: list[NearNode] = []

    @property
    def head(self) -> Head:
        """The end of the log."""
        start = self.memory.start
        return Head(start.epoch, self._last, start.number, self.clock.time())

    @property
    def _last(self) -> int:
        return self.records[-1].number if self.records else 0

    def log(self, kind: str, changes: list[list[str]]) -> None:
        """Tells the nodes, those at once that may not be late."""
        start = self.memory.start
        number = max(start.number, self._last + 1)
        self.records.append(Record(start.epoch, number, self._last, kind, changes, self.is_strict))
        for node in self.nodes:
            if self.is_prompt or self.is_strict:
                node.read()
        if self.is_strict:
            # Whoever is cut off is waited for until its lease is over, and it serves nothing near any more.
            self.advance(max([0.0, *(node.left for node in self.nodes if node.way.is_cut)]))

    def advance(self, passed: float) -> None:
        """Lets a time pass, in which nodes renew their leases, but those that are cut off or behind."""
        for node in self.nodes:
            node.renew(passed)
        self.clock.advance(passed)


class Way:
    """One node's way to the shared store: `rcache.ports.Store` without anything kept near."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.embedded = shared.memory
        self.is_cut = False

    @property
    def is_down(self) -> bool:
        """Whether the node is cut off."""
        return self.is_cut

    def _reach(self) -> MemoryStore:
        if self.is_cut:
            raise BackendError("this node is cut off from the store (Fleet.partition)")
        return self.embedded

    def at_hand(self, key: Key) -> None:
        """Nothing: asking takes a trip."""

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """As the store has it."""
        return await self._reach().lookup(ask, budget)

    async def lease(self, ask: Ask, names: tuple[str, ...], budget: Budget) -> Lease | None:
        """Nobody is waited for: a test would have to run two nodes at once."""
        return None

    async def store(
        self, ask: Ask, names: tuple[str, ...], entry: Entry, budget: Budget, schemes: Collection[Scheme] = ()
    ) -> bool:
        """As the store has it."""
        return await self._reach().store(ask, names, entry, budget, schemes)

    async def hold(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """Holds, and tells."""
        return self.hold_sync(tags, transaction, lasts, timeout, tables, is_known)

    def hold_sync(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """Holds, and tells."""
        schemes = self._reach().hold_sync(tags, transaction, lasts, timeout, tables, is_known)
        self.shared.log("hold", [[tag, transaction] for tag in tags])
        return schemes

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """Releases, and tells."""
        self.release_sync(tags, transaction, timeout)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """Releases, and tells."""
        self._reach().release_sync(tags, transaction, timeout)
        self.shared.log("release", [[tag, transaction] for tag in tags])

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        """Purges, and tells."""
        return self.purge_sync(tags, timeout, transaction, tables)

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        """Purges, and tells."""
        purge = self._reach().purge_sync(tags, timeout, transaction, tables)
        self.shared.log("purge", [[tag] for tag in tags])
        return purge

    async def soften(self, tags: Sequence[str], timeout: float) -> Purge:
        """Makes stale, and tells: what is kept near has to be looked up anew."""
        return self.soften_sync(tags, timeout)

    def soften_sync(self, tags: Sequence[str], timeout: float) -> Purge:
        """Makes stale, and tells."""
        purge = self._reach().soften_sync(tags, timeout)
        self.shared.log("purge", [[tag] for tag in tags])
        return purge

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """Purges everything, and tells."""
        purge = self._reach().flush_sync(timeout)
        self.shared.log("flush", [])
        return purge

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """The store of a fleet loses nothing while it stands."""

    def watch_burials(self, buried: Callable[[Sequence[str], Purge], None]) -> None:
        """As the store has it."""
        self.embedded.watch_burials(buried)

    def tell_freed(self, told: Told | None, *, by_others: bool = False) -> None:
        """As the store has it: of several nodes the last that asked is told."""
        self.embedded.tell_freed(told)

    async def sweep(self) -> int:
        """As the store has it."""
        return await self._reach().sweep()

    def carriers(self, tag: str) -> AsyncIterator[Sequence[Carrier]]:
        """As the store has it."""
        return self._reach().carriers(tag)

    async def aclose(self) -> None:
        """Others may still use the store."""

    def close(self) -> None:
        """Others may still use the store."""


class NearNode(NearStore):
    """A node's near cache, which reads the log when it is told to: no thread, no waiting."""

    def __init__(self, way: Way, *, max_bytes: int, lease: float, is_strict: bool, clock: HandClock) -> None:
        super().__init__(way, _nobody, max_bytes=max_bytes, lease=lease, is_strict=is_strict, clock=clock)
        self.way = way
        self._until = float("-inf")  # when its lease ends
        way.shared.nodes.append(self)

    @property
    def left(self) -> float:
        """Seconds for which it may go on serving what it keeps near."""
        return self._until - self.way.shared.clock.boottime()

    def follow(self) -> Any:
        """Joins at the head of the log, where it does not follow it; called before each look-up that takes a trip."""
        if not self.near.is_alive and not self.way.is_cut:
            self._join()

    def _join(self) -> None:
        shared = self.way.shared
        self.near.join(shared.head, shared.clock.boottime(), shared.near_lease)
        self._until = shared.clock.boottime() + shared.near_lease

    def read(self) -> None:
        """Reads the log to its end, and renews its lease; where that is over, it begins anew with nothing."""
        if self.way.is_cut:
            return
        behind = [record for record in self.way.shared.records if record.number > self.near.tail]
        if not self.near.is_alive or not self.near.apply(behind):
            self._join()
        else:
            self.renew()

    def renew(self, ahead: float = 0.0) -> None:
        """The lease goes on from now, or from that many seconds later, if all of the log has been read."""
        shared, head = self.way.shared, self.way.shared.head
        sent = shared.clock.boottime() + ahead
        if not self.way.is_cut and self.near.renew(head._replace(now=head.now + ahead), sent, shared.near_lease):
            self._until = sent + shared.near_lease

    def _stop(self) -> None:
        self.near.doubt()
        self._until = float("-inf")


def _nobody() -> Any:
    raise AssertionError("a fleet follows its log by hand")
