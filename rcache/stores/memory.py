"""The embedded store: complete, in this process, and the executable specification of `Store`.

It obeys the one rule of the coherence protocol in the same words as the Redis store: sequence, epoch, guards with marks,
holds and `born`, quarantine. What is dead is found dead when it is read; a purge only raises marks, and the bytes of what it
killed are freed in slices by the calls that follow.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from rcache.clock import Clock, SystemClock
from rcache.core.entry import AtHand, Entry, Found, Missing, Purge, Start
from rcache.core.keys import URL_TAG, Carrier, Key, shard_of
from rcache.core.reuse import softened
from rcache.core.schemes import MAX_SCHEMES, Scheme, Schemes, needed
from rcache.core.vary import merge
from rcache.ports import Ask, Budget, Told

SWEEP_SLICE = 64  # dead entries freed by one call: a purge of a million must not stall the call after it
MOST_TOLD = 100_000  # dead entries that nobody has been told of yet


NEVER = -1  # is no count of changes


class _Page:
    """A URL (and identity): the names that select among its variants, and the variants."""

    __slots__ = ("names", "slots")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.slots: dict[bytes, Slot] = {}


class Slot:
    """One stored entry, and where it hangs."""

    __slots__ = ("entry", "gone_at", "key", "plain_until", "size", "variant", "verified")

    def __init__(self, key: Key, variant: bytes, entry: Entry, verified: int) -> None:
        self.key = key
        self.variant = variant
        self.entry = entry
        self.gone_at = entry.gone_at
        self.plain_until = entry.plain_until
        self.size = entry.size + sum(len(part) for part in key if part is not None) + len(variant)
        self.verified = verified  # the store's `_changes` at which the one rule last allowed it


class _Guard:
    """The marks, holds and `born` of one shard of tags, and the schemes of its tables."""

    __slots__ = ("born", "holds", "marks", "quarantined_until", "schemes", "soft", "soft_before")

    def __init__(self, born: int, quarantined_until: float | None = None) -> None:
        self.born = born
        self.marks: dict[str, int] = {}  # in order of their numbers: a raised mark moves to the end
        self.holds: dict[str, dict[str, float]] = {}  # tag -> transaction -> deadline
        self.quarantined_until = quarantined_until
        self.soft: dict[str, tuple[int, float]] = {}  # tag -> number and time of its last soft purge
        self.soft_before = 0, 0.0  # what was started before that number is stale since then, whatever its tags
        self.schemes: dict[str, dict[Scheme, int]] = {}  # table -> scheme -> since


class MemoryStore:
    """Keeps entries in this process, bounded in bytes; what was used least recently goes first. Safe in threads."""

    is_down = False

    def __init__(
        self,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        max_variants: int = 32,
        max_marks: int = 1_000_000,
        shards: int = 1,
        quarantine: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_variants = max_variants
        self.max_marks = max_marks
        self.shards = shards
        self.quarantine = quarantine
        clock = clock or SystemClock()
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._undertakers: list[Callable[[Sequence[str], Purge], None]] = []
        self._told: Told | None = None
        self._number = 0
        self._changes = 0
        self._start_epoch(quarantined_until=None)

    def _start_epoch(self, quarantined_until: float | None) -> None:
        """Everything kept so far is of another epoch, and so is never used again."""
        self.used_bytes = 0
        self._pages: dict[Key, _Page] = {}
        self._used: OrderedDict[Slot, None] = OrderedDict()  # least recently used first
        self._registry: dict[str, set[Slot]] = {}
        self._dead: deque[set[Slot]] = deque()
        self._killed: deque[int] = deque()  # the number of the purge that killed each of these sets
        self._freed: list[tuple[int, Carrier]] = []  # nobody has been told yet
        self._number += 1
        self._start = Start(secrets.token_hex(8), self._number)
        self._guards = {shard: _Guard(self._number, quarantined_until) for shard in range(self.shards)}
        self._changes += 1

    def __len__(self) -> int:
        return len(self._used)

    @property
    def start(self) -> Start:
        """What a fill that begins now is stored under."""
        return self._start

    # Reading

    def at_hand(self, key: Key) -> AtHand | None:
        """What `lookup` would find for a URL without variants, where nothing is to be judged anew."""
        page = self._pages.get(key)
        if page is None or page.names:
            return None
        slot = page.slots.get(b"")
        if slot is None or slot.verified != self._changes:
            return None
        now = self._time()
        if now >= slot.plain_until:
            return None
        try:  # noqa: SIM105 (a context manager costs more, on every hit)
            self._used.move_to_end(slot)
        except KeyError:  # evicted by another thread since; the answer is as right as before
            pass
        return slot.entry, now

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """The entry that `ask` selects if the one rule allows it, fresh or not, else the start of a fill."""
        now = self._time()
        page = self._pages.get(ask.key)
        if page is None:
            return self._missing(now, "absent", ask.names)
        names = page.names
        if ask.names and ask.names != names and not set(ask.names).issubset(names):
            return self._missing(now, "absent", merge(names, ask.names))  # stored by a rule that told fewer apart
        slot = page.slots.get(ask.variant(names))
        if slot is None:
            return self._missing(now, "absent", names)
        with self._lock:
            refusal = self._refusal(slot.entry) or ("absent" if now >= slot.gone_at else None)
            start = self._start
            since = self._softened(slot.entry) if refusal is None else None
            if refusal is None:
                slot.verified = NEVER if since is not None else self._changes
                if slot in self._used:
                    self._used.move_to_end(slot)
            elif refusal != "held":  # what was held may be good again
                self._drop(slot)
        if refusal is not None:
            return self._missing(now, refusal, names)
        return Found(slot.entry if since is None else softened(slot.entry, since), now, start, names)

    def _missing(self, now: float, reason: str, names: tuple[str, ...]) -> Missing:
        with self._lock:
            # Nobody knows yet which tags the fill will carry.
            if any(self._is_quarantined(shard) for shard in range(self.shards)):
                return Missing(None, now, "quarantine", names)
            return Missing(self._start, now, reason, names)

    async def lease(self, ask: Ask, names: tuple[str, ...], budget: Budget) -> None:
        """There are no other nodes."""

    def usable(self) -> set[Key]:
        """Of which URLs (and identities) a look-up would find something fresh: for tests, which look at all that is kept."""
        now = self._time()
        with self._lock:
            return {
                slot.key
                for slot in list(self._used)
                if now < slot.plain_until and self._refusal(slot.entry) is None and self._softened(slot.entry) is None
            }

    # The one rule

    def _refusal(self, entry: Entry) -> str | None:
        """Why the one rule forbids `entry`; None where it may be used. The caller holds the lock."""
        if entry.start.epoch != self._start.epoch:
            return "lost"
        refusal: str | None = None
        abandoned = []
        for tag in entry.tags:
            objection = self._objection(tag, entry.start.number)
            if objection == "abandoned":
                abandoned.append(tag)
            refusal = refusal or objection
        if abandoned:  # their writer is dead: purged for it, by whoever sees it
            self._bury(abandoned)
            return "purged"
        return refusal

    def _bury(self, tags: Sequence[str]) -> None:
        purge = self._purge_now(tags, "")
        for buried in self._undertakers:
            buried(tags, purge)

    def _objection(self, tag: str, number: int) -> str | None:
        shard = shard_of(tag, self.shards)
        if self._is_quarantined(shard):
            return "quarantine"
        guard = self._guards[shard]
        if guard.holds and tag in guard.holds:
            return "abandoned" if min(guard.holds[tag].values()) <= self._monotonic() else "held"
        if guard.born > number:
            return "lost"
        return "purged" if guard.marks.get(tag, 0) > number else None

    def _softened(self, entry: Entry) -> float | None:
        """Since when a soft purge of its tags has made it stale; None where none has."""
        since = None
        for tag in entry.tags:
            guard = self._guards[shard_of(tag, self.shards)]
            for number, at in (guard.soft_before, guard.soft.get(tag, (0, 0.0))):
                if number > entry.start.number:
                    since = at if since is None else min(since, at)
        return since

    def _is_quarantined(self, shard: int) -> bool:
        """Makes a lost guard again, and ends a quarantine that ran out, each born at a number taken just now."""
        guard = self._guards.get(shard)
        if guard is None:
            self._guards[shard] = _Guard(self._next_number(), self._time() + self.quarantine)
            return True
        if guard.quarantined_until is None:
            return False
        if self._time() < guard.quarantined_until:
            return True
        guard.quarantined_until = None
        guard.born = self._next_number()
        return False

    def _next_number(self) -> int:
        self._number += 1
        self._start = Start(self._start.epoch, self._number)
        self._changes += 1
        return self._number

    # Writing

    async def store(
        self,
        ask: Ask,
        names: tuple[str, ...],
        entry: Entry,
        budget: Budget,
        schemes: Collection[Scheme] = (),
    ) -> bool:
        """Whether the entry was accepted."""
        key = ask.key
        with self._lock:
            self._sweep()
            is_known = not schemes or self._register(entry, schemes)
            if not is_known or self._refusal(entry) is not None or entry.gone_at <= self._time():
                return False
            page = self._pages.get(key)
            known = merge(page.names, names) if page is not None else names
            verified = NEVER if self._softened(entry) is not None else self._changes
            slot = Slot(key, ask.variant(known) if known else b"", entry, verified)
            if slot.size > self.max_bytes:
                return False
            # Variants of fewer names can be selected no more. And an answer that fewer names select matches the requests of
            # all the others too, and is the most recent (RFC 9111 §4): they must not be used any more.
            if page is not None and not page.names == known == names:
                for other in list(page.slots.values()):
                    self._drop(other)
            self._insert(slot, known)
        return True

    def _register(self, entry: Entry, schemes: Collection[Scheme]) -> bool:
        """Registers them; whether nobody who did not know of them can have changed what the entry was made of since its start."""
        is_known = True
        full = []
        for table, its in needed(schemes, entry.tags).items():
            if self._is_quarantined(shard_of(table, self.shards)):
                return False
            known = self._guards[shard_of(table, self.shards)].schemes.get(table, {})
            unknown = [each for each in its if each not in known]
            if len(known) + len(unknown) > MAX_SCHEMES:
                full.append(table)
            else:
                if unknown:
                    known = self._registering(table, unknown, entry.start.number)
                is_known &= all(each in known and known[each] <= entry.start.number for each in its)
        entry.tags = (*entry.tags, *full)
        return is_known

    def _registering(self, table: str, unknown: Collection[Scheme], number: int) -> dict[Scheme, int]:
        """The table's schemes, these among them unless somebody holds the table's tag, who has not heard of them."""
        objection = self._objection(table, number)
        if objection == "abandoned":
            self._bury([table])
        guard = self._guards[shard_of(table, self.shards)]
        known = guard.schemes.setdefault(table, {})
        if objection not in ("held", "abandoned"):
            known.update(dict.fromkeys(unknown, guard.marks.get(table, 0)))
        return known

    def _registered(self, tables: Sequence[str]) -> Schemes:
        """The schemes of each table whose guard has forgotten none."""
        told = {}
        for table in tables:
            guard = self._guards.get(shard_of(table, self.shards))
            if guard is not None and guard.quarantined_until is None:
                told[table] = frozenset(guard.schemes.get(table, ()))
        return told

    def _insert(self, slot: Slot, names: tuple[str, ...]) -> None:
        page = self._pages.get(slot.key)
        if page is not None and slot.variant in page.slots:
            self._drop(page.slots[slot.variant])
        elif page is not None and len(page.slots) >= self.max_variants:
            self._drop(min(page.slots.values(), key=_gone_at))
        # Dropping a page's last variant forgets the page, so it is asked for again.
        page = self._pages.setdefault(slot.key, _Page(names))
        page.slots[slot.variant] = slot
        self._used[slot] = None
        self.used_bytes += slot.size
        for tag in slot.entry.tags:
            if not tag.startswith(URL_TAG):
                self._registry.setdefault(tag, set()).add(slot)
        while self.used_bytes > self.max_bytes:
            # One step, since hits in other threads move slots about without the lock.
            least, _ = self._used.popitem(last=False)
            self._unhook(least)

    def _drop(self, slot: Slot) -> None:
        if slot in self._used:
            del self._used[slot]
            self._unhook(slot)

    def _unhook(self, slot: Slot) -> None:
        self.used_bytes -= slot.size
        page = self._pages[slot.key]
        del page.slots[slot.variant]
        if not page.slots:
            del self._pages[slot.key]
        for tag in slot.entry.tags:
            carriers = self._registry.get(tag)
            if carriers is not None:
                carriers.discard(slot)
                if not carriers:
                    del self._registry[tag]

    # Purging

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by anybody after this returned."""
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
        """`purge`, from any thread."""
        with self._lock:
            purge = self._purge_now(tags, transaction, tables)
            self._sweep()
        return purge

    def _purge_now(self, tags: Sequence[str], transaction: str, tables: Sequence[str] = ()) -> Purge:
        number = self._number + 1
        entries = 0
        for tag in tags:
            self._raise_mark(tag, number)
            self._lift(tag, transaction, self._monotonic())
            carriers = self._registry.pop(tag, None)
            if carriers is not None:
                entries += len(carriers)
                self._dead.append(carriers)
                self._killed.append(number)
        return Purge(self._next_number(), entries, self._registered(tables))

    async def soften(self, tags: Sequence[str], timeout: float) -> Purge:
        """What carries one of `tags`, and was started before, is stale for everybody who looks it up after this returned."""
        return self.soften_sync(tags, timeout)

    def soften_sync(self, tags: Sequence[str], timeout: float) -> Purge:
        """`soften`, from any thread."""
        with self._lock:
            number, now = self._next_number(), self._time()
            for tag in tags:
                guard = self._guards.get(shard_of(tag, self.shards))
                if guard is not None:
                    guard.soft[tag] = number, now
                    if len(guard.soft) > self.max_marks:
                        guard.soft.clear()
                        guard.soft_before = number, now
        return Purge(number, 0)

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """No entry that was started before is used by anybody after this returned."""
        with self._lock:
            number = self._next_number()
            for guard in self._guards.values():
                guard.born = number
        return Purge(number, 0)

    def _raise_mark(self, tag: str, number: int) -> None:
        guard = self._guards.get(shard_of(tag, self.shards))
        if guard is None:  # made again by whoever reads next, born after this purge
            return
        guard.marks.pop(tag, None)
        guard.marks[tag] = number
        while len(guard.marks) > self.max_marks:
            oldest = next(iter(guard.marks))
            # What is forgotten can no longer be judged, so everything that old is a miss.
            guard.born = max(guard.born, guard.marks.pop(oldest))

    # Holding

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
        return self.hold_sync(tags, transaction, lasts, timeout, tables)

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
        with self._lock:
            deadline = self._monotonic() + lasts
            for tag in tags:
                shard = shard_of(tag, self.shards)
                self._is_quarantined(shard)  # makes a guard that was lost: a hold needs one to live in
                self._guards[shard].holds.setdefault(tag, {})[transaction] = deadline
            self._next_number()
            return self._registered(tables)

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """What the transaction held is good again: it changed nothing."""
        self.release_sync(tags, transaction, timeout)

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """`release`, from any thread."""
        with self._lock:
            for tag in tags:
                self._lift(tag, transaction)
            self._next_number()

    def _lift(self, tag: str, transaction: str, now: float = float("-inf")) -> None:
        """Ends what the transaction holds of the tag, and what ran out by `now`."""
        guard = self._guards.get(shard_of(tag, self.shards))
        holds = guard.holds.get(tag) if guard is not None else None
        if guard is None or holds is None:
            return
        for holder, deadline in list(holds.items()):
            if holder == transaction or deadline <= now:
                del holds[holder]
        if not holds:
            del guard.holds[tag]

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """Nothing to be told: what this store forgets, it forgets together with all its entries."""

    def watch_burials(self, buried: Callable[[Sequence[str], Purge], None]) -> None:
        """`buried` is called when tags were purged for a writer whose hold ran out."""
        self._undertakers.append(buried)

    def tell_freed(self, told: Told | None, *, by_others: bool = False) -> None:
        """`told` hears of the entries whose bytes are freed, at the next `sweep`; there are no others."""
        self._told = told

    async def sweep(self) -> int:
        """Frees the bytes of what purges killed, in slices; how many entries that were."""
        freed = 0
        while True:
            with self._lock:
                freed += self._sweep()
                slice_, self._freed = self._freed, []
                is_done = not self._dead
            if self._told is not None:
                for number in dict.fromkeys([number for number, _ in slice_]):
                    await self._told(number, [carrier for its, carrier in slice_ if its == number])
            if is_done:
                return freed
            await asyncio.sleep(0)

    async def carriers(self, tag: str) -> AsyncIterator[Sequence[Carrier]]:
        """The entries that carry `tag`, slice by slice."""
        with self._lock:
            slots = list(self._registry.get(tag, ()))
        for begin in range(0, len(slots), SWEEP_SLICE):
            yield [Carrier(slot.key, slot.variant) for slot in slots[begin : begin + SWEEP_SLICE]]

    def _sweep(self) -> int:
        """Frees a slice of what purges killed, unless it was stored anew since; how many entries."""
        before = len(self._used)
        for _ in range(SWEEP_SLICE):
            if not self._dead:
                break
            if self._dead[0]:
                slot = self._dead[0].pop()
                if self._told is not None and len(self._freed) < MOST_TOLD:
                    self._freed.append((self._killed[0], Carrier(slot.key, slot.variant)))
                self._drop(slot)
            else:
                self._dead.popleft()
                self._killed.popleft()
        return before - len(self._used)

    async def aclose(self) -> None:
        """Frees everything; the store can be used again, empty."""
        self.close()

    def close(self) -> None:
        """`aclose` where no loop runs."""
        with self._lock:
            # Holds are forgotten too, so what they held back is waited for.
            is_held = any(guard.holds for guard in self._guards.values())
            self._start_epoch(quarantined_until=self._time() + self.quarantine if is_held else None)


def _gone_at(slot: Slot) -> float:
    return slot.gone_at
