"""What is one script on one server is several on a Cluster: what others do in between must not be missed, nor harm them.

Each story stops a writer, or whoever makes guards again, between two of its rounds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest

from rcache.core.entry import Found, Missing
from rcache.core.keys import shard_of
from rcache.stores.redis import ClusterStore, scripts
from rcache.stores.redis.cluster import writing
from rcache.stores.redis.cluster.slots import SLOTS, Node, Plan
from rcache.stores.redis.scripts import Script
from rcache.stores.redis.steps import Step, Steps
from tests.clusters import Cluster
from tests.contract.redis_harness import RedisHarness
from tests.servers import free_port

from .conftest import Request, budget, entry_of, fill, start_of

TAG = "article:7"
TIMEOUT = 30.0


@pytest.fixture
async def harness(cluster: Cluster) -> AsyncIterator[RedisHarness]:
    made = RedisHarness(cluster)
    await made.make(quarantine=20.0)
    yield made
    await made.close()


@pytest.fixture
def store(harness: RedisHarness) -> ClusterStore:
    return harness.store


class Walk:
    """Steps that are taken one at a time."""

    def __init__(self, store: ClusterStore, steps: Steps[Any, Any]) -> None:
        self.store = store
        self.result: Any = None
        self._steps = steps
        self._next: Any = steps.send(None)

    @property
    def next_script(self) -> Script | None:
        """The script that comes next; None at the end, and where only seconds pass."""
        if self._next is None or isinstance(self._next, float):
            return None
        return self._next.script if isinstance(self._next, Step) else self._next.steps[0].script

    async def step(self) -> None:
        """Takes the next step."""
        reply = await self.store._take(self._next, TIMEOUT)
        try:
            self._next = self._steps.send(reply)
        except StopIteration as end:
            self._next, self.result = None, end.value

    async def until(self, name: str) -> None:
        """Goes on until that script of the store is the next to be carried out."""
        wanted = getattr(self.store, f"{name}_script")
        while self.next_script is not wanted:
            assert self._next is not None, f"it never comes to {name}"
            await self.step()

    async def finish(self) -> Any:
        """Goes on to the end."""
        while self._next is not None:
            await self.step()
        return self.result


async def body_of(store: ClusterStore, ask: Request) -> bytes | None:
    found = await store.lookup(ask, budget())
    return found.entry.body if isinstance(found, Found) else None


async def put(store: ClusterStore, ask: Request, missing: Missing, *tags: str, body: bytes = b"old") -> bool:
    assert missing.start is not None
    return await store.store(ask, (), entry_of(missing.start, missing.now, *(tags or (TAG,)), body=body), budget())


def purging(store: ClusterStore, *tags: str, transaction: str = "") -> Walk:
    return Walk(store, writing.purging(store, tags or (TAG,), transaction))


# A guard that is made again


async def test_a_purge_between_making_a_guard_and_its_birth_is_remembered(harness: RedisHarness, store: ClusterStore):
    """The fill begins once the number is taken at which the guard will be born, and reads what is then purged."""
    await fill(store, Request(b"/other"))
    await harness.lose_guard(TAG)
    assert isinstance(await store.lookup(Request(), budget()), Missing)
    await harness.advance(21.0)
    repair = Walk(store, writing.repairing(store))
    await repair.until("bear")
    number = harness.client.hget(store.names.sequence, "n")
    start = store._start_of(store.epoch, number)
    await store.purge([TAG], TIMEOUT)
    await repair.finish()

    now = (await store.lookup(Request(b"/now"), budget())).now
    assert not await put(store, Request(), Missing(start, now, "absent"))
    assert await body_of(store, Request()) is None


async def test_a_purge_that_found_no_guard_is_older_than_the_guard_that_is_born(
    harness: RedisHarness, store: ClusterStore
):
    late = await start_of(store, Request())
    await harness.lose_guard(TAG)
    repair = Walk(store, writing.repairing(store))
    await repair.until("tend")
    await store.purge([TAG], TIMEOUT)
    await repair.finish()
    await harness.advance(21.0)
    assert isinstance(await store.lookup(Request(b"/other"), budget()), Missing)

    assert not await put(store, Request(), late)


async def test_a_guard_that_was_lost_again_is_not_born_at_a_number_from_before(
    harness: RedisHarness, store: ClusterStore
):
    """Whoever took the number is late: meanwhile the guard was lost with a purge in it, and made by somebody else."""
    await fill(store, Request(b"/other"))
    await harness.lose_guard(TAG)
    await store.lookup(Request(), budget())
    await harness.advance(21.0)
    slow = Walk(store, writing.repairing(store))
    await slow.until("bear")
    number = harness.client.hget(store.names.sequence, "n")
    await store.purge([TAG], TIMEOUT)
    await harness.lose_guard(TAG)
    await (await harness.second()).lookup(Request(), budget())
    await harness.advance(21.0)
    await slow.finish()

    start = store._start_of(store.epoch, number)
    now = (await store.lookup(Request(b"/now"), budget())).now
    assert not await put(store, Request(), Missing(start, now, "absent"))
    assert await body_of(store, Request()) is None


async def test_a_hold_that_is_placed_before_its_guard_is_born_is_kept(harness: RedisHarness, store: ClusterStore):
    await fill(store, Request(b"/other"))
    await harness.lose_guard(TAG)
    await store.lookup(Request(), budget())
    await harness.advance(21.0)
    repair = Walk(store, writing.repairing(store))
    await repair.until("bear")
    await store.hold([TAG], "t1", 100.0, TIMEOUT)
    await repair.finish()

    assert not await put(store, Request(), await start_of(store, Request()))
    await store.release([TAG], "t1", TIMEOUT)
    await fill(store, Request())


async def test_nodes_that_begin_at_the_same_time_need_no_quarantine(harness: RedisHarness, store: ClusterStore):
    """One makes the epoch; another one meets the guards that are missing before the first has made them."""
    first, other = await harness.make(), await harness.second()
    beginning = Walk(first, writing.repairing(first))
    await beginning.until("tend")
    assert (await other.lookup(Request(), budget())).start is None
    repaired = await beginning.finish()

    assert not repaired.is_quarantined
    await fill(other, Request())


async def test_a_guard_that_others_knew_is_quarantined_though_the_epoch_is_fresh(
    harness: RedisHarness, store: ClusterStore
):
    """The sequence's server lost everything, the guards' did not: writers of the former epoch may still be at work."""
    await fill(store, Request())
    harness.client.delete(store.names.sequence)
    stranger = await harness.second()

    missing = await stranger.lookup(Request(), budget())
    assert (missing.start, missing.reason) == (None, "quarantine")


async def test_what_a_slow_node_thinks_to_be_lost_is_not_made_twice(harness: RedisHarness, store: ClusterStore):
    await harness.lose_guard(TAG)
    slow = Walk(store, writing.repairing(store))
    await slow.until("tend")
    await (await harness.second()).lookup(Request(), budget())
    await harness.advance(21.0)
    await fill(await harness.second(), Request(), body=b"new")
    await slow.finish()

    assert await body_of(store, Request()) == b"new"


# Purges that meet others


async def test_a_purge_is_not_told_landed_before_every_shard_knows(harness: RedisHarness, store: ClusterStore):
    tags = [f"tag:{number}" for number in range(40)]
    for number, tag in enumerate(tags):
        await fill(store, Request(b"/%d" % number), tag)
    purge = purging(store, *tags)
    await purge.until("mark")
    assert await body_of(store, Request(b"/0")) == b"hello"
    await purge.finish()
    assert [await body_of(store, Request(b"/%d" % number)) for number in range(40)] == [None] * 40


async def test_a_fill_that_began_after_a_purge_s_number_is_younger_than_the_purge(store: ClusterStore):
    """The number was taken after the write: whatever was looked up since has read it."""
    purge = purging(store)
    await purge.until("mark")
    await fill(store, Request(), body=b"read after the write")
    late = await start_of(store, Request(b"/late"))
    await purge.finish()
    assert await body_of(store, Request()) == b"read after the write", "its start is not below the number"
    assert await put(store, Request(b"/late"), late)


async def test_purges_that_cross_alarm_nobody(harness: RedisHarness, store: ClusterStore):
    await fill(store, Request(b"/other"), "other")
    slow = purging(store)
    await slow.until("mark")
    for _ in range(3):
        await store.purge([TAG], TIMEOUT)
    await slow.finish()

    assert await body_of(store, Request(b"/other")) == b"hello"
    assert harness.client.hget(store.names.sequence, "epoch") == store.epoch


async def test_a_sequence_that_was_set_back_is_noticed(harness: RedisHarness, store: ClusterStore):
    """Somebody restored an older copy of it, and only it."""
    await fill(store, Request())
    for _ in range(5):
        await store.purge([TAG], TIMEOUT)
    late = await start_of(store, Request())
    await store.purge([TAG], TIMEOUT)
    epoch = harness.client.hget(store.names.sequence, "epoch")
    old = {b"epoch": epoch, b"n": b"3", b"replid": harness.client.hget(store.names.sequence, "replid")}
    harness.client.delete(store.names.sequence)
    harness.client.hset(store.names.sequence, mapping=old)
    await store.purge([TAG], TIMEOUT)

    assert not await put(store, Request(), late)
    assert (await store.lookup(Request(), budget())).reason == "quarantine"
    assert harness.client.hget(store.names.sequence, "epoch") != epoch


async def test_a_number_of_a_former_epoch_harms_no_guard_of_the_next(harness: RedisHarness, store: ClusterStore):
    for _ in range(20):
        await store.purge(["many"], TIMEOUT)
    late = await start_of(store, Request(b"/late"))
    slow = purging(store)
    await slow.until("mark")
    await harness.forget_everything()
    store.quarantine = 0.0
    await store.lookup(Request(), budget())
    await store.lookup(Request(), budget())
    await fill(store, Request(), body=b"new")
    await slow.finish()

    assert await body_of(store, Request()) == b"new"
    assert not await put(store, Request(b"/late"), late)


async def test_a_purge_without_an_epoch_counts_in_the_next(harness: RedisHarness, store: ClusterStore):
    late = await start_of(store, Request())
    await fill(store, Request(b"/stored"))
    await harness.new_epoch()
    await store.purge([TAG], TIMEOUT)
    await store.lookup(Request(b"/other"), budget())
    await harness.advance(21.0)
    await store.lookup(Request(b"/other"), budget())

    assert not await put(store, Request(), late)
    assert await body_of(store, Request(b"/stored")) is None


async def test_a_purge_counts_though_the_epoch_stands_again(harness: RedisHarness, store: ClusterStore):
    """The sequence was on another server for a while, where its epoch did not stand, and is back."""
    await fill(store, Request())
    replid = harness.client.hget(store.names.sequence, "replid")
    await harness.new_epoch()
    await store.purge([TAG], TIMEOUT)
    harness.client.hset(store.names.sequence, "replid", replid)

    assert await body_of(store, Request()) is None


# Guards, sequence and entries on different servers


async def test_a_guard_of_another_server_s_history_is_lost(harness: RedisHarness, store: ClusterStore):
    """A replica took its place, that may not have heard of the last purges."""
    await fill(store, Request())
    guard = store.names.guard(shard_of(TAG, store.shards))
    harness.client.hset(guard, "epoch", store.epoch + b" " + b"0" * 40)

    answer = await store.lookup(Request(), budget())
    assert (answer.start, answer.reason) == (None, "quarantine")


async def test_a_guard_of_a_former_epoch_is_lost(harness: RedisHarness, store: ClusterStore):
    await fill(store, Request())
    guard = store.names.guard(shard_of(TAG, store.shards))
    replid = harness.client.hget(guard, "epoch").split()[1]
    harness.client.hset(guard, "epoch", b"another " + replid)

    answer = await store.lookup(Request(), budget())
    assert (answer.start, answer.reason) == (None, "quarantine")


async def end_the_epoch(harness: RedisHarness) -> None:
    """The sequence's server lost it, and somebody has made the next epoch, but no guard yet. Purges of it pass the guards by."""
    store = harness.store
    harness.client.delete(store.names.sequence)
    other = await harness.second()
    await Walk(other, writing.repairing(other)).until("tend")
    harness.client.hset(store.names.sequence, "n", 1000)
    await other.purge([TAG], TIMEOUT)


async def test_who_waits_for_a_fill_is_not_given_what_was_purged_in_another_epoch(
    harness: RedisHarness, store: ClusterStore
):
    running = await start_of(store, Request())
    await end_the_epoch(harness)

    assert not await put(store, Request(), running)


async def test_an_entry_of_another_epoch_is_not_used_though_its_guards_allow_it(
    harness: RedisHarness, store: ClusterStore
):
    await fill(store, Request())
    await end_the_epoch(harness)

    assert await body_of(store, Request()) is None


async def test_who_repairs_an_epoch_that_ends_meanwhile_does_not_speak_for_it(
    harness: RedisHarness, store: ClusterStore
):
    await fill(store, Request())
    await harness.lose_guard(TAG)
    await store.lookup(Request(), budget())
    await harness.advance(21.0)
    slow = Walk(store, writing.repairing(store))
    await slow.until("tend")
    await slow.step()
    await harness.forget_everything()
    await (await harness.second()).lookup(Request(), budget())
    repaired = await slow.finish()

    assert repaired.is_quarantined
    assert repaired.epoch == harness.client.hget(store.names.sequence, "epoch")


async def test_a_fill_that_begins_while_a_guard_is_born_is_stored(harness: RedisHarness, store: ClusterStore):
    """It looked up the sequence before the guard's number was taken, and asked the guard afterwards."""
    await fill(store, Request(b"/other"))
    told = await store._take(store.sequence_step, TIMEOUT)
    await harness.lose_guard(TAG)
    await store.lookup(Request(), budget())
    await harness.advance(21.0)
    await fill(store, Request(b"/other"))

    missing = await store._judged(told, b"absent", None, (), budget())
    assert isinstance(missing, Missing)
    assert await put(store, Request(), missing)


async def test_marks_that_are_forgotten_before_a_guard_is_born_are_not_forgotten_with_its_birth(
    harness: RedisHarness, store: ClusterStore
):
    store = await harness.make(max_marks=2, shards=1)
    await fill(store, Request(b"/other"))
    await harness.lose_guard(TAG)
    await store.lookup(Request(), budget())
    await harness.advance(21.0)
    repair = Walk(store, writing.repairing(store))
    await repair.until("bear")
    start = store._start_of(store.epoch, harness.client.hget(store.names.sequence, "n"))
    for tag in (TAG, "a", "b", "c"):
        await store.purge([tag], TIMEOUT)
    await repair.finish()

    now = (await store.lookup(Request(b"/now"), budget())).now
    assert not await put(store, Request(), Missing(start, now, "absent"))


async def test_a_start_beyond_the_sequence_is_not_used(harness: RedisHarness, store: ClusterStore):
    for _ in range(5):
        await store.purge(["other"], TIMEOUT)
    late = await start_of(store, Request(b"/late"))
    await fill(store, Request())
    harness.client.hset(store.names.sequence, "n", 3)

    assert await body_of(store, Request()) is None
    assert not await put(store, Request(b"/late"), late)


# Holds


async def test_a_hold_that_is_renewed_while_it_is_buried_lives_on(harness: RedisHarness, store: ClusterStore):
    """It ran out; somebody purges for it; but its writer was only late."""
    await fill(store, Request())
    await store.hold([TAG], "t1", 30.0, TIMEOUT)
    await harness.advance(31.0)
    burial = purging(store)
    await burial.until("lift")
    await store.hold([TAG], "t1", 30.0, TIMEOUT)
    await burial.finish()

    assert (await store.lookup(Request(), budget())).reason == "held"
    assert not await put(store, Request(b"/held"), await start_of(store, Request(b"/held")))
    await store.purge([TAG], TIMEOUT, "t1")
    await fill(store, Request(b"/held"))


async def test_a_hold_that_stands_is_logged_unless_all_know_of_it(harness: RedisHarness, store: ClusterStore):
    """It may have been placed by a call that came no further, or nodes with near caches may have read that it ended."""
    hold = Walk(store, writing.holding(store, [TAG], "t1", 30.0))
    await hold.until("record")
    assert harness.client.xlen(store.names.log) == 0
    await store.hold([TAG], "t1", 30.0, TIMEOUT)
    assert harness.client.xlen(store.names.log) == 1
    await store.hold([TAG], "t1", 30.0, TIMEOUT, (), True)
    assert harness.client.xlen(store.names.log) == 1
    await harness.advance(31.0)
    await store.hold([TAG], "t1", 30.0, TIMEOUT, (), True)
    assert harness.client.xlen(store.names.log) == 2


async def test_a_hold_is_in_its_guards_before_it_is_logged_and_a_purge_in_its_marks(
    harness: RedisHarness, store: ClusterStore
):
    await fill(store, Request())
    hold = Walk(store, writing.holding(store, [TAG], "t1", 30.0))
    await hold.until("record")
    assert harness.client.xlen(store.names.log) == 0
    assert (await store.lookup(Request(), budget())).reason == "held"
    await hold.finish()
    purge = purging(store, transaction="t1")
    await purge.until("record")
    assert harness.client.xlen(store.names.log) == 1
    assert not await put(store, Request(b"/x"), await start_of(store, Request(b"/x"))), "it is still held"
    await purge.finish()
    assert harness.client.xlen(store.names.log) == 2
    await fill(store, Request())


async def test_a_hold_whose_epoch_ends_before_it_is_logged_is_placed_anew(harness: RedisHarness, store: ClusterStore):
    await fill(store, Request())
    hold = Walk(store, writing.holding(store, [TAG], "t1", 300.0))
    await hold.until("record")
    await harness.forget_everything()
    await (await harness.second()).lookup(Request(), budget())
    await hold.finish()
    await harness.advance(21.0)
    await store.lookup(Request(), budget())

    assert not await put(store, Request(), await start_of(store, Request()))


# Each clause decides


CLAUSES = [
    (
        test_marks_that_are_forgotten_before_a_guard_is_born_are_not_forgotten_with_its_birth,
        "bear",
        "math.max(born, tonumber(ARGV[3]))",
        "tonumber(ARGV[3])",
    ),
    (
        test_a_purge_between_making_a_guard_and_its_birth_is_remembered,
        "bear",
        "redis.call('HSET', guard, 'born', number)",
        "redis.call('DEL', marks) redis.call('HSET', guard, 'born', number)",
    ),
    (
        test_a_guard_that_was_lost_again_is_not_born_at_a_number_from_before,
        "bear",
        "id ~= ARGV[2] or",
        "",
    ),
    (
        test_nodes_that_begin_at_the_same_time_need_no_quarantine,
        "bear",
        "or (first and ARGV[4] == '1')",
        "",
    ),
    (
        test_a_guard_that_others_knew_is_quarantined_though_the_epoch_is_fresh,
        "tend",
        "if known == false then redis.call('HSET', guard, 'first', '1') end",
        "redis.call('HSET', guard, 'first', '1')",
    ),
    (
        test_what_a_slow_node_thinks_to_be_lost_is_not_made_twice,
        "tend",
        "if not born or (ends and not id) then",
        "if true then",
    ),
    (
        test_a_sequence_that_was_set_back_is_noticed,
        "record",
        "if epoch and tonumber(number) < tonumber(ARGV[5]) then",
        "if false then",
    ),
    (
        test_a_number_of_a_former_epoch_harms_no_guard_of_the_next,
        "mark",
        "if held == false or is_of(held, epoch) then",
        "if true then",
    ),
    (
        test_a_purge_counts_though_the_epoch_stands_again,
        "number",
        "redis.call('HGET', sequence, 'epoch') or ''",
        "''",
    ),
    (
        test_a_guard_of_another_server_s_history_is_lost,
        "judge",
        "return epoch .. ' ' .. string.match(info, 'master_replid:(%w+)')",
        "return redis.call('HGET', KEYS[1], 'epoch') or ''",
    ),
    (
        test_a_hold_that_is_renewed_while_it_is_buried_lives_on,
        "lift",
        "and deadline <= now",
        "",
    ),
    (
        test_a_hold_that_stands_is_logged_unless_all_know_of_it,
        "place",
        "(deadlines[transaction] or 0) <= now",
        "not deadlines[transaction]",
    ),
    (
        test_a_hold_whose_epoch_ends_before_it_is_logged_is_placed_anew,
        "record",
        "if epoch ~= ARGV[1] then epoch = nil end",
        "",
    ),
]


SCRIPTS = sorted(
    path.stem for path in (files("rcache.stores.redis") / "lua" / "cluster").iterdir() if path.stem != "shard"
)


@pytest.mark.parametrize(
    ("story", "script", "clause", "instead"), CLAUSES, ids=[f"{n}-{c[1]}" for n, c in enumerate(CLAUSES)]
)
async def test_without_its_clause_the_story_ends_ill(
    story: Any, script: str, clause: str, instead: str, harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
):
    assert clause in scripts.read(f"cluster/{script}")
    make = harness.second

    async def second() -> ClusterStore:
        store = await make()
        for name in SCRIPTS:
            source = scripts.read(f"cluster/{name}")
            if clause in source and hasattr(store, f"{name}_script"):
                setattr(store, f"{name}_script", scripts.script(source.replace(clause, instead)))
        return store

    monkeypatch.setattr(harness, "second", second)
    with pytest.raises((AssertionError, AttributeError)):  # the latter: it found what it should have missed
        await story(harness, await harness.make(quarantine=20.0))


async def test_those_who_look_find_out_by_themselves_who_serves_what(store: ClusterStore) -> None:
    for number in range(20):
        await fill(store, Request(b"/%d" % number), f"n:{number}")
    inspector = store.inspector()
    nowhere, masters = Node("127.0.0.1", free_port()), sorted(store._trips.topology.plan.masters)
    for owner in (nowhere, masters[0]):  # one that is gone, and one that serves other slots
        for look, found in ((lambda: inspector.tagged("n:7"), 1), (lambda: inspector.search("/", count=1000), 20)):
            store._trips.topology.plan = Plan([owner] * SLOTS, frozenset([nowhere, *masters]))
            assert len((await look()).rows) == found
    inspector.close()
