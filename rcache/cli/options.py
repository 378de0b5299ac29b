"""What commands take: which cache is meant, how its rows are shown; and objects that the command line names."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import typer

from rcache.cache import Cache
from rcache.cli.screen import Screen
from rcache.core.errors import ConfigurationError
from rcache.ports import Inspector
from rcache.settings import Settings

T = TypeVar("T")

EMBEDDED = (
    "an embedded cache (memory://) is visible only in its own process: nothing can be seen or done from here;"
    " give the application a cache on Redis, redis://host:6379/0"
)


class Seen(NamedTuple):
    """A cache, and what tells of it."""

    cache: Cache
    inspector: Inspector


@dataclass(frozen=True, slots=True)
class Where:
    """Which cache is meant."""

    url: str | None = None
    namespace: str | None = None
    near: Literal["fast", "strict"] | None = None
    cache: str | None = None

    def open(self) -> Cache:
        """The cache. Raises ConfigurationError where none is named, or one that only its own process can see."""
        cache = self._named()
        if cache.inspector.is_embedded:
            raise ConfigurationError(EMBEDDED)
        return cache

    @contextlib.asynccontextmanager
    async def look(self) -> AsyncIterator[Seen]:
        """The cache and its inspector, as long as the block lasts."""
        async with self.open() as cache:
            yield Seen(cache, cache.inspector)

    def _named(self) -> Cache:
        if self.cache is not None:
            return named(self.cache, Cache)
        given: Any = {"url": self.url, "namespace": self.namespace, "near": self.near}
        settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
        if settings.sources["url"] == "default":
            raise ConfigurationError(
                "which cache is meant? --url redis://host:6379/0, RCACHE_URL or --cache MODULE:NAME"
            )
        return Cache(settings=settings)


def _option(name: str, kind: Any, default: Any, *spellings: str, **how: Any) -> inspect.Parameter:
    option = typer.Option(*spellings, show_default=default not in (None, False), **how)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


_PANEL = "Which cache"
_WHERE = (
    _option(
        *("url", str | None, None, "--url"),
        help="Where it is: redis://host:6379/0, redis+sentinel://, redis+cluster:// (else what RCACHE_URL says).",
        rich_help_panel=_PANEL,
    ),
    _option(
        *("namespace", str | None, None, "--namespace"),
        help="The cache's (else what RCACHE_NAMESPACE says, or rcache).",
        rich_help_panel=_PANEL,
    ),
    _option(
        *("near", Literal["fast", "strict"] | None, None, "--near"),
        help="strict, where the application's caches say so.",
        rich_help_panel=_PANEL,
    ),
    _option(
        *("cache", str | None, None, "--cache"),
        help="The application's own Cache, in place of all this.",
        metavar="MODULE:NAME",
        rich_help_panel=_PANEL,
    ),
)
_SCREEN = (_option("as_json", bool, False, "--json", help="Rows for programs, in place of tables for people."),)


def _screen(as_json: bool) -> Screen:
    return Screen(as_json=as_json)


_GROUPS: dict[Any, tuple[tuple[inspect.Parameter, ...], Callable[..., Any]]] = {
    Where: (_WHERE, Where),
    Screen: (_SCREEN, _screen),
}


def takes(function: Callable[..., Any], *, extra: str = "cli") -> Callable[..., int]:
    """`function` as typer takes it.

    A parameter that is a `Where` becomes the options that say which cache is meant, a `Screen` becomes `--json`. What the function
    returns is the exit code (None: 0); a coroutine is run. `extra` is the one to install where a module is missing.
    """
    signature = inspect.signature(function, eval_str=True)
    groups = {name: each.annotation for name, each in signature.parameters.items() if each.annotation in _GROUPS}
    own = [each for name, each in signature.parameters.items() if name not in groups]
    shared = [each for kind in groups.values() for each in _GROUPS[kind][0]]

    def run(**given: Any) -> int:
        for name, kind in groups.items():
            parameters, make = _GROUPS[kind]
            given[name] = make(**{each.name: given.pop(each.name) for each in parameters})
        try:
            result = function(**given)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{error}: pip install 'rcache[{extra}]'") from error
        return int(result or 0)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    run.__signature__ = inspect.Signature([*(each.replace(kind=each.KEYWORD_ONLY) for each in own), *shared])  # type: ignore[attr-defined]
    return run


def log_to_stderr() -> None:
    """The library's words go to standard error: for what runs until it is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)


def named(where: str, kind: type[T]) -> T:
    """What `shop.models:Base.metadata` leads to, seen from the working directory. Raises ConfigurationError."""
    found = found_at(where)
    if not isinstance(found, kind):
        raise ConfigurationError(f"{where!r} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def found_at(where: str) -> object:
    """What `shop.app:app` leads to, whatever it is. Raises ConfigurationError."""
    module, _, path = where.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{where!r} leads nowhere: {error} (write package.module:name)") from error
    except Exception as error:  # whatever the module does while it is imported
        raise ConfigurationError(f"{where!r} cannot be imported: {type(error).__name__}: {error}") from error
    return found
