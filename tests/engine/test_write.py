"""`writing`: nothing from before is served between the hold and the purge, however the block ends."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rcache import BackendError, Cache, UnknownOutcome
from rcache.core.entry import Purge
from rcache.engine.holds import Hold
from tests.contract.support import Question, begin, body_of, fill, finish, missing
from tests.engine.faulty import PATIENCE, FaultyStore
from tests.support import HandClock

BOOK = Question("/book/1")


class Interruption(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


def cache_on(store: FaultyStore, **settings: object) -> Cache:
    """A cache whose store can be cut off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rcache.cache._store", lambda *_: store)
        return Cache("memory://", **settings)  # type: ignore[arg-type]


@pytest.fixture
def cache(store: FaultyStore) -> Iterator[Cache]:
    cache = cache_on(store, commit_timeout=10)
    yield cache
    store.is_cut = False
    store.may_renew.set()
    cache.close_sync()


# The block succeeds


async def test_inside_the_block_the_tags_are_held_and_after_it_purged(cache: Cache, store: FaultyStore) -> None:
    await fill(store, BOOK, b"old", "book:1")
    async with cache.writing("book:1") as write:
        miss = await missing(store, BOOK)
        assert miss.reason == "held"
        assert not await finish(store, BOOK, miss, b"old", "book:1")
        assert write.purged is None
    assert write.purged is not None
    assert (write.purged.tags, write.purged.landed) == (("book:1",), True)
    assert store.held == set()
    assert not await finish(store, BOOK, miss, b"old", "book:1")
    await fill(store, BOOK, b"new", "book:1")


async def test_a_thread_writes_with_the_same_promise(cache: Cache, store: FaultyStore) -> None:
    await fill(store, BOOK, b"old", "book:1")
    with cache.writing_sync("book:1", "shelf") as write:
        assert store.held == {"book:1", "shelf"}
        assert await body_of(store, BOOK) is None
    assert write.purged is not None
    assert write.purged.landed
    assert store.held == set()
    assert cache.stats.purges == 1


async def test_tags_may_be_added_inside(cache: Cache, store: FaultyStore) -> None:
    await fill(store, BOOK, b"old", "book:1")
    async with cache.writing() as write:
        assert await body_of(store, BOOK) == b"old"
        await write.add("book:1", "shelf")
        assert store.held == {"book:1", "shelf"}
    assert write.purged is not None
    assert write.purged.tags == ("book:1", "shelf")
    with cache.writing_sync("book:1") as sync_write:
        sync_write.add("shelf")
        assert store.held == {"book:1", "shelf"}
    assert store.held == set()


async def test_a_block_without_tags_asks_the_store_for_nothing(cache: Cache, store: FaultyStore) -> None:
    store.is_cut = True
    async with cache.writing() as write:
        await write.confirm()
    with cache.writing_sync() as sync_write:
        sync_write.confirm()
    assert write.purged is sync_write.purged is None
    assert not store.attempts


@pytest.mark.parametrize("tag", ["", "a\nb"])
def test_an_illegal_tag_is_refused_where_it_is_written(cache: Cache, tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        cache.writing(tag)
    with pytest.raises(ValueError, match="tag"):
        cache.writing_sync(tag)


# It raises


async def test_an_exception_releases_and_nothing_is_flushed(cache: Cache, store: FaultyStore) -> None:
    await fill(store, BOOK, b"good", "book:1")
    with pytest.raises(ZeroDivisionError):
        async with cache.writing("book:1"):
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), cache.writing_sync("book:1"):
        raise ZeroDivisionError
    assert store.held == set()
    assert await body_of(store, BOOK) == b"good"
    assert not store.attempts


@pytest.mark.parametrize(
    "error",
    [UnknownOutcome("no reply"), ConnectionResetError(), TimeoutError(), asyncio.CancelledError(), Interruption()],
)
async def test_where_nobody_knows_it_is_purged_and_stays_held(
    cache: Cache, store: FaultyStore, error: BaseException
) -> None:
    await fill(store, BOOK, b"old", "book:1")
    with pytest.raises(type(error)):
        async with cache.writing("book:1") as write:
            raise error
    with pytest.raises(type(error)), cache.writing_sync("book:2") as sync_write:
        raise error
    for purged in (write.purged, sync_write.purged):
        assert purged is not None
        assert purged.landed
    assert store.held == {"book:1", "book:2"}
    assert await body_of(store, BOOK) is None


async def test_from_unknown_on_every_exception_leaves_the_outcome_unknown(cache: Cache, store: FaultyStore) -> None:
    async def work() -> None:
        async with cache.writing("book:1") as write:
            write.unknown()
            raise ZeroDivisionError

    def work_sync() -> None:
        with cache.writing_sync("book:2") as write:
            write.unknown()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    with pytest.raises(ZeroDivisionError):
        work_sync()
    assert store.held == {"book:1", "book:2"}
    assert store.landed == [("book:1",), ("book:2",)]


async def test_unknown_before_a_commit_that_succeeds_changes_nothing(cache: Cache, store: FaultyStore) -> None:
    async with cache.writing("book:1") as write:
        write.unknown()
    assert store.held == set()
    assert store.landed == [("book:1",)]


# Cancellation


async def test_a_block_cancelled_before_it_began_holds_nothing(cache: Cache, store: FaultyStore) -> None:
    store.may_land.clear()
    entered = False

    async def work() -> None:
        nonlocal entered
        async with cache.writing("book:1"):
            entered = True

    task = asyncio.ensure_future(work())
    await store.was_sent.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done(), "the hold is on its way, and may be placed"
    store.may_land.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not entered
    assert store.held == set()


async def test_a_block_cancelled_in_its_purge_is_let_go_when_that_has_landed(cache: Cache, store: FaultyStore) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with cache.writing("book:1"):
            store.was_sent.clear()
            store.may_land.clear()
            inside.set()

    task = asyncio.ensure_future(work())
    await inside.wait()
    await store.was_sent.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    store.may_land.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.landed == [("book:1",)]
    assert store.held == set()


async def test_a_block_cancelled_inside_is_let_go_when_it_was_purged(cache: Cache, store: FaultyStore) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with cache.writing("book:1"):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await inside.wait()
    store.was_sent.clear()
    store.may_land.clear()
    task.cancel()
    await store.was_sent.wait()
    task.cancel()  # again, in the middle of the purge
    await asyncio.sleep(0)
    assert not task.done()
    store.may_land.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.landed == [("book:1",)]
    assert store.held == {"book:1"}


# The store cannot be reached


async def test_where_it_proceeds_the_block_runs_and_its_purge_is_journalled(
    cache: Cache, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.is_cut = store.is_down = True
    with caplog.at_level(logging.WARNING, "rcache"):
        async with cache.writing("book:1") as write:
            pass
        with cache.writing_sync("book:2") as sync_write:
            pass
    assert write.purged is not None
    assert sync_write.purged is not None
    assert not write.purged.landed
    assert not sync_write.purged.landed
    assert caplog.text.count("cannot be held") == 2
    assert cache.journal.blocks(["book:1"])
    assert cache.journal.blocks(["book:2"])
    store.is_cut = store.is_down = False
    await cache.close()
    assert {tag for tags in store.landed for tag in tags} == {"book:1", "book:2"}


async def test_where_it_aborts_the_block_does_not_run(store: FaultyStore) -> None:
    cache = cache_on(store, on_outage="abort")
    store.is_cut = True
    with pytest.raises(BackendError, match=r"\['book:1'\] cannot be held"):
        async with cache.writing("book:1"):
            raise AssertionError("it runs")
    with pytest.raises(BackendError, match="cannot be held"), cache.writing_sync("book:1"):
        raise AssertionError("it runs")
    store.is_cut = False
    async with cache.writing("book:1") as write:
        store.is_cut = True
        with pytest.raises(BackendError, match="cannot be held"):
            await write.add("book:2")
        store.is_cut = False
    await cache.close()


async def test_a_release_that_fails_is_left_to_the_hold_s_end(cache: Cache, store: FaultyStore) -> None:
    async def work() -> None:
        async with cache.writing("book:1"):
            store.is_cut = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert store.held == {"book:1"}
    assert not cache.journal.waiting


async def test_an_unknown_outcome_is_told_even_where_its_purge_fails(store: FaultyStore) -> None:
    cache = cache_on(store, on_outage="abort", purge_timeout=0.01)

    async def work() -> None:
        async with cache.writing("book:1"):
            store.is_cut = True
            raise UnknownOutcome

    def work_sync() -> None:
        with cache.writing_sync("book:2"):
            store.is_cut = True
            raise UnknownOutcome

    with pytest.raises(UnknownOutcome):
        await work()
    store.is_cut = False
    with pytest.raises(UnknownOutcome):
        work_sync()
    assert cache.journal.blocks(["book:2"])
    store.is_cut = False
    await cache.close()


# Renewal


@pytest.fixture
def brisk(store: FaultyStore) -> Iterator[Cache]:
    """A cache whose holds are renewed every few milliseconds."""
    cache = cache_on(store, commit_timeout=10)
    cache.holds.renewals._interval = 0.002
    yield cache
    store.is_cut = False
    store.may_renew.set()
    cache.close_sync()


def renewals_of(store: FaultyStore, times: int = 3) -> None:
    for _ in range(times):
        assert store.renewed.acquire(timeout=PATIENCE)


async def test_while_the_block_runs_it_is_renewed_and_afterwards_no_more(brisk: Cache, store: FaultyStore) -> None:
    async with brisk.writing("book:1"):
        await asyncio.to_thread(renewals_of, store)
    assert not brisk.holds.renewals._due
    with brisk.writing_sync("book:1"):
        renewals_of(store)
    assert not brisk.holds.renewals._due
    assert store.held == set()


async def test_a_renewal_needs_no_event_loop_that_answers(brisk: Cache, store: FaultyStore) -> None:
    async with brisk.writing("book:1"):
        renewals_of(store)  # which blocks the loop


async def test_a_hold_that_was_lost_is_placed_again(brisk: Cache, store: FaultyStore) -> None:
    async with brisk.writing("book:1"):
        with store._lock:
            store._guards[0].holds.clear()
        await asyncio.to_thread(renewals_of, store)
        assert store.held == {"book:1"}


async def test_a_renewal_that_fails_is_tried_again(brisk: Cache, store: FaultyStore) -> None:
    async with brisk.writing("book:1"):
        store.is_cut = True
        store.renewing.clear()
        assert await asyncio.to_thread(store.renewing.wait, PATIENCE)
        store.is_cut = False
        await asyncio.to_thread(renewals_of, store)


@pytest.mark.parametrize("ends", ["purge", "release"])
async def test_a_renewal_that_crosses_the_end_leaves_nothing_held(brisk: Cache, store: FaultyStore, ends: str) -> None:
    hold = brisk.holds.begin()
    await hold.place(["book:1"])
    store.may_renew.clear()
    store.renewing.clear()
    assert await asyncio.to_thread(store.renewing.wait, PATIENCE)
    await (hold.purge() if ends == "purge" else hold.release())
    while store.released.acquire(blocking=False):
        pass
    store.may_renew.set()
    assert await asyncio.to_thread(store.released.acquire, True, PATIENCE)
    assert store.held == set()


async def test_many_hold_at_once_and_one_thread_renews_them(brisk: Cache, store: FaultyStore) -> None:
    async def work(number: int) -> None:
        async with brisk.writing(f"book:{number}"):
            await asyncio.to_thread(renewals_of, store, 5)

    async with brisk.writing("book:7"):
        thread = brisk.holds.renewals._thread
        await asyncio.gather(*[work(number) for number in range(6)])
        assert brisk.holds.renewals._thread is thread
    assert store.held == set()


async def test_the_thread_ends_when_nothing_is_held_any_more(
    brisk: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rcache.engine.renewals.IDLE", 0.001)
    async with brisk.writing("book:1"):
        thread = brisk.holds.renewals._thread
        assert thread is not None
        await asyncio.to_thread(renewals_of, store)
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()
    async with brisk.writing("book:1"):
        await asyncio.to_thread(renewals_of, store)


# When COMMIT may be sent


async def test_commit_may_be_sent_while_half_of_the_hold_remains() -> None:
    clock = HandClock()
    cache = Cache("memory://", clock=clock, commit_timeout=10)
    hold = cache.holds.begin()
    assert hold.may_commit, "nothing is held"
    await hold.place(["book:1"])
    assert hold.may_commit
    clock.advance(9.9)
    assert hold.may_commit
    clock.advance(0.2)
    assert not hold.may_commit
    await hold.confirm()
    assert hold.may_commit
    clock.advance(11)
    hold.confirm_sync()
    assert hold.may_commit
    await hold.purge()
    await cache.close()


async def test_a_hold_that_could_not_be_placed_lets_nobody_commit_but_by_proceeding(
    cache: Cache, store: FaultyStore
) -> None:
    hold: Hold = cache.holds.begin()
    store.is_cut = True
    await hold.place(["book:1"])
    assert not hold.may_commit
    await hold.confirm()  # on_outage="proceed"
    assert not hold.may_commit
    store.is_cut = False
    await hold.confirm()
    assert hold.may_commit
    await hold.purge()


@pytest.mark.parametrize("how", ["async", "sync"])
@pytest.mark.parametrize("is_placed", [False, True])
async def test_where_not_all_may_know_of_a_hold_its_purge_is_waited_for(
    cache: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch, how: str, is_placed: bool
) -> None:
    """A purge in the name of a transaction waits for no node, since all have read of the hold. Then what was held is released."""
    hold: Hold = cache.holds.begin()
    place, purge, purged = store._hold, store._purge, []

    def fails(*arguments: object) -> None:
        if is_placed:
            place(*arguments)  # type: ignore[arg-type]
        raise BackendError("a node does not read")

    def noted(tags: tuple[str, ...], timeout: float, transaction: str, tables: tuple[str, ...]) -> Purge:
        purged.append(transaction)
        return purge(tags, timeout, transaction, tables)

    monkeypatch.setattr(store, "_purge", noted)
    await hold.place(["book:1"])
    monkeypatch.setattr(store, "_hold", fails)
    if how == "async":
        await hold.place(["book:2"])
        await hold.purge()
    else:
        hold.place_sync(["book:2"])
        await asyncio.to_thread(hold.purge_sync)
    assert purged == [""]
    assert await asyncio.to_thread(store.released.acquire, True, PATIENCE)
    assert store.held == set()


async def test_what_was_placed_is_known_until_more_is_to_be_held(
    cache: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[bool] = []
    hold: Hold = cache.holds.begin()

    async def noted(*arguments: Any) -> Any:
        known.append(arguments[5])
        return await FaultyStore.hold(store, *arguments)

    def noted_sync(*arguments: Any) -> Any:
        known.append(arguments[5])
        return FaultyStore.hold_sync(store, *arguments)

    monkeypatch.setattr(store, "hold", noted)
    monkeypatch.setattr(store, "hold_sync", noted_sync)
    await hold.place(["book:1"])
    await hold.place()
    hold.renew()
    await hold.place(["book:2"])
    hold.renew()
    assert known == [False, True, True, False, True]
    await hold.purge()


@pytest.mark.parametrize("how", ["async", "sync"])
async def test_a_hold_that_takes_too_long_again_and_again_cannot_be_placed(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Strict nodes may be waited for until little is left of it; once more it may only be renewed."""
    clock = HandClock()
    cache = cache_on(store, commit_timeout=10, on_outage="abort", clock=clock)
    place, slow = store._hold, [True, False]

    def slowly(*arguments: object) -> None:
        place(*arguments)  # type: ignore[arg-type]
        clock.advance(10.1 if slow.pop(0) else 0.0)

    monkeypatch.setattr(store, "_hold", slowly)
    hold = cache.holds.begin()
    await hold.place(["book:1"]) if how == "async" else hold.place_sync(["book:1"])
    assert hold.may_commit
    slow += [True, True]
    clock.advance(10.1)
    with pytest.raises(BackendError, match="outlive the hold"):
        await hold.confirm() if how == "async" else hold.confirm_sync()
    assert not slow
    await hold.release()
    await cache.close()


async def test_the_sequence_of_flights_is_cut_by_a_write(cache: Cache) -> None:
    before = cache.flights.generation
    async with cache.writing("book:1"):
        pass
    assert cache.flights.generation is not before


async def test_an_epoch_that_changed_sends_the_last_purges_again(cache: Cache, store: FaultyStore) -> None:
    await cache.invalidate("book:1")
    cache.invalidate_sync("book:2")
    async with cache.writing("book:3"):
        pass
    landed = len(store.landed)
    store.forget()
    await asyncio.to_thread(store.attempted)
    await cache.close()
    assert {tag for tags in store.landed[landed:] for tag in tags} == {"book:1", "book:2", "book:3"}


async def test_purges_of_long_ago_are_not_sent_again(
    cache: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache.invalidate("book:1")
    monkeypatch.setattr("rcache.engine.purge.REPLAYED", -1.0)
    store.forget()
    assert not cache.journal.waiting


async def test_the_first_fill_after_a_write_is_kept(cache: Cache, store: FaultyStore) -> None:
    async with cache.writing("book:1"):
        pass
    miss = await begin(store, BOOK)
    assert await finish(store, BOOK, miss, b"new", "book:1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_waits_for_no_thread_of_its_parent(cache: Cache, store: FaultyStore) -> None:
    """The parent's threads may hold the locks while it forks, and what they were to do is not lost."""
    store.is_cut = store.is_down = True
    cache.invalidate_sync("book:1")
    store.is_cut = store.is_down = False
    async with cache.writing("book:2"):
        with cache.holds.renewals._changed, cache.journal._changed:
            child = os.fork()
            if child == 0:
                cache.holds.renewals._interval = 0.001
                with cache.writing_sync("book:3"):
                    renewals_of(store)
                is_blocked = cache.journal.blocks(["book:1"]) or any("book:1" in tags for tags in store.landed)
                os._exit(0 if is_blocked and not cache.holds.renewals._due else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
