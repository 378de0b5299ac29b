"""The store on a Redis Cluster: an entry, its guards and the sequence lie on different servers.

A hit takes two trips: the entry and the sequence, then the guards of its tags. What is found is judged by the same rule as on
one server, by the same lines of Lua, shard by shard. Entries are written only after their guards were asked, but nothing rests
on that: whether they may be used is decided when they are read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from rcache.core.codec import CodecError
from rcache.core.entry import Entry, Found, Missing, Purge
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.keys import shard_of
from rcache.core.reuse import softened
from rcache.core.schemes import MAX_SCHEMES, Scheme, Schemes, needed
from rcache.core.vary import merge
from rcache.ports import Ask, Budget
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Address
from rcache.stores.redis.cluster import writing
from rcache.stores.redis.cluster.reach import ClusterReach
from rcache.stores.redis.cluster.routes import Leg
from rcache.stores.redis.cluster.slots import slot_of
from rcache.stores.redis.cluster.trips import ClusterTrips, replies
from rcache.stores.redis.cluster.way import SlotWay
from rcache.stores.redis.cluster.writing import Moves, Round
from rcache.stores.redis.failures import UnwritableError
from rcache.stores.redis.leases import LEASING
from rcache.stores.redis.places import Place, Spot, joined, split
from rcache.stores.redis.records import (
    Kept,
    Record,
    by_shard,
    decode_record,
    encode_record,
    identity,
    spell_guards,
)
from rcache.stores.redis.rights import Opening, Rights
from rcache.stores.redis.shared import ATTEMPTS, REASONS, SharedStore
from rcache.stores.redis.steps import Step, Steps
from rcache.stores.redis.sweeper import SLICE_TIMEOUT
from rcache.stores.redis.urls import Sharded, Source, located
from rcache.stores.redis.writing import listed

SHARDS = 16  # of tags: as many guards, spread over the masters


class ClusterKept(Kept):
    """An entry that was decoded and found whole, and what asks its guards."""

    __slots__ = ("judges",)

    def __init__(self, entry: Entry, key: bytes, variant: bytes, command: bytes, judges: tuple[Leg, ...]) -> None:
        super().__init__(entry, key, variant, command)
        self.judges = judges


class ClusterStore(SharedStore[Moves]):
    """`rcache.ports.Store` on a Redis Cluster. Opens by itself, in each loop and thread that uses it."""

    def __init__(self, source: Source, *, shards: int = SHARDS, **settings: Any) -> None:
        """`settings` are those of `SharedStore`. All who share a namespace have as many shards."""
        super().__init__(shards=shards, **settings)
        place = located(source)
        if not isinstance(place, Sharded):
            raise ConfigurationError(
                "a ClusterStore lies on a Redis Cluster: write redis+cluster://host:7000,other:7001"
            )
        self.seek_script = scripts.SEEK
        self.judge_script = scripts.JUDGE
        self.enrol_script = scripts.ENROL
        self.keep_script = scripts.KEEP
        self.register_script = scripts.REGISTER
        self.number_script = scripts.NUMBER
        self.mark_script = scripts.MARK
        self.record_script = scripts.RECORD
        self.place_script = scripts.PLACE
        self.lift_script = scripts.LIFT
        self.outdate_script = scripts.OUTDATE
        self.reckon_script = scripts.RECKON
        self.tend_script = scripts.TEND
        self.bear_script = scripts.BEAR
        self.hand_over_script = scripts.HAND_OVER
        self.guards = [
            (self.names.guard(shard).encode(), self.names.marks(shard).encode()) for shard in range(self.shards)
        ]
        self.sequence_step = Step(scripts.SEQUENCE, (self._sequence,), ())
        names = self.names
        sweeps = [(names.sweep_in(shard).encode(), names.sweeping_in(shard).encode()) for shard in range(self.shards)]
        self._rights = Rights(self.names.sequence, is_cluster=True)
        self._trips = ClusterTrips(place.seeds, self._opening, sweeps, lambda: self.listener)
        self.way = SlotWay(self._trips.topology, self._trips.sync, slot_of(self._sequence))
        self._told = _leg(self.sequence_step)
        self._all_judges: tuple[tuple[bytes, bytes], tuple[Leg, ...]] = ((b"", b""), ())
        self._sweeps_due: set[int] = set()

    @property
    def _ways(self) -> ClusterTrips:
        return self._trips

    def _reach(self) -> ClusterReach:
        return ClusterReach(self._trips.topology, self._trips.sync)

    @property
    def masters(self) -> list[Address]:
        """The nodes that serve slots, as far as is known."""
        topology = self._trips.topology
        return [topology.address(node) for node in sorted(topology.plan.masters)]

    # Reading

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """The entry that `ask` selects if it may be used, fresh or not, else the start of a fill."""
        place = self._places.of(ask)
        slot = slot_of(place.plain)
        for _ in range(ATTEMPTS):
            names = place.considered(ask.names)
            spot = self._spot(place, names, ask.variant(names) if names else b"")
            kept = self._decoded.held(spot.key, place.material, spot.variant)
            command = spot.command if kept is None else kept.command
            found, told = await self._trips.spend((Leg(slot, command), self._told), budget)
            if found[0] != b"vary":
                break
            place.names = merge(place.names, split(found[1]))
        verdict = found[0]
        if verdict == b"hit":
            kept = self._decode(place, spot, names, found[1:])
            verdict = b"same" if kept is not None else b"damaged"
        return await self._judged(told, verdict, kept if verdict == b"same" else None, names, budget)

    async def _judged(
        self, told: list[bytes], verdict: bytes, kept: Kept | None, names: tuple[str, ...], budget: Budget
    ) -> Found | Missing:
        """What the guards say of the entry; where there is none, whether a fill may be stored."""
        epoch, number, seconds, microseconds = told
        now = int(seconds) + int(microseconds) / 1e6
        if not epoch:
            return await self._repair(budget, names)
        if epoch != self.epoch:
            self.enter(epoch)
        start = self._start_of(epoch, number)
        if verdict == b"damaged":
            self.counters.damaged += 1
        # A start above the number: the sequence was set back.
        if kept is not None and (kept.entry.start.epoch != start.epoch or kept.entry.start.number > start.number):
            kept, verdict = None, b"former"
        judges = kept.judges if isinstance(kept, ClusterKept) else self._judges_of_all(epoch, number)
        verdicts = await self._trips.spend(judges, budget)
        objection = _objection(verdicts)
        if objection is None and kept is not None:
            entry = kept.entry
            since = [int(verdict[1]) for verdict in verdicts if verdict[0] == b"soft"]
            if since:
                entry = softened(entry, min(since) / 1000)
            return Found(entry, now, start, names) if entry.gone_at > now else Missing(start, now, "absent", names)
        if objection is not None:
            verdict = objection[0]
            # Without an entry, a guard that is younger than the number has just been made: so is the number to be.
            if verdict == b"lost" or (verdict == b"former" and kept is None):
                return await self._repair(budget, names)
            if verdict == b"abandoned":
                start = self._start_of(epoch, await self._bury(objection[1], budget))
                verdict = b"purged"
        return Missing(None if verdict == b"quarantine" else start, now, REASONS[verdict], names)

    def _question(self, place: Place, key: bytes, names: tuple[str, ...], held: bytes) -> bytes:
        return self.seek_script.call(1, key, joined(names), held, place.vary)

    def _decode(self, place: Place, spot: Spot, names: tuple[str, ...], record: Record) -> Kept | None:
        """The entry that Redis sent, kept for the next time; None if it is damaged."""
        try:
            entry = decode_record(record, place.material, spot.variant)
            shards = [[part.encode() for part in shard] for shard in orjson.loads(record[2])]
            judges = tuple(self._judge(guard, marks, record[0], record[1], tags) for guard, marks, *tags in shards)
        except (CodecError, ValueError):
            return None
        command = self._question(place, spot.key, names, identity(record))
        kept = ClusterKept(entry, place.material, spot.variant, command, judges)
        self._decoded.keep(spot.key, kept)
        return kept

    def _judge(self, guard: bytes, marks: bytes, epoch: bytes, start: bytes, tags: Sequence[bytes]) -> Leg:
        return Leg(slot_of(guard), self.judge_script.call(2, guard, marks, epoch, start, *tags))

    def _judges_of_all(self, epoch: bytes, number: bytes) -> tuple[Leg, ...]:
        """What asks every guard whether a fill may be stored: nobody knows yet which tags it will carry."""
        known, judges = self._all_judges
        if known != (epoch, number):
            judges = tuple(self._judge(guard, marks, epoch, number, ()) for guard, marks in self.guards)
            self._all_judges = (epoch, number), judges
        return judges

    async def _bury(self, abandoned: bytes, budget: Budget) -> bytes:
        """Purges tags whose holds ran out, as their writers would have; the purge's number."""
        tags = orjson.loads(abandoned)
        purged = await self._carry_out_within(self._purging(tags), budget)
        if purged.entries:
            self._sweep(tags)
        self._buried(tags, purged)
        return b"%d" % purged.number

    async def _repair(self, budget: Budget, names: tuple[str, ...]) -> Missing:
        """Makes again what was found missing, and tells from when on a fill may be stored."""
        repaired = await self._carry_out_within(writing.repairing(self), budget)
        self.enter(repaired.epoch)
        if repaired.is_quarantined:
            return Missing(None, repaired.now, "quarantine", names)
        return Missing(self._start_of(repaired.epoch, repaired.number), repaired.now, "lost", names)

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
        try:
            is_allowed = await self._is_allowed(entry, schemes, budget)
        except UnwritableError:
            is_allowed = False
        if not is_allowed:
            return False
        place = self._places.of(ask)
        for _ in range(ATTEMPTS):
            considered = place.considered(names)
            variant = ask.variant(considered) if considered else b""
            key = self._places.entry(place, variant)
            record = encode_record(entry, spell_guards(self.names, entry.tags, self.shards), place.material, variant)
            keys = (place.vary, place.variants, key, place.plain)
            ends = b"%d" % int(entry.gone_at * 1000)
            # An answer that fewer names select matches the requests of all other variants too, and is the most recent
            # (RFC 9111 §4): it alone stays.
            most = self.max_variants if considered == names else 1
            arguments = (joined(considered), b"%d" % most, ends, *record)
            try:
                reply = await self._spend(Step(self.keep_script, keys, arguments), budget)
            except UnwritableError:
                return False
            if reply[0] == b"stored":
                place.names = considered
                await self._register(entry, key, ends, budget)
                return True
            if reply[0] != b"vary":
                return False
            place.names = merge(place.names, split(reply[1]))
        return False

    async def _is_allowed(self, entry: Entry, schemes: Collection[Scheme], budget: Budget) -> bool:
        """Registers the schemes; whether the one rule still allows the entry: others who wait for this answer may be given it."""
        epoch, start = entry.start.epoch.encode(), b"%d" % entry.start.number
        for _ in range(ATTEMPTS):
            judges = [
                self._judge(*self.guards[shard], epoch, start, [tag.encode() for tag in tags])
                for shard, tags in by_shard(entry.tags, self.shards).items()
            ]
            enrolling = self._enrolling(entry, schemes)
            told, *verdicts = await self._trips.spend((self._told, *enrolling, *judges), budget)
            if told[0] != epoch or entry.start.number > int(told[1]):
                return False
            crowded = [verdict for verdict in verdicts if verdict[0] == b"crowded"]
            for verdict in crowded:
                entry.tags = (*entry.tags, *orjson.loads(verdict[1]))
            objection = _objection([verdict for verdict in verdicts if verdict not in crowded])
            if objection is not None and objection[0] == b"abandoned":
                await self._bury(objection[1], budget)
            if objection is not None or not crowded:
                return objection is None
        return False

    def _enrolling(self, entry: Entry, schemes: Collection[Scheme]) -> list[Leg]:
        """What registers the schemes in the guards of their tables. An entry that is stored afterwards is judged by those."""
        asked: dict[int, list[list[str]]] = {}
        for table, its in needed(schemes, entry.tags).items():
            spelled = [each.spelled.decode() for each in its]
            asked.setdefault(shard_of(table, self.shards), []).append([table, *spelled])
        epoch, start = entry.start.epoch.encode(), b"%d" % entry.start.number
        return [
            _leg(Step(self.enrol_script, self.guards[shard], (epoch, start, b"%d" % MAX_SCHEMES, orjson.dumps(tables))))
            for shard, tables in asked.items()
        ]

    async def _register(self, entry: Entry, key: bytes, ends: bytes, budget: Budget) -> None:
        """Notes which tags the entry carries. No promise rests on it, so it may fail."""
        registries = [self.names.registry(shard_of(tag, self.shards), tag).encode() for tag in listed(entry.tags)]
        steps = tuple(Step(self.register_script, (registry,), (key, ends)) for registry in registries)
        await self._spend(Round((), steps), budget)
        if self._sweeps_due:  # what was purged without a loop is swept by the next to have one
            due, self._sweeps_due = self._sweeps_due, set()
            self._trips.sweep(due)

    # What writers do

    def _holding(
        self, tags: Sequence[str], transaction: str, lasts: float, tables: Sequence[str], is_known: bool
    ) -> Steps[Moves, Schemes]:
        return writing.holding(self, tags, transaction, lasts, tables, is_known)

    def _releasing(self, tags: Sequence[str], transaction: str) -> Steps[Moves, None]:
        return writing.releasing(self, tags, transaction)

    def _purging(self, tags: Sequence[str], transaction: str = "", tables: Sequence[str] = ()) -> Steps[Moves, Purge]:
        return writing.purging(self, tags, transaction, tables)

    def _softening(self, tags: Sequence[str]) -> Steps[Moves, Purge]:
        return writing.softening(self, tags)

    def _flushing(self) -> Steps[Moves, Purge]:
        return writing.flushing(self)

    def _sweep_all(self) -> None:
        self._trips.sweep(range(self.shards))

    async def _read(self, commands: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        legs = [Leg(slot_of(key), command) for key, command in commands]
        return replies(await self._trips.attempt(legs, Budget(SLICE_TIMEOUT)))

    def _sweep(self, tags: Sequence[str]) -> None:
        self._trips.sweep(by_shard(listed(tags), self.shards))

    def _sweep_later(self, tags: Sequence[str]) -> None:
        self._sweeps_due |= set(by_shard(listed(tags), self.shards))

    async def _take(self, step: Moves, timeout: float) -> Any:
        return await self._spend(step, Budget(timeout))

    async def _spend(self, step: Moves, budget: Budget) -> Any:
        if isinstance(step, Step):
            return (await self._trips.spend((_leg(step),), budget))[0]
        return _kept_going(step, await self._trips.attempt(_legs(step), budget))

    def _take_sync(self, step: Moves, timeout: float, probe: bool) -> Any:
        if isinstance(step, Step):
            return replies(self._trips.attempt_sync((_leg(step),), timeout, probe))[0]
        return _kept_going(step, self._trips.attempt_sync(_legs(step), timeout, probe))

    def _opening(self) -> Opening:
        often = (self.seek_script, scripts.SEQUENCE, self.judge_script, self.keep_script, self.register_script)
        asking = (self.enrol_script,)
        writers = (self.number_script, self.mark_script, self.record_script, self.place_script, self.lift_script)
        seldom = (scripts.SOFTEN_SHARD, self.outdate_script, self.reckon_script, self.tend_script, self.bear_script)
        nodes = (self.table_script, self.strike_script)
        sweep = (self.hand_over_script, scripts.GATHER, scripts.FREE)
        return Opening((*often, *asking, *LEASING, *writers, *seldom, *nodes, *sweep), self._rights)


def _leg(step: Step) -> Leg:
    return Leg(slot_of(step.keys[0]), step.command)


def _legs(moves: Round) -> list[Leg]:
    return [_leg(step) for step in (*moves.steps, *moves.optional)]


def _kept_going(moves: Round, outcomes: list[Any]) -> list[Any]:
    """The replies to a round; what is optional and failed has none."""
    needed = replies(outcomes[: len(moves.steps)])
    return [*needed, *[None if isinstance(each, BackendError) else each for each in outcomes[len(moves.steps) :]]]


def _objection(verdicts: Sequence[Any]) -> list[bytes] | None:
    """The first objection, unless holds ran out, whose tags then come all together."""
    objections = [verdict for verdict in verdicts if verdict != b"fit" and verdict[0] != b"soft"]
    if not objections:
        return None
    abandoned = [tag for verdict in objections if verdict[0] == b"abandoned" for tag in orjson.loads(verdict[1])]
    first: list[bytes] = objections[0]
    return [b"abandoned", orjson.dumps(abandoned)] if abandoned else first
