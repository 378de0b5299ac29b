"""Looks into the store on Redis, wherever it lies. What is found is judged by the one rule, by the same lines of Lua.

Where there is no index the keys are gone through, slice by slice and for so long; a cursor tells where to go on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from rcache.core.codec import CodecError, decode_entry
from rcache.core.entry import Entry, Start
from rcache.core.inspection import Wanted, entry_name, entry_row, entry_view, read_name, usable_state
from rcache.core.keys import Key, RedisNames, digest, shard_of
from rcache.core.reuse import softened
from rcache.core.tags import check_tag
from rcache.core.views import EntryRow, EntryView, Preview, Rows, State, TagRow
from rcache.stores.redis.failures import REFUSALS, refusal
from rcache.stores.redis.fleet import RedisFleet, usable
from rcache.stores.redis.line import Command
from rcache.stores.redis.reach import Question, Reach
from rcache.stores.redis.records import decode_record
from rcache.stores.redis.scripts import SEQUENCE

SLICE: Final = 1000  # keys of one step through them: about half a millisecond of Redis' time
LOOK: Final = 1.0  # seconds that one look goes on through the keys
MOST_PREVIEWED: Final = 1000  # entries
RANKED: Final = 1000  # popular entries whose hits are shown

_FIELDS: Final = ("epoch", "start", "guards", "key", "variant", "stored", "head")
_CURSOR: Final = re.compile(r"([0-9]{1,4}):([0-9]{1,20})")
_GLOB: Final = re.compile(r"([*?\[\]\\^-])")

_STATES: Final[dict[bytes, State]] = {
    b"lost": "lost",
    b"quarantine": "lost",
    b"former": "lost",
    b"held": "held",
    b"abandoned": "purged",  # whoever looks it up purges it
    b"purged": "purged",
}


@dataclass(slots=True)
class _Seen:
    """An entry as it was found, before it was judged; without its body, unless all was asked for."""

    key: Key
    variant: bytes
    entry: Entry
    guards: list[list[str]]
    size: int


class RedisInspector(RedisFleet):
    """`rcache.ports.Inspector` of a store on Redis."""

    is_embedded = False

    def __init__(self, reach: Reach, names: RedisNames, shards: int) -> None:
        super().__init__(reach, names)
        self._shards = shards
        self.damaged = 0

    # Entries

    async def entries(self, url: str) -> list[EntryRow]:
        """What is stored of one URL: its variants and identities. `url` may be a path: then whatever the host."""
        wanted = Wanted(url)
        return await self._looking(lambda: self._entries(wanted))

    def _entries(self, wanted: Wanted) -> list[EntryRow]:
        known: list[bytes] = []
        for key in wanted.keys:
            url = digest(key.material)
            names = self._names
            variants = self._at(names.variants(url), "ZRANGE", names.variants(url), 0, -1) or []
            known += [names.entry(url, "0").encode(), *variants]
        found, _ = self._scanned(self._pattern("*"), self._matching(wanted.matches), None, None)
        return self._rows(list(dict.fromkeys((*known, *found))))

    async def entry(self, entry: str, *, with_private: bool = False) -> EntryView | None:
        """One in full; None where it is gone."""
        name = read_name(entry)
        if name is None:
            return None
        view = await self._looking(lambda: self._entry(self._names.entry(*name)))
        if view is None:
            return None
        row, stored = view
        purge = await self.last_purge(stored.tags)
        return entry_view(row, stored, with_private=with_private, last_purge=purge)

    def _entry(self, key: str) -> tuple[EntryRow, Entry] | None:
        fields = self._at(key, "HMGET", key, *_FIELDS, "body", "sum")
        if fields is None or fields[0] is None:
            return None
        try:
            stored = decode_record(fields, fields[3], fields[4])
            seen = _Seen(Key.read(fields[3]), fields[4], stored, orjson.loads(fields[2]), len(stored.body))
            rows = self._judged([seen])
        except (CodecError, ValueError, TypeError):
            self.damaged += 1
            return None
        return (rows[0], stored) if rows else None

    async def hottest(self, count: int = 50) -> list[EntryRow]:
        """Those with most hits in the last window."""
        return await self._looking(lambda: self._hottest(count))

    def _hottest(self, count: int) -> list[EntryRow]:
        names = [read_name(item.entry) for item in self._top(2 * count)]
        rows = self._rows([self._names.entry(*name).encode() for name in names if name is not None])
        return sorted(rows, key=lambda row: -row.hits)[:count]

    async def largest(self, count: int = 50) -> list[EntryRow]:
        """Those with the longest bodies, of as many as can be looked at in that time: of a large cache a sample."""
        return await self._looking(lambda: self._largest(count))

    def _largest(self, count: int) -> list[EntryRow]:
        sizes: dict[bytes, int] = {}

        def measure(keys: list[bytes]) -> list[bytes]:
            lengths = self._each(keys, lambda key: ("HSTRLEN", key, "body"))
            sizes.update({key: length for key, length in zip(keys, lengths, strict=True) if length})
            return []

        self._scanned(self._pattern("*"), measure, None, None)
        largest = sorted(sizes, key=lambda key: -sizes[key])[:count]
        return sorted(self._rows(largest), key=lambda row: -row.size)

    async def search(self, text: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """Entries whose URL contains `text`."""
        place = _place(cursor)
        return await self._looking(lambda: self._search(text, place, count))

    def _search(self, text: str, place: tuple[int, int] | None, count: int) -> Rows[EntryRow]:
        is_wanted = self._matching(lambda key: text in key.shown)
        keys, further = self._scanned(self._pattern("*"), is_wanted, place, count)
        return Rows(tuple(self._rows(keys)), further)

    # Tags

    async def tags(self, text: str = "", *, cursor: str | None = None, count: int = 100) -> Rows[TagRow]:
        """Tags that contain `text`."""
        place = _place(cursor)
        return await self._looking(lambda: self._tags(text, place, count))

    def _tags(self, text: str, place: tuple[int, int] | None, count: int) -> Rows[TagRow]:
        pattern = self._pattern(f"tag:*{_literal(text)}*" if text else "tag:*")

        def listed(keys: list[bytes]) -> list[bytes]:
            return [key for key in keys if text in (self._names.read_registry(key) or "")]

        keys, further = self._scanned(pattern, listed, place, count, is_of_entries=False)
        tags = [tag for tag in map(self._names.read_registry, keys) if tag]
        return Rows(tuple(sorted(self._tag_rows(tags), key=lambda row: row.tag)), further)

    async def tagged(self, tag: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """The entries that carry a tag."""
        start = 0 if cursor is None else _offset(cursor)
        return await self._looking(lambda: self._tagged(tag, start, count))

    def _tagged(self, tag: str, start: int, count: int) -> Rows[EntryRow]:
        keys = self._carriers(tag, start, count + 1)
        further = str(start + count) if len(keys) > count else None
        return Rows(tuple(self._rows(keys[:count])), further)

    async def preview(self, tags: Sequence[str]) -> Preview:
        """What a purge of `tags` would reach. Raises ValueError for an illegal tag."""
        checked = [check_tag(tag) for tag in dict.fromkeys(tags)]
        return await self._looking(lambda: self._preview(checked))

    def _preview(self, tags: Sequence[str]) -> Preview:
        found = self._tag_rows(tags)
        keys: dict[bytes, None] = {}
        for tag in tags:
            if len(keys) < MOST_PREVIEWED:
                keys |= dict.fromkeys(self._carriers(tag, 0, MOST_PREVIEWED - len(keys)))
        rows = self._rows(list(keys)[:MOST_PREVIEWED])
        return Preview(tuple(found), tuple(rows), sum(row.entries for row in found))

    def _carriers(self, tag: str, start: int, count: int) -> list[bytes]:
        key = self._registry(tag)
        return list(self._at(key, "ZRANGE", key, start, start + count - 1) or [])

    def _tag_rows(self, tags: Sequence[str]) -> list[TagRow]:
        questions = []
        for tag in tags:
            shard = shard_of(tag, self._shards)
            registry, marks, guard = self._registry(tag), self._names.marks(shard), self._names.guard(shard)
            questions += [
                Question(registry.encode(), ("ZCARD", registry)),
                Question(marks.encode(), ("ZSCORE", marks, tag)),
                Question(guard.encode(), ("HGET", guard, f"h:{tag}")),
            ]
        replies = [usable(reply) for reply in self._reach.ask(questions)]
        rows = []
        for position, tag in enumerate(tags):
            entries, mark, holders = replies[3 * position : 3 * position + 3]
            held = len(holders.splitlines()) if holders else 0
            rows.append(TagRow(tag, int(entries or 0), None if mark is None else int(float(mark)), held))
        return rows

    def _registry(self, tag: str) -> str:
        return self._names.registry(shard_of(tag, self._shards), tag)

    # Going through the keys

    def _pattern(self, ending: str) -> str:
        return f"rc:{{{_literal(self._names.namespace)}:*}}:{ending}"

    def _matching(self, is_wanted: Callable[[Key], bool]) -> Callable[[list[bytes]], list[bytes]]:
        def matching(keys: list[bytes]) -> list[bytes]:
            materials = self._each(keys, lambda key: ("HGET", key, "key"))
            return [key for key, material in zip(keys, materials, strict=True) if _is_of(material, is_wanted)]

        return matching

    def _scanned(
        self,
        pattern: str,
        chosen: Callable[[list[bytes]], list[bytes]],
        place: tuple[int, int] | None,
        count: int | None,
        *,
        is_of_entries: bool = True,
    ) -> tuple[list[bytes], str | None]:
        """The keys that are chosen from a place on, until there are so many or the time is over; and where to go on."""
        began, servers = time.monotonic(), self._reach.servers()
        server, cursor = place or (0, 0)
        found: dict[bytes, None] = {}
        while server < len(servers):
            reply = self._reach.ask_server(servers[server], ("SCAN", cursor, "MATCH", pattern, "COUNT", SLICE))
            told, keys = usable(reply)
            if is_of_entries:
                keys = [key for key in keys if self._names.read_entry(key) is not None]
            found |= dict.fromkeys(chosen(keys)) if keys else {}
            cursor = int(told)
            if not cursor:
                server += 1
            is_enough = count is not None and len(found) >= count
            if (is_enough or time.monotonic() - began >= LOOK) and server < len(servers):
                return list(found), f"{server}:{cursor}"
        return list(found), None

    # Entries as they are found

    def _at(self, key: str, *command: str | bytes | int) -> Any:
        return usable(self._reach.ask([Question(key.encode(), command)])[0])

    def _each(self, keys: Sequence[bytes], command: Callable[[bytes], Command]) -> list[Any]:
        return [usable(reply) for reply in self._reach.ask([Question(key, command(key)) for key in keys])]

    def _rows(self, keys: Sequence[bytes]) -> list[EntryRow]:
        """The entries under these keys, without those that are gone or damaged."""
        if not keys:
            return []
        records = self._each(keys, lambda key: ("HMGET", key, *_FIELDS))
        sizes = self._each(keys, lambda key: ("HSTRLEN", key, "body"))
        seen = [self._read(record, size) for record, size in zip(records, sizes, strict=True)]
        return self._judged([each for each in seen if each is not None])

    def _read(self, record: Sequence[bytes | None] | None, size: int | None) -> _Seen | None:
        if record is not None and not any(record):
            return None
        try:
            if record is None or size is None:
                raise ValueError("of another type")
            epoch, number, guards, material, variant, stored_at, head = [_whole(field) for field in record]
            shards = [[str(part) for part in shard] for shard in orjson.loads(guards)]
            tags = tuple([tag for shard in shards for tag in shard[2:]])
            start = Start(epoch.decode(), int(number))
            entry = decode_entry(head, body=b"", start=start, tags=tags, stored_at=float(stored_at))
            seen = _Seen(Key.read(material), variant, entry, shards, size)
            entry_name(material, variant)
        except (CodecError, ValueError, TypeError):
            self.damaged += 1
            return None
        return seen

    def _judged(self, found: Sequence[_Seen]) -> list[EntryRow]:
        sequence = self._names.sequence
        told = _granted(self._at(sequence, "EVALSHA", SEQUENCE.sha, 1, sequence))
        epoch, number, seconds, microseconds = told
        now = int(seconds) + int(microseconds) / 1e6
        questions = [question for each in found for question in self._judges(each, epoch)]
        verdicts = iter([_granted(usable(reply)) for reply in self._reach.ask(questions)])
        hits = {item.entry: item.hits for item in self._top(RANKED)} if found else {}
        rows = []
        for each in found:
            its = [next(verdicts) for _ in each.guards]
            entry, state = each.entry, self._state(each, its, epoch, int(number))
            since = [int(verdict[1]) for verdict in its if verdict[0] == b"soft"]
            if state is None and since:
                entry = softened(entry, min(since) / 1000)
            if entry.gone_at > now:
                name = entry_name(each.key.material, each.variant)
                state = state or usable_state(entry, now)
                rows.append(entry_row(each.key, each.variant, entry, now, state, each.size, hits.get(name, 0)))
        return rows

    def _judges(self, seen: _Seen, epoch: bytes) -> list[Question]:
        start, judge = b"%d" % seen.entry.start.number, self._reach.judge.sha
        return [
            Question(guard.encode(), ("EVALSHA", judge, 2, guard, marks, epoch, start, *tags))
            for guard, marks, *tags in seen.guards
        ]

    def _state(self, seen: _Seen, verdicts: Sequence[Any], epoch: bytes, number: int) -> State | None:
        """Why the one rule forbids it; None where it may be used."""
        start = seen.entry.start
        if not epoch or start.epoch != epoch.decode() or start.number > number:
            return "lost"
        objections = [
            _STATES.get(verdict[0], "lost") for verdict in verdicts if verdict != b"fit" and verdict[0] != b"soft"
        ]
        if any(verdict[0] == b"abandoned" for verdict in verdicts if verdict != b"fit"):
            return "purged"
        return objections[0] if objections else None


def _granted(reply: Any) -> Any:
    """What a script says. Raises BackendError where it must not run there."""
    if isinstance(reply, list) and reply[0] in REFUSALS:
        raise refusal(reply)
    return reply


def _literal(text: str) -> str:
    """A text in a pattern, which stands for itself."""
    return _GLOB.sub(r"\\\1", text)


def _is_of(material: bytes | None, is_wanted: Callable[[Key], bool]) -> bool:
    try:
        return material is not None and is_wanted(Key.read(material))
    except ValueError:
        return False


def _whole(field: bytes | None) -> bytes:
    if field is None:
        raise ValueError("a field is missing")
    return field


def _place(cursor: str | None) -> tuple[int, int] | None:
    """Where to go on. Raises ValueError for what is no cursor."""
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError(f"{cursor!r} is no cursor of this inspector: pass what the former page gave")
    return int(found[1]), int(found[2])


def _offset(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit():
        raise ValueError(f"{cursor!r} is no cursor of this inspector: pass what the former page gave")
    return int(cursor)
