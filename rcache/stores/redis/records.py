"""An entry as the fields of a Redis hash, and back. A checksum covers every field: nothing damaged is served."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import orjson

from rcache.core.codec import CodecError, decode_entry, encode_head
from rcache.core.entry import Entry, Start
from rcache.core.keys import RedisNames, shard_of

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
