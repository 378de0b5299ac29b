"""What a cache worth having does: hits, answers in place of an error, and 504 where only stored responses will do."""

from __future__ import annotations

from tests.reference.control import (
    asked_of_caches,
    control,
    has,
    is_shareable,
    named,
)
from tests.reference.fields import (
    Directive,
    delta_seconds,
    lines,
    nominated,
)
from tests.reference.freshness import current_age, is_plainly_stored, lifetime
from tests.reference.history import Allowed, Exchange, Refused, Request, Settings
from tests.reference.model import has_failed, may_be_served, use
from tests.reference.states import SAFE, invalidated, stored_states
from tests.reference.storing import (
    ERRORS,
    OF_THE_REQUEST,
    Stored,
    as_stored,
    is_personal,
    may_be_stored,
)
from tests.reference.validation import has_certain_key


def hit_expected(history: list[Exchange], request: Request, now: float, settings: Settings) -> int | None:
    """The candidate that must answer, None where the cache may ask the origin or the model cannot tell."""
    candidate = _plain_candidate(history, request, settings)
    if candidate is None or not _is_clear(request, settings):
        return None
    states = stored_states(history, candidate, settings)
    return candidate if all(_is_plain(state, request, now, settings) for state in states) else None


def stale_hit_expected(
    history: list[Exchange], request: Request, now: float, settings: Settings, began: int
) -> int | None:
    """The candidate that must stand in for an origin that was asked and failed (RFC 5861 §4, `stale_on_error`)."""
    before, during = history[:began], history[began:]
    hows = {has_failed(exchange) for exchange in during}
    candidate = _plain_candidate(before, request, settings)
    if candidate is None or not _is_clear(request, settings) or hows not in ({"raised"}, {"error"}):
        return None
    if has(asked_of_caches(request), "no-cache", "max-age", "min-fresh"):
        return None
    if during[-1].response is not None and not during[-1].response.is_complete:
        return None  # too late: the answer had begun
    states = stored_states(before, candidate, settings)
    is_sure = all(_stands_in(state, request, now, settings, hows == {"raised"}) for state in states)
    return candidate if is_sure else None


def _is_clear(request: Request, settings: Settings) -> bool:
    """Whether a request says nothing that a cache may read in two ways."""
    asked = asked_of_caches(request)
    if len({d.name for d in asked}) < len(asked) or not all(d.is_wellformed for d in asked):
        return False
    numbers = named(asked, "max-age", "min-fresh")
    if any(delta_seconds(d.argument) is None for d in numbers):
        return False
    if lines(request.headers, "pragma") and not lines(request.headers, "cache-control"):
        return False
    odd = ("if-match", "if-unmodified-since", "if-range", "range")
    return not any(lines(request.headers, name) for name in odd)


def _plain_candidate(history: list[Exchange], request: Request, settings: Settings) -> int | None:
    """The last response that was plainly stored under the request's key, if nothing later makes it doubtful."""
    if request.method not in ("GET", "HEAD"):
        return None
    for place in range(len(history) - 1, -1, -1):
        exchange = history[place]
        if request.uri in invalidated(exchange):
            return None
        if exchange.request.uri != request.uri:
            continue
        if _changes_nothing(exchange, settings):
            if is_personal(request, settings) and is_personal(exchange.request, settings):
                return None  # requests like this one may be passed by for a while
            continue
        if not is_plainly_stored(history, place, settings):
            return None
        if has_certain_key(as_stored(exchange, settings), request):
            return place if _has_one_vary(history, request.uri, settings) else None
    return None


def _has_one_vary(history: list[Exchange], uri: str, settings: Settings) -> bool:
    """Whether the same fields always selected: where they changed, it is the cache's in which order it asks."""
    ours = [e for e in history if e.request.uri == uri and isinstance(may_be_stored(e, settings), Allowed)]
    return len({frozenset(nominated(e.response.headers)) for e in ours if e.response is not None}) < 2


def _changes_nothing(exchange: Exchange, settings: Settings) -> bool:
    """Whether what is stored stays as it was; what a 304 or a HEAD does is for `stored_states` to say."""
    response = exchange.response
    if exchange.request.method == "HEAD":
        return True
    if exchange.request.method not in SAFE and response is None:
        return False
    if response is not None and not response.is_complete:
        return False  # its beginning may have told that it could not be stored
    stored = may_be_stored(exchange, settings)
    if isinstance(stored, Allowed):
        return False
    is_error = response is None or response.status in ERRORS
    return is_error or response.status == 304 or stored.reason in OF_THE_REQUEST


def _is_plain(state: Stored, request: Request, now: float, settings: Settings) -> bool:
    """Whether a state is fresh beyond doubt, or stale for less than its stale-while-revalidate."""
    if not _is_sure(state, request, settings):
        return False
    verdict = use(state, request, now, settings, lifetime(state, settings).least, None)
    if verdict == Allowed("stale-while-revalidate"):
        staleness = current_age(state, now, settings) - lifetime(state, settings).most
        is_unasked = not has(asked_of_caches(request), "only-if-cached", "max-stale", "max-age", "min-fresh")
        return is_unasked and 0 < staleness < _only(control(state.headers, settings), "stale-while-revalidate")
    return verdict == Allowed("fresh")


def _stands_in(state: Stored, request: Request, now: float, settings: Settings, has_raised: bool) -> bool:
    """Whether a state may answer after a failure beyond doubt."""
    if not _is_sure(state, request, settings):
        return False
    verdict = use(state, request, now, settings, lifetime(state, settings).least, "raised")
    staleness = current_age(state, now, settings) - lifetime(state, settings).least
    if verdict == Allowed("stale-if-error"):
        return staleness < _only(control(state.headers, settings), "stale-if-error")
    return verdict == Allowed("stale_on_error") and has_raised and staleness < settings.stale_on_error


def _is_sure(state: Stored, request: Request, settings: Settings) -> bool:
    found = control(state.headers, settings)
    if not state.is_certain or not has_certain_key(state, request):
        return False
    if len({d.name for d in found}) < len(found) or not all(d.is_wellformed for d in found):
        return False
    return is_shareable(found) or is_personal(request, settings) is None


def _only(found: list[Directive], name: str) -> float:
    """The seconds of a directive that is there once, else 0."""
    given = named(found, name)
    return (delta_seconds(given[0].argument) or 0) if len(given) == 1 else 0


def gateway_timeout_expected(history: list[Exchange], request: Request, now: float, settings: Settings) -> bool:
    """Whether `only-if-cached` leaves a 504 alone: no stored response may answer (RFC 9111 §5.2.1.7)."""
    if request.method not in ("GET", "HEAD") or not has(asked_of_caches(request), "only-if-cached"):
        return False
    return all(
        isinstance(may_be_served(history, request, candidate, now, settings), Refused)
        for candidate in range(len(history))
    )
