"""Whatever stands under rcache's keys: a miss, counted where an entry is damaged, and overwritten."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcache.core.codec import CodecError
from rcache.core.entry import Found, Missing, Start
from rcache.core.keys import digest
from rcache.stores.redis.records import Decoded, Kept, decode_record, encode_record, identity
from tests.contract.redis_harness import DAMAGES, RedisHarness

from .conftest import Request, budget, entry_of, fill

FIELDS = ["epoch", "start", "guards", "key", "variant", "stored", "head", "body", "sum"]


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


@pytest.mark.parametrize("field", FIELDS)
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


@pytest.mark.parametrize("field", FIELDS)
async def test_a_copy_speaks_only_for_the_record_it_was_made_of(field, harness: RedisHarness):
    """All that the rule judges is compared with the copy; the rest of it is the copy's own, and whole."""
    await fill(harness.store, Request(), body=b"whole")
    assert isinstance(await harness.store.lookup(Request(), budget()), Found)
    (key,) = harness.entries(Request())
    harness.client.hset(key, field, harness.client.hget(key, field).replace(b"1", b"2") + b" ")

    answer = await harness.store.lookup(Request(), budget())

    if field in ("epoch", "start", "guards", "sum"):
        assert isinstance(answer, Missing)
    else:
        assert answer.entry.body == b"whole"


async def test_a_start_that_was_raised_in_redis_does_not_save_a_purged_copy(harness: RedisHarness):
    await fill(harness.store, Request())
    assert isinstance(await harness.store.lookup(Request(), budget()), Found)
    purged = await harness.store.purge(["article:7"], 5.0)
    (key,) = harness.entries(Request())
    harness.client.hset(key, "start", purged.number)

    assert isinstance(await harness.store.lookup(Request(), budget()), Missing)


async def test_a_copy_gives_way_to_what_another_node_stored(harness: RedisHarness):
    await fill(harness.store, Request(), body=b"old")
    assert (await harness.store.lookup(Request(), budget())).entry.body == b"old"
    other = await harness.second()
    await other.purge(["article:7"], 5.0)
    await fill(other, Request(), body=b"new")

    assert (await harness.store.lookup(Request(), budget())).entry.body == b"new"


async def test_what_is_held_is_not_sent_again(harness: RedisHarness):
    await fill(harness.store, Request(), body=b"x" * 100_000)
    first = await harness.store.lookup(Request(), budget())
    sent = harness.client.info("stats")["total_net_output_bytes"]

    again = await harness.store.lookup(Request(), budget())

    assert again.entry is first.entry
    assert harness.client.info("stats")["total_net_output_bytes"] - sent < 50_000


def kept_of(size: int) -> Kept:
    return Kept(entry_of(Start("epoch", 7), 1.5, body=b"x" * (size - 2000)), b"key", b"variant", b"command")


def test_a_copy_is_held_for_its_own_request_only() -> None:
    """As if two requests had one digest, and the first was decoded before."""
    decoded = Decoded()
    kept = kept_of(2100)
    decoded.keep(b"rc:name", kept)

    assert decoded.held(b"rc:name", b"key", b"variant") is kept
    assert decoded.held(b"rc:name", b"other", b"variant") is None
    assert decoded.held(b"rc:name", b"key", b"other") is None


def test_copies_are_bounded_and_those_in_use_stay(monkeypatch) -> None:
    monkeypatch.setattr("rcache.stores.redis.records.KEPT", 10 * 2100)
    decoded = Decoded()
    for n in range(10):
        decoded.keep(b"%d" % n, kept_of(2100))
    decoded.held(b"0", b"key", b"variant")
    decoded.keep(b"10", kept_of(2100))
    decoded.keep(b"10", kept_of(2100))

    assert [n for n in range(11) if decoded.held(b"%d" % n, b"key", b"variant") is None] == [1]


def test_an_entry_that_is_too_large_is_not_kept_and_its_former_copy_goes(monkeypatch) -> None:
    monkeypatch.setattr("rcache.stores.redis.records.LARGEST_KEPT", 3000)
    decoded = Decoded()
    decoded.keep(b"name", kept_of(2100))
    decoded.keep(b"name", kept_of(3001))

    assert decoded.held(b"name", b"key", b"variant") is None


def test_sums_tell_records_apart() -> None:
    one, other = (
        encode_record(entry_of(Start("epoch", 7), 1.5, body=body), b'[["g","m","t"]]', b"key", b"variant")
        for body in (b"plumless", b"buckeroo")  # one CRC-32
    )

    assert identity(one) != identity(other)


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
