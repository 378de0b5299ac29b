"""What a rule may say, checked where it is written.

`Options` is what `@cached(...)` and `Rule(path, ...)` share. Whatever cannot work is refused here with the remedy, so that no
request ever meets a contradictory rule.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds
from rcache.core.tags import Template

Duration = int | float | str | timedelta
TagSource = str | Callable[..., "str | Iterable[str] | None"]
KeyBy = str | Callable[..., "str | None"]

STATUSES: Final = (200, 203, 204, 301, 308)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Options:
    """A rule's settings after their check. Durations are seconds."""

    ttl: float | None = None
    templates: tuple[Template, ...] = ()
    callables: tuple[Callable[..., Any], ...] = ()
    vary: tuple[str, ...] = ()
    query: frozenset[bytes] | None = None
    cookies: tuple[str, ...] | Literal["ignore"] | None = None
    key_by: KeyBy | None = None
    guard: Callable[..., Any] | None = None
    client_ttl: int | None = None
    statuses: frozenset[int] = frozenset(STATUSES)
    enabled: bool = True


def options(
    ttl: Duration | None = None,
    tags: Iterable[TagSource] = (),
    vary: Iterable[str] = (),
    query: Iterable[str] | None = None,
    cookies: Iterable[str] | Literal["ignore"] | None = None,
    key_by: KeyBy | None = None,
    guard: Callable[..., Any] | None = None,
    client_ttl: Duration | None = None,
    statuses: Iterable[int] = STATUSES,
    enabled: bool = True,
) -> Options:
    """The settings of a rule, or ConfigurationError naming what cannot work and what to write instead."""
    sources = _list_of(tags, "tags", (str, Callable))
    return Options(
        ttl=None if ttl is None else seconds(ttl, "ttl"),
        templates=tuple(Template(source) for source in sources if isinstance(source, str)),
        callables=tuple(_checked_callable(source, "tags") for source in sources if not isinstance(source, str)),
        vary=tuple(sorted({_header_name(name, "vary") for name in _list_of(vary, "vary", (str,))})),
        query=None if query is None else frozenset(name.encode() for name in _list_of(query, "query", (str,))),
        cookies=_cookies(cookies),
        key_by=_key_by(key_by),
        guard=None if guard is None else _checked_callable(guard, "guard"),
        client_ttl=None if client_ttl is None else _whole_seconds(client_ttl),
        statuses=_statuses(statuses),
        enabled=_flag(enabled),
    )


def _list_of(value: Iterable[Any], name: str, kinds: tuple[Any, ...]) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}={value!r} must be a list or tuple: write {name}=[{value!r}]")
    items = list(value)
    for item in items:
        if not isinstance(item, kinds):
            raise ConfigurationError(
                f"{name}={items!r}: {item!r} is a {type(item).__name__}; see the table of settings"
            )
    return items


def _checked_callable(function: Any, name: str) -> Callable[..., Any]:
    if not callable(function):
        raise ConfigurationError(f"{name}={function!r} must be a callable of the request")
    if name != "guard" and is_async(function):
        raise ConfigurationError(f"{name}: {function!r} is asynchronous; only guard= may be, so decide there")
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        raise ConfigurationError(f"{name}: {function!r} must accept one argument, the request") from None
    except ValueError:  # a builtin without a signature: nothing can be checked here
        pass
    return function  # type: ignore[no-any-return]


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _header_name(name: str, setting: str) -> str:
    if name == "*":
        raise ConfigurationError(f'{setting}="*" would never match; leave the rule out, or set enabled=False')
    if not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"{setting}: {name!r} is not a header name; write one like 'accept-language'")
    return name.lower()


def _cookies(cookies: Iterable[str] | str | None) -> tuple[str, ...] | Literal["ignore"] | None:
    if cookies is None:
        return None
    if cookies == "ignore":
        return "ignore"
    names = _list_of(cookies, "cookies", (str,))
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"cookies: {name!r} is not a cookie name; write one like 'theme'")
    return tuple(sorted(set(names)))


def _key_by(key_by: KeyBy | None) -> KeyBy | None:
    if key_by is None or callable(key_by):
        return None if key_by is None else _checked_callable(key_by, "key_by")
    if not isinstance(key_by, str):
        raise ConfigurationError(f"key_by={key_by!r} must be a header name, 'cookie:NAME' or a callable of the request")
    kind, colon, name = key_by.partition(":")
    if not colon:
        return _header_name(key_by, "key_by")
    if kind != "cookie" or not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"key_by={key_by!r} must be a header name, 'cookie:NAME' or a callable of the request")
    return key_by


def _whole_seconds(client_ttl: Duration) -> int:
    value = seconds(client_ttl, "client_ttl")
    if value < 1:
        raise ConfigurationError(
            f"client_ttl={client_ttl!r} is under a second, and max-age counts whole seconds; leave it out"
        )
    return int(value)


def _statuses(statuses: Iterable[int]) -> frozenset[int]:
    codes = _list_of(statuses, "statuses", (int,))
    if not codes:
        raise ConfigurationError("statuses=() would store nothing; leave it out, or set enabled=False")
    for code in codes:
        if isinstance(code, bool) or not 200 <= code <= 599 or code in (206, 304):
            raise ConfigurationError(
                f"statuses: {code!r} cannot be stored; name final statuses (200-599) but 206 and 304"
            )
    return frozenset(codes)


def _flag(enabled: bool) -> bool:
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"enabled={enabled!r} must be True or False")
    return enabled


class Rule:
    """Caches what answers under a path, for applications whose endpoints cannot be decorated.

    `path` is in Starlette's syntax, below the wrapped application's root_path. The other arguments are those of `cached`.
    Raises ConfigurationError where they contradict each other or cannot work.
    """

    __slots__ = ("options", "path")

    def __init__(
        self,
        path: str,
        ttl: Duration | None = None,
        tags: Iterable[TagSource] = (),
        vary: Iterable[str] = (),
        query: Iterable[str] | None = None,
        cookies: Iterable[str] | Literal["ignore"] | None = None,
        key_by: KeyBy | None = None,
        guard: Callable[..., Any] | None = None,
        client_ttl: Duration | None = None,
        statuses: Iterable[int] = STATUSES,
        enabled: bool = True,
    ) -> None:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(f"Rule({path!r}): a path begins with '/', like '/reports/{{id}}'")
        self.path = path
        self.options = options(ttl, tags, vary, query, cookies, key_by, guard, client_ttl, statuses, enabled)

    def __repr__(self) -> str:
        return f"Rule({self.path!r})"
