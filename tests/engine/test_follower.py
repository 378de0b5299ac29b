"""A near cache follows the log as long as it can, and begins anew where it cannot."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, Queue

import pytest

from rcache.core.entry import Found, Start
from rcache.core.errors import BackendError
from rcache.core.log import Head, Record
from rcache.engine import follower as follower_module
from rcache.engine.follower import Follower
from rcache.engine.near_cache import NearCache
from rcache.engine.near_store import NearStore
from rcache.stores.memory import MemoryStore
from tests.contract.support import TIMEOUT, Question, begin, budget, fill, made
from tests.support import EPOCH, HandClock

BOOK = Question("/book/1")
LEASE = 4.0
PATIENCE = 30.0


class HandLog:
    """A log that says what the test lets it say."""

    def __init__(self) -> None:
        self.head: Head | None = Head("e", 10, 10, EPOCH)
        self.answers: Queue[list[Record] | Exception] = Queue()
        self.reads: Queue[tuple[int, float]] = Queue()
        self.joins: Queue[tuple[str, int, float, bool]] = Queue()
        self.renewals: Queue[tuple[str, int, int]] = Queue()
        self.left: Queue[str] = Queue()
        self.failure: Exception | None = None
        self.refuses = False
        self.before_join: Callable[[], None] = lambda: None
        self.before_renewal: Callable[[], None] = lambda: None
        self.closes = 0

    def join(self, node: str, counter: int, lease: float, is_strict: bool) -> Head | None:
        self.joins.put((node, counter, lease, is_strict))
        if self.failure is not None:
            raise self.failure
        self.before_join()
        return self.head

    def renew(self, node: str, counter: int, tail: int) -> Head | None:
        self.before_renewal()
        self.renewals.put((node, counter, tail))
        return None if self.refuses else self.head

    def read(self, after: int, wait: float) -> list[Record]:
        self.reads.put((after, wait))
        answer = self.answers.get(timeout=PATIENCE)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def leave(self, node: str) -> None:
        self.left.put(node)

    def close(self) -> None:
        self.closes += 1
        self.answers.put(BackendError("closed"))

    # What a test does

    def is_read(self) -> tuple[int, float]:
        """Returns when somebody waits for records: after which, and how long."""
        return self.reads.get(timeout=PATIENCE)

    def say(self, *records: Record) -> None:
        """Those who wait for records get these."""
        self.answers.put(list(records))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def log() -> HandLog:
    return HandLog()


@pytest.fixture
def near(clock: HandClock) -> NearCache:
    return NearCache(1_000_000, clock)


@pytest.fixture
def follower(near: NearCache, log: HandLog, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    """One that has joined, and waits for records."""
    monkeypatch.setattr(follower_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(follower_module, "LONGEST_PAUSE", 0.001)
    made = Follower(near, log, lease=LEASE, is_strict=True, clock=clock)
    assert log.is_read() == (10, 1.0)
    yield made
    made.stop()
    assert not made.is_alive


def purge(number: int, before: int, *tags: str, epoch: str = "e", is_awaited: bool = True) -> Record:
    return Record(epoch, number, before, "purge", [[tag] for tag in tags], is_awaited)


def keep(near: NearCache, *tags: str) -> bool:
    entry = made(BOOK, Start("e", 1), EPOCH, b"x", *tags)
    return near.keep(BOOK, Found(entry, EPOCH, Start("e", 10)))


def test_it_joins_and_reads_from_the_head_on(follower: Follower, near: NearCache, log: HandLog) -> None:
    assert log.joins.get_nowait() == (follower.node, 1, LEASE, True)
    assert follower.joined.is_set()
    assert near.is_alive
    assert keep(near, "book:1")


def test_what_is_read_is_dropped_and_what_is_waited_for_told_at_once(
    follower: Follower, near: NearCache, log: HandLog
) -> None:
    keep(near, "book:1")
    log.head = Head("e", 12, 12, EPOCH)
    log.say(purge(12, 10, "book:1"))
    assert log.is_read()[0] == 12
    assert near.at_hand(BOOK.key) is None
    assert log.renewals.get_nowait() == (follower.node, 2, 12)


def test_what_nobody_waits_for_is_not_told_at_once(follower: Follower, log: HandLog) -> None:
    log.say(purge(12, 10, "book:1", is_awaited=False))
    assert log.is_read()[0] == 12
    assert log.renewals.empty()


def test_it_renews_in_good_time(follower: Follower, near: NearCache, log: HandLog, clock: HandClock) -> None:
    for turn in range(20):
        clock.advance(1.0)
        log.say()
        assert log.is_read() == (10, 1.0)
        assert log.renewals.get_nowait() == (follower.node, turn + 2, 10)
        assert near.is_alive
    assert near.clears == 0


def begins_anew(near: NearCache, log: HandLog) -> None:
    """It cleared, and joined once more."""
    assert log.joins.get(timeout=PATIENCE)[1] == 1
    assert log.joins.get(timeout=PATIENCE)[1] > 1
    log.is_read()
    assert near.clears == 1
    assert near.at_hand(BOOK.key) is None
    assert near.is_alive


def test_a_gap_is_a_doubt(follower: Follower, near: NearCache, log: HandLog) -> None:
    keep(near)
    log.say(purge(13, 12, "other"))
    begins_anew(near, log)


def test_a_connection_that_breaks_is_a_doubt(follower: Follower, near: NearCache, log: HandLog) -> None:
    keep(near)
    log.answers.put(BackendError("cut"))
    begins_anew(near, log)


def test_a_renewal_that_is_refused_is_a_doubt(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock
) -> None:
    keep(near)
    log.refuses = True
    clock.advance(1.0)
    log.say()
    begins_anew(near, log)


@pytest.mark.parametrize("head", [Head("other", 10, 10, EPOCH), Head("e", 9, 9, EPOCH)])
def test_another_log_is_a_doubt(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock, head: Head
) -> None:
    keep(near)
    log.head = head
    clock.advance(1.0)
    log.say()
    begins_anew(near, log)


def test_a_lease_that_lapsed_while_it_was_frozen_is_a_doubt(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock
) -> None:
    keep(near)
    clock.advance(LEASE)
    assert near.at_hand(BOOK.key) is None
    log.say()
    begins_anew(near, log)


def test_a_freeze_in_the_middle_of_a_renewal_is_a_doubt(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock
) -> None:
    keep(near)
    log.before_renewal = lambda: clock.advance(LEASE)
    clock.advance(1.0)
    log.say()
    begins_anew(near, log)


def test_a_head_that_cannot_be_reached_is_a_doubt(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock
) -> None:
    keep(near)
    log.head = Head("e", 20, 20, EPOCH)
    for _ in range(4):
        clock.advance(1.0)
        log.say()
        log.is_read()
    begins_anew_later = log.joins.qsize()
    assert begins_anew_later == 2
    assert near.clears == 1


def test_a_head_that_is_reached_in_time_is_none(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock
) -> None:
    for number in range(11, 40):
        log.head = Head("e", number, number, EPOCH)
        clock.advance(1.0)
        log.say()
        log.is_read()
        log.say(purge(number, number - 1, "x", is_awaited=False))
        log.is_read()
    assert near.clears == 0


def test_while_nothing_can_be_followed_it_tries_again_and_says_so_once(
    follower: Follower, near: NearCache, log: HandLog, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rcache"):
        log.failure = BackendError("Redis cannot be reached")
        log.answers.put(BackendError("cut"))
        for _ in range(5):
            log.joins.get(timeout=PATIENCE)
        assert not near.is_alive
        log.failure = None
        log.is_read()
    assert near.is_alive
    assert [record.getMessage() for record in caplog.records] == [
        "nothing is kept near until the log can be followed: cut"
    ]


@pytest.mark.parametrize("where", ["join", "renew", "read", "apply"])
def test_an_error_that_nobody_foresaw_is_a_doubt_and_not_the_end(
    follower: Follower, near: NearCache, log: HandLog, clock: HandClock, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    keep(near)
    unforeseen = TypeError("nobody foresaw it")

    def fails(*arguments: object) -> None:
        setattr(near, where, kept)
        raise unforeseen

    if where == "join":
        log.failure = unforeseen
        log.answers.put(BackendError("cut"))
        for _ in range(3):
            log.joins.get(timeout=PATIENCE)
        log.failure = None
    elif where == "read":
        log.answers.put(unforeseen)
    else:
        kept = getattr(near, where)
        setattr(near, where, fails)
        clock.advance(1.0)
        log.say()
    log.is_read()
    assert near.clears > 0
    assert near.at_hand(BOOK.key) is None
    assert near.is_alive
    assert follower.is_alive
    assert where == "join" or [record.exc_info is not None for record in caplog.records] == [True]


def test_an_error_that_nobody_foresaw_does_not_keep_it_from_leaving(
    near: NearCache, log: HandLog, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(node: str) -> None:
        raise TypeError("nobody foresaw it")

    monkeypatch.setattr(log, "leave", fails)
    follower = Follower(near, log, lease=LEASE, is_strict=True, clock=clock)
    log.is_read()
    follower.stop()
    assert not follower.is_alive
    assert log.closes == 2


def test_a_log_that_can_be_joined_and_not_read_is_tried_less_and_less_often(
    follower: Follower, near: NearCache, log: HandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    pause = follower.pause

    def noted() -> float:
        pauses.append(pause())
        return pauses[-1]

    monkeypatch.setattr(follower_module, "LONGEST_PAUSE", 0.004)
    monkeypatch.setattr(follower, "pause", noted)
    for _ in range(4):
        log.answers.put(BackendError("the log holds what is no record"))
        log.is_read()
    log.say()
    log.is_read()
    log.answers.put(BackendError("cut"))
    log.is_read()
    assert pauses == [0.0, 0.001, 0.002, 0.004, 0.0]


def test_where_there_is_no_log_yet_it_waits_without_a_word(
    near: NearCache, log: HandLog, clock: HandClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "FIRST_PAUSE", 0.001)
    log.head = None
    follower = Follower(near, log, lease=LEASE, is_strict=False, clock=clock)
    for _ in range(3):
        log.joins.get(timeout=PATIENCE)
    assert not follower.joined.is_set()
    log.head = Head("e", 10, 10, EPOCH)
    log.is_read()
    assert near.is_alive
    assert not caplog.records
    follower.stop()


def test_a_fast_node_tells_nothing_beyond_its_renewals(near: NearCache, log: HandLog, clock: HandClock) -> None:
    follower = Follower(near, log, lease=LEASE, is_strict=False, clock=clock)
    log.is_read()
    log.say(purge(12, 10, "book:1"))
    assert log.is_read()[0] == 12
    assert log.renewals.empty()
    follower.stop()


def test_once_stopped_it_serves_nothing_and_has_left(near: NearCache, log: HandLog, clock: HandClock) -> None:
    follower = Follower(near, log, lease=LEASE, is_strict=True, clock=clock)
    log.is_read()
    keep(near)
    follower.stop()
    assert near.at_hand(BOOK.key) is None
    assert log.left.get_nowait() == follower.node
    assert not follower.is_alive


@pytest.mark.parametrize("what", ["join", "renew", "read"])
def test_what_it_was_about_when_it_was_stopped_reaches_the_near_cache_no_more(
    near: NearCache, log: HandLog, clock: HandClock, what: str
) -> None:
    """By then somebody else may follow the log for it, or nobody."""
    started, is_stopping = threading.Event(), threading.Event()
    read = log.read

    def stops() -> None:
        assert started.wait(PATIENCE)
        stopping.start()
        assert follower._stopped.wait(PATIENCE)
        with follower._lock:  # it has let go
            near.join(Head("e", 30, 30, EPOCH), clock.boottime(), LEASE)  # as another one would
        is_stopping.set()

    def late(after: int, wait: float) -> list[Record]:
        records = read(after, wait)
        stops()
        return records

    if what == "join":
        log.before_join = stops
    elif what == "renew":
        log.before_renewal = stops
    else:
        log.read = late  # type: ignore[method-assign]
    follower = Follower(near, log, lease=LEASE, is_strict=True, clock=clock)
    stopping = threading.Thread(target=follower.stop)
    started.set()
    if what != "join":
        log.is_read()
        clock.advance(1.0)
        log.say(*([purge(31, 30, "x")] if what == "read" else []))
    assert is_stopping.wait(PATIENCE)
    stopping.join(PATIENCE)
    assert not follower.is_alive
    assert (near.tail, near.clears, near.is_alive) == (30, 1, True)
    clock.advance(LEASE - 0.1)
    assert near.is_alive
    clock.advance(0.2)
    assert not near.is_alive


# Before a store


def store_on(log: HandLog, clock: HandClock) -> NearStore:
    behind = MemoryStore(clock=clock)
    epoch, number = behind._start
    log.head = Head(epoch, number, number, clock.time())
    return NearStore(behind, lambda: log, max_bytes=1_000_000, lease=LEASE, is_strict=True, clock=clock)


async def test_the_second_hit_asks_the_store_no_more(log: HandLog, clock: HandClock) -> None:
    store = store_on(log, clock)
    await fill(store, BOOK, b"x", "book:1")
    log.is_read()
    found = await store.lookup(BOOK, budget())
    assert isinstance(found, Found)
    at_hand = store.at_hand(BOOK.key)
    assert at_hand is not None
    assert at_hand[0] is found.entry
    again = await store.lookup(BOOK, budget())
    assert (again.now, again.start) == (at_hand[1], found.start)
    await store.purge(["book:1"], TIMEOUT)
    assert store.at_hand(BOOK.key) is None
    await store.aclose()


async def test_it_begins_to_follow_on_first_use_and_again_after_a_close(log: HandLog, clock: HandClock) -> None:
    store = store_on(log, clock)
    assert log.joins.empty()
    await begin(store, BOOK)
    log.is_read()
    await store.aclose()
    assert log.left.get_nowait()
    await asyncio.to_thread(store.close)
    while not log.answers.empty():
        log.answers.get_nowait()
    await begin(store, BOOK)
    log.is_read()
    await store.aclose()


async def test_a_store_that_is_dropped_unclosed_follows_no_more(log: HandLog, clock: HandClock) -> None:
    store = store_on(log, clock)
    await begin(store, BOOK)
    log.is_read()
    thread = store.follow()._thread
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    log.say()
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()


async def test_many_loops_and_threads_have_one_follower(log: HandLog, clock: HandClock) -> None:
    store = store_on(log, clock)
    threads = [threading.Thread(target=lambda: asyncio.run(_lookup(store))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.is_read()
    assert log.joins.qsize() == 1
    with pytest.raises(Empty):
        log.reads.get_nowait()
    await store.aclose()


async def _lookup(store: NearStore) -> None:
    await store.lookup(BOOK, budget())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_serves_nothing_kept_by_its_parent_and_follows_by_itself(
    log: HandLog, clock: HandClock
) -> None:
    store = store_on(log, clock)
    await fill(store, BOOK, b"x", "book:1")
    log.is_read()
    await store.lookup(BOOK, budget())
    node = store.follow().node
    child = os.fork()
    if child == 0:
        is_right = store.at_hand(BOOK.key) is None and not store.near.is_alive
        store._make_log = HandLog
        follower = store.follow()
        os._exit(0 if is_right and follower.is_alive and follower.node != node else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.at_hand(BOOK.key) is not None
    await store.aclose()
