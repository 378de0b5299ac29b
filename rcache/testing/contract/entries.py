"""What every store keeps, and whom it gives it to."""

from __future__ import annotations

from typing import Any

import pytest

from rcache.core.entry import Found, Start
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import (
    LIFETIME,
    Question,
    begin,
    body_of,
    budget,
    fill,
    finish,
    in_language,
    made,
    missing,
    purge,
)

BOOK = Question("/book/1")


async def test_a_fresh_store_gives_a_start_and_stores_its_first_fill(harness: Harness) -> None:
    store = await harness.make()
    miss = await begin(store, BOOK)
    assert miss.reason in ("absent", "lost")
    assert await finish(store, BOOK, miss, b"first", "book:1")
    assert await body_of(store, BOOK) == b"first"


async def test_a_hit_returns_exactly_the_entry_in_every_field(harness: Harness) -> None:
    store = await harness.make(shards=3)
    miss = await begin(store, BOOK)
    assert miss.start is not None
    entry = made(
        BOOK,
        miss.start,
        miss.now - 0.25,
        bytes(range(256)) * 3,
        "book:1",
        "shelf",
        "author:Æsop",
        status=203,
        headers=((b"set-x", b"1"), (b"x-raw", b"\xff\x00\xe9"), (b"set-x", b""), (b"set-x", b"1")),
        initial_age=7.5,
        lifetime=300.125,
        etag=b'"\xfftag"',
        last_modified=b"Tue, 01 Jan 2019 00:00:00 GMT",
        client_ttl=12,
        is_shared=True,
    )
    assert await store.store(BOOK, (), entry, budget())
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    assert sorted(found.entry.tags) == sorted(entry.tags)  # in which order they come is not promised
    found.entry.tags = entry.tags
    assert found.entry == entry
    assert found.now >= miss.now


async def test_a_bare_entry_comes_back_as_bare(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"", headers=(), status=204)
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    assert (found.entry.body, found.entry.headers, found.entry.status) == (b"", (), 204)
    assert (found.entry.etag, found.entry.last_modified, found.entry.client_ttl) == (None, None, None)
    assert not found.entry.is_shared


@pytest.mark.parametrize("size", [0, 1, 100, 65_536, 1_048_576])
async def test_bodies_of_any_size_come_back_as_they_were(harness: Harness, size: int) -> None:
    store = await harness.make()
    body = (b"\x00\r\n$5\xff" * (size // 6 + 1))[:size]
    await fill(store, BOOK, body)
    assert await body_of(store, BOOK) == body


async def test_an_entry_ends_with_its_lifetime(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, lifetime=60.0)
    await harness.advance(50)
    assert await body_of(store, BOOK) == b"old"
    await harness.advance(11)
    assert await body_of(store, BOOK) is None
    await fill(store, BOOK, b"new")
    assert await body_of(store, BOOK) == b"new"


async def test_the_age_an_entry_came_with_counts(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, lifetime=60.0, initial_age=50.0)
    assert await body_of(store, BOOK) == b"old"
    await harness.advance(11)
    assert await body_of(store, BOOK) is None


async def test_an_entry_that_has_ended_is_refused(harness: Harness) -> None:
    store = await harness.make()
    miss = await begin(store, BOOK)
    assert not await finish(store, BOOK, miss, lifetime=60.0, initial_age=60.0)
    assert miss.start is not None
    late = made(BOOK, miss.start, miss.now - 61, lifetime=60.0)
    assert not await store.store(BOOK, (), late, budget())
    assert await body_of(store, BOOK) is None


async def test_the_last_entry_stored_is_the_one_given(harness: Harness) -> None:
    store = await harness.make()
    one, two = await begin(store, BOOK), await begin(store, BOOK)
    assert await finish(store, BOOK, one, b"one")
    assert await finish(store, BOOK, two, b"two", headers=())
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    assert (found.entry.body, found.entry.headers) == (b"two", ())


async def test_another_request_is_never_answered_from_it(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"mine")
    others = [
        Question("/book/1/"),
        Question("/book/11"),
        Question("/book/1", query="a"),
        Question("/book/1", identity=b""),
        Question("/book/1", identity=b"ann"),
    ]
    assert [await body_of(store, other) for other in others] == [None] * len(others)
    for other in others:
        await fill(store, other, repr(other.key).encode())
    assert [await body_of(store, other) for other in others] == [repr(other.key).encode() for other in others]
    assert await body_of(store, BOOK) == b"mine"


async def test_an_entry_may_carry_many_tags(harness: Harness) -> None:
    store = await harness.make(shards=4)
    tags = [f"book:{number}" for number in range(50)]
    for tag in tags:
        await fill(store, BOOK, tag.encode(), *tags)
        await purge(store, tag)
        assert await body_of(store, BOOK) is None


# Variants


async def test_variants_are_told_apart_by_what_the_answer_depends_on(harness: Harness) -> None:
    store = await harness.make()
    english, german = in_language(b"en"), in_language(b"de")
    await fill(store, english, b"hello", names=("accept-language",))
    assert await body_of(store, german) is None
    await fill(store, german, b"hallo", names=("accept-language",))
    assert [await body_of(store, ask) for ask in (english, german)] == [b"hello", b"hallo"]
    assert await body_of(store, BOOK) is None, "who asks for no language is a third"


async def test_another_node_learns_what_selects_a_variant(harness: Harness) -> None:
    store = await harness.make()
    other = await harness.second()
    english, german = in_language(b"en"), in_language(b"de")
    assert await body_of(other, german) is None
    await fill(store, english, b"hello", names=("accept-language",))
    assert await body_of(other, english) == b"hello"
    assert (await missing(other, german)).names == ("accept-language",)


async def test_an_answer_that_depends_on_more_takes_the_place_of_those_that_did_not(harness: Harness) -> None:
    store = await harness.make()
    other = await harness.second()
    dark = Question(headers=[(b"accept-language", b"en"), (b"x-theme", b"dark")])
    light = Question(headers=[(b"accept-language", b"en"), (b"x-theme", b"light")])
    await fill(store, dark, b"plain")
    assert await body_of(store, light) == b"plain"
    miss = await begin(store, Question("/elsewhere"))
    assert await finish(store, dark, miss, b"english", names=("accept-language",))
    assert await body_of(store, light) == b"english"
    assert await finish(store, dark, miss, b"english, dark", names=("accept-language", "x-theme"))
    # What another node kept near before that stays there for its time, as it would in any other cache.
    assert [await body_of(node, light) for node in (store, other)] == [None, None]
    assert [await body_of(node, dark) for node in (store, other)] == [b"english, dark"] * 2


async def test_a_name_once_known_is_known_to_a_fill_that_does_not_say_it(harness: Harness) -> None:
    """The origin says Vary on some answers only: who asks otherwise is not answered with one that forgot to say it."""
    store = await harness.make()
    english, german = in_language(b"en"), in_language(b"de")
    await fill(store, english, b"hello", names=("accept-language",))
    await fill(store, german, b"hallo")
    assert [await body_of(store, ask) for ask in (english, german)] == [None, b"hallo"]


async def test_of_several_answers_that_match_only_the_most_recent_is_used(harness: Harness) -> None:
    """RFC 9111 §4: one that does not vary matches the requests of all older variants."""
    store = await harness.make()
    other = await harness.second()
    askers = [in_language(language) for language in (b"en", b"de", b"fr")]
    for number, asker in enumerate(askers):
        await fill(store, asker, b"%d" % number, names=("accept-language",))
    assert await finish(store, askers[0], await begin(store, Question("/elsewhere")), b"for all")
    assert [await body_of(other, asker) for asker in askers] == [b"for all", None, None]


async def test_what_always_selects_a_variant_tells_apart_from_entries_that_never_heard_of_it(harness: Harness) -> None:
    """A rule that came to vary by a header is not answered from what was stored under the rule before."""
    store = await harness.make()
    await fill(store, in_language(b"en"), b"hello")
    ruled = Question(headers=[(b"accept-language", b"de")], names=("accept-language",))
    assert await body_of(store, ruled) is None
    await fill(store, ruled, b"hallo", names=("accept-language",))
    assert await body_of(store, ruled) == b"hallo"
    assert await body_of(store, in_language(b"en")) is None


async def test_variants_of_a_url_are_bounded_and_the_one_that_ends_first_goes(harness: Harness) -> None:
    store = await harness.make(max_variants=3)
    lifetimes = {b"a": 100.0, b"b": 400.0, b"c": 300.0, b"d": 200.0, b"e": 50.0}
    for language, lifetime in lifetimes.items():
        await fill(store, in_language(language), language, names=("accept-language",), lifetime=lifetime)
    kept = [language for language in lifetimes if await body_of(store, in_language(language)) is not None]
    assert kept == [b"b", b"c", b"e"]
    assert await body_of(store, in_language(b"a", "/book/2")) is None


# What does not change a thing


async def test_a_store_that_was_closed_opens_again(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK, b"before")
    await store.aclose()
    assert await body_of(store, BOOK) in (None, b"before")  # embedded, the entries went with it
    other = Question("/book/2")
    await fill(store, other, b"after")
    assert await body_of(store, other) == b"after"
    await store.aclose()
    await store.aclose()


async def test_looking_at_hand_never_says_another_thing_than_a_lookup(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK)
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    at_hand = store.at_hand(BOOK.key)
    assert at_hand is None or at_hand[0] == found.entry
    await purge(store, BOOK.key.url_tag)
    assert store.at_hand(BOOK.key) is None


async def test_what_is_at_hand_is_not_what_has_variants_or_has_expired(harness: Harness) -> None:
    store = await harness.make()
    await fill(store, BOOK)
    await store.lookup(BOOK, budget())
    await harness.advance(10_000)
    assert store.at_hand(BOOK.key) is None
    varied = Question("/varied", names=("x-kind",))
    await fill(store, varied, names=varied.names)
    await store.lookup(varied, budget())
    assert store.at_hand(varied.key) is None


@pytest.mark.parametrize("changes", [{"epoch": "0" * 16}, {"epoch": ""}, {"number": -1}])
async def test_a_start_that_the_store_never_gave_kills_only_its_own_entry(
    harness: Harness, changes: dict[str, Any]
) -> None:
    store = await harness.make()
    other = Question("/book/2")
    await fill(store, other, b"untouched", "book:2")
    miss = await begin(store, BOOK)
    assert miss.start is not None
    await store.store(BOOK, (), made(BOOK, miss.start._replace(**changes), miss.now, b"odd", "book:1"), budget())
    assert await body_of(store, BOOK) is None
    assert await body_of(store, other) == b"untouched"


async def test_lifetimes_are_counted_on_the_stores_own_clock(harness: Harness) -> None:
    store = await harness.make()
    miss = await begin(store, BOOK)
    assert await finish(store, BOOK, miss, lifetime=LIFETIME)
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    assert 0.0 <= found.entry.age(found.now) < LIFETIME
    assert isinstance(found.entry.start, Start)
