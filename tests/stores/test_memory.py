"""What is the embedded store's own: bytes that are bounded, eviction by use, threads."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcache.core.entry import Found, Missing
from rcache.stores import memory
from rcache.stores.memory import MemoryStore
from tests.contract.support import TIMEOUT, Question, begin, body_of, budget, fill, finish, made, purge
from tests.engine.threads import switching
from tests.support import HandClock

BOOK = Question("/book")
T = TypeVar("T")


def is_in_order(store: MemoryStore) -> bool:
    """Whether everything that hangs together agrees, and the bound is kept."""
    slots = {slot for page in store._pages.values() for slot in page.slots.values()}
    assert slots == set(store._used)
    assert store.used_bytes == sum(slot.size for slot in slots)
    assert store.used_bytes <= store.max_bytes
    assert all(carriers and carriers <= slots for carriers in store._registry.values())
    assert all(page.slots for page in store._pages.values())
    return True


async def test_what_was_used_least_recently_goes_first() -> None:
    store = MemoryStore(max_bytes=10_000)
    asks = [Question(f"/{number}") for number in range(8)]
    for ask in asks[:6]:
        await fill(store, ask, b"x" * 1000)
        await body_of(store, asks[0])
    kept = [ask.key.path for ask in asks if store.at_hand(ask.key)]
    assert kept[0] == b"/0", "used all the time"
    assert kept[-1] == b"/5"
    assert len(kept) < 6
    assert is_in_order(store)


async def test_an_entry_larger_than_the_store_is_refused_and_costs_no_other() -> None:
    store = MemoryStore(max_bytes=10_000)
    await fill(store, BOOK, b"small")
    other = Question("/large")
    assert not await finish(store, other, await begin(store, other), b"x" * 10_000)
    assert await body_of(store, BOOK) == b"small"


async def test_everything_that_is_kept_counts() -> None:
    """Or a client could fill the memory with what does not."""
    store = MemoryStore()
    large = b"x" * 5000
    asks = {
        "path": Question("/" + large.decode()),
        "query": Question("/", query=large.decode()),
        "identity": Question("/", identity=large),
        "variant": Question("/", headers=[(b"x-vary", large)]),
    }
    for what, ask in asks.items():
        before = store.used_bytes
        await fill(store, ask, names=("x-vary",))
        assert store.used_bytes - before > 5000, what
    before = store.used_bytes
    await fill(store, Question("/many"), b"", *[f"tag:{number}" for number in range(100)])
    assert store.used_bytes - before > 100 * 40


async def test_what_a_purge_killed_is_freed_in_slices_by_the_calls_that_follow() -> None:
    store = MemoryStore()
    for number in range(3 * memory.SWEEP_SLICE):
        await fill(store, Question(f"/{number}"), b"x", "book")
    await purge(store, "book")
    assert len(store) >= 2 * memory.SWEEP_SLICE, "a purge of a million must not stall"
    for _ in range(4):
        await purge(store, "nobody's")
    assert (len(store), store.used_bytes, len(store._dead)) == (0, 0, 0)
    assert is_in_order(store)


async def test_what_was_filled_again_is_not_swept_with_the_dead() -> None:
    store = MemoryStore()
    for number in range(2 * memory.SWEEP_SLICE):
        await fill(store, Question(f"/{number}"), b"old", "book")
    await purge(store, "book")
    await fill(store, Question("/0"), b"new", "book")
    for _ in range(5):
        await purge(store, "nobody's")
    assert await body_of(store, Question("/0")) == b"new"
    assert len(store) == 1


async def test_nothing_grows_with_use() -> None:
    store = MemoryStore(max_bytes=200_000, max_marks=50)
    for number in range(2000):
        ask = Question(f"/{number}")
        await fill(store, ask, b"x" * 100, f"book:{number}", "book")
        if number % 3 == 0:
            await purge(store, f"book:{number}")
        if number % 500 == 0:
            await purge(store, "book")
    assert is_in_order(store)
    assert len(store._guards[0].marks) <= 50
    assert len(store._registry) <= 2 * len(store) + 1
    assert sum(map(len, store._dead)) <= len(store)


async def test_closing_frees_everything() -> None:
    store = MemoryStore()
    for number in range(100):
        await fill(store, Question(f"/{number}"), b"x", "book")
    await purge(store, "book")
    store.close()
    gc.collect()
    assert (len(store), store.used_bytes, len(store._registry), len(store._dead), len(store._pages)) == (0,) * 5
    await fill(store, BOOK, b"x")
    assert await body_of(store, BOOK) == b"x"


async def test_what_is_at_hand_counts_as_used() -> None:
    store = MemoryStore(max_bytes=5000)
    asks = [Question(f"/{number}") for number in range(4)]
    for ask in asks[:3]:
        await fill(store, ask, b"x" * 400)
    assert store.at_hand(asks[0].key)
    await fill(store, asks[3], b"x" * 400)
    assert [store.at_hand(ask.key) is not None for ask in asks] == [True, False, True, True]


async def test_a_clock_that_is_set_back_ends_nothing() -> None:
    clock = HandClock()
    store = MemoryStore(clock=clock)
    await fill(store, BOOK, b"x", lifetime=60.0)
    clock.now -= 3600
    assert await body_of(store, BOOK) == b"x"


async def test_a_million_marks_are_the_default_bound() -> None:
    assert MemoryStore().max_marks == 1_000_000


@settings(deadline=None, max_examples=60, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fill", "large", "purge", "look"]),
            st.integers(0, 4),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 3),
        ),
        max_size=60,
    )
)
def test_everything_hangs_together_after_any_history(steps: list[tuple[str, int, str, int]]) -> None:
    async def tell() -> None:
        store = MemoryStore(max_bytes=9000, max_variants=2, max_marks=2)
        for what, path, tag, language in steps:
            ask = Question(f"/{path}", headers=[(b"accept-language", b"%d" % language)])
            if what == "purge":
                await purge(store, tag)
            elif what == "look":
                await body_of(store, ask)
            elif isinstance(missing := await store.lookup(ask, budget()), Missing):
                body = b"x" * (3000 if what == "large" else 10)
                await finish(store, ask, missing, body, tag, names=("accept-language",) if path % 2 else ())
            assert is_in_order(store)

    asyncio.run(tell())


# Threads


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Carries out one of the store's coroutines, which wait for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    result: T = stopped.value.value
    return result


def test_hits_in_some_threads_and_evictions_in_others_break_nothing() -> None:
    store = MemoryStore(max_bytes=20_000)
    clock = HandClock()
    store._time = clock.time

    def work(who: int) -> None:
        for number in range(1500):
            ask = Question(f"/{(number * (who + 1)) % 40}")
            found = None if store.at_hand(ask.key) else now(store.lookup(ask, budget()))
            if isinstance(found, Missing):
                assert found.start is not None
                now(store.store(ask, (), made(ask, found.start, found.now, b"x" * 500, "book"), budget()))
            if number % 50 == 0:
                store.purge_sync(["book"], TIMEOUT)

    errors = switching(*[partial(work, who) for who in range(4)])
    assert not errors
    assert is_in_order(store)


def test_nobody_is_answered_from_before_a_purge_in_any_thread() -> None:
    """One thread writes; the others look, and fill what they miss from what they read."""
    store = MemoryStore(max_marks=3)
    version, floor = 0, 0
    ended = threading.Event()
    stale: list[tuple[int, int]] = []

    def write() -> None:
        nonlocal version, floor
        for number in range(1500):
            version += 1
            store.purge_sync(["row"], TIMEOUT)
            floor = version
            store.purge_sync([f"other:{number % 5}"], TIMEOUT)  # marks make room for others
        ended.set()

    def visit(numbers: Iterator[int]) -> None:
        while not ended.is_set():
            ask = Question(f"/{next(numbers) % 3}")
            least = floor
            plain = store.at_hand(ask.key)
            found = plain or now(store.lookup(ask, budget()))
            if not isinstance(found, Missing):
                if int(found[0].body) < least:
                    stale.append((int(found[0].body), least))
            elif found.start is not None:
                entry = made(ask, found.start, found.now, b"%d" % version, "row")
                now(store.store(ask, (), entry, budget()))

    assert not switching(write, *[partial(visit, count(who)) for who in range(3)])
    assert not stale
    assert is_in_order(store)


class Watched(dict[str, int]):
    """Marks that somebody looks at whenever one leaves its place, as a reader in another thread may do."""

    look: Callable[[], None]

    def pop(self, *arguments: Any) -> int:
        mark: int = super().pop(*arguments)
        self.look()
        return mark


@pytest.mark.parametrize("tags", [["book"], ["a", "b", "c"]], ids=["raised again", "forgotten"])
async def test_a_reader_in_the_midst_of_a_purge_finds_no_tag_without_its_mark(tags: list[str]) -> None:
    """A mark leaves its place before it takes another, or before it is forgotten; who reads then waits for the purge."""
    store = MemoryStore(max_marks=2)
    for number in range(3 * memory.SWEEP_SLICE):  # more than one purge sweeps, so that some are still there
        await fill(store, Question(f"/{number}"), b"old", "book")
    await purge(store, "book")
    dead = Question(next(iter(store._pages)).path.decode())
    readers: list[threading.Thread] = []
    found: list[Found | Missing] = []

    def look() -> None:
        reader = threading.Thread(target=lambda: found.append(now(store.lookup(dead, budget()))))
        reader.start()
        reader.join(0.05)  # it may not come to an end before the purge does
        readers.append(reader)

    marks = Watched(store._guards[0].marks)
    marks.look = look
    store._guards[0].marks = marks
    await purge(store, *tags)
    for reader in readers:
        reader.join()
    assert found
    assert not any(isinstance(each, Found) for each in found)
