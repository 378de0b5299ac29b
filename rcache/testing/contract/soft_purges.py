"""After a soft purge an entry is found stale, by every node, and a purge that is not soft wins whenever it comes."""

from __future__ import annotations

import pytest

from rcache.core.entry import Found
from rcache.ports import Store
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import (
    LIFETIME,
    TIMEOUT,
    Question,
    begin,
    body_of,
    budget,
    fill,
    finish,
    missing,
    purge,
)

BOOK = Question("/book/1")


async def staleness(store: Store, ask: Question = BOOK) -> float:
    """Seconds for which what is found has been stale; negative while it is fresh."""
    found = await store.lookup(ask, budget())
    assert isinstance(found, Found), found
    assert found.entry.is_softened == (found.entry.ttl(found.now) <= 0)
    if found.entry.is_softened:
        assert store.at_hand(ask.key) is None, "it is never the plainest hit"
    return -found.entry.ttl(found.now)


async def test_what_was_purged_softly_is_stale_for_every_node_and_what_was_not_is_fresh(harness: Harness) -> None:
    store = await harness.make(shards=4)
    other = await harness.second()
    page = Question("/other")
    await fill(store, BOOK, b"old", "book:1", "shelf", retention=100.0)
    await fill(store, page, b"other", "book:2", "shelf:2")
    for node in (store, other):
        assert await staleness(node) < 0
    before = (await begin(store, Question("/nobody's"))).start
    purged = await store.soften(["shelf", "nobody's"], TIMEOUT)
    assert before is not None
    assert purged.number > before.number
    assert purged.entries == 0
    harness.joined()
    for node in (store, other, store):
        assert 0 <= await staleness(node) < LIFETIME / 2
        assert await body_of(node, BOOK) == b"old"
        assert await staleness(node, page) < 0


async def test_from_an_event_loop_or_a_thread(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1")
    store.soften_sync(["book:1"], TIMEOUT)
    assert await staleness(store) >= 0


async def test_it_is_stale_since_the_purge(harness: Harness) -> None:
    if not harness.has_hand_clock:
        pytest.skip("the clock of a server is nobody's to set")
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1", "shelf", retention=100.0)
    await harness.advance(5)
    await store.soften(["shelf"], TIMEOUT)
    await harness.advance(7)
    await store.soften(["book:1"], TIMEOUT)
    assert await staleness(store) == 7
    await harness.advance(LIFETIME + 100 - 12)
    assert await body_of(store, BOOK) is None, "it is kept for no longer than before"


async def test_what_was_started_after_a_soft_purge_is_fresh_and_what_was_started_before_is_not(
    harness: Harness,
) -> None:
    store = await harness.make()
    late = await begin(store, BOOK)
    await store.soften(["book:1"], TIMEOUT)
    assert await finish(store, BOOK, late, b"read before", "book:1")
    assert store.at_hand(BOOK.key) is None
    assert await staleness(store) >= 0
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    assert await finish(store, BOOK, found, b"read after", "book:1")
    assert await staleness(store) < 0
    assert await body_of(store, BOOK) == b"read after"


@pytest.mark.parametrize("is_hard_first", [True, False])
async def test_a_hard_purge_wins_before_and_after(harness: Harness, is_hard_first: bool) -> None:
    store = await harness.make()
    other = await harness.second()
    await fill(store, BOOK, b"old", "book:1", "shelf")
    if is_hard_first:
        await purge(other, "shelf")
        await store.soften(["book:1", "shelf"], TIMEOUT)
    else:
        await store.soften(["book:1", "shelf"], TIMEOUT)
        await purge(other, "shelf")
    for node in (store, other):
        await missing(node, BOOK)


async def test_what_is_held_is_a_miss_whatever_was_purged_softly(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1")
    await store.soften(["book:1"], TIMEOUT)
    await store.hold(["book:1"], "writer", 60.0, TIMEOUT)
    assert (await missing(store, BOOK)).reason == "held"
    await store.release(["book:1"], "writer", TIMEOUT)
    assert await staleness(store) >= 0


async def test_no_soft_purge_is_forgotten_however_many_there_are(harness: Harness) -> None:
    store = await harness.make(max_marks=3)
    pages = [Question(f"/{number}") for number in range(5)]
    for number, page in enumerate(pages):
        await fill(store, page, b"%d" % number, f"book:{number}", retention=100.0)
    await store.soften(["book:0", "book:1"], TIMEOUT)
    assert [await staleness(store, page) < 0 for page in pages] == [False, False, True, True, True]
    await store.soften(["book:2", "nobody's"], TIMEOUT)
    assert [await staleness(store, page) < 0 for page in pages[:3]] == [False] * 3
    await fill(store, Question("/new"), b"new", "book:0")
    assert await staleness(store, Question("/new")) < 0


async def test_a_guard_that_is_lost_forgets_no_soft_purge_to_anybodys_harm(harness: Harness) -> None:
    """What it can no longer judge is a miss."""
    store = await harness.make(quarantine=30.0)
    await fill(store, BOOK, b"old", "book:1")
    await harness.lose_guard("book:1")
    await store.soften(["book:1"], TIMEOUT)
    assert await body_of(store, BOOK) is None
    await harness.advance(31)
    await missing(store, BOOK)
    await fill(store, BOOK, b"new", "book:1")
    assert await staleness(store) < 0
