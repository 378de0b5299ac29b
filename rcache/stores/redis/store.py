"""The store that all nodes share: one trip for a hit, two for a miss with its fill, one for a purge.

What must be true together happens in one script; this module spells what the scripts need, keeps to the deadline, and
checks what comes back. Nothing is decided by what this process remembers.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from rcache.core.codec import CodecError
from rcache.core.entry import AtHand, Entry, Found, Missing, Purge, Start
from rcache.core.errors import ConfigurationError
from rcache.core.keys import Key, RedisNames, shard_of
from rcache.core.vary import merge
from rcache.ports import Ask, Budget
from rcache.stores.redis import scripts, writing
from rcache.stores.redis.address import Way
from rcache.stores.redis.log import RedisLog
from rcache.stores.redis.places import SPOTS, Place, Places, Spot, joined, split
from rcache.stores.redis.records import (
    Decoded,
    Kept,
    Record,
    decode_record,
    encode_record,
    identity,
    spell_guards,
)
from rcache.stores.redis.scripts import Script
from rcache.stores.redis.sentinel import Sentinels
from rcache.stores.redis.trips import FullError, Trips
from rcache.stores.redis.urls import Sharded, Source, Watched, located
from rcache.stores.redis.writing import Steps

ATTEMPTS = 3  # a URL's names are asked for again when another node came to know more of them
_NAMESPACE = re.compile(r"[^\s{}\x00-\x1f\x7f]+")
_STORES: weakref.WeakSet[RedisStore] = weakref.WeakSet()

Arguments = tuple[bytes, ...]
T = TypeVar("T")


class RedisStore:
    """`rcache.ports.Store` on one Redis server, or on the one that sentinels name as the primary.

    Opens by itself, in each loop and thread that uses it.
    """

    def __init__(
        self,
        source: Source,
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
        self.lookup_script = scripts.LOOKUP
        self.store_script = scripts.STORE
        self.purge_script = scripts.PURGE
        self.flush_script = scripts.FLUSH
        self.hold_script = scripts.HOLD
        self.release_script = scripts.RELEASE
        self.repair_script = scripts.REPAIR
        self.table_script = scripts.TABLE
        self.strike_script = scripts.STRIKE
        self._sequence = self.names.sequence.encode()
        self.way = _way(source, self._sequence)
        self._trips = Trips(self.way, self._all_scripts, self.names.sweep.encode())
        self.counters = self._trips.counters
        self._places = Places(self.names)
        self.guards: Arguments = tuple(
            [key.encode() for shard in range(shards) for key in (self.names.guard(shard), self.names.marks(shard))]
        )
        self._keys = 3 + len(self.guards)
        self.epoch = b""  # that the server was last seen in
        self._watchers: list[Callable[[], None]] = []
        self._last: tuple[bytes, bytes, Start] | None = None
        self._is_sweep_due = False
        self._decoded = Decoded()
        _STORES.add(self)

    @property
    def is_down(self) -> bool:
        """The breaker is open: calls fail at once, but for a probe now and then."""
        return self._trips.is_down

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

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """The entry that `ask` selects if it may be used, fresh or not, else the start of a fill."""
        place = self._places.of(ask)
        for _ in range(ATTEMPTS):
            names = place.considered(ask.names)
            spot = self._spot(place, names, ask.variant(names) if names else b"")
            kept = self._decoded.held(spot.key, place.material, spot.variant)
            reply = await self._trips.spend(spot.command if kept is None else kept.command, budget)
            if reply[0] != b"vary":
                break
            place.names = merge(place.names, split(reply[5]))
        entry = None
        if kept is not None and reply[0] == b"same":
            entry = kept.entry
        elif reply[0] == b"hit":
            entry = self._decode(place, spot, names, reply[5:])
            if entry is None:
                reply[0] = b"damaged"
        if entry is None:
            return await self._miss(budget, names, reply)
        _, epoch, number, seconds, microseconds = reply[:5]
        if epoch != self.epoch:
            self._enter(epoch)
        now = int(seconds) + int(microseconds) / 1e6
        start = self._start_of(epoch, number)
        return Found(entry, now, start, names) if entry.gone_at > now else Missing(start, now, "absent", names)

    def _spot(self, place: Place, names: tuple[str, ...], variant: bytes) -> Spot:
        spot = place.spots.get((names, variant))
        if spot is None:
            key = self._places.entry(place, variant)
            spot = Spot(key, variant, self._question(place, key, names, b""))
            if len(place.spots) >= SPOTS:
                place.spots.clear()
            place.spots[names, variant] = spot
        return spot

    def _question(self, place: Place, key: bytes, names: tuple[str, ...], held: bytes) -> bytes:
        """The packed command of a lookup; it is the same for each hit of an entry."""
        keys = (self._sequence, place.vary, key, *self.guards)
        return self.lookup_script.call(self._keys, *keys, joined(names), held)

    def _decode(self, place: Place, spot: Spot, names: tuple[str, ...], record: Record) -> Entry | None:
        """The entry that Redis sent, kept for the next time; None if it is damaged."""
        try:
            entry = decode_record(record, place.material, spot.variant)
        except CodecError:
            return None
        command = self._question(place, spot.key, names, identity(record))
        self._decoded.keep(spot.key, Kept(entry, place.material, spot.variant, command))
        return entry

    async def _miss(self, budget: Budget, names: tuple[str, ...], reply: list[Any]) -> Missing:
        verdict, epoch, number, seconds, microseconds = reply[:5]
        if verdict == b"lost":
            return await self._repair(budget, names)
        if verdict == b"abandoned":
            number = await self._bury(reply[5], budget)
            verdict = b"purged"
        if verdict == b"damaged":
            self.counters.damaged += 1
        if epoch != self.epoch:
            self._enter(epoch)
        start = None if verdict == b"quarantine" else self._start_of(epoch, number)
        return Missing(start, int(seconds) + int(microseconds) / 1e6, _REASONS[verdict], names)

    async def _bury(self, abandoned: bytes, budget: Budget) -> bytes:
        """Purges tags whose holds ran out, as their writers would have; the purge's number."""
        step = writing.purge_step(self, orjson.loads(abandoned))
        reply = await self._trips.spend(step.command, budget)
        if reply[1]:
            self._trips.sweep()
        number: bytes = reply[0]
        return number

    async def _repair(self, budget: Budget, names: tuple[str, ...]) -> Missing:
        """Makes again what was found missing, and tells from when on a fill may be stored."""
        step = writing.repair_step(self)
        reply = await self._trips.spend(step.command, budget)
        epoch, number, is_quarantined, seconds, microseconds = reply
        self._enter(epoch)
        now = int(seconds) + int(microseconds) / 1e6
        if is_quarantined:
            return Missing(None, now, "quarantine", names)
        return Missing(self._start_of(epoch, number), now, "lost", names)

    def log(self) -> RedisLog:
        """A way to the log, for a node that keeps entries near."""
        return RedisLog(self.way, self.names, max(1.0, self.near_lease))

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """`changed` is called, in whatever thread notices it, when what this process knew of the server may be lost."""
        self._watchers.append(changed)

    def _enter(self, epoch: bytes) -> None:
        if not epoch or epoch == self.epoch:
            return
        is_first, self.epoch = not self.epoch, epoch
        if not is_first:
            for changed in self._watchers:
                changed()

    def _start_of(self, epoch: bytes, number: bytes) -> Start:
        """The sequence as Redis told it. Between two purges it stays the same."""
        last = self._last
        if last is None or last[0] != number or last[1] != epoch:
            last = self._last = number, epoch, Start(epoch.decode(), int(number))
        return last[2]

    # Writing

    async def store(self, ask: Ask, names: tuple[str, ...], entry: Entry, budget: Budget) -> bool:
        """Whether the entry was accepted, under the variant that `names` (and those remembered for the URL) select."""
        place = self._places.of(ask)
        guards = spell_guards(self.names, entry.tags, self.shards)
        registries = [
            self.names.registry(shard_of(tag, self.shards), tag).encode() for tag in writing.listed(entry.tags)
        ]
        ends = int(entry.gone_at * 1000)
        for _ in range(ATTEMPTS):
            considered = place.considered(names)
            reply = await self._store_as(ask, place, considered, entry, guards, registries, ends, budget)
            if reply[0] == b"stored":
                place.names = considered
                if self._is_sweep_due:  # what was purged without a loop is swept by the next to have one
                    self._is_sweep_due = False
                    self._trips.sweep()
                return True
            if reply[0] == b"abandoned":
                await self._bury(reply[1], budget)
            if reply[0] != b"vary":
                return False
            place.names = merge(place.names, split(reply[1]))
        return False

    async def _store_as(
        self,
        ask: Ask,
        place: Place,
        names: tuple[str, ...],
        entry: Entry,
        guards: bytes,
        registries: list[bytes],
        ends: int,
        budget: Budget,
    ) -> list[bytes]:
        variant = ask.variant(names) if names else b""
        keys: tuple[bytes, ...] = (
            self._sequence,
            place.vary,
            place.variants,
            self._places.entry(place, variant),
            place.plain,
            *registries,
        )
        record = encode_record(entry, guards, place.material, variant)
        bounds = (b"%d" % self.max_variants, b"%d" % ends)
        command = self.store_script.call(len(keys), *keys, joined(names), *bounds, *record)
        try:
            reply: list[bytes] = await self._trips.spend(command, budget)
        except FullError:
            return [b"full"]
        return reply

    # What writers do

    async def hold(self, tags: Sequence[str], transaction: str, lasts: float, timeout: float) -> None:
        """Nothing that carries one of `tags` is used or stored until `transaction` is over, or `lasts` seconds have passed."""
        await self._carry_out(writing.holding(self, tags, transaction, lasts), timeout)

    def hold_sync(self, tags: Sequence[str], transaction: str, lasts: float, timeout: float) -> None:
        """`hold`, from any thread."""
        self._carry_out_sync(writing.holding(self, tags, transaction, lasts), timeout)

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """What the transaction held is good again: it changed nothing."""
        await self._carry_out(writing.releasing(self, tags, transaction), timeout)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """`release`, from any thread."""
        self._carry_out_sync(writing.releasing(self, tags, transaction), timeout)

    async def purge(self, tags: Sequence[str], timeout: float, transaction: str = "") -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by anybody after this returned."""
        return self._swept(await self._carry_out(writing.purging(self, tags, transaction), timeout))

    def purge_sync(self, tags: Sequence[str], timeout: float, transaction: str = "", *, probe: bool = False) -> Purge:
        """`purge`, from any thread, with no event loop. A probe goes out even while the breaker is open."""
        purged = self._carry_out_sync(writing.purging(self, tags, transaction), timeout, probe)
        if purged.entries:
            self._is_sweep_due = True
        return purged

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """No entry that was started before is used by anybody after this returned."""
        return self._carry_out_sync(writing.flushing(self), timeout, probe)

    async def _carry_out(self, steps: Steps[T], timeout: float) -> T:
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                reply = await self._trips.take(step.command, timeout)

    def _carry_out_sync(self, steps: Steps[T], timeout: float, probe: bool = False) -> T:
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, float):
                time.sleep(step)
            else:
                reply = self._trips.take_sync(step.command, timeout, probe)

    def _swept(self, purged: Purge) -> Purge:
        if purged.entries:
            self._trips.sweep()
        return purged

    async def swept(self) -> None:
        """Returns when this loop has freed the bytes of what it purged."""
        await self._trips.swept()

    def _all_scripts(self) -> tuple[Script, ...]:
        often = (self.lookup_script, self.store_script, self.purge_script, self.hold_script, self.release_script)
        seldom = (self.flush_script, self.repair_script, self.table_script, self.strike_script, scripts.SWEEP)
        return (*often, *seldom)

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and locks may be held by threads that are not here."""
        self._trips.forget_parent()
        self._decoded = Decoded()

    async def aclose(self) -> None:
        """Lets go of what belongs to the running loop, and of what belongs to none. It opens again when it is used."""
        await self._trips.aclose()

    def close(self) -> None:
        """`aclose` where no loop runs. Connections of a running loop end with it."""
        self._trips.close()


_REASONS = {
    b"absent": "absent",
    b"damaged": "damaged",
    b"former": "lost",
    b"held": "held",
    b"purged": "purged",
    b"quarantine": "quarantine",
    b"vary": "absent",
}


def _way(source: Source, sequence: bytes) -> Way:
    place = located(source)
    if isinstance(place, Sharded):
        raise ConfigurationError("a RedisStore lies on one server")
    return Sentinels(place, sequence) if isinstance(place, Watched) else place


def _forget_parents() -> None:
    for store in list(_STORES):
        store.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
