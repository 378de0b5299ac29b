"""May a stored response answer this request (RFC 9111 §4): one decision, with its reason.

What depends on the response alone was settled when it was stored; what is left depends on its age and on what the client asks for.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from math import log
from typing import Final, NamedTuple

from rcache.core.entry import Entry
from rcache.core.request_directives import NO_ADVICE, RequestDirectives


class Use(Enum):
    """What to do with a stored response that the one rule allows."""

    HIT = auto()  # answer with it
    REFRESH = auto()  # answer with it, though stale, and make a new one meanwhile (RFC 5861 §3)
    VALIDATE = auto()  # ask the application first (RFC 9111 §4.3)


class Reuse(NamedTuple):
    """A use, and what it is owed to, in the words of RFC 9211 §2.2 where the application is asked."""

    use: Use
    reason: str


FRESH: Final = Reuse(Use.HIT, "fresh")
ALLOWED_STALE: Final = Reuse(Use.HIT, "max-stale")
EARLY: Final = Reuse(Use.REFRESH, "early")
REFRESHED: Final = Reuse(Use.REFRESH, "stale-while-revalidate")
STALE: Final = Reuse(Use.VALIDATE, "stale")
REQUESTED: Final = Reuse(Use.VALIDATE, "request")

ERRORS: Final = frozenset((500, 502, 503, 504))
"""Statuses that count as a failure of the application (RFC 5861 §4)."""


def reuse(entry: Entry, now: float, wishes: RequestDirectives = NO_ADVICE, luck: float = 1.0) -> Reuse:
    """What to do with `entry` at `now`, given the client's directives (RFC 9111 §4.2.4, §5.2.1).

    A client that does not want to take a response unvalidated is not given one that is stale either, whoever else allows it.
    """
    ttl = entry.ttl(now)
    if wishes is not NO_ADVICE and _is_unwanted(entry, now, ttl, wishes):
        return REQUESTED if ttl > 0 else STALE
    if ttl > 0:
        is_early = (entry.early or entry.cost) and ttl < entry.window and is_due(entry, ttl, luck)
        return EARLY if is_early else FRESH
    if entry.must_revalidate or (wishes.max_age is not None and wishes.max_stale is None):
        return STALE
    if wishes.max_stale is not None and -ttl <= wishes.max_stale:
        return ALLOWED_STALE
    return REFRESHED if -ttl < entry.stale_while_revalidate else STALE


def is_due(entry: Entry, ttl: float, luck: float) -> bool:
    """Whether an entry that is fresh for `ttl` seconds more is to be made anew already.

    `luck` is drawn evenly from (0, 1] for each request. So the time before its end at which the first of many requests makes it
    anew grows with what that costs: XFetch, with beta = 1 (Vattani, Chierichetti and Lowenstein, VLDB 2015).
    """
    return ttl < entry.early or ttl <= -entry.cost * log(luck)


def _is_unwanted(entry: Entry, now: float, ttl: float, wishes: RequestDirectives) -> bool:
    """Does the client ask for something fresher?"""
    return (
        wishes.no_cache
        or (wishes.max_age is not None and entry.age(now) > wishes.max_age)
        or (wishes.min_fresh is not None and ttl < wishes.min_fresh)
    )


def may_stand_in(entry: Entry, now: float, wishes: RequestDirectives = NO_ADVICE) -> bool:
    """Whether `entry` may answer at `now` for an application that failed (RFC 5861 §4, RFC 9111 §4.2.4).

    One that is fresh may not: whoever asked for something fresher is told of the failure.
    """
    staleness = -entry.ttl(now)
    allowed = max(entry.stale_if_error, wishes.stale_if_error or 0)
    return not entry.must_revalidate and 0 <= staleness < allowed


def replaces(status: int) -> bool:
    """Whether an answer with this status, stored or not, shows that a former one does not hold any more.

    A failure may pass, and a refusal may be meant for the one client: those show nothing.
    """
    return (200 <= status < 400 and status not in (206, 304)) or status in (404, 410)


def softened(entry: Entry, since: float) -> Entry:
    """`entry` as one that a soft purge has made stale at `since`. What may be done with a stale one may be done with it."""
    lifetime = min(entry.lifetime, entry.age(since))
    retention = entry.retention + entry.lifetime - lifetime
    return replace(entry, lifetime=lifetime, retention=retention, early=0.0, cost=0.0, is_softened=True, replayed=None)


def distrusted(entry: Entry, now: float) -> Entry:
    """`entry` as one that is stale, and answers nobody before it is validated, whoever allows that (RFC 9111 §4.4)."""
    lifetime = min(entry.lifetime, entry.age(now))
    return replace(
        entry,
        lifetime=lifetime,
        retention=entry.retention + entry.lifetime - lifetime,
        stale_while_revalidate=0.0,
        stale_if_error=0.0,
        must_revalidate=True,
    )


def without_demands(wishes: RequestDirectives) -> RequestDirectives:
    """The directives of a client that may not make the application work: what is left spares it work, or keeps nothing."""
    return replace(NO_ADVICE, no_store=wishes.no_store, only_if_cached=wishes.only_if_cached)
