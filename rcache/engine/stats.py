"""Counters of one cache in this process, by route.

A hit is the product, so it counts by one addition. How long it took, how long its body was and whose it was is looked at for
some hits only, which then speak for those since the last: for each of the first in a second, later for one in many.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from rcache.clock import Clock
from rcache.core.audit import OUTCOMES as AUDITED
from rcache.core.histogram import STEPS, Histogram, step_of
from rcache.core.keys import Key
from rcache.core.views import OTHER_ROUTES, Counters, RouteRow

Outcome = Literal["stale", "misses", "passes"]

MOST_ROUTES: Final = 200
"""Routes that are told apart; those beyond count under one name."""

CLOSELY: Final = 8  # hits of a second, and route, that are looked at one by one
LESS_SO: Final = 4  # looks after which half as many of those that follow are looked at
MOST_SKIPPED: Final = 1024  # hits that one which is looked at speaks for, at most


class Hub(Protocol):
    """Who hears of what is counted."""

    due: float
    """From which moment on, by the clock that never steps, `tick` is to be called by whoever counts something."""

    def note(self, key: Key, variant: bytes, hits: int) -> None:
        """An entry was hit so often."""
        ...

    def tick(self, now: float) -> None:
        """A moment for what is done every second or so."""
        ...


class Nobody:
    """Hears nothing."""

    due = float("inf")

    def note(self, key: Key, variant: bytes, hits: int) -> None:
        """Is lost."""

    def tick(self, now: float) -> None:
        """Never comes."""


class _Times:
    """How long answers took, while they are being counted."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * STEPS
        self.seconds = 0.0

    def add(self, seconds: float, weight: int = 1) -> None:
        self.counts[step_of(seconds)] += weight
        self.seconds += seconds * weight

    @property
    def view(self) -> Histogram:
        return Histogram(tuple(self.counts), self.seconds)


class Tally:
    """What is counted for one route."""

    __slots__ = (
        "_clock",
        "_goal",
        "_hub",
        "_known",
        "_looked",
        "_second",
        "_step",
        "_times",
        "_unsettled",
        "audited",
        "collapsed",
        "left",
        "misses",
        "outages",
        "passes",
        "refusals",
        "route",
        "size",
        "stale",
        "stores",
    )

    def __init__(self, route: str, clock: Clock, hub: Hub) -> None:
        self.route = route
        self._clock = clock
        self._hub = hub
        self.reset()

    def reset(self) -> None:
        """Nothing was counted yet."""
        self.left = 1
        """Hits until the next that is to be looked at. Each takes one away, and that is all it does."""
        self._goal = 1  # how many hits there are then
        self.stale = self.misses = self.passes = 0
        self.collapsed = self.stores = self.refusals = self.outages = self.size = 0
        self.audited = dict.fromkeys(AUDITED, 0)  # how many audits ended so
        self._known = 0  # hits that those which were looked at speak for
        self._second = 0.0  # when the second began in which so many were looked at
        self._looked = 0
        self._step = 1
        self._unsettled = 0  # hits that belong to the moment after this one
        self._times = {"hits": _Times(), "stale": _Times(), "misses": _Times(), "passes": _Times()}

    @property
    def hits(self) -> int:
        """Requests that the store answered, fresh."""
        return self._goal - self.left

    def end(self, outcome: Outcome, seconds: float) -> None:
        """A request has ended so, other than by a hit."""
        now = self._clock.monotonic()
        if now >= self._hub.due:
            self._hub.tick(now)
        setattr(self, outcome, getattr(self, outcome) + 1)
        self._times[outcome].add(seconds)

    def look(self, key: Key, variant: bytes, size: int, seconds: float, now: float) -> None:
        """What the hit just counted was, which speaks for those since the last that was looked at."""
        if now >= self._hub.due:
            self._unsettled = 1
            self._hub.tick(now)
            self._unsettled = 0
        weight = max(0, self.hits - self._known)
        self._known = self.hits
        self._times["hits"].add(seconds, weight)
        self.size += size * weight
        self._hub.note(key, variant, weight)
        if now - self._second >= 1.0:
            self._second, self._looked, self._step = now, 0, 1
        self._looked += 1
        if self._looked >= CLOSELY and self._looked % LESS_SO == 0:
            self._step = min(2 * self._step, MOST_SKIPPED)
        # Nothing is called here, so no other thread counts in between.
        self._goal += self._step - self.left
        self.left = self._step

    def is_as(self, former: Counters) -> bool:
        """Whether nothing was counted since."""
        return (
            (self.hits - self._unsettled, self.stale, self.misses, self.passes)
            == (former.hits, former.stale, former.misses, former.passes)
            and sum(self.audited.values()) == former.audits
        ) and (self.stores, self.refusals, self.outages) == (former.stores, former.refusals, former.outages)

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        times = self._times
        return Counters(
            hits=self.hits - self._unsettled,
            stale=self.stale,
            misses=self.misses,
            passes=self.passes,
            collapsed=self.collapsed,
            stores=self.stores,
            refusals=self.refusals,
            outages=self.outages,
            audits_same=self.audited["same"],
            audits_stale=self.audited["stale"],
            audits_excused=self.audited["excused"],
            audits_unsteady=self.audited["unsteady"],
            audits_failed=self.audited["failed"],
            seconds=times["misses"].seconds,
            size=self.size,
            hit_times=times["hits"].view,
            stale_times=times["stale"].view,
            miss_times=times["misses"].view,
            pass_times=times["passes"].view,
        )


class Stats:
    """What this process did since the cache was made, the same for threads and event loops."""

    def __init__(self, clock: Clock, hub: Hub | None = None) -> None:
        self.purges = 0
        self._clock = clock
        self._hub = hub if hub is not None else Nobody()
        self._tallies: dict[str, Tally] = {}

    def tally(self, route: str) -> Tally:
        """Where the route's requests count."""
        if route not in self._tallies and len(self._tallies) >= MOST_ROUTES:
            route = OTHER_ROUTES
        tally = self._tallies.get(route)
        if tally is None:
            tally = self._tallies.setdefault(route, Tally(route, self._clock, self._hub))
        return tally

    def reset(self) -> None:
        """Nothing was counted yet: in a forked child, whose parent goes on counting what it had counted."""
        self.purges = 0
        for tally in self.tallies:
            tally.reset()

    @property
    def tallies(self) -> list[Tally]:
        """Those of all routes that are told apart."""
        return list(self._tallies.values())

    @property
    def routes(self) -> tuple[RouteRow, ...]:
        """What was counted for each route that was asked for."""
        rows = [RouteRow(tally.route, tally.counters) for tally in self.tallies]
        return tuple([row for row in rows if row.counters != _NOTHING])

    @property
    def counters(self) -> Counters:
        """What was counted in all."""
        return sum([row.counters for row in self.routes], Counters(purges=self.purges))

    def _sum(self, name: str) -> int:
        return sum([getattr(tally, name) for tally in self.tallies])

    @property
    def lookups(self) -> int:
        """Requests to a rule that have ended: hits + stale + misses + passes."""
        return self.hits + self.stale + self.misses + self.passes

    @property
    def hits(self) -> int:
        """Requests that the store answered, fresh."""
        return self._sum("hits")

    @property
    def stale(self) -> int:
        """Requests that the store answered, stale and allowed to be."""
        return self._sum("stale")

    @property
    def misses(self) -> int:
        """Requests that the application answered, or another request's run of it."""
        return self._sum("misses")

    @property
    def passes(self) -> int:
        """Requests for which the cache was not asked, or of which nothing came."""
        return self._sum("passes")

    @property
    def collapsed(self) -> int:
        """Of the misses: those that another request's run answered."""
        return self._sum("collapsed")

    @property
    def stores(self) -> int:
        """Answers that were stored."""
        return self._sum("stores")

    @property
    def refusals(self) -> int:
        """Answers that the store did not accept: purged meanwhile, quarantine, or full."""
        return self._sum("refusals")

    @property
    def outages(self) -> int:
        """Trips that failed or took too long."""
        return self._sum("outages")


_NOTHING: Final = Counters()
