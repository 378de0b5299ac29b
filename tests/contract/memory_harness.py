"""What the contract suite needs of the embedded store: the same faults as Redis meets, made to happen in its own data."""

from __future__ import annotations

from typing import Any

from rcache.core.keys import shard_of
from rcache.stores.memory import MemoryStore
from tests.support import HandClock


class MemoryHarness:
    """Makes a store, and does to its data what time and faults do to another's."""

    has_hand_clock = True

    store_class = MemoryStore

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store: MemoryStore

    async def make(self, **settings: Any) -> MemoryStore:
        """A store, which the methods below are about from now on."""
        self.store = self.store_class(clock=self.clock, **settings)
        return self.store

    async def second(self) -> MemoryStore:
        """Another node on the same data: for a store in this process that is the store."""
        return self.store

    def joined(self) -> None:
        """There is nothing to hear."""

    async def close(self) -> None:
        """Closes the store."""
        await self.store.aclose()

    async def lose_guard(self, tag: str) -> None:
        """The guard that judges `tag` is gone."""
        with self.store._lock:
            self.store._guards.pop(shard_of(tag, self.store.shards), None)
            self.store._changes += 1

    async def new_epoch(self) -> None:
        """What was known may be lost."""
        with self.store._lock:
            self.store._start_epoch(self.clock.time() + self.store.quarantine)

    async def forget_everything(self) -> None:
        """The same: nothing of this store outlives its epoch."""
        await self.new_epoch()

    async def advance(self, seconds: float) -> None:
        """That time passes."""
        self.clock.advance(seconds)
