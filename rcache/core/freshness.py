"""Freshness lifetime and age (RFC 9111 §4.2), for a cache that runs in the origin's own process."""

from __future__ import annotations

from rcache.core.dates import parse_http_date
from rcache.core.directives import MAX_DELTA, ResponseDirectives, delta_seconds
from rcache.core.headers import OWS, RawHeaders, joined, values


def explicit_lifetime(directives: ResponseDirectives, headers: RawHeaders, now: float) -> float | None:
    """Seconds of freshness that the response itself grants (RFC 9111 §4.2.1); None where it says nothing.

    s-maxage comes before max-age, and both before Expires, of which an invalid one lies in the past (RFC 9111 §5.3).
    """
    if directives.s_maxage is not None:
        return float(directives.s_maxage)
    if directives.max_age is not None:
        return float(directives.max_age)
    expires = [parse_http_date(line.strip(OWS), now) for line in values(headers, b"expires")]
    if not expires:
        return None
    date = date_value(headers, now)
    granted = min(0.0 if moment is None else moment - date for moment in expires)
    return min(max(0.0, granted), float(MAX_DELTA))


def initial_age(headers: RawHeaders, now: float) -> float:
    """corrected_initial_age (RFC 9111 §4.2.3), in seconds; there is no response delay inside one process."""
    apparent_age = max(0.0, now - date_value(headers, now))
    return max(apparent_age, age_value(headers))


def age_value(headers: RawHeaders) -> float:
    """The Age field (RFC 9111 §5.1): of several values the first, and 0 where that is malformed."""
    field = joined(headers, b"age")
    if field is None:
        return 0.0
    return float(delta_seconds(field.partition(b",")[0].strip(OWS)) or 0)


def date_value(headers: RawHeaders, now: float) -> float:
    """When the response was made by its own account; `now` where it has no valid Date (RFC 9110 §6.6.1)."""
    lines = values(headers, b"date")
    moment = parse_http_date(lines[0].strip(OWS), now) if len(lines) == 1 else None
    return now if moment is None else moment
