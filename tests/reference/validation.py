"""Keys, conditions and 304 answers: which stored response is meant (RFC 9111 §4.1, §4.3, RFC 9110 §13)."""

from __future__ import annotations

from dataclasses import replace

from tests.reference.fields import (
    can_match,
    certainly_match,
    combined,
    date_field,
    entity_tag,
    entity_tags,
    is_strong,
    nominated,
    strongly_equal,
    weakly_equal,
)
from tests.reference.history import Exchange, Request, Settings
from tests.reference.storing import (
    Stored,
    kept,
    times,
)


def can_be_selected(state: Stored, request: Request) -> bool:
    """Whether the fields that Vary nominates can be said to match those of a request that it answered."""
    names = nominated(state.headers)
    if "*" in names:
        return False
    return any(all(can_match(n, request.headers, r.headers) for n in names) for r in state.requests)


def has_certain_key(state: Stored, request: Request) -> bool:
    """Whether they match beyond doubt those of the request that brought it."""
    names = nominated(state.headers)
    return "*" not in names and all(certainly_match(n, request.headers, state.requests[0].headers) for n in names)


def validation(state: Stored, exchange: Exchange, *, is_only: bool) -> str | None:
    """What a 304 says of a stored response: `named` for update, `implied` by the conditions alone, or None (§4.3.4)."""
    assert exchange.response is not None
    tag, mine = entity_tag(exchange.response.headers), entity_tag(state.headers)
    if tag is not None and is_strong(tag):
        if mine is None or not weakly_equal(tag, mine):
            return None
        return "named" if strongly_equal(tag, mine) else "implied"
    if tag is not None:
        return "named" if mine is not None and weakly_equal(tag, mine) else None
    modified = date_field(exchange.response.headers, "last-modified", exchange.response_time)
    if modified is not None:
        return "named" if modified == date_field(state.headers, "last-modified", exchange.response_time) else None
    if mine is None and date_field(state.headers, "last-modified", exchange.response_time) is None and is_only:
        return "named"
    return "implied" if _was_asked_about(state, exchange) else None


def _was_asked_about(state: Stored, exchange: Exchange) -> bool:
    """Whether the conditions of a request were the stored response's validators, and no other's."""
    mine = entity_tag(state.headers)
    tags = entity_tags(combined(exchange.conditions, "if-none-match") or "")
    if tags:
        return mine is not None and tags == [mine]
    since = combined(exchange.conditions, "if-modified-since")
    return since is not None and since == combined(state.headers, "last-modified")


def updated(state: Stored, exchange: Exchange, settings: Settings) -> Stored:
    """The stored response with the fields of a 304 or of a HEAD response in place of its own (RFC 9111 §3.2)."""
    assert exchange.response is not None
    new = tuple((n, v) for n, v in kept(exchange.response.headers, settings) if n.lower() != "content-length")
    replaced = {name.lower() for name, _ in new} | {"age", "date"}
    merged = tuple((name, value) for name, value in state.headers if name.lower() not in replaced) + new
    request_time, response_time, age_value, date_value = times(exchange, exchange.response.headers)
    return replace(
        state,
        headers=kept(merged, settings),
        requests=(*state.requests, exchange.request),
        request_time=request_time,
        response_time=response_time,
        age_value=age_value,
        date_value=date_value,
        is_invalid=False,
        is_outdated=False,
    )


def not_modified(request: Request, state: Stored) -> set[bool]:
    """Whether the request's conditions make a 304 of a response (RFC 9110 §13.2.2, RFC 9111 §4.3.2); both where one may say so.

    That is so of a 2xx other than 200 (RFC 9110 §13.2.1 and §15.4.5 differ on them), and where If-Modified-Since meets a
    response whose Last-Modified is no date, so that its Date may count or nothing.
    """
    if request.method not in ("GET", "HEAD") or not 200 <= state.status < 300:
        return {False}
    listed = combined(request.headers, "if-none-match")
    if listed is not None:
        mine = entity_tag(state.headers)
        found = {listed.strip() == "*" or any(mine is not None and weakly_equal(mine, t) for t in entity_tags(listed))}
    else:
        since = date_field(request.headers, "if-modified-since", state.response_time)
        modified = date_field(state.headers, "last-modified", state.response_time)
        found = {since is not None and (state.date_value if modified is None else modified) <= since}
        found |= {False} if modified is None and combined(state.headers, "last-modified") else set()
    return found if state.status == 200 else found | {False}
