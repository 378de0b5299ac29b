"""`invalidate` below the cache: landed, or known not to have, and never lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from rcache.core.errors import BackendError
from rcache.engine.purge import OnOutage, Purged, Purger
from tests.contract.support import Question, body_of, fill
from tests.engine.faulty import PATIENCE, FaultyStore

BOOK = Question("/book")


@pytest.fixture
def detached() -> list[str]:
    """What happened before purges were sent."""
    return []


@pytest.fixture
def make(store: FaultyStore, detached: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Purger]:
    """Makes purgers that do not wait long between attempts."""
    monkeypatch.setattr("rcache.engine.journal.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("rcache.engine.journal.LONGEST_PAUSE", 0.001)

    def made(timeout: float = PATIENCE, on_outage: OnOutage = "proceed") -> Purger:
        before = lambda: detached.append(f"after {len(store.attempts)} attempts")  # noqa: E731
        return Purger(store, timeout=timeout, on_outage=on_outage, before=before)

    return made


async def test_a_purge_that_lands_tells_its_number_and_entries(
    make: Callable[..., Purger], store: FaultyStore, detached: list[str]
) -> None:
    await fill(store, BOOK, b"old", "book")
    purged = await make().purge(("book", "shelf"))
    assert (purged.tags, purged.entries, purged.landed) == (("book", "shelf"), 1, True)
    assert purged.sequence is not None
    assert await body_of(store, BOOK) is None
    assert detached == ["after 0 attempts"], "no flight is joined from before it was sent"


def test_without_a_loop_it_does_the_same(make: Callable[..., Purger], store: FaultyStore, detached: list[str]) -> None:
    purged = make().purge_sync(("book",))
    assert purged.landed
    assert store.landed == [("book",)]
    assert detached == ["after 0 attempts"]


async def test_it_waits_until_the_journal_has_landed_it(make: Callable[..., Purger], store: FaultyStore) -> None:
    purger = make()
    store.is_cut = True
    waits = asyncio.ensure_future(purger.purge(("book",)))
    await asyncio.to_thread(store.attempted, 2)
    assert not waits.done()
    assert purger.journal.blocks(["book"])
    store.is_cut = False
    purged = await waits
    assert purged.landed
    assert purged.sequence is not None
    assert not purger.journal.waiting


def test_a_thread_waits_until_the_journal_has_landed_it(make: Callable[..., Purger], store: FaultyStore) -> None:
    purger = make()
    store.is_cut = True
    outcomes: list[Purged] = []
    thread = threading.Thread(target=lambda: outcomes.append(purger.purge_sync(("book",))))
    thread.start()
    store.attempted(3)
    assert not outcomes
    store.is_cut = False
    thread.join(PATIENCE)
    assert [purged.landed for purged in outcomes] == [True]


async def test_after_its_time_it_returns_and_says_that_it_has_not_landed(
    make: Callable[..., Purger], store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    purger = make(timeout=0.01)
    store.is_cut = True
    with caplog.at_level(logging.WARNING, "rcache"):
        assert await purger.purge(("book",)) == Purged(("book",), 0, None, landed=False)
        assert purger.purge_sync(("book",)) == Purged(("book",), 0, None, landed=False)
    assert caplog.text.count("has not landed yet") == 2
    assert purger.journal.blocks(["book"])
    store.is_cut = False
    await purger.aclose()
    assert ("book",) in store.landed


async def test_it_does_not_wait_at_all_while_the_breaker_is_open(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make(timeout=3600)
    store.is_cut = store.is_down = True
    assert not (await purger.purge(("book",))).landed
    assert not purger.purge_sync(("book",)).landed
    store.is_cut = store.is_down = False
    purger.close()
    assert store.landed


async def test_on_outage_abort_raises_and_the_purge_is_sent_all_the_same(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make(timeout=0.01, on_outage="abort")
    store.is_cut = True
    with pytest.raises(BackendError, match=r"\['book'\] has not landed"):
        await purger.purge(("book",))
    with pytest.raises(BackendError, match="has not landed"):
        purger.purge_sync(("book",))
    store.is_cut = False
    await purger.aclose()
    assert ("book",) in store.landed


async def test_without_waiting_it_returns_at_once_and_never_raises(
    make: Callable[..., Purger], store: FaultyStore, detached: list[str]
) -> None:
    purger = make(on_outage="abort")
    store.is_cut = True
    assert await purger.purge(("book",), wait=False) == Purged(("book",), 0, None, landed=False)
    assert purger.purge_sync(("shelf",), wait=False) == Purged(("shelf",), 0, None, landed=False)
    assert purger.journal.blocks(["book"])
    assert purger.journal.blocks(["shelf"])
    assert len(detached) == 2
    store.is_cut = False
    await purger.aclose()
    assert {tag for tags in store.landed for tag in tags} == {"book", "shelf"}


async def test_a_purge_asked_for_while_others_wait_lands_behind_them(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make()
    store.is_cut = True
    await purger.purge(("first",), wait=False)
    await asyncio.to_thread(store.attempted)
    waits = asyncio.ensure_future(purger.purge(("second",)))
    await asyncio.to_thread(store.attempted)
    assert not waits.done()
    store.is_cut = False
    assert (await waits).landed
    assert [tag for tags in store.landed for tag in tags] == ["first", "second"]


async def test_an_error_that_is_no_outage_reaches_the_caller(make: Callable[..., Purger], store: FaultyStore) -> None:
    purger = make()
    store.failure, store.is_cut = ZeroDivisionError("odd"), True
    with pytest.raises(ZeroDivisionError):
        await purger.purge(("book",))
    with pytest.raises(ZeroDivisionError):
        purger.purge_sync(("book",))


# Cancellation


async def test_a_cancelled_caller_is_let_go_when_its_purge_has_landed(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make()
    store.may_land.clear()
    caller = asyncio.ensure_future(purger.purge(("book",)))
    await store.was_sent.wait()
    for _ in range(3):  # however often it is asked
        caller.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not caller.done()
    store.may_land.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert store.landed == [("book",)]
    assert not purger.journal.waiting


async def test_a_cancelled_caller_s_purge_that_fails_goes_to_the_journal(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make()
    store.may_land.clear()
    store.is_cut = True
    caller = asyncio.ensure_future(purger.purge(("book",)))
    await store.was_sent.wait()
    caller.cancel()
    store.may_land.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert purger.journal.blocks(["book"])
    store.is_cut = False
    await purger.aclose()
    assert store.landed == [("book",)]


def test_a_loop_that_ends_in_the_middle_of_a_purge_does_not_lose_it(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make()
    store.may_land.clear()

    async def main() -> None:
        asyncio.ensure_future(purger.purge(("book",)))  # noqa: RUF006 (that nobody holds it is the point)
        await store.was_sent.wait()

    asyncio.run(main())  # cancels what is left, the purge's own task too
    purger.close()
    assert store.landed == [("book",)]


# Closing


async def test_closing_waits_for_what_is_under_way(make: Callable[..., Purger], store: FaultyStore) -> None:
    purger = make()
    store.may_land.clear()
    caller = asyncio.ensure_future(purger.purge(("book",)))
    await store.was_sent.wait()
    closing = asyncio.ensure_future(purger.aclose())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    store.may_land.set()
    await closing
    assert store.landed == [("book",)]
    assert (await caller).landed


async def test_closing_gives_up_on_what_never_ends(make: Callable[..., Purger], store: FaultyStore) -> None:
    purger = make(timeout=0.01)
    store.may_land.clear()
    caller = asyncio.ensure_future(purger.purge(("book",)))
    await store.was_sent.wait()
    await purger.aclose()
    assert not caller.done()
    store.may_land.set()
    await caller


async def test_nothing_under_way_is_closed_at_once_and_used_again(
    make: Callable[..., Purger], store: FaultyStore
) -> None:
    purger = make(timeout=3600)
    await purger.aclose()
    purger.close()
    assert (await purger.purge(("book",))).landed
