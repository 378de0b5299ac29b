"""How long a stored response is fresh, and how old it is (RFC 9111 §4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.reference.control import (
    control,
    has,
    is_unqualified,
    named,
)
from tests.reference.fields import (
    INFINITY,
    Directive,
    date_field,
    delta_seconds,
    http_date,
    lines,
    nominated,
    targeted,
)
from tests.reference.history import Exchange, Refused, Settings
from tests.reference.storing import (
    ERRORS,
    HEURISTICALLY_CACHEABLE,
    Stored,
    as_stored,
    may_be_stored,
)


@dataclass(frozen=True)
class Lifetime:
    """A freshness lifetime in seconds: what the RFC permits at most, and what may be counted on."""

    most: float
    least: float


STALE = Lifetime(0, 0)


def lifetime(state: Stored, settings: Settings) -> Lifetime:
    """The freshness lifetime (RFC 9111 §4.2.1): s-maxage, else max-age, else Expires, else a heuristic."""
    if state.is_outdated:
        return STALE
    found = control(state.headers, settings)
    for name in ("s-maxage", "max-age"):
        if has(found, name):
            return _explicit(named(found, name))
    if targeted(state.headers, settings.targets) is None:
        values = lines(state.headers, "expires")
        if values:
            moment = http_date(values[0], state.response_time)
            seconds = 0.0 if moment is None else max(0.0, moment - state.date_value)
            return Lifetime(seconds, seconds if len(values) == 1 else 0)
    return _heuristic(state, found, settings)


def _explicit(given: list[Directive]) -> Lifetime:
    """Of several, the first or none counts; what is no number is stale."""
    seconds = delta_seconds(given[0].argument) or 0
    is_clear = len(given) == 1 and given[0].is_wellformed
    return Lifetime(seconds, seconds if is_clear else 0)


def _heuristic(state: Stored, found: list[Directive], settings: Settings) -> Lifetime:
    """A tenth of the time since the last modification, for statuses that allow it (RFC 9111 §4.2.2)."""
    is_usual = state.status in HEURISTICALLY_CACHEABLE
    modified = date_field(state.headers, "last-modified", state.response_time)
    if not settings.heuristic or modified is None or not (is_usual or has(found, "public")):
        return STALE
    seconds = max(0.0, (state.date_value - modified) / 10)
    # Rounding is the cache's; so is a bound on its guesses, as long as it leaves a day.
    return Lifetime(seconds + 1, max(0.0, min(seconds, 86400.0) - 1) if is_usual else 0)


def current_age(state: Stored, now: float, settings: Settings) -> float:
    """Seconds since the origin made or last validated it, by the more careful of the RFC's two ways (RFC 9111 §4.2.3)."""
    apparent_age = max(0.0, state.response_time - state.date_value)
    response_delay = state.response_time - state.request_time if settings.counts_response_delay else 0
    corrected_age_value = state.age_value + response_delay
    resident_time = now - state.response_time
    return min(float(INFINITY), max(apparent_age, corrected_age_value) + resident_time)


def is_plainly_stored(history: list[Exchange], place: int, settings: Settings) -> bool:
    """Whether no cache worth having would decline to store what an exchange brought."""
    exchange = history[place]
    is_full = exchange.response is not None and exchange.response.status != 304
    if exchange.request.method != "GET" or not is_full or not is_plain(exchange, settings):
        return False
    since = exchange.request_time - settings.passes
    before = [e for e in history[:place] if e.request.uri == exchange.request.uri]
    recent = [e for e in before if e.response_time > since]
    return all(is_plain(e, settings) for e in recent)


def is_plain(exchange: Exchange, settings: Settings) -> bool:
    """Whether it is a fresh response (or brings one up to date) that is spelled as it should be."""
    response = exchange.response
    if response is not None and response.status == 304:
        exchange = replace(exchange, response=(response := replace(response, status=200)))
    if response is None or isinstance(may_be_stored(exchange, settings), Refused):
        return False
    found = control(response.headers, settings)
    is_clear = all(directive.is_wellformed for directive in found) and len({d.name for d in found}) == len(found)
    is_cookie = bool(lines(response.headers, "set-cookie"))
    is_odd = response.status in ERRORS or (has(found, "must-understand") and response.status != 200)
    if not is_clear or is_cookie or is_odd or "*" in nominated(response.headers) or is_unqualified(found, "no-cache"):
        return False
    state = as_stored(exchange, settings)
    return current_age(state, exchange.response_time, settings) < lifetime(state, settings).least
