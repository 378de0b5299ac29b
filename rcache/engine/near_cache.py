"""Entries kept in this process, and what it has read of the log: a hit takes no trip, no decoding and no lock.

It is used only while the node's lease lives, which is computed at each hit from before the last renewal was *sent*. The thread
that follows the log drops what a record names before it tells that it has read it. What comes late, from a look-up or a fill
that began before something this node has read since, is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

from rcache.clock import Clock
from rcache.core.entry import AtHand, Entry, Found, Start
from rcache.core.keys import Key
from rcache.core.log import Head, Record
from rcache.engine.shelf import MOST_USES, Shelf
from rcache.ports import Ask

REMEMBERED: Final = 65_536  # tags whose last purge or hold is remembered; what is forgotten raises the floor
NEVER: Final = float("-inf")


class _Slot:
    """One kept entry."""

    __slots__ = ("entry", "key", "plain_until", "size", "uses", "variant")

    def __init__(self, key: Key, variant: bytes, entry: Entry) -> None:
        self.key = key
        self.variant = variant
        self.entry = entry
        self.plain_until = entry.plain_until
        self.size = entry.size + sum(len(part) for part in key if part is not None) + len(variant)
        self.uses = 0

    @property
    def name(self) -> tuple[Key, bytes]:
        """What it is known by."""
        return self.key, self.variant


class _Page:
    """A URL (and identity) that has variants."""

    __slots__ = ("names", "slots")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.slots: dict[bytes, _Slot] = {}


class NearCache:
    """Bounded in bytes. Served from event loops and threads, and told of the log by one thread."""

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self.max_bytes = max_bytes
        self.clears = 0
        self._boottime = clock.boottime
        self._good_until = NEVER
        self._ahead = 0.0  # of the server's clock before this machine's
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._shelf: Shelf[_Slot] = Shelf(self.max_bytes, self._unhook)
        self.tail = 0
        self._clear(Start("", 0))

    def _clear(self, start: Start) -> None:
        """Keeps nothing, and nothing from before `start`. What a hit reads after `_good_until` is replaced, never emptied."""
        self._plain: dict[Key, _Slot] = {}
        self._pages: dict[Key, _Page] = {}
        self._carriers: dict[str, set[_Slot]] = {}
        self._shelf.clear()
        self._marks: dict[str, int] = {}  # in order of their numbers
        self._vouched = Head("", 0, 0, 0.0), NEVER  # a head, and how long the lease lives once it has been read
        self._floor = start.number
        self.tail = start.number
        self._start = start

    def __len__(self) -> int:
        return len(self._shelf)

    @property
    def used_bytes(self) -> int:
        """Bytes that entries occupy, near enough."""
        return self._shelf.used_bytes

    @property
    def is_alive(self) -> bool:
        """Whether the lease lives, so that entries may be served."""
        return self._boottime() < self._good_until

    @property
    def lease_left(self) -> float | None:
        """Seconds for which the lease still lives, negative once it lapsed; None before there was one."""
        return None if self._good_until == NEVER else self._good_until - self._boottime()

    # Serving

    def at_hand(self, key: Key) -> AtHand | None:
        """A fresh entry of a URL without variants, and the server's time."""
        now = self._boottime()
        # First the lease, then the entries: whoever joins anew empties these before the lease begins.
        if now >= self._good_until:
            return None
        slot = self._plain.get(key)
        if slot is None:
            return None
        now += self._ahead
        if now >= slot.plain_until:
            return None
        if slot.uses < MOST_USES:
            slot.uses += 1
        return slot.entry, now

    def find(self, ask: Ask) -> Found | None:
        """A fresh entry that `ask` selects."""
        if not ask.names and (plain := self.at_hand(ask.key)) is not None:
            return Found(*plain, self._start)
        now = self._boottime()
        if now >= self._good_until:
            return None
        page = self._pages.get(ask.key)
        if page is None or not set(ask.names).issubset(page.names):
            return None
        slot = page.slots.get(ask.variant(page.names))
        now += self._ahead
        if slot is None or now >= slot.plain_until:
            return None
        if slot.uses < MOST_USES:
            slot.uses += 1
        return Found(slot.entry, now, self._start, page.names)

    # Keeping

    def keep(self, ask: Ask, found: Found) -> bool:
        """Keeps what a look-up found, if nothing this node has read since speaks against it; whether it did."""
        variant = ask.variant(found.names) if found.names else b""
        slot = _Slot(ask.key, variant, found.entry)
        with self._lock:
            if found.now >= slot.plain_until or not self._may_keep(found.entry.tags, found.start):
                return False
            self._drop_other_names(ask.key, found.names)
            if found.names:
                page = self._pages.setdefault(ask.key, _Page(found.names))
                former = page.slots.get(variant)
            else:
                former = self._plain.get(ask.key)
            if former is not None:
                self._drop(former)
            self._hook(slot, found.names)
            if not self._shelf.add(slot) and self._is_hooked(slot):
                self._unhook(slot)
                return False
        return True

    def _may_keep(self, tags: Iterable[str], looked_up: Start) -> bool:
        """Whether what was looked up then is still good, for all this node has read."""
        epoch, number = looked_up
        if not epoch or epoch != self._start.epoch or number < self._floor:
            return False
        # Who holds a tag need not be remembered: a look-up since the hold was logged finds nothing while it stands.
        return not any(self._marks.get(tag, 0) > number for tag in tags)

    def _drop_other_names(self, key: Key, names: tuple[str, ...]) -> None:
        """Other names select among the URL's variants now."""
        if names and key in self._plain:
            self._drop(self._plain[key])
        page = self._pages.get(key)
        if page is not None and page.names != names:
            for slot in list(page.slots.values()):
                self._drop(slot)

    def _hook(self, slot: _Slot, names: tuple[str, ...]) -> None:
        if names:
            self._pages.setdefault(slot.key, _Page(names)).slots[slot.variant] = slot
        else:
            self._plain[slot.key] = slot
        for tag in slot.entry.tags:
            self._carriers.setdefault(tag, set()).add(slot)

    def _is_hooked(self, slot: _Slot) -> bool:
        return slot in self._carriers.get(slot.entry.tags[0], ()) if slot.entry.tags else False

    def _drop(self, slot: _Slot) -> None:
        self._shelf.discard(slot)
        self._unhook(slot)

    def _unhook(self, slot: _Slot) -> None:
        if self._plain.get(slot.key) is slot:
            del self._plain[slot.key]
        elif (page := self._pages.get(slot.key)) is not None and page.slots.get(slot.variant) is slot:
            del page.slots[slot.variant]
            if not page.slots:
                del self._pages[slot.key]
        for tag in slot.entry.tags:
            carriers = self._carriers.get(tag)
            if carriers is not None:
                carriers.discard(slot)
                if not carriers:
                    del self._carriers[tag]

    # Following the log

    def join(self, head: Head, sent: float, lease: float) -> None:
        """Begins anew at the head of the log. The lease was asked for at `sent`."""
        with self._lock:
            self._good_until = NEVER
            self._clear(Start(head.epoch, head.number))
            self._start = Start(head.epoch, head.sequence)
            self._ahead = head.now - sent
            self._good_until = sent + lease
            self._vouched = head, self._good_until

    def renew(self, head: Head, sent: float, lease: float) -> bool:
        """Whether the lease lives on: not where it had lapsed, or the log is another one."""
        with self._lock:
            if self._boottime() >= self._good_until or head.epoch != self._start.epoch or head.number < self.tail:
                return False
            self._ahead = head.now - sent
            # What the head tells of may have been there for as long as a slow link took: it is read before the lease goes on.
            self._vouched = head, sent + lease
            self._lengthen()
        return True

    def _lengthen(self) -> None:
        """The lease goes on if all that its renewal told of has been read."""
        head, until = self._vouched
        if self.tail >= head.number:
            self._good_until = until
            if head.sequence > self._start.number:
                self._start = Start(head.epoch, head.sequence)

    def apply(self, records: Sequence[Record]) -> bool:
        """Drops and remembers what they name; False where the place in the log is lost."""
        with self._lock:
            for record in records:
                if record.epoch != self._start.epoch or record.before != self.tail:
                    return False
                self._apply(record)
                self.tail = record.number
            if self.tail > self._start.number:
                self._start = Start(self._start.epoch, self.tail)
            self._lengthen()
        return True

    def _apply(self, record: Record) -> None:
        if record.kind == "flush":
            for slot in list(self._plain.values()):
                self._drop(slot)
            for page in list(self._pages.values()):
                for slot in list(page.slots.values()):
                    self._drop(slot)
            self._floor = max(self._floor, record.number)
            return
        if record.kind != "release":
            for tag, *_ in record.changes:
                self._mark(tag, record.number)

    def _mark(self, tag: str, number: int) -> None:
        for slot in list(self._carriers.get(tag, ())):
            self._drop(slot)
        number = max(number, self._marks.pop(tag, 0))
        self._marks[tag] = number
        if len(self._marks) > REMEMBERED:
            oldest = next(iter(self._marks))
            self._floor = max(self._floor, self._marks.pop(oldest))

    def purged(self, tags: Iterable[str], number: int) -> None:
        """This very process purged them: it need not hear of it first."""
        with self._lock:
            for tag in tags:
                self._mark(tag, number)

    def replaced(self, key: Key) -> None:
        """This very process stored another answer of the URL, which the next look-up is to find."""
        with self._lock:
            if key in self._plain:
                self._drop(self._plain[key])
            for slot in list(self._pages[key].slots.values()) if key in self._pages else ():
                self._drop(slot)

    def flushed(self, number: int) -> None:
        """This very process purged everything."""
        with self._lock:
            self._apply(Record(self._start.epoch, number, self.tail, "flush", [], False))

    def doubt(self) -> None:
        """Serves and keeps nothing until it has joined anew."""
        with self._lock:
            self._good_until = NEVER
            self.clears += 1
            self._clear(Start("", 0))

    def forget_parent(self) -> None:
        """In a forked child: nobody follows the log here, and the lock may be held by a thread that is not here."""
        self._good_until = NEVER
        self._reset()
