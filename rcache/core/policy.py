"""What a rule may say, checked where it is written.

`Options` is what `@cached(...)` and `Rule(path, ...)` share; what they leave open, `Defaults` say. Whatever cannot work is refused
here with the remedy, so that no request ever meets a contradictory rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypedDict, Unpack

from rcache.core import audit as audits
from rcache.core import checks
from rcache.core.audit import Audit
from rcache.core.checks import Duration, KeyBy, Refresh, TagSource
from rcache.core.configuration import MiddlewareSettings, checked, late_timeout, middleware_contradiction, nearest
from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds
from rcache.core.tags import Template

STATUSES: Final = (200, 203, 204, 301, 308)

CONFORMANT_STALENESS: Final = 3600.0
"""Seconds past its freshness for which `profile="conformant"` answers for an application that fails (RFC 9111 §4.2.4)."""


class RuleSettings(TypedDict, total=False):
    """The settings of a rule that are given by name; see `cached` for what they mean."""

    auto: bool | None
    vary: Iterable[str]
    query: Iterable[str] | Literal["declared"] | None
    cookies: Iterable[str] | Literal["ignore"] | None
    key_by: KeyBy | Literal[False] | None
    guard: Callable[..., Any] | Literal[False] | None
    client_ttl: Duration | None
    statuses: Iterable[int]
    methods: Iterable[str]
    max_request_body: int | str
    heuristic: bool | None
    client_may_refresh: bool | None
    stale_while_revalidate: Duration | None
    stale_on_error: Duration | None
    timeout: Duration | None
    hard_timeout: Duration | None
    early: bool | float | None
    jitter: Duration | None
    wait: Duration | None
    refresh: Refresh | None
    rewarm: int | None
    store_set_cookie: bool | None
    forward_targeted: bool | None
    cache_groups: bool | None
    compress: bool | str | Iterable[str] | None
    audit: Audit | float | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class Options:
    """A rule's settings after their check. Durations are seconds; None leaves the answer to the middleware's defaults."""

    ttl: float | None = None
    templates: tuple[Template, ...] = ()
    callables: tuple[Callable[..., Any], ...] = ()
    auto: bool | None = None
    vary: tuple[str, ...] = ()
    query: frozenset[bytes] | Literal["declared"] | None = None
    cookies: tuple[str, ...] | Literal["ignore"] | None = None
    key_by: KeyBy | Literal[False] | None = None  # False: nobody's, whatever the middleware says
    guard: Callable[..., Any] | Literal[False] | None = None
    client_ttl: int | None = None
    statuses: frozenset[int] = frozenset(STATUSES)
    methods: frozenset[str] = frozenset()
    max_request_body: int = 64 * 1024
    heuristic: bool | None = None
    client_may_refresh: bool | None = None
    stale_while_revalidate: float | None = None
    stale_on_error: float | None = None
    timeout: float | None = None
    hard_timeout: float | None = None
    early: bool | float | None = None
    jitter: float | None = None
    wait: float | None = None
    refresh: Refresh | None = None
    rewarm: int | None = None
    store_set_cookie: bool | None = None
    forward_targeted: bool | None = None
    cache_groups: bool | None = None
    compress: str | Literal[False] | None = None
    audit: Audit | float | None = None
    enabled: bool = True


def options(ttl: Duration | None = None, tags: Iterable[TagSource] = (), **settings: Unpack[RuleSettings]) -> Options:
    """The settings of a rule, or ConfigurationError naming what cannot work and what to write instead."""
    sources = checks.list_of(tags, "tags", (str, Callable))
    values = {name: _checked(name, value) for name, value in settings.items()}
    if (problem := late_timeout(values.get("timeout"), values.get("hard_timeout"))) is not None:
        raise ConfigurationError(problem)
    return Options(
        ttl=None if ttl is None else seconds(ttl, "ttl"),
        templates=tuple(Template(source) for source in sources if isinstance(source, str)),
        callables=tuple(checks.checked_callable(source, "tags") for source in sources if not isinstance(source, str)),
        **values,
    )


def _checked(name: str, value: Any) -> Any:
    check = _CHECKS.get(name)
    if check is None:
        raise ConfigurationError(f"{name}= is no setting of a rule: {nearest(name, ('ttl', 'tags', *_CHECKS))}")
    return check(value)


def _optional(check: Callable[..., Any], *arguments: Any) -> Callable[[Any], Any]:
    """`check`, where None is a value as well."""
    return lambda value: None if value is None else check(value, *arguments)


def _or_false(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`check`, where False says that there is to be none."""
    return lambda value: False if value is False else check(value)


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "auto": _optional(checks.flag, "auto"),
    "vary": checks.header_names,
    "query": checks.query_names,
    "cookies": checks.cookie_names,
    "key_by": _or_false(checks.identity_source),
    "guard": _or_false(_optional(checks.checked_callable, "guard")),
    "client_ttl": _optional(checks.whole_seconds),
    "statuses": checks.final_statuses,
    "methods": checks.body_methods,
    "max_request_body": checks.body_bytes,
    "heuristic": _optional(checks.flag, "heuristic"),
    "client_may_refresh": _optional(checks.flag, "client_may_refresh"),
    "stale_on_error": _optional(checks.staleness, "stale_on_error"),
    "stale_while_revalidate": _optional(checks.staleness, "stale_while_revalidate"),
    "timeout": _optional(seconds, "timeout"),
    "hard_timeout": _optional(seconds, "hard_timeout"),
    "early": _optional(checks.earliness),
    "jitter": _optional(checks.staleness, "jitter"),
    "wait": _optional(checks.staleness, "wait"),
    "refresh": _optional(checks.refreshing),
    "rewarm": _optional(checks.hottest),
    "store_set_cookie": _optional(checks.flag, "store_set_cookie"),
    "forward_targeted": _optional(checks.flag, "forward_targeted"),
    "cache_groups": _optional(checks.groups_flag),
    "compress": checks.kept_coding,
    "audit": _optional(audits.checked),
    "enabled": lambda value: checks.flag(value, "enabled"),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a middleware says for rules that leave it open, and for URLs without a rule."""

    enabled: bool = True
    ttl: float | None = None
    auto: bool = False
    strict: bool = False
    standard: bool = False
    vary: tuple[str, ...] = ()
    query: frozenset[bytes] | Literal["declared"] | None = None
    cookies: tuple[str, ...] | Literal["ignore"] | None = None
    key_by: KeyBy | None = None
    guard: Callable[..., Any] | None = None
    client_ttl: int | None = None
    heuristic: bool = False
    client_may_refresh: bool | None = None
    stale_while_revalidate: float = 0.0
    stale_on_error: float = 0.0
    timeout: float | None = None
    hard_timeout: float | None = None
    early: bool | float = False
    jitter: float = 0.0
    refresh: Refresh = "web"
    rewarm: int = 0
    store_set_cookie: bool = False
    forward_targeted: bool = True
    cache_groups: bool = False
    compress: str | Literal[False] | None = None
    audit: Audit | float | None = None
    are_cookies_ordinary: bool = False  # as to RFC 9111, to which Cookie is a field like any other


def defaults(**settings: Unpack[MiddlewareSettings]) -> Defaults:
    """A middleware's settings; what is None is as the profile has it. Raises ConfigurationError where one cannot work."""
    said = checked(settings, MiddlewareSettings.__annotations__, "CacheMiddleware")
    if (problem := middleware_contradiction(said)) is not None:
        raise ConfigurationError(problem)
    conformant = said.get("profile") is not None

    def either(name: str, otherwise: Any) -> Any:
        value = said.get(name)
        return otherwise if value is None else value

    return Defaults(
        enabled=either("enabled", True),
        ttl=said.get("default_ttl"),
        auto=either("auto", False),
        strict=either("strict", False),
        standard=either("standard", conformant),
        vary=either("vary", ()),
        query=checks.query_names(said.get("query")),
        cookies=said.get("cookies"),
        key_by=said.get("key_by"),
        guard=said.get("guard"),
        client_ttl=said.get("client_ttl"),
        heuristic=either("heuristic", conformant),
        client_may_refresh=said.get("client_may_refresh"),
        stale_while_revalidate=either("stale_while_revalidate", 0.0),
        stale_on_error=either("stale_on_error", CONFORMANT_STALENESS if conformant else 0.0),
        timeout=said.get("timeout"),
        hard_timeout=said.get("hard_timeout"),
        early=either("early", False),
        jitter=either("jitter", 0.0),
        refresh=either("refresh", "web"),
        rewarm=either("rewarm", 0),
        store_set_cookie=either("store_set_cookie", conformant),
        forward_targeted=either("forward_targeted", True),
        cache_groups=either("cache_groups", False),
        compress=said.get("compress"),
        audit=said.get("audit"),
        are_cookies_ordinary=conformant,
    )


def settled(options: Options, defaults: Defaults) -> Options:
    """The options, with the defaults in place of what they leave open as to whom an answer is for and what selects it."""
    return replace(
        options,
        auto=defaults.auto if options.auto is None else options.auto,
        vary=tuple(sorted({*options.vary, *defaults.vary})),
        query=defaults.query if options.query is None else options.query,
        cookies=defaults.cookies if options.cookies is None else options.cookies,
        key_by=_unless_false(defaults.key_by if options.key_by is None else options.key_by),
        guard=_unless_false(defaults.guard if options.guard is None else options.guard),
        client_ttl=defaults.client_ttl if options.client_ttl is None else options.client_ttl,
    )


def _unless_false(said: Any) -> Any:
    return None if said is False else said


class Rule:
    """Caches what answers under a path, for applications whose endpoints cannot be decorated.

    `path` is in Starlette's syntax, below the wrapped application's root_path. The other arguments are those of `cached`.
    Raises ConfigurationError where they contradict each other or cannot work.
    """

    __slots__ = ("options", "path")

    def __init__(
        self, path: str, ttl: Duration | None = None, tags: Iterable[TagSource] = (), **settings: Unpack[RuleSettings]
    ) -> None:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(f"Rule({path!r}): a path begins with '/', like '/reports/{{id}}'")
        self.path = path
        self.options = options(ttl, tags, **settings)

    def __repr__(self) -> str:
        return f"Rule({self.path!r})"
