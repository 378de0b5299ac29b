"""The store that all nodes share: one trip for a hit, two for a miss with its fill, one for a purge.

What must be true together happens in one script; this module spells what the scripts need, keeps to the deadline, and
checks what comes back. Nothing is decided by what this process remembers.
"""

from __future__ import annotations

import os
import re
import secrets
import weakref
from collections.abc import Sequence
from typing import Any

from redis import asyncio as aredis

from rcache.core.codec import CodecError
from rcache.core.entry import Entry, Found, Missing, Purge, Start
from rcache.core.errors import ConfigurationError
from rcache.core.keys import URL_TAG, Key, RedisNames, shard_of
from rcache.core.vary import merge
from rcache.ports import Ask, Budget
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Address
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
from rcache.stores.redis.sweeper import SWEEPS_LAST, SWEEPS_WAITING
from rcache.stores.redis.trips import FullError, Trips

ATTEMPTS = 3  # a URL's names are asked for again when another node came to know more of them
_NAMESPACE = re.compile(r"[^\s{}\x00-\x1f\x7f]+")
_STORES: weakref.WeakSet[RedisStore] = weakref.WeakSet()

Arguments = tuple[bytes, ...]


class RedisStore:
    """`rcache.ports.Store` on one Redis server. Opens by itself, in each loop and thread that uses it."""

    def __init__(
        self,
        url_or_client: str | aredis.Redis,
        *,
        namespace: str = "rcache",
        max_variants: int = 32,
        max_marks: int = 1_000_000,
        shards: int = 1,
        quarantine: float = 20.0,
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigurationError(f"namespace {namespace!r}: leave out braces, blanks and control characters")
        if min(max_variants, max_marks, shards) < 1:
            raise ConfigurationError("max_variants, max_marks and shards must be at least 1")
        self.max_variants = max_variants
        self.max_marks = max_marks
        self.shards = shards
        self.quarantine = quarantine
        self.names = RedisNames(namespace)
        self.lookup_script = scripts.LOOKUP
        self.store_script = scripts.STORE
        self.purge_script = scripts.PURGE
        self.repair_script = scripts.REPAIR
        self._trips = Trips(Address(url_or_client), self._all_scripts, self.names.sweep.encode())
        self.counters = self._trips.counters
        self._places = Places(self.names)
        self._sequence = self.names.sequence.encode()
        self._guards: Arguments = tuple(
            [key.encode() for shard in range(shards) for key in (self.names.guard(shard), self.names.marks(shard))]
        )
        self._keys = 3 + len(self._guards)
        self._epoch = b""
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

    def at_hand(self, key: Key) -> Found | None:
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
        self._epoch = epoch
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
        keys = (self._sequence, place.vary, key, *self._guards)
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
        if verdict == b"damaged":
            self.counters.damaged += 1
        self._epoch = epoch
        start = None if verdict == b"quarantine" else self._start_of(epoch, number)
        return Missing(start, int(seconds) + int(microseconds) / 1e6, _REASONS[verdict], names)

    async def _repair(self, budget: Budget, names: tuple[str, ...]) -> Missing:
        """Makes again what was found missing, and tells from when on a fill may be stored."""
        has_seen = 1 if self._epoch else 0
        arguments = (secrets.token_hex(8).encode(), b"%d" % has_seen, b"%d" % (self.quarantine * 1000))
        command = self.repair_script.call(1 + len(self._guards), self._sequence, *self._guards, *arguments)
        reply = await self._trips.spend(command, budget)
        epoch, number, is_quarantined, seconds, microseconds = reply
        self._epoch = epoch
        now = int(seconds) + int(microseconds) / 1e6
        if is_quarantined:
            return Missing(None, now, "quarantine", names)
        return Missing(self._start_of(epoch, number), now, "lost", names)

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
        registries = [self.names.registry(shard_of(tag, self.shards), tag).encode() for tag in _listed(entry.tags)]
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

    # Purging

    async def purge(self, tags: Sequence[str], timeout: float) -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by anybody after this returned."""
        keys, arguments = self._purging(tags)
        purged = _purged(await self._trips.take(self.purge_script.call(keys, *arguments), timeout))
        if purged.entries:
            self._trips.sweep()
        return purged

    def purge_sync(self, tags: Sequence[str], timeout: float, *, probe: bool = False) -> Purge:
        """`purge`, from any thread, with no event loop. A probe goes out even while the breaker is open."""
        keys, arguments = self._purging(tags)
        purged = _purged(self._trips.take_sync(self.purge_script, keys, arguments, timeout, probe))
        if purged.entries:
            self._is_sweep_due = True
        return purged

    async def swept(self) -> None:
        """Returns when this loop has freed the bytes of what it purged."""
        await self._trips.swept()

    def _purging(self, tags: Sequence[str]) -> tuple[int, Arguments]:
        tags = list(dict.fromkeys(tags))
        name = secrets.token_hex(8)
        keys: list[bytes] = [self._sequence, self.names.sweep.encode()]
        for position, tag in enumerate(_listed(tags)):
            keys.append(self.names.registry(shard_of(tag, self.shards), tag).encode())
            keys.append(self.names.swept(name, position).encode())
        guards = spell_guards(self.names, tags, self.shards)
        bounds = (b"%d" % bound for bound in (self.max_marks, SWEEPS_WAITING, SWEEPS_LAST))
        return len(keys), (*keys, guards, *bounds)

    def _all_scripts(self) -> tuple[Script, ...]:
        return self.lookup_script, self.store_script, self.purge_script, self.repair_script, scripts.SWEEP

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
    b"purged": "purged",
    b"quarantine": "quarantine",
    b"vary": "absent",
}


def _listed(tags: Sequence[str]) -> list[str]:
    """The tags that have a registry: nobody lists the entries of a URL's implicit tag."""
    return [tag for tag in tags if not tag.startswith(URL_TAG)]


def _purged(reply: list[Any]) -> Purge:
    return Purge(int(reply[0]), int(reply[1]))


def _forget_parents() -> None:
    for store in list(_STORES):
        store.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
