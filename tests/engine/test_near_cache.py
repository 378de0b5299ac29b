"""What a node keeps, and when it may serve it: only while its lease lives, and never against what it has read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from rcache.core.entry import Found, Start
from rcache.core.log import Head, Record
from rcache.engine import near_cache
from rcache.engine.near_cache import NearCache
from tests.contract.support import Question, in_language, made
from tests.engine.threads import switching
from tests.support import EPOCH, HandClock

BOOK = Question("/book/1")
LEASE = 2.0
SERVER_IS_AHEAD = 1000.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def near(clock: HandClock) -> NearCache:
    """A near cache that has joined at record 10."""
    near = NearCache(1_000_000, clock)
    join(near, clock, 10)
    return near


def join(near: NearCache, clock: HandClock, number: int, epoch: str = "e") -> None:
    near.join(Head(epoch, number, number, EPOCH + SERVER_IS_AHEAD), clock.boottime(), LEASE)


def found(
    ask: Question, number: int, *tags: str, epoch: str = "e", names: tuple[str, ...] = (), **changes: object
) -> Found:
    """What a look-up found at `number`."""
    now = EPOCH + SERVER_IS_AHEAD
    entry = made(ask, Start(epoch, 1), now, b"x", *tags, **changes)
    return Found(entry, now, Start(epoch, number), names)


def record(near: NearCache, kind: str, *changes: list[str], number: int = 0, **other: object) -> Record:
    """The next record."""
    fields = {"epoch": "e", "before": near.tail, "is_awaited": True, **other}
    return Record(number=number or near.tail + 1, kind=kind, changes=list(changes), **fields)  # type: ignore[arg-type]


# Serving


def test_what_was_kept_is_at_hand_with_the_server_s_time(near: NearCache, clock: HandClock) -> None:
    kept = found(BOOK, 10, "book:1")
    assert near.keep(BOOK, kept)
    clock.advance(1.5)
    at_hand = near.at_hand(BOOK.key)
    assert at_hand is not None
    entry, now = at_hand
    assert entry is kept.entry
    assert now == EPOCH + SERVER_IS_AHEAD + 1.5
    assert near.find(BOOK) == Found(entry, now, Start("e", 10))
    assert near.find(Question("/other")) is None


def test_nothing_is_served_once_the_lease_has_run_out(near: NearCache, clock: HandClock) -> None:
    near.keep(BOOK, found(BOOK, 10))
    varied = in_language(b"en", "/varied")
    near.keep(varied, found(varied, 10, names=("accept-language",)))
    clock.advance(LEASE - 0.01)
    assert near.at_hand(BOOK.key) is not None
    assert near.find(varied) is not None
    clock.advance(0.01)
    assert near.at_hand(BOOK.key) is None
    assert near.find(BOOK) is None
    assert near.find(varied) is None
    assert not near.is_alive


def test_the_lease_counts_from_before_it_was_asked_for(near: NearCache, clock: HandClock) -> None:
    sent = clock.boottime()
    clock.advance(1.9)
    assert near.renew(Head("e", 10, 10, EPOCH), sent, LEASE)
    clock.advance(0.2)
    assert not near.is_alive


def test_a_lease_that_has_run_out_is_not_renewed(near: NearCache, clock: HandClock) -> None:
    """The node was frozen between sending and hearing."""
    sent = clock.boottime()
    clock.advance(LEASE)
    assert not near.renew(Head("e", 10, 10, EPOCH), sent, LEASE)
    assert not near.renew(Head("e", 10, 10, EPOCH), clock.boottime(), LEASE)


def test_a_log_of_another_epoch_or_one_that_was_set_back_is_not_renewed(near: NearCache, clock: HandClock) -> None:
    assert not near.renew(Head("other", 10, 10, EPOCH), clock.boottime(), LEASE)
    assert not near.renew(Head("e", 9, 9, EPOCH), clock.boottime(), LEASE)
    assert near.renew(Head("e", 11, 14, EPOCH), clock.boottime(), LEASE)


def test_a_fill_in_place_of_what_is_served_may_begin_at_the_sequence_last_told(
    near: NearCache, clock: HandClock
) -> None:
    near.keep(BOOK, found(BOOK, 10))
    near.renew(Head("e", 10, 14, EPOCH + SERVER_IS_AHEAD), clock.boottime(), LEASE)
    hit = near.find(BOOK)
    assert hit is not None
    assert hit.start == Start("e", 14)


def test_stale_entries_are_left_to_the_store(near: NearCache, clock: HandClock) -> None:
    kept = found(BOOK, 10, lifetime=1.0, retention=60.0)
    near.keep(BOOK, kept)
    clock.advance(0.9)
    assert near.at_hand(BOOK.key) is not None
    clock.advance(0.2)
    assert near.at_hand(BOOK.key) is None
    assert near.find(BOOK) is None
    assert not near.keep(BOOK, kept._replace(now=kept.now + 1.1))


def test_variants_are_told_apart(near: NearCache) -> None:
    names = ("accept-language",)
    english, german = in_language(b"en"), in_language(b"de")
    kept = {ask: found(ask, 10, names=names) for ask in (english, german)}
    for ask, each in kept.items():
        near.keep(ask, each)
    for ask, each in kept.items():
        hit = near.find(ask)
        assert hit is not None
        assert hit.entry is each.entry
        assert hit.names == names
        assert near.at_hand(ask.key) is None
    assert near.find(in_language(b"fr")) is None
    assert near.find(Question(names=("accept-language", "cookie:theme"))) is None, "a rule that tells more apart"


def test_where_other_names_select_what_was_kept_under_fewer_is_gone(near: NearCache) -> None:
    english = in_language(b"en")
    near.keep(english, found(english, 10))
    near.keep(english, found(english, 10, names=("accept-language",)))
    assert near.at_hand(english.key) is None
    assert near.find(in_language(b"de")) is None
    assert near.find(english) is not None
    more = ("accept-language", "x-theme")
    near.keep(english, found(english, 10, names=more))
    assert len(near) == 1
    assert near.find(Question(names=("accept-language",))) is None


def test_a_rule_with_names_does_not_get_what_was_kept_without(near: NearCache) -> None:
    near.keep(BOOK, found(BOOK, 10))
    assert near.find(Question("/book/1", names=("accept-language",))) is None


def test_the_latest_takes_the_place_of_the_former(near: NearCache) -> None:
    near.keep(BOOK, found(BOOK, 10, "old"))
    latest = found(BOOK, 10, "new")
    near.keep(BOOK, latest)
    hit = near.find(BOOK)
    assert hit is not None
    assert hit.entry is latest.entry
    assert len(near) == 1
    near.apply([record(near, "purge", ["old"])])
    assert near.at_hand(BOOK.key) is not None


# What a record says


@pytest.mark.parametrize("kind", ["hold", "purge"])
@pytest.mark.parametrize("tag", ["book:1", BOOK.key.url_tag])
def test_what_a_record_names_is_dropped_and_nothing_else(near: NearCache, kind: str, tag: str) -> None:
    other = Question("/book/2")
    near.keep(BOOK, found(BOOK, 10, "book:1", "shelf"))
    near.keep(other, found(other, 10, "book:2", "shelf"))
    assert near.apply([record(near, kind, [tag, "t1"])])
    assert near.at_hand(BOOK.key) is None
    assert near.at_hand(other.key) is not None
    assert len(near) == 1


def test_a_release_drops_nothing(near: NearCache) -> None:
    near.keep(BOOK, found(BOOK, 10, "book:1"))
    assert near.apply([record(near, "release", ["book:1", "t1"])])
    assert near.at_hand(BOOK.key) is not None


def test_a_flush_drops_everything_and_what_comes_late(near: NearCache) -> None:
    varied = in_language(b"en", "/varied")
    near.keep(BOOK, found(BOOK, 10))
    near.keep(varied, found(varied, 10, names=("accept-language",)))
    assert near.apply([record(near, "flush", number=15)])
    assert len(near) == near.used_bytes == 0
    assert not near.keep(BOOK, found(BOOK, 14))
    assert near.keep(BOOK, found(BOOK, 15))


def test_what_was_looked_up_before_a_record_is_refused_after_it(near: NearCache) -> None:
    near.apply([record(near, "purge", ["book:1"], number=20)])
    assert not near.keep(BOOK, found(BOOK, 19, "book:1"))
    assert near.keep(BOOK, found(BOOK, 20, "book:1"))
    assert near.keep(BOOK, found(BOOK, 12, "book:2"))


def test_what_was_looked_up_before_a_hold_is_refused_after_its_release(near: NearCache) -> None:
    near.apply([record(near, "hold", ["book:1", "t1"], number=20)])
    near.apply([record(near, "release", ["book:1", "t1"], number=22)])
    assert not near.keep(BOOK, found(BOOK, 19, "book:1"))
    assert near.keep(BOOK, found(BOOK, 20, "book:1"))


def test_what_was_looked_up_since_a_hold_was_logged_is_kept(near: NearCache) -> None:
    """While somebody holds it no look-up finds it. That it was found says that the hold is over, though no record does."""
    near.apply([record(near, "hold", ["book:1", "t1"], number=20)])
    assert not near.keep(BOOK, found(BOOK, 19, "book:1"))
    assert near.keep(BOOK, found(BOOK, 20, "book:1"))


def test_a_record_whose_predecessor_was_not_read_is_a_doubt(near: NearCache) -> None:
    assert not near.apply([record(near, "purge", ["other"], number=13, before=12)])


def test_a_record_of_another_epoch_is_a_doubt(near: NearCache) -> None:
    assert not near.apply([record(near, "purge", ["other"], epoch="other")])


def test_numbers_may_be_left_out_as_long_as_each_names_the_one_before(near: NearCache) -> None:
    one = record(near, "purge", ["a"], number=12)
    assert near.apply([one, one._replace(number=17, before=12)])
    assert near.tail == 17
    assert near.find(BOOK) is None
    near.keep(BOOK, found(BOOK, 17))
    hit = near.find(BOOK)
    assert hit is not None
    assert hit.start == Start("e", 17)


# Joining, and beginning anew


def test_what_was_looked_up_before_it_joined_is_refused(near: NearCache, clock: HandClock) -> None:
    assert not near.keep(BOOK, found(BOOK, 9))
    join(near, clock, 30)
    assert not near.keep(BOOK, found(BOOK, 29))
    assert near.keep(BOOK, found(BOOK, 30))


def test_what_was_looked_up_in_another_epoch_is_refused(near: NearCache) -> None:
    assert not near.keep(BOOK, found(BOOK, 99, epoch="other"))


def test_in_doubt_it_serves_and_keeps_nothing_until_it_joins_anew(near: NearCache, clock: HandClock) -> None:
    near.keep(BOOK, found(BOOK, 10))
    near.doubt()
    assert near.at_hand(BOOK.key) is None
    assert not near.keep(BOOK, found(BOOK, 99))
    assert not near.keep(BOOK, found(BOOK, 99, epoch=""))
    join(near, clock, 50)
    assert near.at_hand(BOOK.key) is None
    assert near.keep(BOOK, found(BOOK, 50))
    assert near.clears == 1


def test_before_it_has_joined_it_keeps_nothing(clock: HandClock) -> None:
    near = NearCache(1_000_000, clock)
    assert not near.keep(BOOK, found(BOOK, 10))
    assert near.at_hand(BOOK.key) is None


def test_a_forked_child_serves_nothing_of_its_parent_s(near: NearCache) -> None:
    near.keep(BOOK, found(BOOK, 10))
    with near._lock:  # held by a thread of the parent
        near.forget_parent()
        assert near.at_hand(BOOK.key) is None
        near.doubt()
    assert len(near) == 0


# This process's own purges


def test_its_own_purge_need_not_be_read_first(near: NearCache) -> None:
    near.keep(BOOK, found(BOOK, 10, "book:1"))
    near.purged(["book:1"], 12)
    assert near.at_hand(BOOK.key) is None
    assert not near.keep(BOOK, found(BOOK, 11, "book:1"))
    assert near.keep(BOOK, found(BOOK, 12, "book:1"))
    near.purged(["book:1"], 11)  # told late
    assert not near.keep(BOOK, found(BOOK, 11, "book:1"))
    near.keep(BOOK, found(BOOK, 12, "book:1"))
    near.flushed(13)
    assert len(near) == 0
    assert not near.keep(BOOK, found(BOOK, 12))


def test_what_was_stored_anew_here_is_looked_up_again(near: NearCache) -> None:
    other, varied = Question("/book/2"), in_language(b"en", "/varied")
    for ask, names in ((BOOK, ()), (other, ()), (varied, ("accept-language",))):
        near.keep(ask, found(ask, 10, names=names))
    for ask in (BOOK, varied, Question("/never kept")):
        near.replaced(ask.key)
    assert [near.find(ask) is None for ask in (BOOK, varied, other)] == [True, True, False]
    assert len(near) == 1


# Bounds


def test_it_stays_within_its_bytes(clock: HandClock) -> None:
    near = NearCache(20_000, clock)
    join(near, clock, 10)
    for number in range(200):
        ask = Question(f"/book/{number}")
        near.keep(ask, found(ask, 10, f"book:{number}"))
        assert near.used_bytes <= 20_000
    assert 5 < len(near) < 30
    assert len(near._plain) == len(near)
    assert sum(map(len, near._carriers.values())) == 2 * len(near)
    kept = found(BOOK, 10)
    assert not near.keep(BOOK, kept._replace(entry=replace(kept.entry, body=b"x" * 30_000)))
    assert near.find(BOOK) is None


def test_what_is_asked_for_again_and_again_outlives_a_scan(clock: HandClock) -> None:
    near = NearCache(20_000, clock)
    join(near, clock, 10)
    near.keep(BOOK, found(BOOK, 10))
    for number in range(200):
        assert near.at_hand(BOOK.key) is not None
        ask = Question(f"/scan/{number}")
        near.keep(ask, found(ask, 10))


def test_marks_that_are_forgotten_raise_the_floor(near: NearCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_cache, "REMEMBERED", 3)
    for number in range(5):
        near.apply([record(near, "purge", [f"tag:{number}"], number=20 + number)])
    assert len(near._marks) == 3
    assert not near.keep(BOOK, found(BOOK, 20)), "it could carry tag:1"
    assert near.keep(BOOK, found(BOOK, 21))
    near.apply([record(near, "purge", ["tag:4"])])
    assert len(near._marks) == 3


def test_threads_keep_serve_and_drop_at_the_same_time(clock: HandClock) -> None:
    near = NearCache(30_000, clock)
    join(near, clock, 10)

    def work(who: int) -> None:
        for number in range(400):
            ask = Question(f"/{number % 37}")
            near.keep(ask, found(ask, 10**9, f"tag:{number % 5}"))
            near.at_hand(ask.key)
            if number % 7 == who:
                near.apply([record(near, "purge", [f"tag:{number % 5}"])])
            if number % 101 == who:
                near.doubt()
                join(near, clock, 10 + number)

    assert not switching(*[partial(work, who) for who in range(3)])
    assert near.used_bytes == sum(slot.size for slot in near._plain.values()) <= 30_000
    assert len(near) == len(near._plain)
