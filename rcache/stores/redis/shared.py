"""What stores on Redis have in common, on one server or on a Cluster: all that needs no knowledge of where keys lie."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from rcache.core.entry import AtHand, Purge, Start
from rcache.core.errors import ConfigurationError
from rcache.core.keys import Carrier, Key, RedisNames, shard_of
from rcache.core.schemes import Schemes
from rcache.ports import Ask, Budget, Told
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Way
from rcache.stores.redis.board import RedisBoard
from rcache.stores.redis.inspector import RedisInspector
from rcache.stores.redis.leases import Awaited, Held, Leases
from rcache.stores.redis.log import RedisLog
from rcache.stores.redis.places import SPOTS, Place, Places, Spot
from rcache.stores.redis.reach import Reach
from rcache.stores.redis.records import Decoded
from rcache.stores.redis.scripts import pack
from rcache.stores.redis.steps import Steps
from rcache.stores.redis.sweeper import SLICE
from rcache.stores.redis.wire import Counters

ATTEMPTS = 3  # a URL's names are asked for again when another node came to know more of them
_NAMESPACE = re.compile(r"[^\s{}\x00-\x1f\x7f]+")
_STORES: weakref.WeakSet[SharedStore[Any]] = weakref.WeakSet()

REASONS = {
    b"absent": "absent",
    b"damaged": "damaged",
    b"former": "lost",
    b"held": "held",
    b"purged": "purged",
    b"quarantine": "quarantine",
    b"vary": "absent",
}
"""What a verdict of a script is called in a `Missing`."""

S = TypeVar("S")  # what a step is
T = TypeVar("T")


class AnyTrips(Protocol):
    """Every way of a store to its servers."""

    counters: Counters

    @property
    def is_down(self) -> bool:
        """A breaker is open: calls fail at once, but for a probe now and then."""
        ...

    async def swept(self) -> int:
        """Returns when this loop has freed the bytes of what it purged: how many entries."""
        ...

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and locks may be held by threads that are not here."""
        ...

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop, and of what belongs to none. It opens again when it is used."""
        ...

    def close(self) -> None:
        """`aclose` where no loop runs. Connections of a running loop end with it."""
        ...


class SharedStore(ABC, Generic[S]):
    """Most of `rcache.ports.Store`. Opens by itself, in each loop and thread that uses it."""

    way: Way
    """To the server of the sequence, the log and the nodes."""

    def __init__(
        self,
        *,
        namespace: str = "rcache",
        max_variants: int = 32,
        max_marks: int = 1_000_000,
        shards: int = 1,
        quarantine: float = 20.0,
        is_strict: bool = False,
        near_lease: float = 2.0,
    ) -> None:
        """`quarantine`: the longest hold, in seconds. `is_strict`: writes wait for the near caches of live nodes, even where
        the server does not know any more that there are some; `near_lease` is then how long one may live unseen."""
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigurationError(f"namespace {namespace!r}: leave out braces, blanks and control characters")
        if min(max_variants, max_marks, shards) < 1:
            raise ConfigurationError("max_variants, max_marks and shards must be at least 1")
        self.max_variants = max_variants
        self.max_marks = max_marks
        self.shards = shards
        self.quarantine = quarantine
        self.is_strict = is_strict
        self.near_lease = near_lease
        self.names = RedisNames(namespace)
        self.table_script = scripts.TABLE
        self.strike_script = scripts.STRIKE
        self.epoch = b""  # that the sequence was last seen in
        self._sequence = self.names.sequence.encode()
        self._places = Places(self.names)
        self._watchers: list[Callable[[], None]] = []
        self._undertakers: list[Callable[[Sequence[str], Purge], None]] = []
        self._last: tuple[bytes, bytes, Start] | None = None
        self._decoded = Decoded()
        self._leases = Leases(self)
        self.listener: Told | None = None
        self._is_swept_by_others = False
        _STORES.add(self)

    @property
    @abstractmethod
    def _ways(self) -> AnyTrips: ...

    @property
    def is_down(self) -> bool:
        """A breaker is open: calls fail at once, but for a probe now and then."""
        return self._ways.is_down

    @property
    def counters(self) -> Counters:
        """What the store has done."""
        return self._ways.counters

    @property
    def trips(self) -> int:
        """Pipelines sent to Redis, without those that open a connection."""
        return self.counters.trips

    @property
    def damaged(self) -> int:
        """Entries that were found but could not be read, or were somebody else's."""
        return self.counters.damaged

    def at_hand(self, key: Key) -> AtHand | None:
        """None: every answer takes a trip."""
        return None

    # Reading

    def _spot(self, place: Place, names: tuple[str, ...], variant: bytes) -> Spot:
        spot = place.spots.get((names, variant))
        if spot is None:
            key = self._places.entry(place, variant)
            spot = Spot(key, variant, self._question(place, key, names, b""))
            if len(place.spots) >= SPOTS:
                place.spots.clear()
            place.spots[names, variant] = spot
        return spot

    @abstractmethod
    def _question(self, place: Place, key: bytes, names: tuple[str, ...], held: bytes) -> bytes:
        """The packed command of a lookup; it is the same for each hit of an entry."""

    def _start_of(self, epoch: bytes, number: bytes) -> Start:
        """The sequence as Redis told it. Between two purges it stays the same."""
        last = self._last
        if last is None or last[0] != number or last[1] != epoch:
            last = self._last = number, epoch, Start(epoch.decode(), int(number))
        return last[2]

    async def lease(self, ask: Ask, names: tuple[str, ...], budget: Budget) -> Held | Awaited:
        """Elects the node that makes what a look-up of `ask` missed under `names`."""
        place = self._places.of(ask)
        return await self._leases.take(self._places.lease(place, ask.variant(names) if names else b""), budget)

    # What this process knows of the server

    def log(self) -> RedisLog:
        """A way to the log, for a node that keeps entries near."""
        return RedisLog(self.way, self.names, max(1.0, self.near_lease))

    def board(self) -> RedisBoard:
        """Where a node leaves what it counted."""
        return RedisBoard(self.way, self.names)

    def inspector(self) -> RedisInspector:
        """What looks into the store."""
        return RedisInspector(self._reach(), self.names, self.shards)

    @abstractmethod
    def _reach(self) -> Reach:
        """A way to the data for those who look at it."""

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """`changed` is called, in whatever thread notices it, when what this process knew of the server may be lost."""
        self._watchers.append(changed)

    def watch_burials(self, buried: Callable[[Sequence[str], Purge], None]) -> None:
        """`buried` is called when this process has purged tags for a writer whose hold ran out."""
        self._undertakers.append(buried)

    def _buried(self, tags: Sequence[str], purge: Purge) -> None:
        for buried in self._undertakers:
            buried(tags, purge)

    def enter(self, epoch: bytes) -> None:
        """Notes the epoch that a reply told: whoever has seen one knows that there is something to lose."""
        if not epoch or epoch == self.epoch:
            return
        is_first, self.epoch = not self.epoch, epoch
        if not is_first:
            for changed in self._watchers:
                changed()

    # What writers do

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
        return await self._carry_out(self._holding(tags, transaction, lasts, tables, is_known), timeout)

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
        return self._carry_out_sync(self._holding(tags, transaction, lasts, tables, is_known), timeout)

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """What the transaction held is good again: it changed nothing."""
        await self._carry_out(self._releasing(tags, transaction), timeout)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """`release`, from any thread."""
        self._carry_out_sync(self._releasing(tags, transaction), timeout)

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by anybody after this returned."""
        purged = await self._carry_out(self._purging(tags, transaction, tables), timeout)
        if purged.entries and not self._is_swept_by_others:
            self._sweep(tags)
        return purged

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        """`purge`, from any thread, with no event loop. A probe goes out even while the breaker is open."""
        purged = self._carry_out_sync(self._purging(tags, transaction, tables), timeout, probe)
        if purged.entries and not self._is_swept_by_others:
            self._sweep_later(tags)
        return purged

    async def soften(self, tags: Sequence[str], timeout: float) -> Purge:
        """What carries one of `tags`, and was started before, is stale for everybody who looks it up after this returned."""
        return await self._carry_out(self._softening(tags), timeout)

    def soften_sync(self, tags: Sequence[str], timeout: float) -> Purge:
        """`soften`, from any thread, with no event loop."""
        return self._carry_out_sync(self._softening(tags), timeout)

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """No entry that was started before is used by anybody after this returned."""
        return self._carry_out_sync(self._flushing(), timeout, probe)

    @abstractmethod
    def _holding(
        self, tags: Sequence[str], transaction: str, lasts: float, tables: Sequence[str], is_known: bool
    ) -> Steps[S, Schemes]: ...

    @abstractmethod
    def _releasing(self, tags: Sequence[str], transaction: str) -> Steps[S, None]: ...

    @abstractmethod
    def _purging(self, tags: Sequence[str], transaction: str = "", tables: Sequence[str] = ()) -> Steps[S, Purge]: ...

    @abstractmethod
    def _softening(self, tags: Sequence[str]) -> Steps[S, Purge]: ...

    @abstractmethod
    def _flushing(self) -> Steps[S, Purge]: ...

    @abstractmethod
    def _sweep(self, tags: Sequence[str]) -> None:
        """Begins to free what a purge of these tags killed."""

    @abstractmethod
    def _sweep_later(self, tags: Sequence[str]) -> None:
        """The same, for the next call that has an event loop."""

    @abstractmethod
    def _sweep_all(self) -> None:
        """Begins to free whatever waits for that."""

    @abstractmethod
    async def _read(self, commands: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        """The replies to commands, each told with the key that it reads."""

    # What purges killed, and what they would

    def tell_freed(self, told: Told | None, *, by_others: bool = False) -> None:
        """`told` hears of the entries whose bytes are freed here, slice by slice."""
        self.listener = told
        self._is_swept_by_others = by_others

    async def sweep(self) -> int:
        """Frees the bytes of what purges killed, unless somebody else does at this moment; how many entries that were."""
        self._sweep_all()
        return await self._ways.swept()

    async def carriers(self, tag: str) -> AsyncIterator[Sequence[Carrier]]:
        """The entries that carry `tag`, slice by slice."""
        registry = self.names.registry(shard_of(tag, self.shards), tag).encode()
        begin = 0
        while True:
            span = (b"%d" % begin, b"%d" % (begin + SLICE - 1))
            (members,) = await self._read([(registry, pack((b"ZRANGE", registry, *span)))])
            asked = [(member, pack((b"HMGET", member, b"key", b"variant"))) for member in members]
            yield _carriers(await self._read(asked))
            if len(members) < SLICE:
                return
            begin += SLICE

    # How steps are taken

    @abstractmethod
    async def _take(self, step: S, timeout: float) -> Any:
        """Carries out one step."""

    @abstractmethod
    def _take_sync(self, step: S, timeout: float, probe: bool) -> Any:
        """Carries out one step, without an event loop."""

    @abstractmethod
    async def _spend(self, step: S, budget: Budget) -> Any:
        """Carries out one step in what is left of a request's time."""

    async def _carry_out(self, steps: Steps[S, T], timeout: float) -> T:
        return await _taken(steps, lambda step: self._take(step, timeout))

    async def _carry_out_within(self, steps: Steps[S, T], budget: Budget) -> T:
        return await _taken(steps, lambda step: self._spend(step, budget))

    def _carry_out_sync(self, steps: Steps[S, T], timeout: float, probe: bool = False) -> T:
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, float):
                time.sleep(step)
                reply = None
            else:
                reply = self._take_sync(step, timeout, probe)

    # Ending

    async def swept(self) -> None:
        """Returns when this loop has freed the bytes of what it purged."""
        await self._ways.swept()

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and locks may be held by threads that are not here."""
        self._leases.forget_parent()
        self._ways.forget_parent()
        self._decoded = Decoded()

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop, and of what belongs to none. It opens again when it is used."""
        await self._leases.aclose()
        await self._ways.aclose()

    def close(self) -> None:
        """`aclose` where no loop runs. Connections of a running loop end with it."""
        self._ways.close()


async def _taken(steps: Steps[S, T], take: Callable[[S], Awaitable[Any]]) -> T:
    reply = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        if isinstance(step, float):
            await asyncio.sleep(step)
            reply = None
        else:
            reply = await take(step)


def _carriers(told: Sequence[Any]) -> list[Carrier]:
    """What entries are stored under; those that have gone, or cannot be read, are left out."""
    carriers = []
    for reply in told:
        if isinstance(reply, list) and None not in reply:
            with contextlib.suppress(ValueError):
                carriers.append(Carrier(Key.read(reply[0]), reply[1]))
    return carriers


def _forget_parents() -> None:
    for store in list(_STORES):
        store.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
