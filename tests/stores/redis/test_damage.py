"""Whatever stands under rcache's keys: a miss, counted where an entry is damaged, and overwritten."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcache.core.codec import CodecError
from rcache.core.entry import Found, Missing, Start
from rcache.core.keys import digest
from rcache.stores.redis.records import Decoded, decode_record, encode_record
from tests.contract.redis_harness import DAMAGES, RedisHarness

from .conftest import Request, budget, entry_of, fill


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_entry_is_a_counted_miss_and_is_overwritten(how, harness: RedisHarness):
    await fill(harness.store, Request())
    await harness.damage(Request(), how)

    missing = await harness.store.lookup(Request(), budget())

    assert isinstance(missing, Missing)
    assert missing.reason == "damaged"
    assert harness.store.damaged == 1
    await fill(harness.store, Request(), body=b"whole")
    assert (await harness.store.lookup(Request(), budget())).entry.body == b"whole"


@pytest.mark.parametrize("field", ["epoch", "start", "guards", "key", "variant", "stored", "head", "body", "sum"])
@pytest.mark.parametrize("value", [b"", b"\xff\x00", b"[]", b"1e400", b'[["a"]]', b"[1]", b"x" * 5000])
async def test_no_field_can_be_exchanged(field, value, harness: RedisHarness):
    ask = Request(names=("accept-language",))
    await fill(harness.store, ask)
    for key in harness.entries(ask):
        harness.client.hset(key, field, value)

    assert isinstance(await harness.store.lookup(ask, budget()), Missing)
    await fill(harness.store, ask)


async def test_an_entry_of_another_request_is_not_served(harness: RedisHarness):
    """As if two requests had one digest."""
    await fill(harness.store, Request(b"/mine"), body=b"mine")
    await fill(harness.store, Request(b"/yours"), body=b"yours")
    (mine,), (yours,) = harness.entries(Request(b"/mine")), harness.entries(Request(b"/yours"))
    harness.client.copy(yours, mine, replace=True)

    missing = await harness.store.lookup(Request(b"/mine"), budget())

    assert isinstance(missing, Missing)
    assert missing.reason == "damaged"


async def test_an_entry_of_another_variant_is_not_served(harness: RedisHarness):
    german, french = (Request(names=("accept-language",), fields={"accept-language": text}) for text in (b"de", b"fr"))
    await fill(harness.store, german, body=b"Guten Tag")
    (before,) = harness.entries(german)
    await fill(harness.store, french, body=b"Bonjour")
    (other,) = set(harness.entries(french)) - {before}
    harness.client.copy(before, other, replace=True)

    assert isinstance(await harness.store.lookup(french, budget()), Missing)


def test_what_need_not_be_decoded_again_is_still_compared() -> None:
    """As if two requests had one digest, and the first was decoded before."""
    record = encode_record(entry_of(Start("epoch", 7), 1.5), b'[["g","m","t"]]', b"key", b"variant")
    decoded = Decoded()
    entry = decoded.entry(b"rc:name", record, b"key", b"variant")

    assert decoded.entry(b"rc:name", list(record), b"key", b"variant") is entry
    for key, variant in ((b"other", b"variant"), (b"key", b"other")):
        with pytest.raises(CodecError):
            decoded.entry(b"rc:name", record, key, variant)
    for position in range(9):
        damaged = [*record[:position], record[position] + b"x", *record[position + 1 :]]
        with pytest.raises(CodecError):
            decoded.entry(b"rc:name", damaged, b"key", b"variant")


def test_what_need_not_be_decoded_again_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("rcache.stores.redis.records.KEPT", 10 * 2100)
    decoded = Decoded()
    record = encode_record(entry_of(Start("epoch", 7), 1.5, body=b"x" * 100), b'[["g","m","t"]]', b"key", b"")
    entries = [decoded.entry(b"%d" % n, record, b"key", b"") for n in range(11)]

    assert decoded.entry(b"10", record, b"key", b"") is entries[10]
    assert decoded.entry(b"1", record, b"key", b"") is entries[1]
    assert decoded.entry(b"0", record, b"key", b"") is not entries[0]


WRONG = {
    "string": lambda client, key: client.set(key, b"a string"),
    "list": lambda client, key: client.rpush(key, b"a", b"b"),
    "hash": lambda client, key: client.hset(key, "colour", "green"),
    "set": lambda client, key: client.sadd(key, b"a"),
    "zset": lambda client, key: client.zadd(key, {"a": 1}),
    "bytes": lambda client, key: client.set(key, b"\xff\x00\n\n"),
}
KEYS = {
    "sequence": lambda harness: harness.store.names.sequence,
    "guard": lambda harness: harness.store.names.guard(0),
    "marks": lambda harness: harness.store.names.marks(0),
    "registry": lambda harness: harness.store.names.registry(0, "article:7"),
    "vary": lambda harness: harness.store.names.vary(digest(Request().key.material)),
    "variants": lambda harness: harness.store.names.variants(digest(Request().key.material)),
    "sweep": lambda harness: harness.store.names.sweep,
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", KEYS)
async def test_a_key_of_another_type_costs_misses_at_most(name, kind, harness: RedisHarness):
    ask = Request(names=("accept-language",))
    await fill(harness.store, ask)
    key = KEYS[name](harness)
    harness.client.delete(key)
    WRONG[kind](harness.client, key)

    answer = await harness.store.lookup(ask, budget())
    await harness.store.purge(["article:7"], 5.0)

    assert isinstance(answer, Found | Missing)
    assert isinstance(await harness.store.lookup(ask, budget()), Missing)
    await harness.advance(30.0)
    await fill(harness.store, ask, body=b"new")
    assert (await harness.store.lookup(ask, budget())).entry.body == b"new"


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", ["sequence", "guard", "marks"])
async def test_a_purge_lands_on_keys_of_another_type(name, kind, harness: RedisHarness):
    await fill(harness.store, Request())
    key = KEYS[name](harness)
    harness.client.delete(key)
    WRONG[kind](harness.client, key)

    await harness.store.purge(["article:7"], 5.0)

    assert isinstance(await harness.store.lookup(Request(), budget()), Missing)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_in_a_record_is_noticed(data: st.DataObject) -> None:
    record = encode_record(entry_of(Start("epoch", 7), 1.5, body=b"hello"), b'[["g","m","t"]]', b"key", b"variant")
    position = data.draw(st.integers(0, 8))
    field = bytearray(record[position])
    index = data.draw(st.integers(0, len(field) - 1))
    field[index] ^= 1 << data.draw(st.integers(0, 7))
    record[position] = bytes(field)

    with pytest.raises(CodecError):
        decode_record(record, b"key", b"variant")


@given(st.integers(0, 7), st.integers(1, 20))
def test_bytes_that_move_to_the_next_field_are_noticed(position: int, count: int) -> None:
    record = encode_record(entry_of(Start("epoch", 7), 1.5), b'[["g","m","t"]]', b"key", b"variant")
    if position < 7:
        moved = record[position][-count:]
        record[position] = record[position][:-count]
        record[position + 1] = moved + record[position + 1]
    else:
        record[7] = record[7][:-count]

    with pytest.raises(CodecError):
        decode_record(record, record[3], record[4])
