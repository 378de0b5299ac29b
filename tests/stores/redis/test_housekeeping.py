"""What keeps Redis tidy: bounds, TTLs, registries that trim themselves, bytes that are freed."""

import asyncio

import pytest

from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError
from rcache.core.keys import digest
from tests.contract.redis_harness import RedisHarness
from tests.servers import RedisServer

from .conftest import Request, budget, entry_of, fill, start_of


async def test_every_key_ends_by_itself_but_for_the_few_that_promises_rest_on(harness: RedisHarness):
    store = harness.store
    await fill(store, Request(names=("accept-language",)), "article:7", "author:1")
    await fill(store, Request(b"/plain"), "article:8")
    await store.purge(["author:1"], 5.0)
    store.purge_sync(["article:8"], 5.0)

    endless = {key.decode() for key in harness.all_keys() if harness.client.pttl(key) == -1}

    assert endless == {store.names.sequence, store.names.log, store.names.guard(0), store.names.marks(0)}


async def test_an_entry_ends_with_its_freshness(harness: RedisHarness):
    missing = await start_of(harness.store, Request())
    entry = entry_of(missing.start, missing.now, lifetime=60.0, initial_age=20.0)
    await harness.store.store(Request(), (), entry, budget())

    (key,) = harness.entries(Request())

    assert harness.client.pexpiretime(key) == int((missing.now + 40.0) * 1000)


async def test_an_entry_that_has_expired_is_not_found(harness: RedisHarness):
    await fill(harness.store, Request(), lifetime=60.0)
    await harness.advance(61.0)

    assert (await harness.store.lookup(Request(), budget())).reason == "absent"


async def test_an_entry_that_redis_has_not_removed_yet_is_gone(harness: RedisHarness):
    await fill(harness.store, Request(), lifetime=60.0)
    (key,) = harness.entries(Request())
    await harness.advance(59.0)
    harness.edit(key, lambda record: {b"stored": b"%.3f" % (float(record[b"stored"]) - 2.0)})

    assert (await harness.store.lookup(Request(), budget())).reason == "absent"


async def test_what_has_expired_is_not_stored(store):
    missing = await start_of(store, Request())

    assert not await store.store(Request(), (), entry_of(missing.start, missing.now - 100.0, lifetime=60.0), budget())


async def test_a_registry_lives_as_long_as_its_longest_entry(harness: RedisHarness):
    await fill(harness.store, Request(b"/long"), lifetime=600.0)
    await fill(harness.store, Request(b"/short"), lifetime=6.0)
    registry = harness.store.names.registry(0, "article:7")

    assert harness.client.pttl(registry) > 500_000
    assert harness.client.pexpiretime(registry) == harness.client.pexpiretime(harness.entries(Request(b"/long"))[0])


async def test_a_registry_drops_dead_members(harness: RedisHarness):
    for n in range(5):
        await fill(harness.store, Request(b"/short/%d" % n), lifetime=10.0)
    await fill(harness.store, Request(b"/long"), lifetime=600.0)
    await harness.advance(11.0)

    for n in range(2):
        await fill(harness.store, Request(b"/next/%d" % n))

    assert harness.client.zcard(harness.store.names.registry(0, "article:7")) == 3


async def test_the_implicit_tag_of_a_url_purges_but_is_not_registered(harness: RedisHarness):
    tag = Request().key.url_tag
    await fill(harness.store, Request(), tag, "article:7")
    assert not harness.client.exists(harness.store.names.registry(0, tag))

    await harness.store.purge([tag], 5.0)

    assert isinstance(await harness.store.lookup(Request(), budget()), Missing)


async def test_a_purge_tells_how_many_entries_its_registries_held(store):
    for n in range(3):
        await fill(store, Request(b"/%d" % n), "article:7", f"page:{n}")

    assert (await store.purge(["article:7"], 5.0)).entries == 3
    assert (await store.purge(["article:7"], 5.0)).entries == 0


async def test_sweeping_frees_what_was_purged_and_nothing_else(harness: RedisHarness):
    store = harness.store
    for n in range(250):
        await fill(store, Request(b"/%d" % n), "article:7")
    await fill(store, Request(b"/other"), "article:8")
    await store.purge(["article:7"], 5.0)
    await fill(store, Request(b"/0"), "article:7", body=b"again")

    await store.swept()

    assert isinstance(await store.lookup(Request(b"/other"), budget()), Found)
    assert (await store.lookup(Request(b"/0"), budget())).entry.body == b"again"
    entries = [
        key for key in harness.all_keys() if harness.client.type(key) == b"hash" and harness.client.hexists(key, "sum")
    ]
    assert len(entries) == 2
    assert not [key for key in harness.all_keys() if b"swept" in key]


async def test_the_next_purge_sweeps_what_a_synchronous_one_left(harness: RedisHarness):
    store = harness.store
    await fill(store, Request(b"/1"), "article:1")
    await fill(store, Request(b"/2"), "article:2")
    store.purge_sync(["article:1"], 5.0)
    assert harness.entries(Request(b"/1"))

    await store.purge(["article:2"], 5.0)
    await store.swept()

    assert not harness.entries(Request(b"/1"))
    assert not harness.entries(Request(b"/2"))


async def test_marks_are_bounded_and_the_rest_is_still_judged(harness: RedisHarness):
    store = await harness.make(max_marks=10)
    await fill(store, Request(b"/old"), "old")
    for n in range(100):
        await store.purge([f"article:{n}", f"author:{n}"], 5.0)
    await fill(store, Request(b"/new"), "new")

    assert harness.client.zcard(store.names.marks(0)) <= 11
    assert isinstance(await store.lookup(Request(b"/old"), budget()), Missing)
    assert isinstance(await store.lookup(Request(b"/new"), budget()), Found)


async def test_variants_of_a_url_are_bounded(harness: RedisHarness):
    store = await harness.make(max_variants=3)
    asks = [Request(names=("x-user",), fields={"x-user": b"%d" % n}) for n in range(6)]
    for n, ask in enumerate(asks):
        await fill(store, ask, lifetime=60.0 + n)

    assert len(harness.entries(asks[0])) == 3
    found = [isinstance(await store.lookup(ask, budget()), Found) for ask in asks]
    assert found == [False, False, False, True, True, True]


async def test_variants_of_fewer_names_go_when_a_name_is_added(harness: RedisHarness):
    store = harness.store
    plain = Request(fields={"accept-language": b"de"})
    await fill(store, plain, body=b"any")
    missing = await store.lookup(Request(b"/elsewhere"), budget())
    await store.store(plain, ("accept-language",), entry_of(missing.start, missing.now, body=b"de"), budget())

    assert (await store.lookup(plain, budget())).entry.body == b"de"
    assert isinstance(await store.lookup(Request(fields={"accept-language": b"fr"}), budget()), Missing)
    assert len(harness.entries(plain)) == 1


async def test_a_node_that_knows_fewer_names_learns_the_others(harness: RedisHarness):
    ask = Request(fields={"accept-language": b"de", "accept-encoding": b"gzip"})
    one, two = harness.store, await harness.second()
    missing = await start_of(one, ask)
    await two.lookup(ask, budget())
    await one.store(ask, ("accept-language",), entry_of(missing.start, missing.now), budget())

    assert await two.store(ask, ("accept-encoding",), entry_of(missing.start, missing.now, body=b"both"), budget())

    vary = harness.client.get(one.names.vary(digest(ask.key.material)))
    assert vary == b"accept-encoding\naccept-language"
    assert (await one.lookup(ask, budget())).entry.body == b"both"


async def test_names_that_redis_forgot_are_no_obstacle(harness: RedisHarness):
    ask = Request(fields={"accept-language": b"de"})
    missing = await start_of(harness.store, ask)
    await harness.store.store(ask, ("accept-language",), entry_of(missing.start, missing.now), budget())
    harness.client.delete(harness.store.names.vary(digest(ask.key.material)))

    assert isinstance(await harness.store.lookup(ask, budget()), Found)


@pytest.fixture
def full_server():
    server = RedisServer("--maxmemory-policy", "noeviction")
    yield server
    server.stop()


async def test_a_full_redis_serves_and_purges_and_refuses_to_store_quietly(full_server, caplog):
    harness = RedisHarness(full_server)
    store = await harness.make()
    await fill(store, Request(b"/kept"), "kept")
    await fill(store, Request(b"/dead"), "dead")
    missing = await start_of(store, Request(b"/new"))
    harness.client.config_set("maxmemory", "1mb")

    assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
    assert not await store.store(Request(b"/new"), (), entry_of(missing.start, missing.now), budget())
    await store.purge(["dead"], 5.0)
    assert isinstance(await store.lookup(Request(b"/dead"), budget()), Missing)
    assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
    assert not store.is_down
    assert not caplog.records
    await harness.close()


async def test_where_replicas_are_too_few_hits_are_served_and_stores_refused_quietly(full_server, caplog):
    """As where a primary is cut off from its replicas, and `min-replicas-to-write` says what then."""
    harness = RedisHarness(full_server)
    store = await harness.make()
    await fill(store, Request(b"/kept"), "kept")
    missing = await start_of(store, Request(b"/new"))
    harness.client.config_set("min-replicas-to-write", 1)
    try:
        assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
        assert not await store.store(Request(b"/new"), (), entry_of(missing.start, missing.now), budget())
        with pytest.raises(BackendError, match="min-replicas-to-write"):
            await store.purge(["kept"], 5.0)
        with pytest.raises(BackendError, match="min-replicas-to-write"):
            await asyncio.to_thread(store.hold_sync, ["kept"], "t1", 20.0, 5.0)
        assert isinstance(await store.lookup(Request(b"/kept"), budget()), Found)
        assert not store.is_down
        assert not caplog.records
    finally:
        harness.client.config_set("min-replicas-to-write", 0)
    await store.purge(["kept"], 5.0)
    assert isinstance(await store.lookup(Request(b"/kept"), budget()), Missing)
    await harness.close()
