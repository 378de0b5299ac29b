"""What stored responses become: freshened, outdated, invalidated (RFC 9111 §3.2, §4.3.4, §4.3.5, §4.4)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urldefrag, urljoin, urlsplit

from tests.reference.control import (
    asked_of_caches,
    control,
    has,
)
from tests.reference.fields import (
    Pairs,
    combined,
    entity_tag,
    lines,
    nominated,
)
from tests.reference.history import Allowed, Exchange, Settings
from tests.reference.storing import (
    Stored,
    as_stored,
    is_personal,
    may_be_stored,
)
from tests.reference.validation import can_be_selected, has_certain_key, updated, validation

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
"""RFC 9110 §9.2.1; what is not known counts as unsafe (RFC 9111 §4.4)."""

SITE = "http://testserver"


def stored_states(history: list[Exchange], candidate: int, settings: Settings) -> list[Stored]:
    """What the candidate may have become by the end of the history."""
    states = [as_stored(history[candidate], settings)]
    for place in range(candidate + 1, len(history)):
        states = [after for state in states for after in _after(state, history, candidate, place, settings)]
    return list(dict.fromkeys(states))


def _after(state: Stored, history: list[Exchange], candidate: int, place: int, settings: Settings) -> list[Stored]:
    exchange = history[place]
    if exchange.response is None or not exchange.response.is_complete:
        return [state]
    if state.uri in invalidated(exchange):
        return [replace(state, is_invalid=True)]
    if exchange.request.uri != state.uri or not can_be_selected(state, exchange.request):
        return [state]
    if exchange.response.status == 304 and exchange.request.method in ("GET", "HEAD"):
        return _after_validation(state, exchange, is_last(history[:place], candidate, settings), settings)
    if exchange.response.status == 200 and exchange.request.method == "HEAD":
        return _after_head(state, exchange, settings)
    return [state]


def is_last(history: list[Exchange], candidate: int, settings: Settings) -> bool:
    """Whether nothing can have been stored for the candidate's URI after it."""
    ours = [e for e in history[candidate + 1 :] if e.request.uri == history[candidate].request.uri]
    return not any(isinstance(may_be_stored(e, settings), Allowed) and e.request.method == "GET" for e in ours)


def invalidated(exchange: Exchange) -> set[str]:
    """The targets whose stored responses an answer to an unsafe request invalidates (RFC 9111 §4.4).

    For Location and Content-Location the RFC says MAY and rcache promises it; never for another origin.
    """
    response, request = exchange.response, exchange.request
    if request.method in SAFE or response is None or not 200 <= response.status < 400:
        return set()
    found = {request.uri}
    for name in ("location", "content-location"):
        for value in lines(response.headers, name):
            target = urlsplit(urldefrag(urljoin(SITE + request.uri, value)).url)
            if f"{target.scheme}://{target.netloc}" == SITE:
                found.add((target.path or "/") + (f"?{target.query}" if target.query else ""))
    return found


def _after_validation(state: Stored, exchange: Exchange, is_only: bool, settings: Settings) -> list[Stored]:
    """A MUST where the 304 names the response and may itself be stored (RFC 9111 §3.2, §4.3.4)."""
    assert exchange.response is not None
    said = validation(state, exchange, is_only=is_only)
    if said is None:
        return [state]
    headers, request = exchange.response.headers, exchange.request
    tag = entity_tag(headers)
    if said == "implied" and tag is not None:
        return [replace(state, is_certain=False)]
    freshened = updated(state, exchange, settings)
    found = control(headers, settings)
    is_odd = has(found, "no-store", "private") or bool(lines(headers, "set-cookie"))
    is_odd = is_odd or has(asked_of_caches(request), "no-store") or is_personal(request, settings) is not None
    is_odd = is_odd or (bool(lines(headers, "vary")) and nominated(headers) != nominated(state.headers))
    # The conditions of a HEAD are its client's own, and may speak of another response where the 304 names none.
    is_odd = is_odd or (request.method == "HEAD" and not _names_any(headers))
    is_odd = is_odd or not is_only or said == "implied" or not has_certain_key(state, request)
    if is_odd:
        return [replace(state, is_certain=False), replace(freshened, is_certain=False)]
    return [freshened]


def _names_any(headers: Pairs) -> bool:
    return entity_tag(headers) is not None or bool(lines(headers, "last-modified"))


def _after_head(state: Stored, exchange: Exchange, settings: Settings) -> list[Stored]:
    """Updated, or outdated where status, validators or lengths differ (RFC 9111 §4.3.5: SHOULD, taken for a MUST)."""
    assert exchange.response is not None
    headers = exchange.response.headers
    is_same = state.status == 200 and all(
        combined(headers, name) in (None, combined(state.headers, name))
        for name in ("etag", "last-modified", "content-length")
    )
    uncertain = replace(state, is_certain=False)
    if is_same:
        return [uncertain, replace(updated(state, exchange, settings), is_certain=False)]
    outdated = replace(uncertain, is_outdated=True)
    return [outdated] if is_personal(exchange.request, settings) is None else [uncertain, outdated]
