"""Which responses may be stored, and what of them (RFC 9111 §3)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.control import (
    asked_of_caches,
    control,
    has,
    is_shareable,
    is_unqualified,
    qualified,
)
from tests.reference.fields import (
    Pairs,
    combined,
    date_field,
    delta_seconds,
    lines,
    members,
    targeted,
)
from tests.reference.history import Allowed, Exchange, Refused, Request, Settings, Verdict

HEURISTICALLY_CACHEABLE = (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501)
"""RFC 9110 §15.1."""

UNDERSTOOD = frozenset(
    (*range(200, 206), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, 451, *range(500, 506))
)
"""Status codes of RFC 9110, and 451 of RFC 7725, that a cache without partial responses can say to understand."""

ERRORS = (500, 502, 503, 504)
"""What stale-if-error speaks of (RFC 5861 §4)."""

PER_CONNECTION = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    )
)
"""Fields that are not stored, or not forwarded (RFC 9111 §3.1, RFC 9110 §7.6.1)."""

ANALYTICS = ("_ga", "_gid")
"""Cookies that make nobody's answer another one."""


OF_THE_REQUEST = ("request no-store", "authorization", "cookie", "method")
"""Reasons not to store that lie in the request: what is stored already stays as it was."""


def is_personal(request: Request, settings: Settings) -> str | None:
    """Why the request is somebody's own."""
    if lines(request.headers, "authorization"):
        return "authorization"
    cookies = [pair.partition("=")[0].strip() for line in lines(request.headers, "cookie") for pair in line.split(";")]
    if settings.cookies_are_personal and any(name and name not in ANALYTICS for name in cookies):
        return "cookie"
    return None


def may_be_stored(exchange: Exchange, settings: Settings) -> Verdict:
    """Whether a shared cache may keep the response for later requests (RFC 9111 §3)."""
    request, response = exchange.request, exchange.response
    if request.method not in ("GET", "HEAD"):
        return Refused("method")
    if response is None or not response.is_complete:
        return Refused("incomplete")
    if response.status < 200 or response.status in (206, 304):
        return Refused("status")
    if has(asked_of_caches(request), "no-store"):
        return Refused("request no-store")
    found = control(response.headers, settings)
    is_understood = response.status in UNDERSTOOD
    if has(found, "must-understand") and not is_understood:
        return Refused("must-understand")
    if has(found, "no-store") and not has(found, "must-understand"):
        return Refused("no-store")
    if is_unqualified(found, "private"):
        return Refused("private")
    personal = is_personal(request, settings)
    if personal and not is_shareable(found):
        return Refused(personal)
    if lines(response.headers, "set-cookie") and not settings.store_set_cookie:
        return Refused("set-cookie")
    if has(found, "public", "max-age", "s-maxage") or response.status in HEURISTICALLY_CACHEABLE:
        return Allowed("cacheable")
    if lines(response.headers, "expires") and targeted(response.headers, settings.targets) is None:
        return Allowed("cacheable")
    return Refused("no freshness")


@dataclass(frozen=True)
class Stored:
    """A stored response as it may be by now."""

    status: int
    headers: Pairs
    requests: tuple[Request, ...]
    """The requests that it was the answer to: the first one, and those for which it was validated."""
    method: str
    uri: str
    request_time: float
    response_time: float
    age_value: float
    date_value: float
    is_invalid: bool = False
    """Whether an unsafe request requires a validation first (RFC 9111 §4.4)."""
    is_outdated: bool = False
    """Whether a HEAD response told that it is not current (RFC 9111 §4.3.5)."""
    is_certain: bool = True
    """False where the RFC leaves to the cache what becomes of it."""


def age_field(headers: Pairs) -> int:
    """The first member of Age; 0 if that is no number of seconds (RFC 9111 §5.1)."""
    found = members(combined(headers, "age") or "")
    return (delta_seconds(found[0]) or 0) if found else 0


def times(exchange: Exchange, headers: Pairs) -> tuple[float, float, float, float]:
    """request_time, response_time, age_value and date_value (RFC 9111 §4.2.3); received is dated (RFC 9110 §6.6.1)."""
    at = exchange.response_time
    date = date_field(headers, "date", at)
    return exchange.request_time, at, age_field(headers), at if date is None else date


def kept(headers: Pairs, settings: Settings) -> Pairs:
    """The fields that are stored (RFC 9111 §3.1)."""
    gone = PER_CONNECTION | {name.lower() for name in members(combined(headers, "connection") or "")}
    gone |= qualified(control(headers, settings), "private")
    return tuple((name, value) for name, value in headers if name.lower() not in gone)


def as_stored(exchange: Exchange, settings: Settings) -> Stored:
    """The response of an exchange when it was just stored."""
    response, request = exchange.response, exchange.request
    assert response is not None
    headers = kept(response.headers, settings)
    return Stored(response.status, headers, (request,), request.method, request.uri, *times(exchange, response.headers))
