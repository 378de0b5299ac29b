"""May this response be stored, and for how long (RFC 9111 §3): one page of small questions, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rcache.core.directives import ResponseDirectives, response_directives
from rcache.core.freshness import explicit_lifetime, initial_age
from rcache.core.headers import OWS, RawHeaders, split_list, values, without
from rcache.core.vary import vary_names


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a response may be stored: `reason` is None where it may, else the word that says why not."""

    lifetime: float | None  # freshness_lifetime, in seconds
    initial_age: float  # corrected_initial_age, in seconds
    is_shared: bool  # may answer requests with credentials (RFC 9111 §3.5)
    is_explicit: bool  # the response itself says how long it stays fresh
    reason: str | None

    @property
    def may_store(self) -> bool:
        """No question was answered against it."""
        return self.reason is None


def may_store(
    status: int,
    headers: RawHeaders,
    *,
    ttl: float | None,
    statuses: frozenset[int],
    personal: bool,
    now: float,
) -> Verdict:
    """The verdict on a final response to GET.

    `ttl` is the rule's freshness in seconds and holds for `statuses`; explicit freshness from the endpoint wins over
    it, and its no-store wins over all. `personal` says that the request had credentials that the key does not cover.
    """
    directives = response_directives(headers)
    is_shared = says_shared(directives)
    lifetime = explicit_lifetime(directives, headers, now)
    is_explicit = lifetime is not None
    if lifetime is None and status in statuses:
        lifetime = ttl
    age = initial_age(headers, now)
    reason = (
        forbidden(directives)
        or unstorable(status, headers, directives)
        or ("credentials" if personal and not is_shared else None)
        or ("status" if not is_explicit and status not in statuses else None)
        or ("no-freshness" if lifetime is None else None)
        or ("stale" if lifetime is not None and lifetime <= age else None)
    )
    return Verdict(lifetime if reason is None else None, age, is_shared, is_explicit, reason)


def forbidden(directives: ResponseDirectives) -> str | None:
    """Does the origin forbid it?

    The forms that name fields count as those that do not, as RFC 9111 §5.2.2.4 and §5.2.2.7 let a cache do. no-cache
    would allow storing for revalidation, for which there is no use here.
    """
    if directives.no_store:
        return "no-store"
    if directives.private or directives.private_fields:
        return "private"
    if directives.no_cache or directives.no_cache_fields:
        return "no-cache"
    return None


def unstorable(status: int, headers: RawHeaders, directives: ResponseDirectives) -> str | None:
    """Is it a kind of response that is never stored?"""
    if is_partial(status, headers):
        return "partial"
    if not is_understood(status, directives):
        return "status"
    if values(headers, b"set-cookie"):
        return "set-cookie"
    if vary_names(headers) is None:
        return "vary"
    if is_endless(headers):
        return "stream"
    return None


def is_partial(status: int, headers: RawHeaders) -> bool:
    """Is it a part of something (RFC 9110 §14)?"""
    return status == 206 or bool(values(headers, b"content-range"))


def is_understood(status: int, directives: ResponseDirectives) -> bool:
    """Is its status final, and one whose caching requirements are known where must-understand asks for that?

    A 304 says something of a response that the client holds, so it is no answer for anybody else.
    """
    if not 200 <= status <= 599 or status == 304:
        return False
    return not directives.must_understand or status in UNDERSTOOD


def is_endless(headers: RawHeaders) -> bool:
    """Is its type that of a stream which goes on until somebody leaves?"""
    types = [value.partition(b";")[0].strip(OWS).lower() for value in values(headers, b"content-type")]
    return any(media_type in ENDLESS_TYPES for media_type in types)


def says_shared(directives: ResponseDirectives) -> bool:
    """Does the response allow a shared cache to answer requests with credentials from it (RFC 9111 §3.5)?"""
    return directives.public or directives.must_revalidate or directives.s_maxage is not None


def stored_headers(headers: RawHeaders) -> tuple[tuple[bytes, bytes], ...]:
    """The pairs to keep (RFC 9111 §3.1), names in lower case, order and repeats as they came.

    Fields of one connection go, as do a proxy's, and Age, which is computed anew for each answer.
    """
    listed = {name.lower() for line in values(headers, b"connection") for name in split_list(line)}
    return tuple([(name.lower(), value) for name, value in without(headers, NOT_STORED | listed)])


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
