"""What tools show of a cache: plain rows, the same for a terminal, a page and a program.

Times are seconds on the store's own clock, sizes bytes. Everything here is told by `rcache.ports.Inspector`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Generic, Literal, TypeVar

from rcache.core.histogram import Histogram

T = TypeVar("T")

NO_TIMES: Final = Histogram()

State = Literal["fresh", "stale", "softened", "purged", "held", "lost"]
"""What a look-up would make of an entry at this moment; all but the first three are misses."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What was counted since a node began. Every request to a rule counts once: lookups = hits + stale + misses + passes.

    A request counts when it ends, whatever its end: an answer, an exception, a client that left.
    """

    hits: int = 0  # answered from the store, fresh
    stale: int = 0  # answered from the store, stale and allowed to be
    misses: int = 0  # the application answered, or another request's run of it
    passes: int = 0  # the cache was not asked: what the request is, an outage, a purge that has yet to land; or nothing came of it
    collapsed: int = 0  # of the misses: answered from another request's run
    stores: int = 0
    refusals: int = 0  # the store did not accept an entry: purged meanwhile, quarantine, or full
    purges: int = 0  # of the whole node alone, not by route
    outages: int = 0  # trips that failed or took too long
    seconds: float = 0.0  # that the misses took together
    size: int = 0  # bytes of bodies that hits had, sent or not; of many hits a second an estimate
    hit_times: Histogram = NO_TIMES  # of many hits a second a sample, weighted: its count may lag behind the hits
    stale_times: Histogram = NO_TIMES
    miss_times: Histogram = NO_TIMES
    pass_times: Histogram = NO_TIMES
    audits_same: int = 0  # hits that the application answered as well: it gives what was served
    audits_stale: int = 0  # it gives something else, and nothing had purged what was served
    audits_excused: int = 0  # it gave something else, and by then the entry was purged, held, or replaced
    audits_unsteady: int = 0  # asked twice, it gave two answers
    audits_failed: int = 0  # it gave no answer that tells anything

    @property
    def lookups(self) -> int:
        """Requests to a rule."""
        return self.hits + self.stale + self.misses + self.passes

    @property
    def ratio(self) -> float | None:
        """The part of them that the store answered, fresh or stale; None where there were none."""
        return (self.hits + self.stale) / self.lookups if self.lookups else None

    @property
    def audits(self) -> int:
        """Hits that were audited, each of which ended in one way."""
        judged = self.audits_same + self.audits_stale + self.audits_excused
        return judged + self.audits_unsteady + self.audits_failed

    @property
    def stale_rate(self) -> float | None:
        """The part of hits that were stale, of those audited that could be judged; None where none could."""
        judged = self.audits_same + self.audits_stale + self.audits_excused
        return self.audits_stale / judged if judged else None

    def __add__(self, other: Counters) -> Counters:
        return Counters(*[getattr(self, name) + getattr(other, name) for name in COUNTED])

    def __sub__(self, other: Counters) -> Counters:
        """What was counted since `other`, which is never less than nothing."""
        return Counters(*[_since(getattr(self, name), getattr(other, name)) for name in COUNTED])


COUNTED: Final = tuple([each.name for each in fields(Counters)])


def _since(now: Any, before: Any) -> Any:
    return now - before if isinstance(now, Histogram) else max(now - before, type(now)(0))


OTHER_ROUTES: Final = "(others)"
"""Where the routes count together that would be too many to tell apart."""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """What was counted for one route; its name is the path as the application or the rule spells it."""

    route: str
    counters: Counters


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One process that uses the cache."""

    node: str  # a random id, new with each process
    host: str
    pid: int
    role: Literal["web", "worker"]
    version: str
    began: float
    seen: float  # when it last wrote its counters
    near: str | None  # fast | strict
    tail: int | None  # the last record of the log that it has read
    lease: float | None  # seconds until nobody waits for it any more; negative once it lapsed
    is_down: bool  # its breaker is open
    pending: int  # purges that have yet to land
    counters: Counters
    routes: tuple[RouteRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # those that have to be the same for all who share a namespace


@dataclass(frozen=True, slots=True)
class Sample:
    """What all nodes counted together within `width` seconds from `at` on."""

    at: float
    width: float
    counters: Counters
    routes: tuple[RouteRow, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One stored response, without its body."""

    entry: str  # what `Inspector.entry` takes
    url: str
    identity: bool  # it belongs to one user, or to one request body
    variant: tuple[tuple[str, str], ...]  # which header fields and values select it
    state: State
    status: int
    age: float
    ttl: float  # seconds for which it stays fresh; negative once stale
    stored_at: float
    gone_at: float  # when it is kept no longer
    size: int
    tags: tuple[str, ...]  # without that of its URL
    start: int  # the sequence that its fill began at
    hits: int = 0  # in the last window, of all nodes; a sample, no promise
    cost: float = 0.0  # seconds that it took to make, where that is known


@dataclass(frozen=True, slots=True)
class EntryView:
    """One stored response in full. Of an entry that belongs to one user the body is None unless it was asked for."""

    row: EntryRow
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    last_purge: Event | None = None


@dataclass(frozen=True, slots=True)
class TagRow:
    """One tag that entries carry."""

    tag: str
    entries: int  # an upper bound
    mark: int | None  # the number of its last purge, while that is remembered
    holders: int = 0  # transactions that hold it at this moment
    size: int | None = None  # bytes of its entries, where they were looked at


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to tags, on some node."""

    number: int  # in the order of the log; 0 where it never landed
    at: float
    kind: Literal["purge", "soft-purge", "hold", "release", "flush"]
    tags: tuple[str, ...]  # the first hundred
    count: int  # of all tags
    entries: int  # an upper bound of the entries that it reached
    node: str
    cause: str  # invalidate | commit | unsafe-request | abandoned-hold | signal | drain | cli | dashboard, and the like
    changes: tuple[str, ...] = ()  # the first hundred rows, as "update book:42"


@dataclass(frozen=True, slots=True)
class Hot:
    """An entry that is asked for often, whether it is still there or not."""

    entry: str  # what `Inspector.entry` takes
    url: str  # empty where it belongs to one user, or to one request body, or is very long
    hits: float  # in the last window, of all nodes; a sample, no promise


@dataclass(frozen=True, slots=True)
class Preview:
    """What a purge of tags would reach, at this moment."""

    tags: tuple[TagRow, ...]
    entries: tuple[EntryRow, ...]  # the first thousand
    count: int  # an upper bound


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """Rows, and where the next ones begin."""

    rows: tuple[T, ...]
    cursor: str | None = None  # None: these were the last
