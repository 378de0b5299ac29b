"""What is measured of a cache in this process: one table for every system that collects metrics.

Nothing is counted here: values are read from what the engine counts, when somebody collects them. No label holds a tag, a URL or
anything else that a request brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Self

from rcache.cache import Cache
from rcache.core.audit import OUTCOMES as AUDITED
from rcache.core.histogram import Histogram
from rcache.core.views import Counters, NodeRow

OUTCOMES: Final = {"hit": "hits", "stale": "stale", "miss": "misses", "pass": "passes"}
"""How a request to a rule ends, in each of them once, and the counter of it."""

TIMES: Final = {"hit": "hit_times", "stale": "stale_times", "miss": "miss_times", "pass": "pass_times"}

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """One moment of a process."""

    routes: Mapping[str, Counters]
    purges: int
    pending: int
    is_down: bool
    near_entries: int | None = None
    near_bytes: int = 0

    @classmethod
    def of(cls, cache: Cache) -> Self:
        """Of this process."""
        near = getattr(cache.store, "near", None)
        return cls(
            routes={row.route: row.counters for row in cache.stats.routes},
            purges=cache.stats.purges,
            pending=len(cache.journal.waiting),
            is_down=cache.store.is_down,
            near_entries=None if near is None else len(near),
            near_bytes=0 if near is None else near.used_bytes,
        )

    @classmethod
    def of_node(cls, row: NodeRow) -> Self:
        """Of another, as it told it last."""
        routes = {each.route: each.counters for each in row.routes}
        return cls(routes=routes, purges=row.counters.purges, pending=row.pending, is_down=row.is_down)


class Value(NamedTuple):
    """A number, and the labels it has."""

    labels: Labels
    value: float


@dataclass(frozen=True)
class Measure:
    """One metric. `unit` is UCUM's, where something is counted in braces."""

    name: str  # after "rcache."
    kind: Literal["counter", "gauge"]
    unit: str
    text: str
    read: Callable[[Snapshot], Iterable[Value]] = field(repr=False)
    labels: Labels = ()


def _by_route(name: str) -> Callable[[Snapshot], Iterable[Value]]:
    return lambda now: [Value((route,), getattr(counters, name)) for route, counters in now.routes.items()]


def _requests(now: Snapshot) -> Iterable[Value]:
    return [
        Value((route, outcome), getattr(counters, name))
        for route, counters in now.routes.items()
        for outcome, name in OUTCOMES.items()
    ]


def _stores(now: Snapshot) -> Iterable[Value]:
    for route, counters in now.routes.items():
        yield Value((route, "stored"), counters.stores)
        yield Value((route, "refused"), counters.refusals)


def _audits(now: Snapshot) -> Iterable[Value]:
    return [
        Value((route, end), getattr(counters, f"audits_{end}"))
        for route, counters in now.routes.items()
        if counters.audits
        for end in AUDITED
    ]


def _near(name: Literal["near_entries", "near_bytes"]) -> Callable[[Snapshot], Iterable[Value]]:
    return lambda now: [] if now.near_entries is None else [Value((), getattr(now, name))]


REQUESTS: Final = Measure(
    "requests",
    "counter",
    "{request}",
    "Requests to a rule, by how they ended: hit, stale, miss or pass.",
    _requests,
    ("route", "outcome"),
)
DURATION_TEXT: Final = "Seconds until a request to a rule was answered; of many hits a second a sample, weighted."

MEASURES: Final[Sequence[Measure]] = (
    REQUESTS,
    Measure(
        "collapsed",
        "counter",
        "{request}",
        "Misses that were answered from another request's run of the application.",
        _by_route("collapsed"),
        ("route",),
    ),
    Measure(
        "stores",
        "counter",
        "{response}",
        "Responses that were to be stored: stored, or refused by the store (purged meanwhile, quarantine, full).",
        _stores,
        ("route", "outcome"),
    ),
    Measure(
        "outages",
        "counter",
        "{trip}",
        "Trips to the store that failed or took too long.",
        _by_route("outages"),
        ("route",),
    ),
    Measure(
        "served",
        "counter",
        "By",
        "Bytes of bodies that hits had; of many hits a second an estimate.",
        _by_route("size"),
        ("route",),
    ),
    Measure("purges", "counter", "{purge}", "Purges by this process.", lambda now: [Value((), now.purges)]),
    Measure(
        "audits",
        "counter",
        "{audit}",
        "Hits that the application answered as well, by what came of it: same, stale, excused, unsteady or failed.",
        _audits,
        ("route", "outcome"),
    ),
    Measure(
        "pending_tags",
        "gauge",
        "{tag}",
        "Tags whose purge has yet to land: while there are some, the process serves nothing that carries them.",
        lambda now: [Value((), now.pending)],
    ),
    Measure(
        "store_down",
        "gauge",
        "1",
        "1 while the breaker is open, so that requests do not wait for the store; else 0.",
        lambda now: [Value((), int(now.is_down))],
    ),
    Measure("near.entries", "gauge", "{entry}", "Entries kept in this process.", _near("near_entries")),
    Measure("near.size", "gauge", "By", "Bytes that they occupy, near enough.", _near("near_bytes")),
)
"""All but the durations, which are histograms."""


def durations(now: Snapshot) -> Iterable[tuple[Labels, Histogram]]:
    """How long answers took, by route and outcome."""
    return [
        ((route, outcome), getattr(counters, name))
        for route, counters in now.routes.items()
        for outcome, name in TIMES.items()
    ]
