"""Counters: each request once, hits cheaply, and what is looked at of some speaks for all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rcache.core.audit import OUTCOMES, Outcome
from rcache.core.histogram import BOUNDS, STEPS, Histogram
from rcache.core.keys import Key
from rcache.core.views import COUNTED, OTHER_ROUTES, Counters
from rcache.engine.stats import CLOSELY, MOST_ROUTES, MOST_SKIPPED, Nobody, Stats, Tally
from tests.support import HandClock

BOOK = Key("http", b"shop.example", b"/book/1", b"")

times = st.lists(st.floats(0, 60), max_size=20)
histograms = st.builds(Histogram.of, times)
_WHOLE = st.integers(0, 10**9)
counters = st.builds(
    Counters,
    **{
        name: histograms if name.endswith("_times") else st.floats(0, 1e6) if name == "seconds" else _WHOLE
        for name in COUNTED
    },
)


class Heard(Nobody):
    """Keeps how many hits it was told of at a time."""

    def __init__(self) -> None:
        self.hits: list[int] = []

    def note(self, key: Key, variant: bytes, hits: int) -> None:
        self.hits.append(hits)


def hit(tally: Tally, seconds: float = 0.001) -> None:
    """What a hit does."""
    tally.left -= 1
    if tally.left <= 0:
        tally.look(BOOK, b"", 100, seconds, tally._clock.monotonic())


@given(times)
def test_a_histogram_counts_each_answer_in_the_step_that_holds_it(taken: list[float]) -> None:
    histogram = Histogram.of(taken)
    for step, count in enumerate(histogram.counts):
        low = BOUNDS[step - 1] if step else float("-inf")
        high = BOUNDS[step] if step < STEPS - 1 else float("inf")
        assert count == sum(low < each <= high for each in taken)


@given(times, st.floats(0, 1))
def test_a_quantile_lies_in_the_step_of_the_answer_that_it_is_about(taken: list[float], part: float) -> None:
    found = Histogram.of(taken).quantile(part)
    if not taken:
        assert found is None
        return
    assert found is not None
    step = 1e-9
    ordered = sorted(min(each, BOUNDS[-1]) for each in taken)
    exact = ordered[max(0, min(len(taken) - 1, -int(-part * len(taken) // 1) - 1))]
    bounds = (0.0, *BOUNDS)
    above = next(bound for bound in BOUNDS if exact <= bound)
    below = bounds[bounds.index(above) - 1]
    assert below - step <= found <= above + step


@given(counters, counters)
def test_counters_add_up_and_what_came_since_is_the_rest(one: Counters, two: Counters) -> None:
    both = one + two
    assert both.lookups == one.lookups + two.lookups
    since = both - one
    for name in COUNTED:
        wanted, found = getattr(two, name), getattr(since, name)
        if name != "seconds" and not isinstance(wanted, Histogram):
            assert found == wanted
        elif isinstance(wanted, Histogram):
            assert found.counts == wanted.counts


@given(counters, counters)
def test_what_came_since_is_never_less_than_nothing(one: Counters, two: Counters) -> None:
    since = one - two
    for name in COUNTED:
        value = getattr(since, name)
        assert min(value.counts) >= 0 if isinstance(value, Histogram) else value >= 0


def test_every_hit_is_looked_at_while_there_are_few() -> None:
    clock = HandClock()
    hub = Heard()
    heard, tally = hub.hits, Stats(clock, hub).tally("/a")
    for _ in range(CLOSELY):
        hit(tally)
    assert (sum(heard), len(heard), tally.size, tally.counters.hit_times.count) == (
        CLOSELY,
        CLOSELY,
        100 * CLOSELY,
        CLOSELY,
    )


def test_of_many_hits_a_second_few_are_looked_at_and_speak_for_all() -> None:
    clock = HandClock()
    hub = Heard()
    heard, tally = hub.hits, Stats(clock, hub).tally("/a")
    for _ in range(100_000):
        hit(tally)
    assert tally.hits == 100_000
    assert len(heard) < 400
    assert 0 <= tally.hits - sum(heard) <= MOST_SKIPPED
    assert tally.counters.hit_times.count == sum(heard)
    assert tally.size == 100 * sum(heard)


def test_after_a_second_hits_are_looked_at_closely_again() -> None:
    clock = HandClock()
    hub = Heard()
    heard, tally = hub.hits, Stats(clock, hub).tally("/a")
    for _ in range(10_000):
        hit(tally)
    clock.advance(1.0)
    while heard[-1] > 1:
        hit(tally)
    before = len(heard)
    for _ in range(CLOSELY - 2):
        hit(tally)
    assert len(heard) == before + CLOSELY - 2
    assert sum(heard) == tally.hits


def test_routes_beyond_the_bound_count_under_one_name() -> None:
    stats = Stats(HandClock())
    for number in range(MOST_ROUTES + 50):
        stats.tally(f"/{number}").end("misses", 0.5)
    rows = {row.route: row.counters for row in stats.routes}
    assert len(rows) == MOST_ROUTES + 1
    assert rows[OTHER_ROUTES].misses == 50
    assert (stats.misses, stats.lookups, stats.counters.misses) == (MOST_ROUTES + 50,) * 3
    assert stats.counters.seconds == stats.counters.miss_times.seconds == 0.5 * (MOST_ROUTES + 50)


def test_a_route_that_nobody_asked_for_has_no_row() -> None:
    stats = Stats(HandClock())
    stats.tally("/a")
    assert stats.routes == ()
    assert stats.counters == Counters()
    assert (stats.hits, stats.stale, stats.misses, stats.passes, stats.collapsed) == (0, 0, 0, 0, 0)
    assert (stats.stores, stats.refusals, stats.outages, stats.purges) == (0, 0, 0, 0)


def test_an_audit_that_ends_after_its_hit_was_told_is_news() -> None:
    tally = Stats(HandClock()).tally("/a")
    former = tally.counters
    assert tally.is_as(former)
    tally.audited["stale"] += 1
    assert not tally.is_as(former)
    counters = tally.counters
    assert (counters.audits, counters.audits_stale, counters.stale_rate) == (1, 1, 1.0)
    assert (counters - former).audits == 1
    assert former.stale_rate is None
    tally.reset()
    assert tally.is_as(former)


@given(st.lists(st.sampled_from(OUTCOMES), max_size=20))
def test_every_audit_ends_in_one_way(ends: list[Outcome]) -> None:
    tally = Stats(HandClock()).tally("/a")
    for end in ends:
        tally.audited[end] += 1
    counters = tally.counters
    assert counters.audits == len(ends)
    judged = [end for end in ends if end in ("same", "stale", "excused")]
    assert counters.stale_rate == (judged.count("stale") / len(judged) if judged else None)
