"""What was counted when: by the second for a while, by the minute for hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rcache.core.views import Counters, RouteRow, Sample

SECONDS_LAST: Final = 200.0  # seconds for which each second is remembered
MINUTES_LAST: Final = 6 * 3600.0  # seconds for which each minute is

Counted = tuple[Counters, tuple[RouteRow, ...]]
"""In all, and by route."""

NOTHING: Final[Counted] = (Counters(), ())


def minute_of(at: float) -> int:
    """The second in which its minute began."""
    return int(at) // 60 * 60


def moments(now: float, seconds: float) -> tuple[range, range]:
    """The beginnings of minutes, and after them of single seconds, in the last `seconds`; the present second is not over."""
    since = now - min(max(seconds, 1.0), MINUTES_LAST - 60)
    border = minute_of(now - 120)  # at least two minutes by the second, less than three
    return range(minute_of(since), border, 60), range(max(int(since), border), int(now))


def series(minutes: Mapping[int, Counted], seconds: Mapping[int, Counted], now: float, span: float) -> list[Sample]:
    """One sample for each, oldest first, from the first on in which something was counted."""
    by_minute, by_second = moments(now, span)
    samples = [Sample(float(at), 60.0, *minutes.get(at, NOTHING)) for at in by_minute]
    samples += [Sample(float(at), 1.0, *seconds.get(at, NOTHING)) for at in by_second]
    first = next((place for place, sample in enumerate(samples) if sample.counters != NOTHING[0]), len(samples))
    return samples[first:]


def together(one: Counted, other: Counted) -> Counted:
    """Both."""
    routes = {row.route: row.counters for row in one[1]}
    for row in other[1]:
        routes[row.route] = routes.get(row.route, NOTHING[0]) + row.counters
    return one[0] + other[0], tuple([RouteRow(*item) for item in sorted(routes.items())])
