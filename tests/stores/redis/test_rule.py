"""The one rule in Redis: each clause decides, which is shown by taking it out."""

import pytest

from rcache.core.entry import Found, Missing
from rcache.stores.redis import scripts
from tests.contract.redis_harness import RedisHarness

from .conftest import Request, budget, entry_of, fill, start_of


async def mark_decides(harness: RedisHarness) -> bool:
    """A purge during the fill: whether an entry from before it is used."""
    store = harness.store
    missing = await start_of(store, Request())
    await store.purge(["article:7"], 5.0)
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def highest_mark_decides(harness: RedisHarness) -> bool:
    """A mark that somebody lowers: a purge of an earlier number lands again after a later one."""
    store = harness.store
    missing = await start_of(store, Request())
    await store.purge(["article:7"], 5.0)
    harness.client.hincrby(store.names.sequence, "n", -1)
    # The sequence as a lagging replica would have it; the mark must stay where it was.
    harness.client.hset(store.names.sequence, "n", missing.start.number - 1)
    await store.purge(["article:7"], 5.0)
    # The purge noticed, and dropped the epoch; put back, only the mark can tell.
    harness.client.hset(store.names.sequence, mapping={"n": missing.start.number + 5, "epoch": missing.start.epoch})
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def born_decides(harness: RedisHarness) -> bool:
    """A guard forgot its marks: whether an entry that it can no longer judge is used."""
    store = harness.store
    missing = await start_of(store, Request())
    await store.purge(["article:7"], 5.0)
    for n in range(30):  # max_marks is 4: the mark of article:7 is forgotten
        await store.purge([f"other:{n}"], 5.0)
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def epoch_decides(harness: RedisHarness) -> bool:
    """A server with another history holds the entry of the former one, and its numbers have come as far."""
    store = harness.store
    await fill(store, Request())
    await store.purge(["article:7"], 5.0)
    await fill(store, Request())
    fresh = await harness.second()
    harness.client.hset(store.names.sequence, mapping={"epoch": "another", "n": 50})
    harness.client.hset(store.names.guard(0), mapping={"epoch": "another", "born": 0})
    harness.client.zadd(store.names.marks(0), {"\x01": 0, "article:7": 1})
    return isinstance(await fresh.lookup(Request(), budget()), Found)


async def guard_decides(harness: RedisHarness) -> bool:
    """A guard is lost after a purge, and with it the mark."""
    store = harness.store
    await fill(store, Request())
    harness.client.delete(store.names.guard(0), store.names.marks(0))
    return isinstance(await store.lookup(Request(), budget()), Found)


async def disagreement_decides(harness: RedisHarness) -> bool:
    """The marks are lost, and come back without those that are missing."""
    store = harness.store
    await fill(store, Request())
    number = (await store.purge(["unrelated"], 5.0)).number
    harness.client.delete(store.names.marks(0))
    harness.client.zadd(store.names.marks(0), {"unrelated": number})
    return isinstance(await store.lookup(Request(), budget()), Found)


async def older_guard_decides(harness: RedisHarness) -> bool:
    """The marks forgot a purge, and the guard is back from a time before that raised its `born`."""
    store = harness.store
    missing = await start_of(store, Request())
    await store.purge(["article:7"], 5.0)
    for n in range(30):
        await store.purge([f"other:{n}"], 5.0)
    harness.client.hset(store.names.guard(0), "born", missing.start.number)
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def quarantine_decides(harness: RedisHarness) -> bool:
    """A guard is in quarantine, whatever its numbers say."""
    store = harness.store
    await fill(store, Request())
    harness.client.hset(store.names.guard(0), "quarantine", 4102444800000)
    return isinstance(await store.lookup(Request(), budget()), Found)


async def history_decides(harness: RedisHarness) -> bool:
    """The data is another server's: purges may have been forgotten on the way."""
    store = harness.store
    await fill(store, Request())
    await harness.new_epoch()
    return isinstance(await store.lookup(Request(), budget()), Found)


async def hold_decides(harness: RedisHarness) -> bool:
    """Somebody is about to commit."""
    store = harness.store
    await fill(store, Request())
    await store.hold(["article:7"], "t1", 20.0, 5.0)
    return isinstance(await store.lookup(Request(), budget()), Found)


async def deadline_decides(harness: RedisHarness) -> bool:
    """A writer died after COMMIT: what it held is purged for it."""
    store = harness.store
    await fill(store, Request())
    await store.hold(["article:7"], "t1", 0.001, 5.0)
    await harness.advance(1.0)
    await store.lookup(Request(), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def survival_decides(harness: RedisHarness) -> bool:
    """A purge of somebody else's does not end what is held."""
    store = harness.store
    await store.hold(["article:7"], "t1", 20.0, 5.0)
    await store.purge(["article:7"], 5.0, "t2")
    missing = await start_of(store, Request())
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def placing_again_decides(harness: RedisHarness) -> bool:
    """A guard was lost with a hold in it, which is renewed; then the quarantine ends."""
    store = harness.store
    await fill(store, Request())
    await store.hold(["article:7"], "t1", 60.0, 5.0)
    await harness.lose_guard("article:7")
    await start_of_loss(store)
    await store.hold(["article:7"], "t1", 60.0, 5.0)
    await harness.advance(30.0)
    missing = await start_of(store, Request(b"/other"))
    await store.store(Request(), (), entry_of(missing.start, missing.now), budget())
    return isinstance(await store.lookup(Request(), budget()), Found)


async def start_of_loss(store) -> None:
    assert (await store.lookup(Request(), budget())).start is None


CLAUSES = [
    (hold_decides, "objection = 'held'", ""),
    (hold_decides, "HINCRBY', guard, 'held', 1)", "HINCRBY', guard, 'unheld', 1)"),
    (
        deadline_decides,
        "if #abandoned > 0 then return 'abandoned', abandoned end",
        "if #abandoned > 0 then return nil end",
    ),
    (survival_decides, "return holder == transaction or deadline <= now", "return true"),
    (placing_again_decides, "      deadlines[transaction] = now + lasts\n", ""),
    (mark_decides, "if mark and tonumber(mark) > start then return 'purged' end", ""),
    (
        highest_mark_decides,
        "put('ZADD', shard[2], 'GT', mark, shard[position])",
        "put('ZADD', shard[2], mark, shard[position])",
    ),
    (born_decides, "if born > start then return 'former' end", ""),
    (born_decides, "highest = math.max(highest, tonumber(lowest[position + 1]))", ""),
    (epoch_decides, "entry[1] ~= epoch", "false"),
    (guard_decides, "if not born then return 'lost' end", "if not born then return nil end"),
    (older_guard_decides, "if not born or born ~= tonumber(repeated) then return nil end", ""),
    (
        disagreement_decides,
        "or not repeated then return nil end",
        "then return nil end repeated = repeated or held[2]",
    ),
    (
        quarantine_decides,
        "if quarantine then return quarantine > now and 'quarantine' or 'lost' end\n  if held",
        "if held",
    ),
    (
        history_decides,
        "if not string.find(info, 'master_replid:' .. seq[3] .. '\\r', 1, true) then return nil end",
        "",
    ),
]
SCRIPTS = ("lookup", "store", "hold", "purge", "repair")


@pytest.fixture
async def small_harness(harness: RedisHarness) -> RedisHarness:
    await harness.make(max_marks=4)
    return harness


@pytest.mark.parametrize(
    "scenario", dict.fromkeys(clause[0] for clause in CLAUSES), ids=lambda scenario: scenario.__name__
)
async def test_no_entry_is_used_that_the_rule_forbids(scenario, small_harness):
    assert not await scenario(small_harness)


@pytest.mark.parametrize(
    ("scenario", "clause", "instead"), CLAUSES, ids=[f"{n}-{c[0].__name__}" for n, c in enumerate(CLAUSES)]
)
async def test_without_its_clause_the_entry_would_be_used(scenario, clause, instead, small_harness, monkeypatch):
    sources = {name: scripts.read(name) for name in SCRIPTS}
    assert any(clause in source for source in sources.values())
    for name, source in sources.items():
        setattr(small_harness.store, f"{name}_script", scripts.script(source.replace(clause, instead)))
    make = small_harness.second

    async def second():
        store = await make()
        for name, source in sources.items():
            setattr(store, f"{name}_script", scripts.script(source.replace(clause, instead)))
        return store

    monkeypatch.setattr(small_harness, "second", second)

    assert await scenario(small_harness)


async def test_on_a_fresh_redis_the_first_fill_is_stored(store):
    await fill(store, Request())

    assert isinstance(await store.lookup(Request(), budget()), Found)


async def test_a_fill_that_was_purged_meanwhile_is_refused(store):
    missing = await start_of(store, Request())
    await store.purge(["article:7"], 5.0)

    assert not await store.store(Request(), (), entry_of(missing.start, missing.now), budget())


async def test_an_entry_started_after_the_purge_is_used(store):
    await fill(store, Request())
    await store.purge(["article:7"], 5.0)
    await fill(store, Request(), body=b"new")

    assert (await store.lookup(Request(), budget())).entry.body == b"new"


async def test_a_purge_before_anything_else_needs_no_quarantine(store):
    await store.purge(["article:7"], 5.0)

    await fill(store, Request())


async def test_a_lost_guard_is_made_again_in_quarantine_and_serves_later(harness: RedisHarness):
    await fill(harness.store, Request())
    await harness.lose_guard("article:7")

    for node in (harness.store, harness.store, await harness.second()):
        missing = await node.lookup(Request(), budget())
        assert (missing.start, missing.reason) == (None, "quarantine")

    await harness.advance(21.0)
    missing = await harness.store.lookup(Request(), budget())
    assert missing.start is not None
    await fill(harness.store, Request(), body=b"new")
    assert (await harness.store.lookup(Request(), budget())).entry.body == b"new"


async def test_another_history_is_another_epoch_in_quarantine(harness: RedisHarness):
    entry = await fill(harness.store, Request())
    await harness.new_epoch()
    node = await harness.second()

    missing = await node.lookup(Request(), budget())
    assert (missing.start, missing.reason) == (None, "quarantine")

    await harness.advance(21.0)
    missing = await node.lookup(Request(), budget())
    assert missing.start is not None
    assert missing.start.epoch != entry.start.epoch
    assert not await node.store(Request(), (), entry, budget())


async def test_who_has_seen_an_epoch_makes_the_next_in_quarantine(harness: RedisHarness):
    await fill(harness.store, Request())
    await harness.forget_everything()

    missing = await harness.store.lookup(Request(), budget())

    assert (missing.start, missing.reason) == (None, "quarantine")


async def test_who_has_seen_none_starts_without_quarantine(harness: RedisHarness):
    await fill(harness.store, Request())
    await harness.forget_everything()

    await fill(await harness.second(), Request())


async def test_in_quarantine_nothing_is_stored(harness: RedisHarness):
    missing = await start_of(harness.store, Request())
    await harness.lose_guard("article:7")
    await harness.store.lookup(Request(), budget())

    assert not await harness.store.store(Request(), (), entry_of(missing.start, missing.now), budget())


async def test_an_old_copy_of_everything_is_not_trusted(harness: RedisHarness):
    """A snapshot from before a purge, on the same server: born and marks are old, but so is the entry's start."""
    store = harness.store
    await fill(store, Request())
    copy = {key: harness.client.dump(key) for key in harness.all_keys()}
    await store.purge(["article:7"], 5.0)
    for key, value in copy.items():
        harness.client.restore(key, 0, value, replace=True)
    await harness.new_epoch()  # a server that was restored from it has a history of its own

    assert isinstance(await store.lookup(Request(), budget()), Missing)


async def test_tags_of_several_shards_are_all_judged(harness: RedisHarness):
    store = await harness.make(shards=8)
    tags = [f"article:{n}" for n in range(20)]
    for tag in tags:
        await fill(store, Request(), *tags)
        await store.purge([tag], 5.0)
        assert isinstance(await store.lookup(Request(), budget()), Missing)


async def test_thousands_of_tags_are_all_judged(store):
    tags = [f"article:{n}" for n in range(2500)]
    for tag in (tags[0], tags[1000], tags[-1]):
        await fill(store, Request(), *tags)
        assert isinstance(await store.lookup(Request(), budget()), Found)
        await store.purge([tag], 5.0)
        assert isinstance(await store.lookup(Request(), budget()), Missing)
