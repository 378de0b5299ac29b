"""Jobs and schedules of the application's own: `@job`, `@scheduled`, `enqueue`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from rcache.core.errors import ConfigurationError
from rcache.core.jobs import Job, Lane
from rcache.core.schedules import made
from rcache.core.settings import seconds
from rcache.current import current_cache
from rcache.engine.work import APPLICATION, Function, Scheduled

F = TypeVar("F", bound=Function)

__all__ = ["Job", "enqueue", "job", "scheduled"]


def job(function: F | None = None, *, name: str | None = None) -> Any:
    """Marks an async function that may run as a job: `@job`, or `@job(name="mail")`. The function itself stays as it is.

    `name` is what the queue calls it, `package.module:function` where it is not given. A job runs in a process that has imported
    the module: give those that outlive a renaming a name of their own. Raises ConfigurationError where the name is taken.
    """

    def mark(function: F) -> F:
        APPLICATION.add(_default_name(function) if name is None else name, function)
        return function

    return mark if function is None else mark(function)


def scheduled(
    *,
    cron: str | None = None,
    every: float | str | timedelta | None = None,
    tz: str = "UTC",
    name: str | None = None,
    priority: Lane = "low",
    ttl: float | str | timedelta | None = None,
    retries: int = 0,
) -> Callable[[F], F]:
    """Runs an async function without arguments on a schedule, once over all processes that share the cache's namespace.

    - `cron`: minute, hour, day of month, month, day of week; six fields begin with seconds. Read in the time zone `tz`.
    - `every`: an interval instead, a second at least; all processes count it from the same moment.
    - `ttl`: a run that could not begin for so long is dropped. None: it is made up for, however late.
    - `priority`, `retries`, `name`: as for `enqueue` and `job`.

    Workers run it (`rcache worker`), and web processes where there are none. Raises ConfigurationError for what cannot work.
    """
    schedule = made(cron, every, tz)

    def mark(function: F) -> F:
        known = APPLICATION.name_of(function) or _default_name(function) if name is None else name
        APPLICATION.add(known, function)
        limit = None if ttl is None else seconds(ttl, "ttl")
        APPLICATION.schedule(Scheduled(schedule, Job(known, priority=priority, ttl=limit, retries=retries)))
        return function

    return mark


async def enqueue(
    function: Function | str,
    *arguments: Any,
    priority: Lane = "low",
    delay: float | str | timedelta = 0,
    ttl: float | str | timedelta | None = None,
    retries: int = 0,
    key: str | None = None,
    **named: Any,
) -> bool:
    """Has a function that is marked with `@job` (or its name) called soon, elsewhere: by a worker, or where there are none, here.

    It may be called twice where a process dies: write it so that this does no harm.

    - `arguments`, `named`: plain data: None, bool, int, float, str, and lists and dicts of them.
    - `priority`: `"high"` for what somebody waits for: what waits in the low lane never keeps it from beginning.
    - `delay`: seconds before which it does not begin.
    - `ttl`: seconds after which, where it could not begin, it is dropped.
    - `retries`: how often it is run again after it has raised: a second later, then two, four, up to an hour.
    - `key`: while a job of this key waits or runs no other is added: the answer is then False.

    It goes to the queue of the current request's cache, else of the only one in the process. Raises ConfigurationError for
    arguments that are not plain data and functions that are not marked, BackendError where the queue cannot be reached.
    """
    cache = current_cache()
    name = function if isinstance(function, str) else cache.functions.name_of(function)
    if name is None:
        raise ConfigurationError(
            f"{function!r} is not marked: write @rcache.job above it, in a module that workers import as well"
        )
    limit = None if ttl is None else seconds(ttl, "ttl")
    return await cache.queue.add(Job(name, arguments, named, key, priority, delay, limit, retries))  # type: ignore[arg-type]


def _default_name(function: Any) -> str:
    return f"{function.__module__}:{function.__qualname__}"
