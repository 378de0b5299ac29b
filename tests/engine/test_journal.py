"""What waits in the journal is sent in order until it lands, and is told when it has."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from rcache.engine.journal import SLICE, Journal
from tests.contract.support import Question, body_of, fill
from tests.engine.faulty import PATIENCE, FaultyStore


def the_thread(journal: Journal) -> threading.Thread:
    thread = journal._thread
    assert thread is not None
    return thread


def test_a_purge_lands_and_its_ticket_says_so(journal: Journal, store: FaultyStore) -> None:
    ticket = journal.add(["a", "b"])
    purge = journal.wait(ticket, PATIENCE)
    assert purge is not None
    assert store.landed == [("a", "b")]
    assert journal.landed(ticket) == purge
    assert not journal.waiting


def test_purges_land_in_the_order_they_were_asked_for(journal: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    journal.add(["first"])
    store.attempted()
    for tag in ("b", "a", "c"):
        last = journal.add([tag])
    store.may_go.set()
    assert journal.wait(last, PATIENCE) is not None
    assert store.landed == [("first",), ("b", "a", "c")]


def test_what_fails_is_sent_again_until_it_lands(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    ticket = journal.add(["a"])
    store.attempted(3)
    assert journal.landed(ticket) is None
    assert journal.wait(ticket, 0) is None
    store.is_cut = False
    assert journal.wait(ticket, PATIENCE) is not None
    assert set(store.attempts) == {("a",)}


def test_pauses_between_attempts_double_and_are_bounded(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(lambda tags, seconds: store.purge_sync(tags, seconds), store.flush_sync, 1.0)
    pauses: list[float | None] = []

    def note(timeout: float | None = None) -> bool:
        pauses.append(timeout)
        if len(pauses) == 8:
            store.is_cut = False
        return True

    monkeypatch.setattr(journal._hurry, "wait", note)
    store.is_cut = True
    assert journal.wait(journal.add(["a"]), PATIENCE) is not None
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_failure_nobody_foresaw_is_logged_and_sent_again(
    journal: Journal, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.failure, store.is_cut = ZeroDivisionError("odd"), True
    ticket = journal.add(["a"])
    store.attempted(2)
    store.is_cut = False
    assert journal.wait(ticket, PATIENCE) is not None
    assert "nobody foresaw" in caplog.text


def test_it_blocks_the_tags_that_wait_and_no_others(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    ticket = journal.add(["a", "b"])
    assert journal.blocks(["x", "b"])
    assert not journal.blocks(["x", "y"])
    assert not journal.blocks([])
    store.is_cut = False
    assert journal.wait(ticket, PATIENCE) is not None
    assert not journal.blocks(["a", "b"])


def test_a_tag_that_waits_already_waits_once(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    tickets = [journal.add(["a", "b"]) for _ in range(1000)]
    assert len(journal.waiting) == 2
    store.is_cut = False
    assert journal.wait(tickets[-1], PATIENCE) is not None
    assert all(journal.landed(ticket) is not None for ticket in tickets)


def test_a_tag_asked_for_again_while_it_is_sent_is_sent_again(journal: Journal, store: FaultyStore) -> None:
    """The purge under way may land before the second write commits, so it does not carry the second."""
    store.may_go.clear()
    first = journal.add(["a", "b"])
    store.attempted()
    again = journal.add(["a"])
    assert store.attempts == [("a", "b")]
    store.is_cut = True
    store.may_go.set()
    store.attempted()
    assert journal.landed(again) is None
    store.is_cut = False
    assert journal.wait(again, PATIENCE) is not None
    assert journal.landed(first) is not None
    assert "a" in store.landed[-1]


def test_the_first_of_two_is_told_when_its_own_has_landed(journal: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    first = journal.add(["a"])
    store.attempted()
    second = journal.add(["a"])
    gate = store.may_go
    store.may_go = threading.Event()  # the attempt under way goes through, the next one waits
    gate.set()
    assert journal.wait(first, PATIENCE) is not None
    store.attempted()
    assert journal.landed(second) is None
    assert journal.blocks(["a"])
    store.may_go.set()
    assert journal.wait(second, PATIENCE) is not None
    assert store.landed == [("a",), ("a",)]


def test_many_tags_are_sent_in_slices_and_land_when_the_last_does(journal: Journal, store: FaultyStore) -> None:
    tags = [f"tag:{number}" for number in range(2 * SLICE + 1)]
    assert journal.wait(journal.add(tags), PATIENCE) is not None
    assert [len(attempt) for attempt in store.landed] == [SLICE, SLICE, 1]
    assert [tag for attempt in store.landed for tag in attempt] == tags


async def test_the_entries_of_all_slices_are_told_together(journal: Journal, store: FaultyStore) -> None:
    await fill(store, Question("/book"), b"x", "early")
    ticket = journal.add(["early", *[f"tag:{number}" for number in range(2 * SLICE)]])
    purge = await journal.wait_async(ticket, PATIENCE)
    assert purge is not None
    assert purge.entries >= 1


def test_its_thread_ends_when_nothing_waits_and_another_begins_with_the_next(
    journal: Journal, store: FaultyStore
) -> None:
    for _ in range(3):
        store.may_go.clear()
        ticket = journal.add(["a"])
        thread = the_thread(journal)
        assert thread.daemon
        store.may_go.set()
        assert journal.wait(ticket, PATIENCE) is not None
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(store.landed) == 3


# Waiting on an event loop


async def test_waiting_leaves_the_loop_free(journal: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    waits = asyncio.ensure_future(journal.wait_async(journal.add(["a"]), PATIENCE))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waits.done()
    store.may_go.set()
    assert await waits is not None
    assert not journal._listeners


async def test_what_landed_before_anybody_waited_is_told_at_once(journal: Journal) -> None:
    ticket = journal.add(["a"])
    assert await asyncio.to_thread(journal.wait, ticket, PATIENCE) is not None
    assert await journal.wait_async(ticket, PATIENCE) is not None


async def test_waiting_ends_with_its_time_and_leaves_nothing_behind(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    ticket = journal.add(["a"])
    assert await journal.wait_async(ticket, 0.001) is None
    waits = asyncio.ensure_future(journal.wait_async(ticket, PATIENCE))
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert not journal._listeners


def test_a_loop_that_ended_meanwhile_does_not_end_the_thread(journal: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    ticket = journal.add(["a"])
    loop = asyncio.new_event_loop()
    waits = journal.wait_async(ticket, PATIENCE)
    loop.run_until_complete(_begun(loop, waits))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    kept = list(journal._listeners)
    assert len(kept) == 1
    loop.close()
    later = journal.add(["b"])
    store.may_go.set()
    assert journal.wait(later, PATIENCE) is not None
    assert journal.landed(ticket) is not None


async def _begun(loop: asyncio.AbstractEventLoop, coroutine: object) -> None:
    loop.create_task(coroutine)  # type: ignore[arg-type]
    await asyncio.sleep(0)


# Closing


def test_closing_gives_what_waits_one_more_chance(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    journal.add(["a"])
    store.attempted(2)
    store.is_cut = False
    journal.close(PATIENCE)
    assert store.landed == [("a",)]
    assert not journal.waiting


def test_closing_hurries_a_long_pause(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcache.engine.journal.FIRST_PAUSE", 3600.0)
    monkeypatch.setattr("rcache.engine.journal.LONGEST_PAUSE", 3600.0)
    journal = Journal(lambda tags, seconds: store.purge_sync(tags, seconds), store.flush_sync, 1.0)
    store.is_cut = True
    journal.add(["a"])
    store.attempted()
    store.is_cut = False
    journal.close(PATIENCE)
    assert store.landed == [("a",)]


def test_closing_gives_up_after_its_time_says_so_and_goes_on_blocking(
    journal: Journal, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.is_cut = True
    journal.add(["a", "b"])
    thread = the_thread(journal)
    with caplog.at_level(logging.ERROR, "rcache"):
        journal.close(0.01)
    assert "2 purges that never landed: ['a', 'b']" in caplog.text
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert list(journal.waiting) == ["a", "b"]


def test_what_a_close_gave_up_is_sent_when_somebody_meets_it(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    ticket = journal.add(["a"])
    thread = the_thread(journal)
    journal.close(0.01)
    thread.join(PATIENCE)
    store.is_cut = False
    assert journal.blocks(["a"])
    assert journal.wait(ticket, PATIENCE) is not None
    assert not journal.blocks(["a"])


def test_a_purge_added_while_a_closed_journal_still_sends_is_not_lost(journal: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    journal.add(["a"])
    store.attempted()
    journal.close(0)
    ticket = journal.add(["b"])
    store.may_go.set()
    assert journal.wait(ticket, PATIENCE) is not None
    assert store.landed == [("a",), ("b",)]


def test_closing_twice_tries_twice(journal: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    journal.add(["a"])
    journal.close(0.01)
    store.is_cut = False
    journal.close(PATIENCE)
    assert store.landed == [("a",)]


def test_many_threads_lose_no_purge(journal: Journal, store: FaultyStore) -> None:
    tickets = []

    def add(number: int) -> None:
        for round_ in range(50):
            tickets.append(journal.add([f"tag:{number}", f"round:{round_}"]))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(journal.wait(ticket, PATIENCE) is not None for ticket in tickets)
    assert {tag for attempt in store.landed for tag in attempt} == {
        *[f"tag:{number}" for number in range(8)],
        *[f"round:{round_}" for round_ in range(50)],
    }
    assert not journal.waiting


# Its bound


@pytest.fixture
def small(store: FaultyStore) -> Iterator[Journal]:
    """A journal that tells three tags apart."""
    journal = Journal(store.purge_sync, store.flush_sync, 1.0, bound=3)
    yield journal
    store.is_cut = False
    journal.close(PATIENCE)


async def test_beyond_its_bound_it_serves_nothing_until_everything_was_purged(
    small: Journal, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    book = Question("/book")
    await fill(store, book, b"old", "never purged")
    store.is_cut = True
    first = small.add(["a", "b", "c"])
    assert not small.blocks(["d"])
    last = small.add(["d"])
    small.add([f"tag:{number}" for number in range(1000)])
    assert len(small.waiting) == 1
    assert small.blocks(["anything"])
    assert small.blocks(["a"])
    assert caplog.text.count("nothing is served until everything has been purged") == 1
    assert small.landed(first) is None
    store.is_cut = False
    assert await small.wait_async(last, PATIENCE) is not None
    assert small.landed(first) is not None
    assert store.landed[-1] == ("everything",)
    assert not small.blocks(["a"])
    assert await body_of(store, book) is None
    assert small.wait(small.add(["e"]), PATIENCE) is not None
    assert store.landed[-1] == ("e",)


def test_what_is_on_its_way_when_it_overflows_lands_by_itself(small: Journal, store: FaultyStore) -> None:
    store.may_go.clear()
    small.add(["a"])
    store.attempted()
    last = small.add(["b", "c", "d"])
    store.may_go.set()
    assert small.wait(last, PATIENCE) is not None
    assert store.landed == [("a",), ("everything",)]
    assert not small.waiting


def test_tags_that_wait_already_take_no_room(small: Journal, store: FaultyStore) -> None:
    store.is_cut = True
    for _ in range(10):
        small.add(["a", "b", "c"])
    assert len(small.waiting) == 3
