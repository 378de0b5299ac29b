"""Counters of several nodes, or of several seconds, as those of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rcache.core.views import Counters, NodeRow, RouteRow, Sample


def total(counters: Iterable[Counters]) -> Counters:
    """What they counted together."""
    return sum(counters, Counters())


def by_route(sources: Iterable[NodeRow | Sample]) -> list[RouteRow]:
    """What they counted together of each route, the busiest first."""
    routes: dict[str, list[Counters]] = {}
    for source in sources:
        for row in source.routes:
            routes.setdefault(row.route, []).append(row.counters)
    rows = [RouteRow(route, total(counters)) for route, counters in routes.items()]
    return sorted(rows, key=lambda row: (-row.counters.lookups, row.route))


@dataclass(frozen=True, slots=True)
class Rate:
    """What happens in a second, on average."""

    requests: float
    hits: float
    misses: float
    passes: float
    purges: float
    octets: float


def rate(samples: Iterable[Sample]) -> Rate:
    """The mean over the time that the samples cover."""
    several = list(samples)
    seconds = sum(sample.width for sample in several) or 1.0
    all_of = total(sample.counters for sample in several)
    counted = (all_of.lookups, all_of.hits + all_of.stale, all_of.misses, all_of.passes, all_of.purges, all_of.size)
    return Rate(*(number / seconds for number in counted))
