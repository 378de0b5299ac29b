"""The store that all nodes share: one trip for a hit, two for a miss with its fill, one for a purge.

What must be true together happens in one script; this module spells what the scripts need, keeps to the deadline, and
checks what comes back. Nothing is decided by what this process remembers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from rcache.core.codec import CodecError
from rcache.core.entry import Entry, Found, Missing, Purge
from rcache.core.errors import ConfigurationError
from rcache.core.keys import shard_of
from rcache.core.reuse import softened
from rcache.core.schemes import MAX_SCHEMES, Scheme, Schemes, needed
from rcache.core.vary import merge
from rcache.ports import Ask, Budget
from rcache.stores.redis import scripts, writing
from rcache.stores.redis.address import Way
from rcache.stores.redis.failures import UnwritableError
from rcache.stores.redis.leases import LEASING
from rcache.stores.redis.places import Place, Spot, joined, split
from rcache.stores.redis.reach import OneReach
from rcache.stores.redis.records import (
    Kept,
    Record,
    decode_record,
    encode_record,
    identity,
    spell_guards,
    spell_schemes,
)
from rcache.stores.redis.rights import Opening, Rights
from rcache.stores.redis.sentinel import Sentinels
from rcache.stores.redis.shared import ATTEMPTS, REASONS, SharedStore
from rcache.stores.redis.steps import Step, Steps
from rcache.stores.redis.sweeper import SLICE_TIMEOUT
from rcache.stores.redis.trips import Trips
from rcache.stores.redis.urls import Sharded, Source, Watched, located


class RedisStore(SharedStore[Step]):
    """`rcache.ports.Store` on one Redis server, or on the one that sentinels name as the primary.

    Opens by itself, in each loop and thread that uses it.
    """

    def __init__(self, source: Source, **settings: Any) -> None:
        """`settings` are those of `SharedStore`."""
        super().__init__(**settings)
        self.lookup_script = scripts.LOOKUP
        self.store_script = scripts.STORE
        self.purge_script = scripts.PURGE
        self.flush_script = scripts.FLUSH
        self.hold_script = scripts.HOLD
        self.release_script = scripts.RELEASE
        self.repair_script = scripts.REPAIR
        self.way = _way(source, self._sequence)
        self._rights = Rights(self.names.sequence)
        sweeping = (self.names.sweep.encode(), self.names.sweeping.encode())
        self._trips = Trips(self.way, self._opening, *sweeping, lambda: self.listener)
        self.guards: tuple[bytes, ...] = tuple(
            [key.encode() for shard in range(self.shards) for key in (self.names.guard(shard), self.names.marks(shard))]
        )
        self._keys = 3 + len(self.guards)
        self._is_sweep_due = False

    @property
    def _ways(self) -> Trips:
        return self._trips

    def _reach(self) -> OneReach:
        return OneReach(self.way)

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
        entry, since = None, ()
        if kept is not None and reply[0] == b"same":
            entry, since = kept.entry, reply[5:]
        elif reply[0] == b"hit":
            entry, since = self._decode(place, spot, names, reply[5:]), reply[14:]
            if entry is None:
                reply[0] = b"damaged"
        if entry is None:
            return await self._miss(budget, names, reply)
        _, epoch, number, seconds, microseconds = reply[:5]
        if epoch != self.epoch:
            self.enter(epoch)
        now = int(seconds) + int(microseconds) / 1e6
        start = self._start_of(epoch, number)
        if since:
            entry = softened(entry, int(since[0]) / 1000)
        return Found(entry, now, start, names) if entry.gone_at > now else Missing(start, now, "absent", names)

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
            self.enter(epoch)
        start = None if verdict == b"quarantine" else self._start_of(epoch, number)
        return Missing(start, int(seconds) + int(microseconds) / 1e6, REASONS[verdict], names)

    async def _bury(self, abandoned: bytes, budget: Budget) -> bytes:
        """Purges tags whose holds ran out, as their writers would have; the purge's number."""
        tags = orjson.loads(abandoned)
        reply = await self._spend(writing.purge_step(self, tags), budget)
        if reply[1]:
            self._trips.sweep()
        number: bytes = reply[0]
        self._buried(tags, Purge(int(number), int(reply[1])))
        return number

    async def _repair(self, budget: Budget, names: tuple[str, ...]) -> Missing:
        """Makes again what was found missing, and tells from when on a fill may be stored."""
        reply = await self._spend(writing.repair_step(self), budget)
        epoch, number, is_quarantined, seconds, microseconds = reply
        self.enter(epoch)
        now = int(seconds) + int(microseconds) / 1e6
        if is_quarantined:
            return Missing(None, now, "quarantine", names)
        return Missing(self._start_of(epoch, number), now, "lost", names)

    # Writing

    async def store(
        self,
        ask: Ask,
        names: tuple[str, ...],
        entry: Entry,
        budget: Budget,
        schemes: Collection[Scheme] = (),
    ) -> bool:
        """Whether the entry was accepted, under the variant that `names` (and those remembered for the URL) select."""
        place = self._places.of(ask)
        for _ in range(ATTEMPTS):
            considered = place.considered(names)
            # An answer that fewer names select matches the requests of all other variants too, and is the most recent
            # (RFC 9111 §4): it alone stays.
            most = self.max_variants if considered == names else 1
            reply = await self._store_as(ask, place, considered, most, entry, schemes, budget)
            if reply[0] == b"stored":
                place.names = considered
                if self._is_sweep_due:  # what was purged without a loop is swept by the next to have one
                    self._is_sweep_due = False
                    self._trips.sweep()
                return True
            if reply[0] == b"abandoned":
                await self._bury(reply[1], budget)
            if reply[0] == b"crowded":
                entry.tags = (*entry.tags, *orjson.loads(reply[1]))
            elif reply[0] == b"vary":
                place.names = merge(place.names, split(reply[1]))
            else:
                return False
        return False

    async def _store_as(
        self,
        ask: Ask,
        place: Place,
        names: tuple[str, ...],
        max_variants: int,
        entry: Entry,
        schemes: Collection[Scheme],
        budget: Budget,
    ) -> list[bytes]:
        variant = ask.variant(names) if names else b""
        listed = writing.listed(entry.tags)
        keys: tuple[bytes, ...] = (
            self._sequence,
            place.vary,
            place.variants,
            self._places.entry(place, variant),
            place.plain,
            *[self.names.registry(shard_of(tag, self.shards), tag).encode() for tag in listed],
        )
        guards = spell_guards(self.names, entry.tags, self.shards)
        record = encode_record(entry, guards, place.material, variant)
        bounds = (b"%d" % max_variants, b"%d" % int(entry.gone_at * 1000))
        enrolled = (spell_schemes(self.names, needed(schemes, entry.tags), self.shards), b"%d" % MAX_SCHEMES)
        command = self.store_script.call(len(keys), *keys, joined(names), *bounds, *record, *enrolled)
        try:
            reply: list[bytes] = await self._trips.spend(command, budget)
        except UnwritableError:
            return [b"full"]
        return reply

    # What writers do

    def _holding(
        self, tags: Sequence[str], transaction: str, lasts: float, tables: Sequence[str], is_known: bool
    ) -> Steps[Step, Schemes]:
        return writing.holding(self, tags, transaction, lasts, tables, is_known)

    def _releasing(self, tags: Sequence[str], transaction: str) -> Steps[Step, None]:
        return writing.releasing(self, tags, transaction)

    def _purging(self, tags: Sequence[str], transaction: str = "", tables: Sequence[str] = ()) -> Steps[Step, Purge]:
        return writing.purging(self, tags, transaction, tables)

    def _softening(self, tags: Sequence[str]) -> Steps[Step, Purge]:
        return writing.softening(self, tags)

    def _flushing(self) -> Steps[Step, Purge]:
        return writing.flushing(self)

    def _sweep_all(self) -> None:
        self._trips.sweep()

    async def _read(self, commands: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        return await asyncio.gather(*[self._trips.read(command, SLICE_TIMEOUT) for _, command in commands])

    def _sweep(self, tags: Sequence[str]) -> None:
        self._trips.sweep()

    def _sweep_later(self, tags: Sequence[str]) -> None:
        self._is_sweep_due = True

    async def _take(self, step: Step, timeout: float) -> Any:
        return await self._trips.take(step.command, timeout)

    def _take_sync(self, step: Step, timeout: float, probe: bool) -> Any:
        return self._trips.take_sync(step.command, timeout, probe)

    async def _spend(self, step: Step, budget: Budget) -> Any:
        return await self._trips.spend(step.command, budget)

    def _opening(self) -> Opening:
        often = (self.lookup_script, self.store_script, self.purge_script, self.hold_script, self.release_script)
        seldom = (
            scripts.SOFTEN,
            self.flush_script,
            self.repair_script,
            self.table_script,
            self.strike_script,
            scripts.SWEEP,
        )
        return Opening((*often, *LEASING, *seldom), self._rights)


def _way(source: Source, sequence: bytes) -> Way:
    place = located(source)
    if isinstance(place, Sharded):
        raise ConfigurationError("a RedisStore lies on one server: a ClusterStore lies on a Redis Cluster")
    return Sentinels(place, sequence) if isinstance(place, Watched) else place
