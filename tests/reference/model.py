"""RFC 9111 (with 5861, 9213 and §13 of 9110) read as functions over a history; written from the RFCs' texts alone.

Two questions are answered. `may_be_served`: does anything forbid to answer this request from that stored response? And
`hit_expected`: is there a stored response that has nothing against it, so that a cache which asks the origin all the same is
of no use? Between the two lies what the RFC leaves to the cache: there the model has no opinion.

A "candidate" is the place in the history of the exchange that brought a response. What a stored response has become by now is
a list of states, as where the RFC says MAY there are several; something is allowed if one state allows it, and expected if
all do.
"""

from __future__ import annotations

from tests.reference.control import (
    asked_of_caches,
    control,
    has,
    is_unqualified,
    must_not_be_stale,
    named,
)
from tests.reference.fields import (
    Directive,
    delta_seconds,
    entity_tag,
    nominated,
)
from tests.reference.freshness import current_age, is_plainly_stored, lifetime
from tests.reference.history import Allowed, Exchange, Refused, Request, Settings, Verdict
from tests.reference.states import is_last, stored_states
from tests.reference.storing import (
    ERRORS,
    Stored,
    as_stored,
    may_be_stored,
)
from tests.reference.validation import can_be_selected, has_certain_key, validation


def is_superseded(state: Stored, history: list[Exchange], candidate: int, request: Request, settings: Settings) -> bool:
    """Whether a more recent response that must have been stored has the request's key as well (RFC 9111 §4).

    One without Vary does not take the place of one that has it (§4.1).
    """
    for place in range(candidate + 1, len(history)):
        if history[place].request.uri == request.uri and is_plainly_stored(history, place, settings):
            newer = as_stored(history[place], settings)
            is_newer = newer.date_value >= state.date_value and newer.response_time >= state.response_time
            is_as_good = bool(nominated(newer.headers)) or not nominated(state.headers)
            if is_newer and is_as_good and has_certain_key(newer, request):
                return True
    return False


def has_failed(exchange: Exchange) -> str | None:
    """How the origin failed: `raised`, also in the midst of an answer, or an `error` (RFC 5861 §4)."""
    if exchange.response is None or not exchange.response.is_complete:
        return "raised"
    return "error" if exchange.response.status in ERRORS else None


def may_be_served(
    history: list[Exchange],
    request: Request,
    candidate: int,
    now: float,
    settings: Settings,
    began: int | None = None,
) -> Verdict:
    """Whether the response that `history[candidate]` brought may answer the request now.

    `began` is where the exchanges begin that were made in answering this request; without it there were none.
    """
    began = len(history) if began is None else began
    before, during = history[:began], history[began:]
    stored = may_be_stored(before[candidate], settings)
    if isinstance(stored, Refused):
        return stored
    if before[candidate].request.uri != request.uri:
        return Refused("another target")
    if request.method not in ("GET", "HEAD") or before[candidate].request.method not in ("GET", request.method):
        return Refused("method")
    states, is_only = stored_states(before, candidate, settings), is_last(before, candidate, settings)
    if any(_is_validated(state, during, request, is_only=is_only) for state in states):
        return Allowed("validated")
    states = [state for state in states if not is_superseded(state, before, candidate, request, settings)]
    if not states:
        return Refused("superseded")
    how = next((how for exchange in during if (how := has_failed(exchange))), None)
    verdicts = [use(state, request, now, settings, lifetime(state, settings).most, how) for state in states]
    return next((verdict for verdict in verdicts if isinstance(verdict, Allowed)), verdicts[0])


def _is_validated(state: Stored, during: list[Exchange], request: Request, *, is_only: bool) -> bool:
    """Whether the origin, asked for this request, answered that this response is good."""
    for exchange in during:
        if exchange.response is None or exchange.response.status != 304:
            continue
        said = validation(state, exchange, is_only=is_only)
        # A response that Vary would not select may be used where the origin itself names it (RFC 9111 §4.1, §4.3.1).
        if said and (can_be_selected(state, request) or entity_tag(exchange.response.headers) is not None):
            return True
    return False


def use(state: Stored, request: Request, now: float, settings: Settings, lasts: float, failed: str | None) -> Verdict:
    """Whether a state may be used without validation, if it is fresh for `lasts` seconds."""
    found = control(state.headers, settings)
    if "*" in nominated(state.headers) or not can_be_selected(state, request):
        return Refused("vary")
    if state.is_invalid:
        return Refused("invalidated")
    if has(found, "no-store") and not has(found, "must-understand"):
        return Refused("no-store")
    if is_unqualified(found, "private"):
        return Refused("private")
    if is_unqualified(found, "no-cache"):
        return Refused("no-cache")
    age = current_age(state, now, settings)
    is_fresh = lasts > age
    if failed is not None:
        return _use_after_failure(found, request, settings, age - lasts, failed)
    refusal = _refusal_by_client(request, settings, age, lasts)
    if refusal is not None:
        return refusal
    return Allowed("fresh") if is_fresh else _stale_use(found, request, age - lasts)


def _refusal_by_client(request: Request, settings: Settings, age: float, lasts: float) -> Refused | None:
    """What the request directives have against an answer of this age (RFC 9111 §5.2.1); the mildest reading of each."""
    if not settings.client_may_refresh:
        return None
    asked = asked_of_caches(request)
    if has(asked, "no-cache"):
        return Refused("request no-cache")
    most = [seconds for d in named(asked, "max-age") if (seconds := delta_seconds(d.argument)) is not None]
    if most and age > max(most):
        return Refused("request max-age")
    if most and age >= lasts and not has(asked, "max-stale"):
        return Refused("request max-age, stale")
    least = [seconds for d in named(asked, "min-fresh") if (seconds := delta_seconds(d.argument)) is not None]
    if least and lasts < age + min(least):
        return Refused("request min-fresh")
    return None


def _stale_use(found: list[Directive], request: Request, staleness: float) -> Verdict:
    """By stale-while-revalidate or the client's max-stale (RFC 9111 §4.2.4, RFC 5861 §3)."""
    if must_not_be_stale(found):
        return Refused("stale, must revalidate")
    if _within(found, "stale-while-revalidate", staleness):
        return Allowed("stale-while-revalidate")
    asked = asked_of_caches(request)
    if _within(asked, "max-stale", staleness) or any(d.argument is None for d in named(asked, "max-stale")):
        return Allowed("max-stale")
    return Refused("stale")


def _use_after_failure(
    found: list[Directive], request: Request, settings: Settings, staleness: float, failed: str
) -> Verdict:
    """When the origin raised or answered with an error (RFC 9111 §4.2.4, §4.3.3, RFC 5861 §4).

    What the client preferred is then out of reach: its directives are advice (§5.2.1), and the rest is an error. An
    error answer may count as no answer (§4.3.3), so that `stale_on_error` is allowed for it too.
    """
    if staleness < 0:
        return Allowed("fresh")
    if must_not_be_stale(found):
        return Refused("stale, must revalidate")
    if _within(found, "stale-if-error", staleness) or _within(asked_of_caches(request), "stale-if-error", staleness):
        return Allowed("stale-if-error")
    if not has(found, "stale-if-error") and 0 < settings.stale_on_error >= staleness:
        return Allowed("stale_on_error")
    without_failure = _stale_use(found, request, staleness)
    return without_failure if isinstance(without_failure, Allowed) else Refused(f"stale, {failed}")


def _within(found: list[Directive], name: str, staleness: float) -> bool:
    return any((delta_seconds(d.argument) or 0) >= staleness for d in named(found, name) if d.argument is not None)
