"""What the settings of a rule may hold, each with an error that says what to write instead."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, Literal

from rcache.core import coding, groups
from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds, size
from rcache.core.storing import FOR_ONE_REQUEST

Duration = int | float | str | timedelta
TagSource = str | Callable[..., "str | Iterable[str] | None"]
KeyBy = str | Callable[..., "str | None"]
Refresh = Literal["web", "worker"]

MOST_REWARMED: Final = 1000
"""Entries of one purge that are made again: who wants more wants a list."""

BODY_METHODS: Final = ("QUERY", "POST")
"""Methods whose body may join the key, where a rule allows it."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def list_of(value: Iterable[Any], name: str, kinds: tuple[Any, ...]) -> list[Any]:
    """The items, each of one of `kinds`."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}={value!r} must be a list or tuple: write {name}=[{value!r}]")
    items = list(value)
    for item in items:
        if not isinstance(item, kinds):
            raise ConfigurationError(
                f"{name}={items!r}: {item!r} is a {type(item).__name__}; see the table of settings"
            )
    return items


def checked_callable(function: Any, name: str) -> Callable[..., Any]:
    """A callable of the request."""
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


def header_name(name: str, setting: str) -> str:
    """A field name in lower case."""
    if name == "*":
        raise ConfigurationError(f'{setting}="*" would never match; leave the rule out, or set enabled=False')
    if not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"{setting}: {name!r} is not a header name; write one like 'accept-language'")
    return name.lower()


def header_names(names: Iterable[str]) -> tuple[str, ...]:
    """The request headers that select among answers, sorted."""
    return tuple(sorted({header_name(name, "vary") for name in list_of(names, "vary", (str,))}))


def cookie_names(cookies: Iterable[str] | str | None) -> tuple[str, ...] | Literal["ignore"] | None:
    """The cookies that matter."""
    if cookies is None:
        return None
    if cookies == "ignore":
        return "ignore"
    names = list_of(cookies, "cookies", (str,))
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"cookies: {name!r} is not a cookie name; write one like 'theme'")
    return tuple(sorted(set(names)))


def identity_source(key_by: KeyBy | None) -> KeyBy | None:
    """Whose answer it is."""
    if key_by is None or callable(key_by):
        return None if key_by is None else checked_callable(key_by, "key_by")
    if not isinstance(key_by, str):
        raise ConfigurationError(f"key_by={key_by!r} must be a header name, 'cookie:NAME' or a callable of the request")
    kind, colon, name = key_by.partition(":")
    if not colon:
        return header_name(key_by, "key_by")
    if kind != "cookie" or not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"key_by={key_by!r} must be a header name, 'cookie:NAME' or a callable of the request")
    return key_by


def whole_seconds(client_ttl: Duration) -> int:
    """At least one second."""
    value = seconds(client_ttl, "client_ttl")
    if value < 1:
        raise ConfigurationError(
            f"client_ttl={client_ttl!r} is under a second, and max-age counts whole seconds; leave it out"
        )
    return int(value)


def final_statuses(statuses: Iterable[int]) -> frozenset[int]:
    """Those that are stored without explicit freshness."""
    codes = list_of(statuses, "statuses", (int,))
    if not codes:
        raise ConfigurationError("statuses=() would store nothing; leave it out, or set enabled=False")
    for code in codes:
        if isinstance(code, bool) or not 200 <= code <= 599 or code == 206 or code in FOR_ONE_REQUEST:
            raise ConfigurationError(
                f"statuses: {code!r} cannot be stored; name final statuses (200-599) that answer more than one request"
            )
    return frozenset(codes)


def flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r} must be True or False")
    return value


def groups_flag(value: Any) -> bool:
    """True, where groups can be read, or False."""
    wanted = flag(value, "cache_groups")
    if wanted:
        groups.parser()
    return wanted


def staleness(value: Duration, name: str) -> float:
    """A duration in seconds that may be zero."""
    return 0.0 if value in (0, "0") and not isinstance(value, bool) else seconds(value, name)


def refreshing(refresh: Any) -> Refresh:
    """Who makes a new answer in the background."""
    if refresh not in ("web", "worker"):
        raise ConfigurationError(f'refresh={refresh!r} must be "web" or "worker"')
    found: Refresh = refresh
    return found


def hottest(rewarm: Any) -> int:
    """How many entries of each purge are made again."""
    if isinstance(rewarm, bool) or not isinstance(rewarm, int) or not 0 <= rewarm <= MOST_REWARMED:
        raise ConfigurationError(
            f"rewarm={rewarm!r} must be how many entries of each purge are made again, at most {MOST_REWARMED}: rewarm=20"
        )
    return rewarm


def earliness(early: Any) -> bool | float:
    """By chance, never, or from that fraction of the lifetime on."""
    if isinstance(early, bool):
        return early
    if not isinstance(early, int | float) or not 0 < early < 1:
        raise ConfigurationError(
            f"early={early!r} must be True, or the part of its lifetime after which an answer is made anew: early=0.8"
        )
    return float(early)


def query_names(query: Iterable[str] | str | None) -> frozenset[bytes] | Literal["declared"] | None:
    """The parameters that count, in UTF-8; None where all do."""
    if query is None:
        return None
    if query == "declared":
        return "declared"
    return frozenset(name.encode() for name in list_of(query, "query", (str,)))


def kept_coding(compress: Any) -> str | Literal[False] | None:
    """The content coding that bodies are kept in: False where none, None where nothing is said."""
    if compress is None or compress is False:
        return compress
    usable = coding.available()
    if compress is True:
        return usable[0]
    wanted = [compress] if isinstance(compress, str) else list_of(compress, "compress", (str,))
    for name in wanted:
        if name not in coding.KNOWN:
            known = ", ".join(map(repr, coding.KNOWN))
            raise ConfigurationError(
                f"compress={compress!r}: {name!r} is no coding that is known here; write one of {known}"
            )
    found = next((name for name in wanted if name in usable), None)
    if found is None:
        raise ConfigurationError(f"compress={compress!r} needs a package: pip install 'rcache[compress]'")
    return found


def body_methods(methods: Iterable[str]) -> frozenset[str]:
    """The methods that are cached beside GET and HEAD, with their bodies in the key."""
    names = list_of(methods, "methods", (str,))
    for name in names:
        if name not in ("GET", "HEAD", *BODY_METHODS):
            raise ConfigurationError(
                f"methods: {name!r} cannot be cached; GET and HEAD always are, and QUERY and POST where they are named here"
            )
    return frozenset(names) & frozenset(BODY_METHODS)


def body_bytes(value: int | str) -> int:
    """The longest request body that joins a key, in bytes."""
    longest = size(value, "max_request_body")
    if longest > MAX_REQUEST_BODY:
        raise ConfigurationError(
            f"max_request_body={value!r} is above 16MiB: a body is read whole before it is looked up"
        )
    return longest


MAX_REQUEST_BODY: Final = 16 * 1024 * 1024
