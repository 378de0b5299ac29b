"""What the nodes counted, over time, as shapes for SVG. Nothing is drawn in the browser, so that it is there without scripts.

Shapes lie in a box of 600 by 160 that the page stretches to its own width; words stand beside it in HTML, where they keep
their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any, Final

from rcache.core.histogram import Histogram
from rcache.core.views import COUNTED, NO_TIMES, Counters, RouteRow, Sample
from rcache.dashboard import words

WIDTH: Final = 600
HEIGHT: Final = 160

PERIODS: Final = {"2min": (120.0, 2.0), "1h": (3600.0, 60.0), "6h": (21_600.0, 360.0)}
"""How far back a page looks, and the width of the steps that it shows, in seconds. What is older than two minutes is known by the
minute, and what is older than six hours not at all."""

NONE: Final = Counters()


@dataclass(frozen=True, slots=True)
class Step:
    """What was counted within `lasted` seconds from `at` on."""

    at: float
    lasted: float
    counters: Counters


@dataclass(frozen=True, slots=True)
class Line:
    """One value over time: its path, with a gap where there is no value."""

    kind: str  # selects colour and dashes
    label: str
    path: str
    area: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a column."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture, and what it says in words."""

    name: str
    title: str
    headline: str
    summary: str  # for those who do not see it
    levels: tuple[tuple[float, str], ...]  # lines across and what they stand for, from the top
    moments: tuple[str, ...]  # below, from left to right
    legend: tuple[tuple[str, str], ...]
    tips: tuple[tuple[float, float, str], ...]  # strips of the box, and what a pointer reads there
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = field(default=())


def steps(samples: Iterable[Sample], period: str, now: float, route: str = "") -> list[Step]:
    """The samples of a period, of one route or all, in steps of equal width up to `now`."""
    seconds, width = PERIODS[period]
    end = floor(now / width) + 1
    first = end - round(seconds / width)
    found: dict[int, list[Counters]] = {}
    for sample in samples:
        place = floor(sample.at / width)
        if first <= place < end:
            found.setdefault(place, []).extend(_of(sample, route))
    return [
        Step(place * width, max(1.0, min(width, now - place * width)), total(found.get(place, ())))
        for place in range(first, end)
    ]


def _of(sample: Sample, route: str) -> list[Counters]:
    return [row.counters for row in sample.routes if row.route == route] if route else [sample.counters]


def routes(samples: Iterable[Sample], since: float) -> list[RouteRow]:
    """What was counted for each route from a moment on, those with most requests first."""
    found: dict[str, list[Counters]] = {}
    for sample in samples:
        if sample.at >= since:
            for row in sample.routes:
                found.setdefault(row.route, []).append(row.counters)
    rows = [RouteRow(route, total(counters)) for route, counters in found.items()]
    return sorted(rows, key=lambda row: (-row.counters.lookups, row.route))


def total(of: Sequence[Counters]) -> Counters:
    """Their sum, column by column: six hours of twenty routes are thousands of rows."""
    if not of:
        return NONE
    columns: list[Any] = []
    for name in COUNTED:
        column = [getattr(each, name) for each in of]
        columns.append(_together(column) if isinstance(column[0], Histogram) else sum(column))
    return Counters(*columns)


def _together(of: Sequence[Histogram]) -> Histogram:
    told = [each for each in of if each is not NO_TIMES] or [NO_TIMES]
    return Histogram(
        tuple(map(sum, zip(*[each.counts for each in told], strict=True))), sum([each.seconds for each in told])
    )


def ratio(of: Sequence[Step]) -> Chart:
    """The part of the requests that the store answered."""
    values = [step.counters.ratio for step in of]
    whole = total([step.counters for step in of])
    line = _line("hit", "Answered from the cache", values, lambda value: value, with_area=True)
    return Chart(
        "ratio",
        "Hit ratio",
        words.share(whole.ratio),
        f"{words.share(whole.ratio)} of the requests were answered from the cache. {_range(values, words.share)}",
        ((1.0, "100 %"), (0.5, "50 %"), (0.0, "0 %")),
        _moments(of),
        (("hit", "Answered from the cache, fresh or stale"),),
        _tips(
            of,
            [
                f"{words.share(value)} of {words.count(step.counters.lookups)}"
                for step, value in zip(of, values, strict=True)
            ],
        ),
        (line,),
    )


OUTCOMES: Final = (
    ("hits", "hit", "Hits"),
    ("stale", "stale", "Stale"),
    ("misses", "miss", "Misses"),
    ("passes", "pass", "Passes"),
)


def requests(of: Sequence[Step]) -> Chart:
    """Requests a second, by what became of them."""
    rates = [step.counters.lookups / step.lasted for step in of]
    whole = total([step.counters for step in of])
    most = _round_up(max(rates, default=0.0))
    bars, wide = [], WIDTH / max(1, len(of))
    for place, step in enumerate(of):
        below = 0.0
        for name, kind, _ in OUTCOMES:
            part = getattr(step.counters, name) / step.lasted / most * HEIGHT
            if part > 0:
                bars.append(
                    Bar(kind, _r(place * wide + wide * 0.12), _r(HEIGHT - below - part), _r(wide * 0.76), _r(part))
                )
                below += part
    told = [
        ", ".join(
            [
                f"{getattr(step.counters, name):,} {label.lower()}"
                for name, _, label in OUTCOMES
                if getattr(step.counters, name)
            ]
        )
        or "no requests"
        for step in of
    ]
    counts = ", ".join([f"{words.count(getattr(whole, name))} {label.lower()}" for name, _, label in OUTCOMES])
    return Chart(
        "requests",
        "Requests",
        words.count(whole.lookups),
        f"{words.count(whole.lookups)} requests: {counts}. {_range(rates, words.rate)}, per second.",
        ((1.0, f"{words.rate(most)}/s"), (0.5, words.rate(most / 2)), (0.0, "0")),
        _moments(of),
        tuple([(kind, label) for _, kind, label in OUTCOMES]),
        _tips(of, told),
        bars=tuple(bars),
    )


LATENCIES: Final = (
    ("hit", "Hits, median", "hit_times", 0.5),
    ("hit-tail", "Hits, 99 %", "hit_times", 0.99),
    ("miss", "Misses, median", "miss_times", 0.5),
    ("miss-tail", "Misses, 99 %", "miss_times", 0.99),
)


def latency(of: Sequence[Step]) -> Chart:
    """How long hits and misses took, on a scale of powers of ten: a hit is often a thousand times as fast."""
    values = [[getattr(step.counters, name).quantile(part) for step in of] for _, _, name, part in LATENCIES]
    known = [value for row in values for value in row if value]
    low = floor(log10(max(min(known, default=0.001), 1e-6)))
    high = max(low + 1, ceil(log10(max(max(known, default=0.1), 1e-6)) - 1e-9))

    def height(value: float) -> float:
        return min(1.0, max(0.0, (log10(max(value, 1e-6)) - low) / (high - low)))

    lines = [_line(kind, label, row, height) for (kind, label, _, _), row in zip(LATENCIES, values, strict=True)]
    whole = total([step.counters for step in of])
    hit, miss = whole.hit_times.quantile(0.5), whole.miss_times.quantile(0.5)
    told = []
    for row in zip(*values, strict=True):
        median, tail, miss_median, miss_tail = map(words.duration, row)
        told.append(f"hits {median} (99 %: {tail}), misses {miss_median} (99 %: {miss_tail})")
    return Chart(
        "latency",
        "Latency",
        words.duration(hit),
        f"Half of the hits were answered within {words.duration(hit)}, half of the misses within {words.duration(miss)}.",
        tuple([((each - low) / (high - low), words.duration(10.0**each)) for each in range(high, low - 1, -1)]),
        _moments(of),
        tuple([(kind, label) for kind, label, _, _ in LATENCIES]),
        _tips(of, told),
        tuple(lines),
    )


def _line(
    kind: str, label: str, values: Sequence[float | None], height: Callable[[float], float], *, with_area: bool = False
) -> Line:
    runs: list[list[tuple[float, float]]] = [[]]
    wide = WIDTH / max(1, len(values))
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((_r((place + 0.5) * wide), _r(HEIGHT * (1 - height(value)))))
    runs = [run for run in runs if run]
    # A value alone is a line of no length, which round ends make a dot.
    path = " ".join([f"M{_points(run)}" + (" h0" if len(run) == 1 else "") for run in runs])
    area = " ".join([f"M{run[0][0]},{HEIGHT} L{_points(run)} L{run[-1][0]},{HEIGHT} Z" for run in runs if len(run) > 1])
    return Line(kind, label, path, area if with_area else "")


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " L".join([f"{x},{y}" for x, y in run])


def _moments(of: Sequence[Step]) -> tuple[str, ...]:
    if not of:
        return ()
    places = [0, len(of) // 2, len(of) - 1]
    is_short = of[-1].at - of[0].at < 600
    return tuple([words.clock(of[place].at) if is_short else words.clock(of[place].at)[:5] for place in places])


def _tips(of: Sequence[Step], told: Sequence[str]) -> tuple[tuple[float, float, str], ...]:
    wide = WIDTH / max(1, len(of))
    return tuple(
        [
            (_r(place * wide), _r(wide), f"{words.clock(step.at)}: {text}")
            for place, (step, text) in enumerate(zip(of, told, strict=True))
        ]
    )


def _range(values: Iterable[float | None], told: Callable[[float | None], str]) -> str:
    known = [value for value in values if value is not None]
    return f"Between {told(min(known))} and {told(max(known))} over time" if known else "There were none"


def _round_up(value: float) -> float:
    """The next round number: what an axis ends with."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next((power * each for each in (1, 1.5, 2, 3, 4, 6, 8, 10) if power * each >= value - 1e-12), power * 10)


def _r(value: float) -> float:
    return round(value, 2)
