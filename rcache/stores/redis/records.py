"""An entry as the fields of a Redis hash, and back. A checksum covers every field: nothing damaged is served."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from zlib import crc32

import orjson

from rcache.core.codec import CodecError, decode_entry, encode_head
from rcache.core.entry import Entry, Start
from rcache.core.keys import RedisNames, shard_of

KEPT = 8 * 1024 * 1024  # bytes of entries that need not be decoded again
LARGEST_KEPT = 128 * 1024  # bytes of one of them; to decode a larger one costs little beside its transport

Record = list[bytes]
"""epoch, start, guards, key, variant, stored, head, body, sum: as `lookup.lua` gives and `store.lua` takes them."""


def spell_guards(names: RedisNames, tags: Sequence[str], shards: int) -> bytes:
    """The tags by shard, with the keys that judge them: JSON [[guard, marks, tag, ...], ...]."""
    grouped: dict[int, list[str]] = {}
    for tag in tags:
        shard = shard_of(tag, shards)
        if shard not in grouped:
            grouped[shard] = [names.guard(shard), names.marks(shard)]
        grouped[shard].append(tag)
    return orjson.dumps(list(grouped.values()))


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
    """CRC-32 over the eight fields and their lengths, so that bytes that change fields are noticed too."""
    small, body = record[:7], record[7]
    lengths = b"%d %d %d %d %d %d %d" % (*map(len, small),)
    return b"%d" % crc32(body, crc32(b"".join((lengths, *small))))


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
    return decode_entry(head, body=body, start=start, tags=tags, stored_at=at)


class Decoded:
    """Spares the entries that are hit again and again their decoding: the same bytes are the same entry.

    It answers nothing by itself. Redis has judged the entry and sent its bytes, and they are compared in full.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[Record, Entry]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def entry(self, name: bytes, record: Record, key: bytes, variant: bytes) -> Entry:
        """`decode_record` of what Redis holds under `name`."""
        kept = self._kept.get(name)
        if kept is not None and kept[0] == record and record[3] == key and record[4] == variant:
            return kept[1]
        entry = decode_record(record, key, variant)
        if len(record[7]) <= LARGEST_KEPT:
            with self._lock:
                self._keep(name, record, entry)
        return entry

    def _keep(self, name: bytes, record: Record, entry: Entry) -> None:
        former = self._kept.pop(name, None)
        if former is not None:
            self._bytes -= _size(former[0])
        self._kept[name] = (record, entry)
        self._bytes += _size(record)
        while self._bytes > KEPT:
            oldest = next(iter(self._kept))
            self._bytes -= _size(self._kept.pop(oldest)[0])


def _size(record: Record) -> int:
    return 2000 + len(record[7])
