"""What a reading of the RFC is about: requests, responses, and what the origin was asked, in order and with their times."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.fields import Pairs


@dataclass(frozen=True)
class Request:
    """A request as the client sent it."""

    method: str
    uri: str
    headers: Pairs = ()


@dataclass(frozen=True)
class Response:
    """A response as the origin sent it."""

    status: int
    headers: Pairs = ()
    is_complete: bool = True
    """Whether its body arrived whole."""


@dataclass(frozen=True)
class Exchange:
    """The origin was asked. A history is a list of these: nothing else changes what a cache may know."""

    request: Request
    """What the client wanted; the method is the one that the origin saw."""
    request_time: float
    response: Response | None
    """None where the origin failed without an answer."""
    response_time: float
    conditions: Pairs = ()
    """If-None-Match and If-Modified-Since as they reached the origin."""


@dataclass(frozen=True)
class Settings:
    """What a reader of RFC 9111 must know of a cache: where the RFC leaves a choice, what was chosen."""

    heuristic: bool = False
    client_may_refresh: bool = True
    """Whether the request directives no-cache, max-age and min-fresh are obeyed."""
    stale_on_error: float = 0
    """Seconds of staleness allowed when the origin fails and the response has no stale-if-error."""
    store_set_cookie: bool = False
    cookies_are_personal: bool = True
    """Whether a request with cookies, other than well-known analytics, is treated like one with Authorization."""
    counts_response_delay: bool = True
    """Whether the time that the origin took counts as age (RFC 9111 §4.2.3: it does)."""
    passes: float = 10
    """Seconds for which the cache may pass by a target whose answer it could not store."""
    targets: tuple[str, ...] = ("rcache-control", "cdn-cache-control")
    """The target list of RFC 9213."""


@dataclass(frozen=True)
class Allowed:
    """The RFC and the settings permit it."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """The RFC or the settings forbid it."""

    reason: str


Verdict = Allowed | Refused
