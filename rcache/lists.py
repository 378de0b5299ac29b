"""`@warm`: lists of URLs that are kept warm on a schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from rcache import logs
from rcache.core.checks import staleness
from rcache.core.errors import ConfigurationError
from rcache.core.jobs import Lane
from rcache.core.recipe import recipe_for
from rcache.current import current_cache
from rcache.engine.lists import recipes, says
from rcache.jobs import scheduled

F = TypeVar("F", bound=Callable[[], Any])


class WarmList(NamedTuple):
    """A function that names URLs, and how they are kept warm."""

    name: str
    source: Callable[[], Any]
    base: str | None
    ahead: float  # seconds


LISTS: Final[dict[str, WarmList]] = {}
"""What the application has marked, in all its modules, by name."""


def warm(
    *,
    cron: str | None = None,
    every: float | str | timedelta | None = None,
    tz: str = "UTC",
    base: str | None = None,
    ahead: float | str | timedelta = 0,
    name: str | None = None,
    priority: Lane = "low",
) -> Callable[[F], F]:
    """Keeps warm what a function names: it returns or yields URLs, or pairs of a URL and header fields, sync or async.

    Those that are not stored, or not fresh, are rendered: by a worker, or without workers by a web process; once over all.

    - `cron`, `every`, `tz`: when, as for `scheduled`. Without a rhythm `rcache warm` alone renders them.
    - `base`: what stands before paths, as clients spell it: `https://shop.example`. It is part of the key; without it a list
      holds whole URLs.
    - `ahead`: seconds for which an answer has to stay fresh, or it is made anew: as long as the rhythm, and none goes cold.
    - `name`: what the queue calls it; `package.module:function` where it is not given.

    Answers that belong to somebody are never rendered: rules with `key_by` or `guard`, requests with cookies or credentials. Raises
    ConfigurationError for what cannot work.
    """
    least = staleness(ahead, "ahead")
    if base is not None:
        checked_base(base)

    def mark(function: F) -> F:
        known = name or f"{function.__module__}:{function.__qualname__}"
        listed = WarmList(known, function, base, least)
        if LISTS.get(known, listed).source.__qualname__ != function.__qualname__:
            raise ConfigurationError(f"two warm lists are called {known!r}: give one of them another name=")
        LISTS[known] = listed
        if cron is not None or every is not None:

            async def keep_warm() -> None:
                await _keep_warm(listed)

            # It stands for the function, in what tools show and where two of a name are told apart.
            keep_warm.__module__, keep_warm.__qualname__ = function.__module__, function.__qualname__
            scheduled(cron=cron, every=every, tz=tz, name=f"warm:{known}", priority=priority, ttl=_LATE)(keep_warm)
        return function

    return mark


def checked_base(base: str) -> str:
    """Raises ConfigurationError where no path can stand behind it."""
    try:
        recipe_for("/", base=base)
    except ValueError as error:
        raise ConfigurationError(
            f"base={base!r}: write what stands before paths, as in https://shop.example"
        ) from error
    return base


_LATE: Final = 3600.0  # seconds: what is so late has been asked for by now


async def _keep_warm(listed: WarmList) -> None:
    counts = await current_cache().warming.warm_up(
        recipes(listed.source, base=listed.base, left_out=says(listed.name)), left=listed.ahead
    )
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing"
    logs.LIST_WARMED.tell(list=listed.name, counts=told)
