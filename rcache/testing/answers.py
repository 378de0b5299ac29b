"""Asserts what the cache did with a request. Each returns what it read, and says in its error what was done instead, and why."""

from __future__ import annotations

from typing import Any, Final

from rcache.asgi.plan import REMEDIES
from rcache.testing.cache_status import CacheStatus, cache_status


def assert_hit(response: Any) -> CacheStatus:
    """The answer came from the cache, and was fresh."""
    told = cache_status(response)
    if not told.is_hit:
        raise _wrong(response, told, "not a hit")
    if told.is_stale:
        raise _wrong(response, told, "a stale hit", "where that is right, write assert_stale")
    return told


def assert_miss(response: Any, *, stored: bool | None = None) -> CacheStatus:
    """The cache was asked, had nothing that could answer, and the application made the answer, or another request's run of it.

    `stored`: whether the answer is also to be kept, or not. Of a streamed one nobody knows that yet when its header leaves.
    """
    told = cache_status(response)
    if told.forward not in ("miss", "stale", "request") or told.is_covered:
        raise _wrong(response, told, "not a miss")
    if stored is not None and told.is_stored is not stored:
        raise _wrong(response, told, "a miss, but not stored" if stored else "a miss, but stored")
    return told


def assert_stale(response: Any) -> CacheStatus:
    """The answer came from the cache, and was stale: a new one is being made, or the application failed or was late.

    `ttl=0` may be either, in whole seconds: assert_hit takes it too.
    """
    told = cache_status(response)
    if not (told.is_stale or (told.is_hit and told.ttl == 0)):
        raise _wrong(response, told, "not a stale answer")
    return told


def assert_not_cached(response: Any, detail: str | None = None) -> CacheStatus:
    """The answer neither came from the cache nor is kept in it; `detail`: for which reason, in the words of Cache-Status."""
    told = cache_status(response)
    if told.is_hit or told.is_collapsed or told.is_stored or told.is_covered:
        raise _wrong(response, told, "from the cache, or kept in it")
    if told.text and told.forward == "miss" and told.detail is None:
        raise _wrong(
            response, told, "perhaps kept", "the answer is streamed, and its header left before: ask once more"
        )
    if detail is not None and told.detail != detail:
        raise _wrong(response, told, f"not for the reason {detail!r}")
    return told


_ASKED_AGAIN: Final = "it was made and kept just now, and the next request will be a hit: ask once before"
_NO_RULE: Final = (
    "no rule covers the route, or no CacheMiddleware stands before it: write @cached(ttl=...) on the endpoint, a Rule, or "
    "default_ttl=; or it is switched off (disable(), RCACHE_ENABLED)"
)
_OTHERS: Final = {
    "key": "key_by returned None for this request",
    "body": "a GET with a body, or a longer one than max_request_body",
    "guard": "the guard refused the request",
    "refused": "a tag of it was purged while the endpoint ran, somebody is about to commit, or the store is full",
    "uncommitted": "the request wrote, or read what a transaction has not committed: track(..., uncommitted=True) is for test "
    "suites that never commit",
    "quarantine": "the store has lost its data a moment ago: advance the clock, or take a cache for each test",
    "outage": "the store cannot be reached",
    "purge-pending": "a purge has yet to land",
    "status": "an answer of this status is not kept: name it in statuses=",
}


def _remedy(told: CacheStatus) -> str:
    """What to do about an answer that was not what a test wanted."""
    if not told.text:
        return _NO_RULE
    if told.detail is not None:
        return REMEDIES.get(told.detail) or _OTHERS.get(told.detail) or ""
    if told.is_stored:
        return _ASKED_AGAIN
    if told.is_hit:
        return "it was kept by an earlier request: take a cache for each test (the fixture rcache_cache)"
    if told.forward == "miss":
        return "where the answer is streamed, its header leaves before it is known whether it is kept: ask once more"
    return ""


def _wrong(response: Any, told: CacheStatus, what: str, remedy: str | None = None) -> AssertionError:
    request = getattr(response, "request", None)
    method, url = getattr(request, "method", None), getattr(response, "url", None) or getattr(request, "url", None)
    asked = f"{method or 'GET'} {url}: " if url else ""
    field = f"Cache-Status is {told.text!r}" if told.text else "there is no Cache-Status"
    advice = _remedy(told) if remedy is None else remedy
    return AssertionError(f"{asked}{what}: {field}" + (f"\n  {advice}" if advice else ""))
