"""May this response be stored, and for how long (RFC 9111 §3): one page of small questions, each with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rcache.core.directives import NONE, ResponseDirectives, response_directives
from rcache.core.freshness import (
    explicit_lifetime,
    heuristic_lifetime,
    initial_age,
    is_heuristically_cacheable,
    last_modified,
)
from rcache.core.headers import OWS, RawHeaders, split_list, values, without
from rcache.core.targeted import TARGETS, UNREADABLE, targeted
from rcache.core.vary import vary_names

MIN_VALIDATION: Final = 600.0
MAX_VALIDATION: Final = 86_400.0
"""Seconds for which a stale response is kept for its validator's sake, at least and at most."""


@dataclass(frozen=True, slots=True)
class StoringRules:
    """What a rule and its middleware say of storing. Durations are seconds."""

    ttl: float | None  # freshness of what has one of `statuses`, where the response itself grants none
    statuses: frozenset[int]
    heuristic: bool = False  # freshness may be guessed where neither grants any (RFC 9111 §4.2.2)
    stale_while_revalidate: float = 0.0  # staleness allowed while a new answer is made, where no directive speaks of it
    stale_on_error: float = 0.0  # staleness allowed when the application fails, where no directive speaks of it
    store_set_cookie: bool = False  # Set-Cookie does not inhibit caching, as RFC 9111 §7.3 has it
    targets: tuple[bytes, ...] = TARGETS  # the targeted fields that are heeded (RFC 9213), in order


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a response may be stored: `reason` is None where it may, else the word that says why not.

    Durations are seconds. Those that begin where the lifetime ends are 0 where nothing is stored.
    """

    lifetime: float | None  # freshness_lifetime; 0 where every use needs validation, None where nothing is stored
    initial_age: float  # corrected_initial_age
    is_shared: bool  # may answer requests with credentials (RFC 9111 §3.5)
    is_explicit: bool  # the response itself says how long it stays fresh
    reason: str | None
    stale_while_revalidate: float  # past the lifetime (RFC 5861 §3)
    stale_if_error: float  # past the lifetime (RFC 5861 §4)
    must_revalidate: bool  # once it is stale, nobody may be answered with it before it is validated
    retention: float  # past the lifetime: as long as there is use for it
    directives: ResponseDirectives  # what was heeded, a targeted field's or Cache-Control's

    @property
    def may_store(self) -> bool:
        """No question was answered against it."""
        return self.reason is None


def may_store(
    status: int,
    headers: RawHeaders,
    rules: StoringRules,
    *,
    personal: bool,
    now: float,
    response_delay: float = 0.0,
) -> Verdict:
    """The verdict on a response to GET that came at `now`, in seconds since the epoch, so many seconds after it was asked for.

    `personal` says that the request had credentials that the key does not cover. A targeted field, where there is a valid
    one, stands in for Cache-Control and Expires (RFC 9213 §2.2).
    """
    directives = targeted(headers, rules.targets)
    if directives is None:
        directives = response_directives(headers)
    else:
        headers = without(headers, _REPLACED)
    age = initial_age(headers, now, response_delay)
    is_shared = says_shared(directives)
    lifetime, is_explicit = freshness(status, headers, directives, rules, now)
    while_revalidate, if_error = stale_allowances(directives, rules)
    validation = validation_time(lifetime or 0.0, age) if has_validator(headers, directives, now) else 0.0
    retention = max(while_revalidate, if_error, validation)
    reason = (
        forbidden(status, directives)
        or unstorable(status, headers, directives, rules)
        or ("credentials" if personal and not is_shared else None)
        or useless(status, directives, rules, lifetime, age - retention)
    )
    is_kept = reason is None
    return Verdict(
        lifetime=lifetime if is_kept else None,
        initial_age=age,
        is_shared=is_shared,
        is_explicit=is_explicit,
        reason=reason,
        stale_while_revalidate=while_revalidate if is_kept else 0.0,
        stale_if_error=if_error if is_kept else 0.0,
        must_revalidate=must_revalidate(directives),
        retention=retention if is_kept else 0.0,
        directives=directives,
    )


def forbidden(status: int, directives: ResponseDirectives) -> str | None:
    """Does the origin forbid it, or may it have done so in a field that cannot be read?

    must-understand sets no-store aside where the status is understood (RFC 9111 §5.2.2.3).
    """
    if directives is UNREADABLE:
        return "targeted"
    if directives.no_store and not (directives.must_understand and status in UNDERSTOOD):
        return "no-store"
    if directives.private or not _INDISPENSABLE.isdisjoint(directives.private_fields):
        return "private"
    return None


def unstorable(status: int, headers: RawHeaders, directives: ResponseDirectives, rules: StoringRules) -> str | None:
    """Is it a kind of response that is never stored?"""
    if is_partial(status, headers):
        return "partial"
    if not is_for_others(status) or (directives.must_understand and status not in UNDERSTOOD):
        return "status"
    if values(headers, b"set-cookie") and not rules.store_set_cookie and b"set-cookie" not in named_fields(directives):
        return "set-cookie"
    if vary_names(headers) is None:
        return "vary"
    if is_endless(headers):
        return "stream"
    return None


def useless(
    status: int, directives: ResponseDirectives, rules: StoringRules, lifetime: float | None, excess: float
) -> str | None:
    """Will nobody be answered with it? `excess` is its age beyond the time that there is use for it once stale."""
    if lifetime is None:
        return "no-freshness" if status in rules.statuses else "status"
    if lifetime <= excess:
        return "no-cache" if needs_validation(directives) else "stale"
    return None


def freshness(
    status: int, headers: RawHeaders, directives: ResponseDirectives, rules: StoringRules, now: float
) -> tuple[float | None, bool]:
    """Its lifetime, None where nobody grants one, and whether the response itself says so.

    Explicit freshness makes every status storable, and no-cache those that need none (RFC 9111 §3), for validation.
    """
    granted = explicit_lifetime(directives, headers, now)
    if needs_validation(directives):
        is_listed = status in rules.statuses or is_heuristically_cacheable(status, directives)
        return (None if granted is None and not is_listed else 0.0), True
    if granted is not None:
        return granted, True
    if rules.ttl is not None and status in rules.statuses:
        return rules.ttl, False
    return (heuristic_lifetime(status, directives, headers, now) if rules.heuristic else None), False


def needs_validation(directives: ResponseDirectives) -> bool:
    """Must every use be validated first (RFC 9111 §5.2.2.4)?"""
    return directives.no_cache or not _INDISPENSABLE.isdisjoint(directives.no_cache_fields)


def must_revalidate(directives: ResponseDirectives) -> bool:
    """Do its directives forbid stale answers (RFC 9111 §4.2.4), s-maxage among them (§5.2.2.10)?"""
    return (
        directives.must_revalidate
        or directives.proxy_revalidate
        or directives.s_maxage is not None
        or needs_validation(directives)
    )


def stale_allowances(directives: ResponseDirectives, rules: StoringRules) -> tuple[float, float]:
    """Seconds past its lifetime: while it is being revalidated, and when the application fails (RFC 5861)."""
    if must_revalidate(directives):
        return 0.0, 0.0
    revalidate, if_error = directives.stale_while_revalidate, directives.stale_if_error
    return (
        rules.stale_while_revalidate if revalidate is None else float(revalidate),
        rules.stale_on_error if if_error is None else float(if_error),
    )


def has_validator(headers: RawHeaders, directives: ResponseDirectives, now: float) -> bool:
    """Can the application be asked whether what is stored still holds (RFC 9111 §4.3.1)?"""
    named = named_fields(directives)
    etags = [] if b"etag" in named else values(headers, b"etag")
    if len(etags) == 1 and _ENTITY_TAG.fullmatch(etags[0].strip(OWS)):
        return True
    return b"last-modified" not in named and last_modified(headers, now) is not None


def validation_time(lifetime: float, age: float) -> float:
    """Seconds past its lifetime for which a response with a validator is worth keeping: as long again as it was fresh.

    What came stale is kept as long from now on.
    """
    return max(0.0, age - lifetime) + min(max(lifetime, MIN_VALIDATION), MAX_VALIDATION)


def is_partial(status: int, headers: RawHeaders) -> bool:
    """Is it a part of something (RFC 9110 §14)?"""
    return status == 206 or bool(values(headers, b"content-range"))


def is_for_others(status: int) -> bool:
    """Is its status a final one that may answer another request?"""
    return 200 <= status <= 599 and status not in FOR_ONE_REQUEST


def is_endless(headers: RawHeaders) -> bool:
    """Is its type that of a stream which goes on until somebody leaves?"""
    types = [value.partition(b";")[0].strip(OWS).lower() for value in values(headers, b"content-type")]
    return any(media_type in ENDLESS_TYPES for media_type in types)


def says_shared(directives: ResponseDirectives) -> bool:
    """Does the response allow a shared cache to answer requests with credentials from it (RFC 9111 §3.5)?"""
    return directives.public or directives.must_revalidate or directives.s_maxage is not None


def named_fields(directives: ResponseDirectives) -> frozenset[bytes]:
    """The fields that the qualified forms of no-cache and private keep from being stored (RFC 9111 §3.1)."""
    return frozenset([name.encode() for name in (*directives.no_cache_fields, *directives.private_fields)])


def stored_headers(headers: RawHeaders, directives: ResponseDirectives = NONE) -> tuple[tuple[bytes, bytes], ...]:
    """The pairs to keep (RFC 9111 §3.1), names in lower case, order and repeats as they came, unknown ones whole.

    Fields of one connection go, as do a proxy's, those that `directives` name, and Age, which is computed anew for each
    answer.
    """
    listed = {name.lower() for line in values(headers, b"connection") for name in split_list(line)}
    removed = NOT_STORED | listed | named_fields(directives)
    return tuple([(name.lower(), value) for name, value in without(headers, removed)])


ENDLESS_TYPES: Final = frozenset((b"text/event-stream", b"multipart/x-mixed-replace"))

UNDERSTOOD: Final = frozenset(
    (200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 421, 451, 500, 501, 502, 503, 504)
)
"""Final statuses that ask nothing more of a cache than to store and replay them (RFC 9110 §15)."""

NOT_STORED: Final = frozenset(
    (
        b"age",
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",  # announces fields after the body, which are not kept
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Proxy-Status is none of them: it is part of the response (RFC 9209 §2)."""

FOR_ONE_REQUEST: Final = frozenset((304, 412, 416, 417, 428, 429, 431, 511))
"""Statuses that answer what one request demanded, of which a 304 speaks of a response that only its client holds; RFC 6585
has its four stored by no cache."""

_INDISPENSABLE: Final = frozenset(("content-encoding", "content-range", "content-type", "location", "vary"))
"""Without one of these fields the rest means something else, so that a directive that names it means the whole response."""

_REPLACED: Final = frozenset((b"cache-control", b"expires"))
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[^"\x00-\x1f\x7f]*+"')
