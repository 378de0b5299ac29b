"""What `Cache(...)` and `CacheMiddleware(...)` may be told, and how each setting is checked.

`rcache.settings.Settings` says what each means and what it is where nobody says; here stand the forms in which people may write it.
The checks take what they have made themselves, so that a setting may pass them twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypedDict

from rcache.core import audit as audits
from rcache.core import checks
from rcache.core.audit import Audit
from rcache.core.checks import Duration, KeyBy, Refresh
from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds, size

Near = Literal["fast", "strict"]
OnOutage = Literal["proceed", "abort"]
Profile = Literal["conformant"]


class CacheSettings(TypedDict, total=False):
    """The settings of a `Cache` that are given by name, beside its URL."""

    namespace: str
    max_bytes: int | str
    max_body: int | str
    max_variants: int
    max_marks: int
    deadline: Duration
    purge_timeout: Duration
    on_outage: OnOutage
    near: Near | None
    near_bytes: int | str
    near_lease: Duration
    max_pending: int
    commit_timeout: Duration
    wait: Duration
    key_host: bool
    run_jobs: bool


class MiddlewareSettings(TypedDict, total=False):
    """The settings of a `CacheMiddleware` that are given by name, beside its rules."""

    enabled: bool
    default_ttl: Duration | None
    auto: bool
    strict: bool
    profile: Profile | None
    standard: bool | None
    vary: Iterable[str]
    query: Iterable[str] | Literal["declared"] | None
    cookies: Iterable[str] | Literal["ignore"] | None
    key_by: KeyBy | None
    guard: Callable[..., Any] | None
    client_ttl: Duration | None
    heuristic: bool | None
    client_may_refresh: bool | None
    stale_while_revalidate: Duration | None
    stale_on_error: Duration | None
    timeout: Duration | None
    hard_timeout: Duration | None
    early: bool | float | None
    jitter: Duration | None
    refresh: Refresh | None
    rewarm: int | None
    store_set_cookie: bool | None
    forward_targeted: bool | None
    cache_groups: bool | None
    compress: bool | str | Iterable[str] | None
    audit: Audit | float | None


class AllSettings(CacheSettings, MiddlewareSettings, total=False):
    """All of them."""

    url: Any


def checked(settings: Mapping[str, Any], known: Iterable[str], whose: str) -> dict[str, Any]:
    """Each setting as its check makes it. Raises ConfigurationError for what cannot work, and what none of `known` is called."""
    names = list(known)
    for name in settings:
        if name not in names:
            raise ConfigurationError(f"{name}= is no setting of {whose}: {nearest(name, names)}")
    return {name: CHECKS[name](value, name) for name, value in settings.items()}


def nearest(name: str, known: Iterable[str], form: str = "{}=") -> str:
    """What whoever wrote `name` may have meant; `form` is how a name is written there."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return (
        f"did you mean {form.format(close[0])}?"
        if close
        else f"there are {', '.join(form.format(each).rstrip('=') for each in names)}"
    )


def cache_contradiction(settings: Mapping[str, Any]) -> str | None:
    """Why these settings of a cache, checked one by one, cannot work together, with the remedy. Holds only what was said."""
    kept, body = settings.get("max_bytes"), settings.get("max_body")
    if kept is not None and body is not None and body > kept and settings.get("url", EMBEDDED) == EMBEDDED:
        return (
            f"max_body={body} is more than the embedded cache's max_bytes={kept}, so the longest bodies would never be kept: "
            "raise max_bytes, or lower max_body"
        )
    return None


def middleware_contradiction(settings: Mapping[str, Any]) -> str | None:
    """The same of a middleware's."""
    is_standard = settings.get("standard")
    if is_standard is None:
        is_standard = settings.get("profile") is not None
    if settings.get("auto") and settings.get("default_ttl") is None and not is_standard:
        return (
            "auto=True needs default_ttl=, how long an answer is kept that no write flushes: write "
            'CacheMiddleware(app, auto=True, default_ttl="1h"), or standard=True to keep only what says itself how long'
        )
    return late_timeout(settings.get("timeout"), settings.get("hard_timeout"))


def late_timeout(timeout: float | None, hard_timeout: float | None) -> str | None:
    """Why the two cannot work together, in a middleware as in a rule."""
    if timeout is None or hard_timeout is None or hard_timeout >= timeout:
        return None
    return (
        f"hard_timeout={hard_timeout:g} ends a run before timeout={timeout:g} lets a stale answer stand in for it: "
        "make hard_timeout the longer one, or leave timeout out"
    )


EMBEDDED: Final = "memory://"


def shown_url(url: object) -> str:
    """What of a URL holds no secret: scheme, hosts and path."""
    if not isinstance(url, str):
        return f"<{type(url).__name__}>"
    found = _URL.fullmatch(url)
    return f"{found[1]}{found[2]}" if found else "..."


# A piece of a password may follow a stray @ or ?, so what is spelled in an unexpected way is not shown at all.
_URL: Final = re.compile(r"([a-z+]+://)(?:[^@?/]*@)?([^@?]*)(?:\?[^@]*)?")


# The checks


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name}={value!r} must be a text that is not empty")
    return value


def _as_given(value: Any, name: str) -> Any:
    """Judged by whoever opens the store."""
    return value


def _one_of(*choices: str | None) -> Callable[[Any, str], Any]:
    listed = " or ".join("None" if choice is None else f'"{choice}"' for choice in choices)

    def check(value: Any, name: str) -> Any:
        if not any(value is choice or value == choice for choice in choices):
            raise ConfigurationError(f"{name}={value!r} must be {listed}")
        return value

    return check


def _count(most: int) -> Callable[[Any, str], int]:
    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ConfigurationError(f"{name}={value!r} must be a whole number from 1 to {most:,}")
        return value

    return check


def _optional(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda value, name: None if value is None else check(value, name)


def _named(check: Callable[[Any], Any]) -> Callable[[Any, str], Any]:
    """A check that knows of itself what its setting is called."""
    return lambda value, _: None if value is None else check(value)


def _query(value: Any, name: str) -> Any:
    if value is None or value == "declared":
        return value
    return tuple(checks.list_of(value, name, (str,)))


CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "url": _as_given,
    "namespace": _text,
    "max_bytes": size,
    "max_body": size,
    "max_variants": _count(1000),
    "max_marks": _count(100_000_000),
    "deadline": seconds,
    "purge_timeout": seconds,
    "on_outage": _one_of("proceed", "abort"),
    "near": _one_of(None, "fast", "strict"),
    "near_bytes": size,
    "near_lease": seconds,
    "max_pending": _count(100_000_000),
    "commit_timeout": seconds,
    "wait": checks.staleness,
    "key_host": checks.flag,
    "run_jobs": checks.flag,
    "enabled": checks.flag,
    "default_ttl": _optional(seconds),
    "auto": checks.flag,
    "strict": checks.flag,
    "profile": _one_of(None, "conformant"),
    "standard": _optional(checks.flag),
    "vary": lambda value, _: checks.header_names(value),
    "query": _query,
    "cookies": _named(checks.cookie_names),
    "key_by": _named(checks.identity_source),
    "guard": _optional(checks.checked_callable),
    "client_ttl": _named(checks.whole_seconds),
    "heuristic": _optional(checks.flag),
    "client_may_refresh": _optional(checks.flag),
    "stale_while_revalidate": _optional(checks.staleness),
    "stale_on_error": _optional(checks.staleness),
    "timeout": _optional(seconds),
    "hard_timeout": _optional(seconds),
    "early": _named(checks.earliness),
    "jitter": _optional(checks.staleness),
    "refresh": _named(checks.refreshing),
    "rewarm": _named(checks.hottest),
    "store_set_cookie": _optional(checks.flag),
    "forward_targeted": _optional(checks.flag),
    "cache_groups": _named(checks.groups_flag),
    "compress": _named(checks.kept_coding),
    "audit": _named(audits.checked),
}
"""The check of each setting, in the order in which they are told."""
