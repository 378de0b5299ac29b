"""While somebody is about to commit, what carries the tags is neither used nor stored; what then happened decides."""

from __future__ import annotations

import asyncio

import pytest

from rcache.core.entry import Found, Missing
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import TIMEOUT, Question, begin, body_of, budget, fill, finish, missing, purge

BOOK = Question("/book/1")
OTHER = Question("/book/2")
LASTS = 20.0


async def test_what_is_held_is_neither_used_nor_stored_on_any_node(harness: Harness) -> None:
    store, other = await harness.make(shards=4), await harness.second()
    await fill(store, BOOK, b"old", "book:1")
    late = await begin(store, OTHER)
    await store.hold(["book:1", "book:2"], "t1", LASTS, TIMEOUT)
    for node in (store, other):
        miss = await missing(node, BOOK)
        assert miss.reason == "held"
        assert not await finish(node, BOOK, miss, b"read before COMMIT", "book:1")
        assert not await finish(node, OTHER, late, b"read before COMMIT", "book:2")
        assert await body_of(node, OTHER) is None


async def test_other_tags_are_hits_meanwhile(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1", "shelf")
    await store.hold(["book:2", "book:", "ook:1", "book"], "t1", LASTS, TIMEOUT)
    assert await body_of(store, BOOK) == b"x"


async def test_what_is_released_is_good_again_and_nothing_was_flushed(harness: Harness) -> None:
    store = await harness.make(shards=4)
    await fill(store, BOOK, b"x", "book:1", "shelf")
    meanwhile = await begin(store, OTHER)
    await store.hold(["book:1", "shelf"], "t1", LASTS, TIMEOUT)
    assert await body_of(store, BOOK) is None
    await store.release(["book:1", "shelf"], "t1", TIMEOUT)
    assert await body_of(store, BOOK) == b"x"
    assert await finish(store, OTHER, meanwhile, b"y", "shelf")


async def test_a_purge_ends_the_holds_of_its_transaction(harness: Harness) -> None:
    store = await harness.make(shards=4)
    tags = ["book:1", "book:2", "shelf"]
    await store.hold(tags, "t1", LASTS, TIMEOUT)
    during = await begin(store, BOOK)
    await store.purge(tags, TIMEOUT, "t1")
    assert not await finish(store, BOOK, during, b"old", "book:1"), "begun before COMMIT, for all anybody knows"
    await fill(store, BOOK, b"new", *tags)
    assert await body_of(store, BOOK) == b"new"


async def test_a_purge_of_some_tags_leaves_the_holds_of_others(harness: Harness) -> None:
    store = await harness.make()
    await store.hold(["book:1", "book:2"], "t1", LASTS, TIMEOUT)
    await store.purge(["book:1"], TIMEOUT, "t1")
    await fill(store, BOOK, b"new", "book:1")
    assert not await finish(store, OTHER, await begin(store, OTHER), b"x", "book:2")


async def test_a_purge_without_the_transaction_keeps_its_hold(harness: Harness) -> None:
    """The outcome of a COMMIT is unknown: it may land later."""
    store = await harness.make()
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await purge(store, "book:1")
    assert not await finish(store, BOOK, await begin(store, BOOK), b"x", "book:1")
    await store.purge(["book:1"], TIMEOUT, "another")
    assert not await finish(store, BOOK, await begin(store, BOOK), b"x", "book:1")


async def test_each_transaction_holds_by_itself(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1")
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await store.hold(["book:1"], "t2", LASTS, TIMEOUT)
    await store.release(["book:1"], "t1", TIMEOUT)
    assert (await missing(store, BOOK)).reason == "held"
    await store.release(["book:1"], "t1", TIMEOUT)
    assert (await missing(store, BOOK)).reason == "held", "released twice is released once"
    await store.release(["book:1"], "t2", TIMEOUT)
    assert await body_of(store, BOOK) == b"x"


async def test_a_release_of_what_nobody_holds_changes_nothing(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1")
    await store.release(["book:1"], "t1", TIMEOUT)
    assert await body_of(store, BOOK) == b"x"


async def test_a_hold_that_ran_out_is_purged_by_whoever_sees_it(harness: Harness) -> None:
    """Its writer died, perhaps after COMMIT."""
    store, other = await harness.make(shards=4), await harness.second()
    await fill(store, BOOK, b"old", "book:1", "shelf", lifetime=3600.0)
    late = await begin(store, OTHER)
    await store.hold(["book:1", "shelf"], "t1", LASTS, TIMEOUT)
    await harness.advance(LASTS - 1)
    assert (await missing(other, BOOK)).reason == "held"
    await harness.advance(2)
    assert await body_of(other, BOOK) is None
    # Tags in several shards take several meetings.
    for _ in range(2):
        miss = await begin(other, BOOK)
        if await finish(other, BOOK, miss, b"new", "book:1", "shelf", lifetime=3600.0):
            break
    assert not await finish(store, OTHER, late, b"old", "book:1", lifetime=3600.0)
    assert [await body_of(node, BOOK) for node in (store, other)] == [b"new"] * 2


async def test_who_finds_an_abandoned_hold_may_store_what_it_fills_then(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await harness.advance(LASTS + 1)
    assert await finish(store, BOOK, await begin(store, BOOK), b"new", "book:1", lifetime=3600.0)
    assert await body_of(store, BOOK) == b"new"


async def test_a_store_that_meets_an_abandoned_hold_is_refused_and_the_next_accepted(harness: Harness) -> None:
    """No entry told the look-up of the tag."""
    store = await harness.make()
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await harness.advance(LASTS + 1)
    assert not await finish(store, BOOK, await begin(store, BOOK), b"old", "book:1")
    assert await finish(store, BOOK, await begin(store, BOOK), b"new", "book:1")


async def test_an_abandoned_hold_does_not_take_a_living_one_along(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    await store.hold(["book:1"], "dead", LASTS, TIMEOUT)
    await harness.advance(LASTS - 5)
    await store.hold(["book:1"], "alive", LASTS, TIMEOUT)
    await harness.advance(10)
    miss = await missing(store, BOOK)
    assert not await finish(store, BOOK, miss, b"old", "book:1", lifetime=3600.0), "the other one still holds it"
    await store.release(["book:1"], "alive", TIMEOUT)
    assert await body_of(store, BOOK) is None
    await fill(store, BOOK, b"new", "book:1")


async def test_a_renewed_hold_lives_on(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1", lifetime=3600.0)
    for _ in range(3):
        await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
        await harness.advance(LASTS - 1)
        assert (await missing(store, BOOK)).reason == "held"
    await store.release(["book:1"], "t1", TIMEOUT)
    assert await body_of(store, BOOK) == b"x", "nothing was purged for it"


async def test_a_renewal_after_it_ran_out_places_it_again(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1", lifetime=3600.0)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await harness.advance(LASTS + 1)
    await fill(store, BOOK, b"y", "book:1", lifetime=3600.0)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    assert (await missing(store, BOOK)).reason == "held"


async def test_more_tags_may_be_held_later(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book:1", "shelf")
    await store.hold(["book:2"], "t1", LASTS, TIMEOUT)
    assert await body_of(store, BOOK) == b"x"
    await store.hold(["book:2", "shelf"], "t1", LASTS, TIMEOUT)
    assert await body_of(store, BOOK) is None
    await store.release(["book:2", "shelf"], "t1", TIMEOUT)
    assert await body_of(store, BOOK) == b"x"


async def test_a_hold_lost_with_its_guard_is_waited_for_in_quarantine(harness: Harness) -> None:
    store, other = await harness.make(quarantine=LASTS), await harness.second()
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    await harness.lose_guard("book:1")
    for node in (store, other):
        assert (await missing(node, BOOK)).reason == "quarantine"
    await harness.advance(LASTS - 1)
    assert (await missing(other, BOOK)).reason == "quarantine"
    await harness.advance(2)
    late = await missing(store, BOOK)
    assert late.reason != "quarantine"
    assert late.start is not None


@pytest.mark.parametrize("loss", ["lose_guard", "new_epoch", "forget_everything"])
async def test_a_renewal_that_does_not_find_its_hold_places_it_again(harness: Harness, loss: str) -> None:
    store = await harness.make(quarantine=LASTS)
    await begin(store, BOOK)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    if loss == "lose_guard":
        await harness.lose_guard("book:1")
    else:
        await getattr(harness, loss)()
    await harness.advance(LASTS / 2)
    await store.hold(["book:1"], "t1", 2 * LASTS, TIMEOUT)
    await harness.advance(LASTS + 1)
    miss = await begin(store, BOOK)
    assert not await finish(store, BOOK, miss, b"old", "book:1"), "beyond the quarantine it still holds"
    await store.purge(["book:1"], TIMEOUT, "t1")
    await fill(store, BOOK, b"new", "book:1")


@pytest.mark.parametrize("did", ["hold", "purge"])
async def test_who_only_ever_wrote_remembers_too_that_there_was_something_to_lose(harness: Harness, did: str) -> None:
    """Others may hold what is lost with everything, and nobody who has only just begun knows of it."""
    other, store = await harness.make(quarantine=LASTS), await harness.second()
    if did == "hold":
        await store.hold(["book:2"], "t1", LASTS, TIMEOUT)
    else:
        await begin(other, BOOK)
        await purge(store, "book:2")
    newcomer = await harness.second()
    await harness.forget_everything()
    await store.hold(["book:2"], "t1", LASTS, TIMEOUT)
    assert (await missing(newcomer, BOOK)).reason == "quarantine"


async def test_a_hold_needs_nothing_to_have_been_before(harness: Harness) -> None:
    store = await harness.make(shards=3)
    await store.hold(["book:1"], "t1", LASTS, TIMEOUT)
    assert not await finish(store, BOOK, await begin(store, BOOK), b"x", "book:1")
    await store.purge(["book:1"], TIMEOUT, "t1")
    await fill(store, BOOK, b"x", "book:1")


async def test_thousands_of_tags_are_held_at_once(harness: Harness) -> None:
    store = await harness.make(shards=2)
    tags = [f"book:{number}" for number in range(2500)]
    await store.hold(tags, "t1", LASTS, TIMEOUT)
    await store.hold(tags[::2], "t2", LASTS, TIMEOUT)
    for number in (0, 1, 1234, 2499):
        ask = Question(f"/book/{number}")
        assert not await finish(store, ask, await begin(store, ask), b"x", tags[number])
    await store.purge(tags, TIMEOUT, "t1")
    await store.release(tags, "t2", TIMEOUT)
    await fill(store, Question("/all"), b"x", *tags)


async def test_threads_hold_purge_and_release_too(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1")
    await asyncio.to_thread(store.hold_sync, ["book:1"], "t1", LASTS, TIMEOUT)
    assert (await missing(store, BOOK)).reason == "held"
    await asyncio.to_thread(store.release_sync, ["book:1"], "t1", TIMEOUT)
    assert await body_of(store, BOOK) == b"old"
    await asyncio.to_thread(store.hold_sync, ["book:1"], "t2", LASTS, TIMEOUT)
    await asyncio.to_thread(store.purge_sync, ["book:1"], TIMEOUT, "t2")
    await fill(store, BOOK, b"new", "book:1")


async def test_holds_and_fills_at_the_same_time_leave_nothing_from_before_a_commit(harness: Harness) -> None:
    store, other = await harness.make(), await harness.second()
    version = 0
    for number in range(20):

        async def write(transaction: str = f"t{number}") -> int:
            nonlocal version
            await other.hold(["book:1"], transaction, LASTS, TIMEOUT)
            version += 1
            committed = version
            found = await store.lookup(BOOK, budget())
            assert isinstance(found, Missing)
            await other.purge(["book:1"], TIMEOUT, transaction)
            return committed

        async def read() -> None:
            found = await store.lookup(BOOK, budget())
            if isinstance(found, Missing) and found.start is not None:
                body = b"%d" % version
                await asyncio.sleep(0)
                await finish(store, BOOK, found, body, "book:1")

        await asyncio.gather(read(), write(), read())
        found = await other.lookup(BOOK, budget())
        assert not isinstance(found, Found) or int(found.entry.body) == version


async def test_everything_may_be_purged_at_once(harness: Harness) -> None:
    store, other = await harness.make(shards=3), await harness.second()
    urls = [Question(f"/book/{number}") for number in range(6)]
    for number, url in enumerate(urls):
        await fill(store, url, b"old", f"book:{number}")
    late = await begin(store, Question("/late"))
    number = (await asyncio.to_thread(other.flush_sync, TIMEOUT)).number
    assert [await body_of(store, url) for url in urls] == [None] * 6
    assert not await finish(store, Question("/late"), late, b"old", "book:1")
    miss = await begin(store, BOOK)
    assert miss.start is not None
    assert miss.start.number >= number
    assert await finish(store, BOOK, miss, b"new", "book:1")
    assert await body_of(other, BOOK) == b"new"


async def test_a_flush_while_the_guard_was_lost_is_not_forgotten(harness: Harness) -> None:
    store = await harness.make(quarantine=LASTS)
    await fill(store, BOOK, b"old", "book:1", lifetime=3600.0)
    await harness.lose_guard("book:1")
    await asyncio.to_thread(store.flush_sync, TIMEOUT)
    await missing(store, BOOK)
    await harness.advance(LASTS + 1)
    assert await body_of(store, BOOK) is None
