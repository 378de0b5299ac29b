"""What changes purge by schemes that only the store knows of: held before COMMIT, purged after it, in as few trips as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rcache import Cache, Change
from rcache.core.changes import families
from rcache.core.entry import Entry
from rcache.core.schemes import Effect, Scheme
from rcache.engine.holds import Hold
from tests.contract.support import Question, begin, body_of, budget, made
from tests.engine.faulty import FaultyStore
from tests.support import HandClock

BY_AUTHOR = Scheme("book", ("author_id",), frozenset({"author_id"}))
LIST = Question("/books?author=1")
ADDED = Change("book", (7,), "insert", None, {"author_id": 1})
WIDEST = ("book", "book:7", "book?*", "book?author_id=1")
both = pytest.mark.parametrize("how", ["async", "sync"])


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def cache(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    monkeypatch.setattr("rcache.cache._store", lambda *_: store)
    cache = Cache(clock=HandClock(), purge_timeout=0.05)
    yield cache
    cache.close_sync()


def tag() -> str:
    made = BY_AUTHOR.tag({"author_id": 1})
    assert made is not None
    return made


async def stored(store: FaultyStore) -> Entry:
    miss = await begin(store, LIST)
    assert miss.start is not None
    entry = made(LIST, miss.start, miss.now, b"x", tag(), *families([tag()]))
    assert await store.store(LIST, (), entry, budget(), [BY_AUTHOR])
    return entry


async def place(hold: Hold, how: str) -> None:
    await (hold.place() if how == "async" else asyncio.to_thread(hold.place_sync))


@both
async def test_what_the_store_alone_knows_is_held_before_a_commit_and_the_next_hold_takes_one_trip(
    cache: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await stored(store)
    trips: list[tuple[str, ...]] = []
    hold = store._hold

    def noted(tags: tuple[str, ...], *arguments: Any) -> Any:
        trips.append(tags)
        return hold(tags, *arguments)

    monkeypatch.setattr(store, "_hold", noted)
    for times in (2, 1):
        held = cache.holds.begin(cache.changes.effect([ADDED]))
        await place(held, how)
        assert len(trips) == times
        assert tag() in store.held
        assert await body_of(store, LIST) is None
        await held.release()
        trips.clear()
    assert await body_of(store, LIST) == b"x"


@both
async def test_what_the_store_alone_knows_is_purged_before_a_purge_has_landed(
    cache: Cache, store: FaultyStore, how: str
) -> None:
    await stored(store)
    for count in (2, 1):  # the second knows
        purged = await cache.apply([ADDED]) if how == "async" else await asyncio.to_thread(cache.apply_sync, [ADDED])
        assert purged.landed
        assert set(purged.tags) == {"book", "book:7", "book?author_id=1", tag()}
        assert len(store.landed) == count
        assert purged.sequence == store._number
        store.landed.clear()
    assert await body_of(store, LIST) is None


@both
async def test_a_renewal_that_finds_its_hold_gone_holds_what_was_registered_meanwhile(
    cache: Cache, store: FaultyStore, how: str
) -> None:
    hold = cache.holds.begin(cache.changes.effect([ADDED]))
    await place(hold, how)
    store.release_sync(hold.tags, hold.transaction, 1.0)
    await stored(store)
    await asyncio.to_thread(hold.renew)
    assert tag() in store.held
    await hold.purge()
    assert store.held == set()


@both
async def test_what_cannot_land_now_is_purged_whatever_the_schemes_are(
    cache: Cache, store: FaultyStore, how: str
) -> None:
    await stored(store)
    store.is_cut = True
    purged = await cache.apply([ADDED]) if how == "async" else await asyncio.to_thread(cache.apply_sync, [ADDED])
    assert (purged.landed, purged.tags) == (False, WIDEST)
    assert cache.forbids((tag(), *families([tag()]))) == "purge-pending"
    store.is_cut = False
    await cache._purger.aclose()
    assert await body_of(store, LIST) is None


@both
async def test_where_only_the_first_half_of_a_purge_lands_all_of_it_is_sent_again(
    cache: Cache, store: FaultyStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await stored(store)
    purge = store._purge

    def half(tags: tuple[str, ...], *arguments: Any) -> Any:
        done = purge(tags, *arguments)
        store.is_cut = True
        return done

    monkeypatch.setattr(store, "_purge", half)
    purged = await cache.apply([ADDED]) if how == "async" else await asyncio.to_thread(cache.apply_sync, [ADDED])
    assert not purged.landed
    monkeypatch.undo()
    store.is_cut = False
    await cache._purger.aclose()
    assert await body_of(store, LIST) is None


async def test_what_is_asked_for_later_is_purged_whatever_the_schemes_are(cache: Cache, store: FaultyStore) -> None:
    await stored(store)
    await cache.purge((), effect=cache.changes.effect([ADDED]), wait=False)
    await cache._purger.aclose()
    assert await body_of(store, LIST) is None


@both
async def test_a_commit_of_unknown_outcome_is_purged_by_schemes_too_and_stays_held(
    cache: Cache, store: FaultyStore, how: str
) -> None:
    hold = cache.holds.begin(cache.changes.effect([ADDED]))
    await place(hold, how)
    store.release_sync(hold.tags, hold.transaction, 1.0)
    await stored(store)
    await (hold.leave() if how == "async" else asyncio.to_thread(hold.leave_sync))
    assert await body_of(store, LIST) is None


async def test_where_purges_may_be_forgotten_they_are_sent_again_whatever_the_schemes_are(
    cache: Cache, store: FaultyStore
) -> None:
    await cache.apply([ADDED])
    await stored(store)
    store.forget()
    await cache._purger.aclose()
    assert await body_of(store, LIST) is None


async def test_changes_nobody_knows_the_rows_of_ask_for_no_schemes(cache: Cache, store: FaultyStore) -> None:
    await stored(store)
    assert cache.changes.effect([Change("book", None)]).tables == ()
    await cache.apply([Change("book", None)])
    assert len(store.landed) == 1
    assert await body_of(store, LIST) is None


async def test_effects_add_up(cache: Cache) -> None:
    effect = cache.changes.effect([ADDED]) | Effect(["news"], {}) | cache.changes.effect([Change("user", (1,))])
    assert effect.tables == ("book", "user")
    assert {"news", "book:7", "user:1"} <= set(effect.tags)
    assert effect.made_by({"book": frozenset([BY_AUTHOR]), "user": frozenset()}) == {tag()}
    assert effect.made_by({}) == {"book?*", "user?*"}
