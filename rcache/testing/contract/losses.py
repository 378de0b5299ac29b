"""A loss costs misses, never a stale hit: guards, epochs, everything."""

from __future__ import annotations

import pytest

from rcache.core.entry import Missing
from rcache.core.keys import URL_TAG, shard_of
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import TIMEOUT, Question, begin, body_of, budget, fill, finish, missing, purge

BOOK = Question("/book/1")
QUARANTINE = 20.0
SHARDS = 4


def tag_in(shard: int) -> str:
    """A tag that the guard of this shard judges."""
    return next(tag for number in range(1000) if shard_of(tag := f"book:{number}", SHARDS) == shard)


def question_in(shard: int) -> Question:
    """A URL whose implicit tag lies in this shard."""
    urls = (Question(f"/book/{number}") for number in range(1000))
    return next(url for url in urls if shard_of(url.key.url_tag, SHARDS) == shard)


async def test_a_lost_guard_is_a_miss_for_its_shard_only(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS, quarantine=QUARANTINE)
    asks = [question_in(shard) for shard in range(SHARDS)]
    for shard, ask in enumerate(asks):
        await fill(store, ask, b"%d" % shard, tag_in(shard))
    await harness.lose_guard(tag_in(2))
    for _ in range(2):
        assert [await body_of(store, ask) for ask in asks] == [b"0", b"1", None, b"3"]


async def test_an_entry_with_tags_in_several_shards_dies_with_one_of_their_guards(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS, quarantine=QUARANTINE)
    for shard in range(SHARDS):
        await fill(store, question_in(0), b"x", tag_in(0), tag_in(shard))
        await harness.lose_guard(tag_in(shard))
        assert await body_of(store, question_in(0)) is None
        await harness.advance(QUARANTINE + 1)


@pytest.mark.parametrize("tag", ["book:1", URL_TAG])
async def test_a_lost_guard_is_made_again_in_quarantine_and_born_afterwards(harness: Harness, tag: str) -> None:
    store = await harness.make(quarantine=QUARANTINE, shards=1)
    before = await begin(store, Question("/late"))
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    await harness.lose_guard(tag)
    miss = await missing(store, BOOK)
    assert (miss.start, miss.reason) == (None, "quarantine")
    await harness.advance(QUARANTINE - 1)
    assert (await missing(store, BOOK)).start is None
    await harness.advance(2)
    after = await begin(store, Question("/new"))
    assert before.start is not None
    assert after.start is not None
    assert after.start.epoch == before.start.epoch
    assert after.start.number > before.start.number
    assert await body_of(store, BOOK) is None, "what is older than its guard is never used again"
    assert not await finish(store, Question("/late"), before, b"old", "book:1", lifetime=3600.0)
    assert await body_of(store, Question("/late")) is None
    await fill(store, BOOK, b"new", "book:1")
    assert await body_of(store, BOOK) == b"new"


async def test_a_purge_while_the_guard_was_lost_is_not_forgotten(harness: Harness) -> None:
    """The mark has no guard to live in; the guard made afterwards is born after it."""
    store = await harness.make(quarantine=QUARANTINE)
    late = await begin(store, BOOK)
    await fill(store, Question("/stored"), b"old", "book:1", lifetime=3600.0)
    await harness.lose_guard("book:1")
    await purge(store, "book:1")
    assert not await finish(store, BOOK, late, b"old", "book:1", lifetime=3600.0)
    await harness.advance(QUARANTINE + 1)
    assert await body_of(store, BOOK) is None
    await harness.advance(QUARANTINE + 1)
    assert [await body_of(store, ask) for ask in (BOOK, Question("/stored"))] == [None, None]
    assert not await finish(store, BOOK, late, b"old", "book:1", lifetime=3600.0)
    await fill(store, BOOK, b"new", "book:1")


async def test_a_fill_begun_in_quarantine_is_never_stored(harness: Harness) -> None:
    store = await harness.make(quarantine=QUARANTINE)
    early = await begin(store, BOOK)
    await harness.lose_guard("book:1")
    await missing(store, BOOK)
    assert not await finish(store, BOOK, early, b"old", "book:1", lifetime=3600.0)
    await harness.advance(QUARANTINE / 2)
    assert not await finish(store, BOOK, early, b"old", "book:1", lifetime=3600.0)
    await harness.advance(QUARANTINE)
    assert not await finish(store, BOOK, early, b"old", "book:1", lifetime=3600.0)


async def test_a_purge_in_quarantine_is_remembered_beyond_it(harness: Harness) -> None:
    store = await harness.make(quarantine=QUARANTINE)
    await begin(store, BOOK)
    await harness.lose_guard("book:1")
    assert (await missing(store, BOOK)).start is None
    number = await purge(store, "book:1")
    await harness.advance(QUARANTINE + 1)
    miss = await begin(store, BOOK)
    assert miss.start is not None
    assert miss.start.number > number
    assert await finish(store, BOOK, miss, b"new", "book:1")


@pytest.mark.parametrize("loss", ["new_epoch", "forget_everything"])
async def test_nothing_from_before_a_restart_or_failover_is_used(harness: Harness, loss: str) -> None:
    store = await harness.make(shards=2, quarantine=QUARANTINE)
    for number in range(20):  # numbers that the new epoch does not reach: they are never compared
        await purge(store, f"book:{number}")
    old = await begin(store, BOOK)
    await fill(store, Question("/stored"), b"old", "book:1", lifetime=3600.0)
    await getattr(harness, loss)()
    miss = await missing(store, Question("/stored"))
    assert (miss.start, miss.reason) == (None, "quarantine")
    assert not await finish(store, BOOK, old, b"old", "book:1", lifetime=3600.0)
    await harness.advance(QUARANTINE + 1)
    new = await begin(store, BOOK)
    assert old.start is not None
    assert new.start is not None
    assert new.start.epoch != old.start.epoch
    assert not await finish(store, BOOK, old, b"old", "book:1", lifetime=3600.0)
    assert [await body_of(store, ask) for ask in (BOOK, Question("/stored"))] == [None, None]
    assert await finish(store, BOOK, new, b"new", "book:1")
    assert await body_of(store, BOOK) == b"new"


async def test_every_node_sees_the_loss_that_one_of_them_met(harness: Harness) -> None:
    store = await harness.make(quarantine=QUARANTINE)
    other = await harness.second()
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    assert await body_of(other, BOOK) == b"old"
    await harness.new_epoch()
    assert (await missing(store, BOOK)).start is None
    assert (await missing(other, BOOK)).start is None
    await harness.advance(QUARANTINE + 1)
    one, two = await begin(store, BOOK), await begin(other, BOOK)
    assert one.start is not None
    assert two.start is not None
    assert one.start.epoch == two.start.epoch
    assert await finish(other, BOOK, two, b"new", "book:1")
    assert await body_of(store, BOOK) == b"new"


async def test_a_purge_just_after_the_loss_holds_in_the_new_epoch(harness: Harness) -> None:
    store = await harness.make(quarantine=QUARANTINE)
    await begin(store, BOOK)
    await harness.forget_everything()
    assert (await store.purge(["book:1"], TIMEOUT)).entries == 0
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Missing)
    await harness.advance(QUARANTINE + 1)
    await fill(store, BOOK, b"new", "book:1")
    await purge(store, "book:1")
    assert await body_of(store, BOOK) is None
