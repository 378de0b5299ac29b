"""What a process counts is told once a second, by a thread that is nobody's trouble."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache import Cache
from rcache.core.changes import Change
from rcache.core.errors import BackendError
from rcache.core.history import MINUTES_LAST, moments, series
from rcache.core.keys import Key
from rcache.core.reports import (
    MOST_ROUTES,
    Report,
    busiest,
    decode_event,
    decode_node,
    encode_event,
    encode_node,
    flat,
    unflat,
)
from rcache.core.views import OTHER_ROUTES, Counters, Event, RouteRow
from rcache.engine import reporter as reporting
from rcache.engine.local import LocalFleet
from rcache.engine.reporter import Reporter
from rcache.engine.telemetry import MOST_NOTED, MOST_TOLD, Standing, Telemetry, described
from tests.engine.test_stats import counters
from tests.support import PATIENCE, HandClock

BOOK = Key("http", b"shop.example", b"/book/1", b"")


def telling() -> Telemetry:
    """What counts in one process."""
    return Telemetry(HandClock(), lambda: Standing("fast", 7, 1.5, False, 0))


class Board:
    """Keeps what it is told; out of reach when a test says so."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.departed: list[str] = []
        self.is_out = False
        self.is_closed = False
        self.told = threading.Semaphore(0)

    def report(self, report: Report) -> None:
        self.told.release()
        if self.is_out:
            raise BackendError("out")
        self.reports.append(report)

    def depart(self, node: str) -> None:
        self.departed.append(node)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "INTERVAL", 0.01)


# What travels


@given(counters, st.lists(st.tuples(st.text(min_size=1).filter(lambda text: "\x1f" not in text), counters), max_size=4))
def test_counters_travel_flat_and_come_back(total: Counters, routes: list[tuple[str, Counters]]) -> None:
    told = flat(total)
    for route, its in dict(routes).items():
        told |= flat(its, route)
    assert all(isinstance(number, int) and number > 0 for number in told.values())
    read, rows = unflat(told)
    assert _numbers(read) == _numbers(total)
    assert {row.route: _numbers(row.counters) for row in rows} == {
        route: _numbers(its) for route, its in dict(routes).items() if flat(its)
    }


def _numbers(its: Counters) -> dict[str, int]:
    return flat(its)


@given(st.binary(max_size=200))
def test_what_is_no_row_and_no_event_is_none(text: bytes) -> None:
    assert decode_node(text, seen=1.0) is None
    assert decode_event(text, at=1.0) is None


def test_a_row_and_an_event_come_back_whole() -> None:
    telemetry = telling()
    telemetry.stats.tally("/a").end("misses", 0.25)
    row = telemetry.row
    assert decode_node(encode_node(row), seen=row.seen) == row
    event = Event(7, 5.0, "purge", ("book:1",), 1, 3, "node", "commit", ("update book:1",))
    assert decode_event(encode_event(event), at=5.0) == event


def test_of_many_routes_those_with_most_requests_are_told_apart() -> None:
    rows = [RouteRow(f"/{number}", Counters(hits=number, seconds=1.0)) for number in range(50)]
    told = busiest(rows)
    assert len(told) == MOST_ROUTES + 1
    assert told[0].route == "/49"
    assert told[-1] == RouteRow(OTHER_ROUTES, Counters(hits=sum(range(30)), seconds=30.0))
    assert sum(row.counters.hits for row in told) == sum(range(50))
    assert busiest(rows[:MOST_ROUTES])[-1].route != OTHER_ROUTES


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change("book", (42,)), "update book:42"),
        (Change("line", (1, 2), "delete"), "delete line:1:2"),
        (Change("book", None, "insert"), "insert book:*"),
    ],
)
def test_a_change_is_told_in_few_words(change: Change, text: str) -> None:
    assert described(change) == text


# What is taken


def test_what_was_counted_is_told_once() -> None:
    telemetry = telling()
    tally = telemetry.stats.tally("/a")
    tally.end("misses", 0.5)
    telemetry.stats.purges += 2
    first = telemetry.report()
    assert (first.counted.misses, first.counted.purges) == (1, 2)
    assert [(row.route, row.counters.misses) for row in first.routes] == [("/a", 1)]
    second = telemetry.report()
    assert (second.counted, second.routes) == (Counters(), ())
    assert second.row.counters.misses == 1, "a row tells all since the node began"


def test_hits_and_events_are_bounded_and_the_hottest_are_told() -> None:
    telemetry = telling()
    for number in range(MOST_NOTED + 500):
        telemetry.note(Key("http", b"a", b"/%d" % number, b""), b"", number + 1)
        telemetry.happened("purge", [f"tag:{number}"] * 200, entries=1, number=number, cause="commit")
    report = telemetry.report()
    assert len(report.hot) == MOST_TOLD
    assert max(report.hot.values()) == MOST_NOTED
    assert len(report.events) == 1000
    assert (len(report.events[0][1].tags), report.events[0][1].count) == (100, 200)


def test_a_forked_child_is_another_node_that_has_counted_nothing() -> None:
    telemetry = telling()
    telemetry.stats.tally("/a").end("misses", 0.5)
    former = telemetry.node
    telemetry.forget_parent()
    assert telemetry.node != former
    assert telemetry.report().counted == telemetry.row.counters == Counters()
    telemetry.stats.tally("/a").end("stale", 0.5)
    assert telemetry.report().counted.stale == 1


# The thread


@pytest.mark.usefixtures("_often")
def test_a_reporter_tells_from_the_first_count_on_and_what_is_left_when_it_is_stopped() -> None:
    telemetry, board = telling(), Board()
    reporter = Reporter(telemetry, lambda: board)
    assert not reporter.is_awake, "nothing was counted yet"
    telemetry.stats.tally("/a").end("misses", 0.5)
    assert reporter.is_awake
    assert board.told.acquire(timeout=PATIENCE)
    telemetry.happened("purge", ["book:1"], entries=1, number=7, cause="commit")
    reporter.stop()
    assert sum(report.counted.misses for report in board.reports) == 1
    assert [event.number for report in board.reports for _, event in report.events] == [7]
    assert board.departed == [telemetry.node]
    assert board.is_closed
    assert not reporter.is_awake


@pytest.mark.usefixtures("_often")
def test_what_could_not_be_told_is_told_later_and_fails_nobody() -> None:
    telemetry, board = telling(), Board()
    board.is_out = True
    reporter = Reporter(telemetry, lambda: board)
    telemetry.stats.tally("/a").end("misses", 0.5)
    telemetry.happened("purge", ["book:1"], entries=1, number=7, cause="commit")
    for _ in range(3):
        assert board.told.acquire(timeout=PATIENCE)
    telemetry.stats.tally("/a").end("misses", 0.5)
    board.is_out = False
    while not board.reports:
        assert board.told.acquire(timeout=PATIENCE)
    reporter.stop()
    assert sum(report.counted.misses for report in board.reports) == 2
    assert [event.number for report in board.reports for _, event in report.events] == [7]


@pytest.mark.usefixtures("_often")
def test_a_stopped_reporter_begins_again_and_one_that_nobody_wants_ends() -> None:
    others = set(threading.enumerate())
    telemetry, boards = telling(), [Board(), Board()]
    left = iter(boards)
    reporter = Reporter(telemetry, lambda: next(left))
    for board in boards:
        telemetry.due = float("-inf")
        telemetry.stats.tally("/a").end("misses", 0.5)
        assert board.told.acquire(timeout=PATIENCE)
        if board is boards[0]:
            reporter.stop()
    started = set(threading.enumerate()) - others
    (thread,) = [each for each in started if each.name == "rcache-telemetry" and each.is_alive()]
    telemetry.heard = lambda now: None
    telemetry.heirs.clear()
    del reporter, telemetry
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


# One process alone


def local() -> tuple[HandClock, Telemetry, LocalFleet]:
    """What an embedded cache is told by."""
    telemetry = telling()
    clock = telemetry.clock
    assert isinstance(clock, HandClock)
    return clock, telemetry, LocalFleet(telemetry)


async def test_seconds_are_told_apart_for_two_minutes_and_minutes_for_hours() -> None:
    clock, telemetry, fleet = local()
    clock.now = 1_800_000_000.0  # a full minute
    tally = telemetry.stats.tally("/a")
    for _ in range(600):
        tally.end("misses", 0.001)
        clock.advance(1.0)
    samples = await fleet.history(3600)
    assert sum(sample.counters.misses for sample in samples) == 600
    assert {sample.width for sample in samples} == {1.0, 60.0}
    assert all(sample.counters.misses == sample.width for sample in samples)
    assert [sample.at for sample in samples] == sorted(sample.at for sample in samples)
    seconds = [sample for sample in samples if sample.width == 1.0]
    assert 120 <= len(seconds) < 181
    assert sum(row.counters.misses for sample in samples for row in sample.routes) == 600
    clock.advance(MINUTES_LAST)
    assert await fleet.history(1e9) == []


async def test_what_comes_after_a_pause_counts_when_it_came() -> None:
    clock, telemetry, fleet = local()
    tally = telemetry.stats.tally("/a")
    tally.end("misses", 0.001)
    tally.left -= 1
    tally.look(BOOK, b"", 10, 0.001, clock.monotonic())
    at = clock.now
    clock.advance(50)
    tally.left -= 1
    tally.look(BOOK, b"", 10, 0.001, clock.monotonic())
    clock.advance(2)
    told = {sample.at - at: sample.counters for sample in await fleet.history() if sample.counters.lookups}
    assert {offset: (its.misses, its.hits) for offset, its in told.items()} == {0.0: (1, 1), 50.0: (0, 1)}


async def test_what_was_popular_fades() -> None:
    clock, telemetry, fleet = local()
    clock.now = 1_800_000_000.0
    telemetry.note(BOOK, b"", 100)
    assert [item.hits for item in await fleet.top()] == [100]
    clock.advance(310)
    telemetry.tick(clock.elapsed)
    (faded,) = await fleet.top()
    assert faded.hits == pytest.approx(100, abs=1)
    clock.advance(150)
    assert (await fleet.top())[0].hits == pytest.approx(50, abs=1)
    clock.advance(400)
    telemetry.tick(clock.elapsed)
    assert await fleet.top() == []


@given(st.floats(1_700_000_000, 1_900_000_000), st.floats(0, 1e6))
def test_minutes_and_seconds_lie_side_by_side_without_a_gap(now: float, span: float) -> None:
    minutes, seconds = moments(now, span)
    if len(minutes):
        assert minutes[-1] + 60 == seconds[0]
    if len(seconds):
        assert seconds[-1] + 1 == int(now)
    assert len(seconds) < 180
    assert len(minutes) <= MINUTES_LAST / 60
    assert all(sample.counters == Counters() for sample in series({}, {}, now, span))


# The cache


async def test_causes_and_rows_are_told_of_each_way_to_purge() -> None:
    clock = HandClock()
    async with Cache("memory://", clock=clock) as cache:
        await cache.invalidate("a")
        cache.invalidate_sync("b", soft=True, cause="cli")
        await cache.apply([Change("book", (1,), new={"title": "x"})])
        async with cache.writing("d"):
            pass
        await cache.invalidate()
        events = await cache.inspector.events()
        assert [(event.kind, event.cause) for event in reversed(events)] == [
            ("purge", "invalidate"),
            ("soft-purge", "cli"),
            ("purge", "apply"),
            ("purge", "writing"),
        ]
        assert events[1].changes == ("update book:1",)
        assert events[1].number > events[2].number > 0
        assert "book:1" in events[1].tags


def test_a_cache_in_a_forked_child_counts_for_itself() -> None:
    cache = Cache("memory://", clock=HandClock())
    cache.stats.tally("/a").end("misses", 0.5)
    parent = cache.telemetry.node
    assert _in_child(lambda: (cache.stats.misses == 0, cache.telemetry.node != parent)) == b"(True, True)"
    assert cache.stats.misses == 1
    cache.close_sync()


def _in_child(work: Callable[[], object]) -> bytes:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, repr(work()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()
