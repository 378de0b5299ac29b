"""Looks into the embedded store, which nobody sees from another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rcache.core.inspection import Wanted, entry_name, entry_row, entry_view, usable_state
from rcache.core.keys import shard_of
from rcache.core.reports import concerns
from rcache.core.reuse import softened
from rcache.core.tags import check_tag
from rcache.core.views import EntryRow, EntryView, Event, NodeRow, Preview, Rows, Sample, State, TagRow

if TYPE_CHECKING:
    from rcache.ports import Fleet, Popularity
    from rcache.stores.memory import MemoryStore, Slot

SLICE: Final = 500  # entries that are looked at before others have their turn
MOST_PREVIEWED: Final = 1000  # entries


class MemoryInspector:
    """`rcache.ports.Inspector` of a `MemoryStore`."""

    is_embedded = True
    damaged = 0

    def __init__(self, store: MemoryStore, fleet: Fleet) -> None:
        """`fleet` knows what was counted."""
        self._store = store
        self._fleet = fleet

    def close(self) -> None:
        """There is nothing to let go of."""

    # What was counted

    @property
    def popularity(self) -> Popularity:
        """What is asked for often."""
        return self._fleet.popularity

    async def nodes(self) -> list[NodeRow]:
        """This process."""
        return await self._fleet.nodes()

    async def history(self, seconds: float = 3600.0) -> list[Sample]:
        """What was counted, oldest first: each second of the last two minutes, each minute before that."""
        return await self._fleet.history(seconds)

    async def events(self, *, before: int | None = None, count: int = 100) -> list[Event]:
        """What happened last, newest first."""
        return await self._fleet.events(before=before, count=count)

    def follow(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        return self._fleet.follow()

    async def last_purge(self, tags: Sequence[str]) -> Event | None:
        """The last purge, soft purge or flush that reached what carries one of `tags`."""
        events = await self._fleet.events(count=10_000)
        return next((event for event in events if concerns(event, tags)), None)

    # Entries

    async def entries(self, url: str) -> list[EntryRow]:
        """What is stored of one URL: its variants and identities. `url` may be a path: then whatever the host."""
        wanted = Wanted(url)
        return await self._rows(await self._found(lambda slot: wanted.matches(slot.key)))

    async def entry(self, entry: str, *, with_private: bool = False) -> EntryView | None:
        """One in full; None where it is gone."""
        found = await self._found(lambda slot: entry_name(slot.key.material, slot.variant) == entry, most=1)
        rows = await self._rows(found)
        if not rows:
            return None
        purge = await self.last_purge(found[0].entry.tags)
        return entry_view(rows[0], found[0].entry, with_private=with_private, last_purge=purge)

    async def hottest(self, count: int = 50) -> list[EntryRow]:
        """Those with most hits in the last window."""
        hot = {item.entry: item.hits for item in await self.popularity.top(4 * count)}
        found = await self._found(lambda slot: entry_name(slot.key.material, slot.variant) in hot) if hot else []
        rows = await self._rows(found)
        return sorted(rows, key=lambda row: -hot.get(row.entry, 0.0))[:count]

    async def largest(self, count: int = 50) -> list[EntryRow]:
        """Those with the longest bodies."""
        found = await self._found(lambda slot: True)
        return await self._rows(sorted(found, key=lambda slot: -len(slot.entry.body))[:count])

    async def search(self, text: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """Entries whose URL contains `text`."""
        found = await self._found(lambda slot: text in slot.key.shown)
        return await self._page(found, cursor, count)

    # Tags

    async def tags(self, text: str = "", *, cursor: str | None = None, count: int = 100) -> Rows[TagRow]:
        """Tags that contain `text`."""
        with self._store._lock:
            names = sorted([tag for tag in self._store._registry if text in tag])
        start = _place(cursor)
        rows = tuple([self._tag(tag) for tag in names[start : start + count]])
        return Rows(rows, str(start + count) if len(names) > start + count else None)

    async def tagged(self, tag: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """The entries that carry a tag."""
        return await self._page(self._carriers([tag]), cursor, count)

    async def preview(self, tags: Sequence[str]) -> Preview:
        """What a purge of `tags` would reach. Raises ValueError for an illegal tag."""
        checked = [check_tag(tag) for tag in dict.fromkeys(tags)]
        carriers = self._carriers(checked)
        rows = await self._rows(carriers[:MOST_PREVIEWED])
        return Preview(tuple([self._tag(tag) for tag in checked]), tuple(rows), len(carriers))

    def _tag(self, tag: str) -> TagRow:
        store = self._store
        with store._lock:
            carriers = store._registry.get(tag, set())
            guard = store._guards.get(shard_of(tag, store.shards))
            mark = guard.marks.get(tag) if guard is not None else None
            holders = len(guard.holds.get(tag, ())) if guard is not None else 0
            size = sum([len(slot.entry.body) for slot in carriers]) if len(carriers) <= SLICE else None
            return TagRow(tag, len(carriers), mark, holders, size)

    def _carriers(self, tags: Iterable[str]) -> list[Slot]:
        store = self._store
        with store._lock:
            return list(dict.fromkeys([slot for tag in tags for slot in store._registry.get(tag, ())]))

    # Slots

    async def _found(self, is_wanted: Callable[[Slot], bool], most: int | None = None) -> list[Slot]:
        """The slots in the order in which their URLs came, with turns for others in between."""
        with self._store._lock:
            slots = [slot for page in self._store._pages.values() for slot in page.slots.values()]
        found: list[Slot] = []
        for first in range(0, len(slots), SLICE):
            found += [slot for slot in slots[first : first + SLICE] if is_wanted(slot)]
            if most is not None and len(found) >= most:
                break
            await asyncio.sleep(0)
        return found[:most]

    async def _page(self, slots: Sequence[Slot], cursor: str | None, count: int) -> Rows[EntryRow]:
        start = _place(cursor)
        rows = await self._rows(slots[start : start + count])
        return Rows(tuple(rows), str(start + count) if len(slots) > start + count else None)

    async def _rows(self, slots: Sequence[Slot]) -> list[EntryRow]:
        store = self._store
        now, hits = store._time(), {item.entry: item.hits for item in await self.popularity.top(1000)} if slots else {}
        rows = []
        for slot in slots:
            if slot.gone_at <= now:
                continue
            stored = slot.entry
            with store._lock:
                refusal = self._refusal(slot)
                since = store._softened(stored) if refusal is None else None
            if since is not None:
                stored = softened(stored, since)
            name = entry_name(slot.key.material, slot.variant)
            state = refusal or usable_state(stored, now)
            rows.append(entry_row(slot.key, slot.variant, stored, now, state, len(stored.body), hits.get(name, 0)))
        return rows

    def _refusal(self, slot: Slot) -> State | None:
        """Why the one rule forbids it; None where it may be used. Nothing is changed by the look. The caller holds the lock."""
        store, start = self._store, slot.entry.start
        if start.epoch != store._start.epoch:
            return "lost"
        found: State | None = None
        for tag in slot.entry.tags:
            guard = store._guards.get(shard_of(tag, store.shards))
            objection: State | None = None
            if guard is None or guard.quarantined_until is not None:
                objection = "lost"
            elif tag in guard.holds:
                if min(guard.holds[tag].values()) <= store._monotonic():  # whoever looks it up purges it
                    return "purged"
                objection = "held"
            elif guard.born > start.number:
                objection = "lost"
            elif guard.marks.get(tag, 0) > start.number:
                objection = "purged"
            found = found or objection
        return found


def _place(cursor: str | None) -> int:
    """Where a page begins. Raises ValueError for what is no cursor."""
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit():
        raise ValueError(f"{cursor!r} is no cursor of this inspector: pass what the former page gave")
    return int(cursor)
