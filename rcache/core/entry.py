"""A stored response, and what a lookup or a store says of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rcache.core.schemes import Schemes

Headers = tuple[tuple[bytes, bytes], ...]
"""Header pairs in the order they came, repeats kept: a dict would lose a second Set-Cookie."""


class Start(NamedTuple):
    """The sequence that a fill notes before the application runs. Numbers of two epochs are never compared."""

    epoch: str
    number: int


NOWHERE: Final = Start("", 0)
"""The start of what is stored nowhere."""


@dataclass(slots=True)
class Entry:
    """A complete stored response. Times are seconds on the store's own clock, which all nodes share.

    Nobody changes one: it is not frozen only because that would make each of its fields dearer to set, on every hit.
    """

    start: Start
    status: int
    headers: Headers
    body: bytes
    tags: tuple[str, ...]
    stored_at: float
    initial_age: float  # corrected_initial_age of RFC 9111 §4.2.3, at `stored_at`
    lifetime: float  # freshness_lifetime of RFC 9111 §4.2.1, in seconds
    etag: bytes | None = None
    last_modified: bytes | None = None
    client_ttl: int | None = None  # seconds of freshness exported to clients on purpose
    is_shared: bool = False  # may answer requests with credentials (RFC 9111 §3.5)
    retention: float = 0.0  # seconds past its lifetime for which it is kept, to be validated or to be served stale
    stale_while_revalidate: float = 0.0  # seconds past its lifetime (RFC 5861 §3)
    stale_if_error: float = 0.0  # seconds past its lifetime (RFC 5861 §4)
    must_revalidate: bool = False  # once stale it answers nobody unvalidated, whoever asks (RFC 9111 §5.2.2.2)
    own: int = 0  # the last pairs of `headers` that are not the application's but say what rcache adds to its answers
    coding: str | None = None  # what the body is kept in, while `headers` speak of it as it was
    length: int = 0  # of the body without that coding
    early: float = 0.0  # seconds before the end of its lifetime from which on it is made anew
    cost: float = (
        0.0  # seconds that it took to make; above 0 it is made anew early by chance, the likelier the nearer its end
    )
    replayed: tuple[int, list[tuple[bytes, bytes]]] | None = field(default=None, repr=False, compare=False)
    """The header pairs last sent, for the whole second of age that they hold for."""
    coded_etag: bytes | None = field(default=None, repr=False, compare=False)
    """The ETag of the body in its coding, once it was asked for."""
    is_softened: bool = field(default=False, repr=False, compare=False)
    """It is stale by a soft purge: a look-up found it so."""

    @property
    def application_headers(self) -> Headers:
        """The pairs that came from the application."""
        return self.headers[: len(self.headers) - self.own]

    def age(self, now: float) -> float:
        """Seconds since the origin made this response (RFC 9111 §4.2.3)."""
        return max(0.0, now - self.stored_at) + self.initial_age

    def ttl(self, now: float) -> float:
        """Seconds for which it stays fresh; negative once stale."""
        resident = now - self.stored_at
        return self.lifetime - self.initial_age - (resident if resident > 0 else 0.0)

    @property
    def window(self) -> float:
        """Seconds before the end of its freshness in which it may be made anew early, at most half of its lifetime."""
        return min(max(self.early, EARLIEST * self.cost), self.lifetime / 2)

    @property
    def plain_until(self) -> float:
        """Until when any hit is answered with it and nothing else is to be thought of, on the store's clock."""
        return self.gone_at - self.retention - self.window

    @property
    def gone_at(self) -> float:
        """When it is kept no longer, on the store's clock."""
        return self.stored_at - self.initial_age + self.lifetime + self.retention

    @property
    def size(self) -> int:
        """Bytes it occupies, near enough for a bound: content plus what the objects around it cost."""
        fields = sum(len(name) + len(value) for name, value in self.headers) + 120 * len(self.headers)
        return ENTRY_OVERHEAD + len(self.body) + fields + sum(map(len, self.tags)) + 80 * len(self.tags)


EARLIEST: Final = 10.0
"""Costs before its end from which on an entry may be made anew by chance: earlier than that it hardly ever would."""

ENTRY_OVERHEAD: Final = 700


class Found(NamedTuple):
    """An entry that the one rule allows at `now`, fresh or not, and the start of a fill that would take its place."""

    entry: Entry
    now: float
    start: Start
    names: tuple[str, ...] = ()  # what selects among the URL's variants


AtHand = tuple[Entry, float]
"""A fresh entry, and the store's time: all that a hit needs to know. A plain tuple costs a hit a fifth of a named one."""


class Missing(NamedTuple):
    """Nothing usable. A fill may be stored under `start`; None means that whatever is filled now is not stored."""

    start: Start | None
    now: float
    reason: str  # absent | purged | held | quarantine | damaged | lost | coding | credentials
    names: tuple[str, ...] = ()  # what selects among the URL's variants, as far as is known


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge that has landed: its number, an upper bound for the entries it killed, and the schemes of the tables it asked for."""

    number: int
    entries: int
    schemes: Schemes = field(default_factory=dict)
