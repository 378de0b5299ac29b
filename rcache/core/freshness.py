"""Freshness lifetime and age (RFC 9111 §4.2), for a cache that runs in the origin's own process."""

from __future__ import annotations

from typing import Final

from rcache.core.dates import parse_http_date
from rcache.core.directives import MAX_DELTA, ResponseDirectives, delta_seconds
from rcache.core.headers import OWS, RawHeaders, split_list, values

HEURISTICALLY_CACHEABLE: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""Statuses whose freshness may be guessed (RFC 9110 §15.1); 206 is one as well, for caches that keep parts."""

HEURISTIC_FRACTION: Final = 0.1
"""Of the time since the last modification: the fraction that RFC 9111 §4.2.2 calls typical."""

MAX_HEURISTIC: Final = 86_400.0
"""Seconds. No answer is believed for longer than a day on a guess: it is where HTTP/1.1 had caches begin to warn of it
(RFC 7234 §5.5.4), and the default limit of Apache httpd and Traffic Server."""


def explicit_lifetime(directives: ResponseDirectives, headers: RawHeaders, now: float) -> float | None:
    """Seconds of freshness that the response itself grants (RFC 9111 §4.2.1); None where it says nothing.

    s-maxage comes before max-age, and both before Expires, of which an invalid one lies in the past (RFC 9111 §5.3).
    """
    if directives.s_maxage is not None:
        return float(directives.s_maxage)
    if directives.max_age is not None:
        return float(directives.max_age)
    expires = moments(headers, b"expires", now)
    if not expires:
        return None
    date = max(date_values(headers, now))
    granted = min(0.0 if moment is None else moment - date for moment in expires)
    return min(max(0.0, granted), float(MAX_DELTA))


def heuristic_lifetime(status: int, directives: ResponseDirectives, headers: RawHeaders, now: float) -> float | None:
    """Seconds of freshness that may be guessed where the response grants none (RFC 9111 §4.2.2).

    None where that is not allowed, or where there is nothing to guess by: no Last-Modified, or none before Date.
    """
    if not is_heuristically_cacheable(status, directives):
        return None
    modified = last_modified(headers, now)
    if modified is None:
        return None
    guess = HEURISTIC_FRACTION * (min(date_values(headers, now)) - modified)
    return min(guess, MAX_HEURISTIC) if guess > 0.0 else None


def is_heuristically_cacheable(status: int, directives: ResponseDirectives) -> bool:
    """May its freshness be guessed, by its status or because it says that it is public (RFC 9111 §4.2.2, §5.2.2.9)?"""
    return directives.public or status in HEURISTICALLY_CACHEABLE


def initial_age(headers: RawHeaders, now: float, response_delay: float = 0.0) -> float:
    """corrected_initial_age (RFC 9111 §4.2.3), in seconds.

    `response_delay` is what has passed since the application was called: what it answers with may be as old as that.
    """
    apparent_age = max(0.0, now - min(date_values(headers, now)))
    corrected_age_value = age_value(headers) + response_delay
    return min(max(apparent_age, corrected_age_value), float(MAX_DELTA))


def age_value(headers: RawHeaders) -> float:
    """The Age field (RFC 9111 §5.1): the first member of what should be no list, and 0 where that is malformed."""
    members = [member for line in values(headers, b"age") for member in split_list(line)]
    return float(delta_seconds(members[0]) or 0) if members else 0.0


def last_modified(headers: RawHeaders, now: float) -> float | None:
    """When the representation was last changed, the latest of several; None where that is not said, or not validly."""
    said = moments(headers, b"last-modified", now)
    valid = [moment for moment in said if moment is not None]
    return max(valid) if valid and len(valid) == len(said) else None


def date_values(headers: RawHeaders, now: float) -> list[float]:
    """When the response was made by its own account, once for each Date, of which there should be one.

    `now` stands for all where none is valid: RFC 9110 §6.6.1 has a recipient take the time of receipt then. Of several,
    callers take the one that makes the response older, or its freshness shorter.
    """
    return [moment for moment in moments(headers, b"date", now) if moment is not None] or [now]


def moments(headers: RawHeaders, name: bytes, now: float) -> list[float | None]:
    """What each line of a field of dates names, in seconds since the epoch; None for those that are no date."""
    return [parse_http_date(line.strip(OWS), now) for line in values(headers, name)]
