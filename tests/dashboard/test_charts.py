from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from rcache.core.histogram import Histogram
from rcache.core.views import Counters, RouteRow, Sample
from rcache.dashboard import charts
from rcache.dashboard.words import NOTHING
from tests.support import EPOCH

NOW = EPOCH + 30.0


def sample(at: float, hits: int = 0, misses: int = 0, route: str = "GET /") -> Sample:
    counters = Counters(
        hits=hits,
        misses=misses,
        hit_times=Histogram.of([0.0004] * hits),
        miss_times=Histogram.of([0.05] * misses),
    )
    return Sample(at, 1.0, counters, (RouteRow(route, counters),))


def test_samples_of_one_step_add_up_and_what_is_older_or_newer_is_left_out():
    steps = charts.steps(
        [sample(EPOCH - 3600, 9), sample(EPOCH - 60, 1), sample(EPOCH - 1, 2), sample(EPOCH, 4), sample(EPOCH + 60, 9)],
        "1h",
        NOW,
    )

    assert len(steps) == 60
    assert [step.counters.hits for step in steps[-2:]] == [3, 4]
    assert sum(step.counters.hits for step in steps) == 7


def test_the_step_that_is_not_over_counts_as_long_as_it_has_lasted():
    assert [step.lasted for step in charts.steps([], "1h", NOW)[-2:]] == [60.0, 30.0]
    assert charts.steps([], "1h", EPOCH)[-1].lasted == 1.0


def test_a_route_has_its_own_steps():
    samples = [sample(EPOCH, 3, route="GET /a"), sample(EPOCH, 5, route="GET /b")]

    assert charts.steps(samples, "1h", NOW, "GET /b")[-1].counters.hits == 5
    assert charts.steps(samples, "1h", NOW, "GET /nowhere")[-1].counters.lookups == 0


def test_a_ratio_has_a_gap_where_nothing_was_asked_and_a_dot_where_one_step_stands_alone():
    chart = charts.ratio(
        charts.steps([sample(EPOCH - 600, 3, 1), sample(EPOCH - 60, 1), sample(EPOCH, 0, 1)], "1h", NOW)
    )

    (line,) = chart.lines
    assert line.path == "M495.0,40.0 h0 M585.0,0.0 L595.0,160.0"
    assert chart.headline == "66.7 %"
    assert "Between 0 % and 100 %" in chart.summary
    assert chart.tips[-1][2].endswith("0 % of 1")


def test_columns_are_stacked_and_as_high_as_their_requests_a_second():
    chart = charts.requests(charts.steps([sample(EPOCH - 60, 90, 30)], "1h", NOW))

    hits, misses = chart.bars
    assert (hits.kind, misses.kind) == ("hit", "miss")
    assert chart.levels[0] == (1.0, "2/s")
    assert (hits.height, misses.height) == (120.0, 40.0)
    assert hits.y + hits.height == 160.0
    assert misses.y + misses.height == hits.y
    assert chart.tips[-2][2].endswith("90 hits, 30 misses")


def test_latency_stands_on_powers_of_ten():
    chart = charts.latency(charts.steps([sample(EPOCH, 10, 10)], "1h", NOW))

    assert [label for _, label in chart.levels] == ["100 ms", "10 ms", "1 ms", "0.1 ms"]
    heights = {line.kind: float(re.findall(r",([\d.]+)", line.path)[0]) for line in chart.lines}
    assert heights["hit"] > heights["miss"]
    assert "hits" in chart.tips[-1][2]
    assert "misses" in chart.tips[-1][2]


def test_without_a_request_every_chart_says_so():
    steps = charts.steps([], "6h", NOW)

    assert charts.ratio(steps).headline == NOTHING
    assert charts.requests(steps).headline == "0"
    assert not charts.requests(steps).bars
    assert all(not line.path for line in charts.latency(steps).lines)
    assert "There were none" in charts.ratio(steps).summary


counts = st.integers(0, 10**9)
times = st.lists(st.floats(0, 1e6), max_size=3).map(Histogram.of)
counters = st.builds(Counters, counts, counts, counts, counts, hit_times=times, miss_times=times)
samples = st.lists(st.builds(Sample, st.floats(EPOCH - 25_000, EPOCH + 100), st.just(1.0), counters), max_size=6)


@settings(max_examples=60)
@given(samples, st.sampled_from(list(charts.PERIODS)), st.floats(EPOCH, EPOCH + 90_000))
def test_whatever_was_counted_stays_within_the_box(found, period, now):
    steps = charts.steps(found, period, now)

    assert len(steps) == round(charts.PERIODS[period][0] / charts.PERIODS[period][1])
    for chart in (charts.ratio(steps), charts.requests(steps), charts.latency(steps)):
        assert len(chart.tips) == len(steps)
        assert all(0 <= part <= 1 for part, _ in chart.levels)
        for line in chart.lines:
            points = re.findall(r"[ML]([\d.]+),([\d.]+)", line.path)
            assert line.path == "" or points
            assert all(0 <= float(x) <= charts.WIDTH and 0 <= float(y) <= charts.HEIGHT for x, y in points)
        for bar in chart.bars:
            assert bar.x >= 0
            assert bar.x + bar.width <= charts.WIDTH + 0.1
            assert bar.y >= -0.1
            assert bar.y + bar.height <= charts.HEIGHT + 0.1
