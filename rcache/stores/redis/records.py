"""An entry as the fields of a Redis hash, and back. A checksum covers every field: nothing damaged is served."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

import orjson

from rcache.core.codec import CodecError, decode_entry, encode_head
from rcache.core.coding import available
from rcache.core.entry import Entry, Start
from rcache.core.keys import RedisNames, shard_of
from rcache.core.schemes import Scheme, Schemes, scheme

KEPT = 8 * 1024 * 1024  # bytes of entries that need not be sent and decoded again
LARGEST_KEPT = 1024 * 1024  # bytes of one of them: none pushes all others out

Record = list[bytes]
"""epoch, start, guards, key, variant, stored, head, body, sum: as `lookup.lua` gives and `store.lua` takes them."""


def spell_guards(names: RedisNames, tags: Sequence[str], shards: int) -> bytes:
    """The tags by shard, with the keys that judge them: JSON [[guard, marks, tag, ...], ...]."""
    grouped = by_shard(tags, shards)
    return orjson.dumps([[names.guard(shard), names.marks(shard), *its] for shard, its in grouped.items()])


def by_shard(tags: Sequence[str], shards: int) -> dict[int, list[str]]:
    """The tags of each shard that has some."""
    grouped: dict[int, list[str]] = {}
    for tag in tags:
        grouped.setdefault(shard_of(tag, shards), []).append(tag)
    return grouped


def spell_schemes(names: RedisNames, needed: Mapping[str, Sequence[Scheme]], shards: int) -> bytes:
    """Schemes by table, with the keys they are registered in: JSON [[guard, marks, table, scheme, ...], ...]."""
    spelled = []
    for table, its in needed.items():
        shard = shard_of(table, shards)
        spelled.append([names.guard(shard), names.marks(shard), table, *[each.spelled.decode() for each in its]])
    return orjson.dumps(spelled)


def read_schemes(tables: Sequence[str], fields: Sequence[bytes | None]) -> Schemes:
    """What guards said of the tables' schemes, each "scheme since" a line; a table is missing where its guard knew nothing."""
    told = {}
    for table, field in zip(tables, fields, strict=True):
        schemes = _read(field) if field is not None else None
        if schemes is not None:
            told[table] = schemes
    return told


@lru_cache(maxsize=256)
def _read(field: bytes) -> frozenset[Scheme] | None:
    try:
        return frozenset([scheme(line.rpartition(b" ")[0]) for line in field.splitlines()])
    except ValueError:  # somebody else's
        return None


def encode_record(entry: Entry, guards: bytes, key: bytes, variant: bytes) -> Record:
    """The fields of `entry`, stored for the request that `key` and `variant` describe."""
    record = [
        entry.start.epoch.encode(),
        b"%d" % entry.start.number,
        guards,
        key,
        variant,
        repr(float(entry.stored_at)).encode(),
        encode_head(entry),
        entry.body,
    ]
    record.append(checksum(record))
    return record


def checksum(record: Record) -> bytes:
    """A digest of the eight fields and their lengths, so that bytes that change fields are noticed too.

    It tells records apart as well: two with one sum are the same, which no CRC could promise. SHA-256, cut to 128 bits, is
    as quick as a CRC where the processor knows it.
    """
    lengths = b"%d %d %d %d %d %d %d %d" % (*map(len, record[:8]),)
    total = sha256(b"".join((lengths, *record[:7])), usedforsecurity=False)
    total.update(record[7])
    return total.hexdigest()[:32].encode()


def identity(record: Record) -> bytes:
    """What tells `lookup.lua` which record a process holds: all that the rule judges, and the sum."""
    return b" ".join((record[0], record[1], record[2], record[8]))


def decode_record(record: Record, key: bytes, variant: bytes) -> Entry:
    """The entry, if the record is whole and was stored for `key` and `variant`. Raises CodecError."""
    epoch, number, guards, stored_key, stored_variant, stored_at, head, body, total = record[:9]
    try:
        if checksum(record) != total:
            raise CodecError("damaged")
        if stored_key != key or stored_variant != variant:
            raise CodecError("another request's")
        shards = orjson.loads(guards)
        tags = tuple(shards[0][2:]) if len(shards) == 1 else tuple([tag for shard in shards for tag in shard[2:]])
        start = Start(epoch.decode(), int(number))
        at = float(stored_at)
    except (ValueError, TypeError, LookupError) as error:  # a field that is missing is None
        raise CodecError("damaged") from error
    entry = decode_entry(head, body=body, start=start, tags=tags, stored_at=at)
    if entry.coding is not None and entry.coding not in available():
        raise CodecError("in a coding that this process does not know")
    return entry


class Kept:
    """An entry that was decoded and found whole, and the command that asks whether Redis still holds that very one."""

    __slots__ = ("command", "entry", "key", "size", "variant", "was_used")

    def __init__(self, entry: Entry, key: bytes, variant: bytes, command: bytes) -> None:
        self.entry = entry
        self.key = key
        self.variant = variant
        self.command = command
        self.size = 2000 + len(entry.body)
        self.was_used = False


class Decoded:
    """Spares the entries that are hit again and again their transport and their decoding.

    It answers nothing by itself. On each lookup Redis judges its own record by the one rule, and tells whether that is
    the one kept here; only then is the copy used. Bounded in bytes; what was used since it was last looked at stays longer.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, Kept] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def held(self, name: bytes, key: bytes, variant: bytes) -> Kept | None:
        """What is kept of the key `name`, if it was stored for `key` and `variant`: digests may collide."""
        kept = self._kept.get(name)
        if kept is None or kept.key != key or kept.variant != variant:
            return None
        kept.was_used = True
        return kept

    def keep(self, name: bytes, kept: Kept) -> None:
        """Keeps it in place of what was kept of that key, unless it is too large to be kept."""
        with self._lock:
            self._drop(name)
            if kept.size <= LARGEST_KEPT:
                self._add(name, kept)
            while self._bytes > KEPT:
                oldest = next(iter(self._kept))
                passed = self._drop(oldest)
                if passed is not None and passed.was_used:
                    passed.was_used = False
                    self._add(oldest, passed)

    def _add(self, name: bytes, kept: Kept) -> None:
        self._kept[name] = kept
        self._bytes += kept.size

    def _drop(self, name: bytes) -> Kept | None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._bytes -= kept.size
        return kept
