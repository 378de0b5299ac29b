"""After a purge has landed nobody is given an entry begun before, however the steps lay; and nothing else is lost."""

from __future__ import annotations

import asyncio

from rcache.core.entry import Entry
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import (
    TIMEOUT,
    Question,
    begin,
    body_of,
    budget,
    fill,
    finish,
    made,
    missing,
    purge,
)

BOOK = Question("/book/1")


async def test_a_purge_between_look_up_and_store_wins(harness: Harness) -> None:
    """The fill race: the answer that was read before the purge is nobody's afterwards."""
    store = await harness.make()
    other = await harness.second()
    miss = await begin(store, BOOK)
    await purge(other, "book:1")
    assert not await finish(store, BOOK, miss, b"read before", "book:1")
    assert [await body_of(node, BOOK) for node in (store, other)] == [None, None]
    await fill(store, BOOK, b"read after", "book:1")
    assert [await body_of(node, BOOK) for node in (store, other)] == [b"read after"] * 2


async def test_a_late_store_sent_after_others_filled_anew_changes_nothing(harness: Harness) -> None:
    store = await harness.make()
    late = await begin(store, BOOK)
    await purge(store, "book:1")
    await fill(store, BOOK, b"new", "book:1")
    assert not await finish(store, BOOK, late, b"old", "book:1")
    assert await body_of(store, BOOK) == b"new"


async def test_a_store_that_was_right_when_it_was_sent_is_dead_when_a_purge_follows(harness: Harness) -> None:
    store = await harness.make()
    miss = await begin(store, BOOK)
    assert await finish(store, BOOK, miss, b"old", "book:1")
    await purge(store, "book:1")
    assert await body_of(store, BOOK) is None
    assert not await finish(store, BOOK, miss, b"old", "book:1"), "the same store, sent twice"
    assert await body_of(store, BOOK) is None


async def test_tags_that_came_to_light_while_it_was_filled_count_from_its_start(harness: Harness) -> None:
    store = await harness.make(shards=4)
    miss = await begin(store, BOOK)
    await purge(store, "found:later")
    assert not await finish(store, BOOK, miss, b"old", "book:1", "found:later")
    assert await finish(store, BOOK, miss, b"of nothing purged", "book:1")
    assert await body_of(store, BOOK) == b"of nothing purged"


async def test_a_purge_of_several_tags_is_one_number_and_each_purge_has_a_higher_one(harness: Harness) -> None:
    store = await harness.make(shards=4)
    numbers = [await purge(store, "book:1", "book:2", "book:3"), await purge(store, "book:1"), await purge(store, "x")]
    assert numbers == sorted(set(numbers))
    miss = await begin(store, BOOK)
    assert miss.start is not None
    assert miss.start.number >= numbers[-1]
    urls = [Question(f"/book/{number}") for number in range(4)]
    for number, url in enumerate(urls):
        await fill(store, url, b"%d" % number, f"book:{number}")
    assert await purge(store, "book:1", "book:3", "book:3", "nobody's") > numbers[-1]
    assert [await body_of(store, url) for url in urls] == [b"0", None, b"2", None]


async def test_a_purge_flushes_what_carries_exactly_the_tag_and_nothing_else(harness: Harness) -> None:
    store = await harness.make(shards=4)
    likes = ["book", "book:", "book:1", "book:10", "book:1:2", "BOOK:1", "ook:1", "book%3A1", "böök:1", " ", "book:*"]
    urls = {tag: Question(f"/{number}") for number, tag in enumerate(likes)}
    for tag, url in urls.items():
        await fill(store, url, tag.encode(), tag)
    for purged in ("book:1", "book:*"):
        await purge(store, purged)
        likes.remove(purged)
        assert await body_of(store, urls[purged]) is None
        assert [await body_of(store, urls[tag]) for tag in likes] == [tag.encode() for tag in likes]


async def test_a_thousand_other_entries_are_still_hits(harness: Harness) -> None:
    store = await harness.make()
    urls = [Question(f"/book/{number}") for number in range(1000)]
    for number, url in enumerate(urls):
        await fill(store, url, b"%d" % number, f"book:{number}", "book")
    assert (await store.purge(["book:500"], TIMEOUT)).entries >= 1
    hits = [await body_of(store, url) for url in urls]
    assert [number for number, body in enumerate(hits) if body is None] == [500]
    assert (await store.purge(["book"], TIMEOUT)).entries >= 999
    assert not any([await body_of(store, url) for url in urls])


async def test_purging_a_url_reaches_its_variants_and_everybody_s_entries(harness: Harness) -> None:
    store = await harness.make()
    mine = [Question(headers=[(b"accept-language", language)]) for language in (b"en", b"de")]
    mine += [Question(identity=who, headers=[(b"accept-language", b"en")]) for who in (b"ann", b"bob")]
    other = Question("/book/2", identity=b"ann")
    for ask in (*mine, other):
        await fill(store, ask, b"x", "book", names=("accept-language",))
    await purge(store, BOOK.key.url_tag)
    assert [await body_of(store, ask) for ask in mine] == [None] * 4
    assert await body_of(store, other) == b"x"


async def test_the_entries_told_are_an_upper_bound(harness: Harness) -> None:
    store = await harness.make(shards=2)
    assert (await store.purge(["book"], TIMEOUT)).entries == 0
    for number in range(10):
        ask = Question(f"/{number}")
        await fill(store, ask, b"x", "book", f"book:{number}")
        await purge(store, f"book:{number}")
        await fill(store, ask, b"y", "book", "shelf")
    assert (await store.purge(["book", "shelf"], TIMEOUT)).entries >= 10
    assert (await store.purge(["book", "shelf"], TIMEOUT)).entries == 0


async def test_a_purge_without_tags_raises_no_mark(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"x", "book")
    await store.purge([], TIMEOUT)
    assert await body_of(store, BOOK) == b"x"


async def test_purges_of_threads_obey_the_same_rule(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"old", "book:1")
    miss = await begin(store, Question("/book/2"))
    purges = [asyncio.to_thread(store.purge_sync, [f"book:{number}"], TIMEOUT) for number in (1, 2, 1, 2)]
    numbers = [purge.number for purge in await asyncio.gather(*purges)]
    assert len(set(numbers)) == 4
    assert await body_of(store, BOOK) is None
    assert not await finish(store, Question("/book/2"), miss, b"old", "book:2")


async def test_purges_at_the_same_time_all_land(harness: Harness) -> None:
    store, other = await harness.make(shards=4), await harness.second()
    urls = [Question(f"/book/{number}") for number in range(40)]
    for number, url in enumerate(urls):
        await fill(store, url, b"old", f"book:{number}")
    purges = [(store, other)[number % 2].purge([f"book:{number}"], TIMEOUT) for number in range(39)]
    numbers = [purge.number for purge in await asyncio.gather(*purges)]
    assert len(set(numbers)) == 39
    assert [await body_of(store, url) for url in urls] == [None] * 39 + [b"old"]


async def test_stores_and_purges_at_the_same_time_leave_nothing_old(harness: Harness) -> None:
    store, other = await harness.make(), await harness.second()
    for round_ in range(20):
        miss = await begin(store, BOOK)
        stored = asyncio.ensure_future(finish(store, BOOK, miss, b"old %d" % round_, "book:1"))
        purged = asyncio.ensure_future(other.purge(["book:1"], TIMEOUT))
        await asyncio.gather(stored, purged)
        assert await body_of(store, BOOK) is None
        assert await body_of(other, BOOK) is None


# Forgetting marks


async def test_what_is_forgotten_is_a_miss_and_never_a_stale_hit(harness: Harness) -> None:
    store = await harness.make(max_marks=2, shards=1)
    late = await begin(store, BOOK)
    await fill(store, Question("/before"), b"x", "unpurged")
    await purge(store, "book:1")
    await fill(store, Question("/after 1"), b"y", "unpurged")
    for tag in ("a", "b", "c"):
        await purge(store, tag)
    newest = Question("/after all")
    await fill(store, newest, b"z", "unpurged")
    assert not await finish(store, BOOK, late, b"old", "book:1"), "its mark is forgotten, so it cannot be judged"
    assert await body_of(store, BOOK) is None
    assert await body_of(store, Question("/before")) is None
    assert await body_of(store, newest) == b"z"
    await fill(store, BOOK, b"new", "book:1")
    assert await body_of(store, BOOK) == b"new"


async def test_marks_that_are_remembered_cost_no_other_entry(harness: Harness) -> None:
    store = await harness.make(max_marks=50)
    await fill(store, BOOK, b"x", "kept")
    for number in range(49):
        await purge(store, f"tag:{number}")
    assert await body_of(store, BOOK) == b"x"
    for number in range(49):  # the same again: a tag has one mark
        await purge(store, f"tag:{number}")
    assert await body_of(store, BOOK) == b"x"


async def test_purging_more_tags_at_once_than_marks_are_kept_flushes_them_all(harness: Harness) -> None:
    store = await harness.make(max_marks=3, shards=2)
    urls = [Question(f"/book/{number}") for number in range(20)]
    for number, url in enumerate(urls):
        await fill(store, url, b"old", f"book:{number}")
    starts = [await missing(store, Question("/x")) for _ in urls]
    await store.purge([f"book:{number}" for number in range(20)], TIMEOUT)
    for number, (url, miss) in enumerate(zip(urls, starts, strict=True)):
        assert await body_of(store, url) is None
        assert miss.start is not None
        entry: Entry = made(url, miss.start, miss.now, b"old", f"book:{number}")
        assert not await store.store(url, (), entry, budget())
        assert await body_of(store, url) is None
    for number, url in enumerate(urls):
        await fill(store, url, b"new", f"book:{number}")
        assert await body_of(store, url) == b"new"
