"""Lists of what is to be kept warm: URLs as an application names them, and rendering them a few at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from rcache import logs
from rcache.core.recipe import Recipe, recipe_for

MOST: Final = 100_000
"""URLs of one list; what is beyond them is left out, and said."""

AT_ONCE: Final = 4
"""Renders of one list at a time."""

_END: Final = object()


async def listed(source: Any) -> AsyncIterator[Any]:
    """What a list holds: an iterable, or a function without arguments, sync or async, that returns or yields one.

    What is sync runs in a thread: it may well ask a database.
    """
    if callable(source):
        if inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
            source = source()
        else:
            source = await asyncio.to_thread(_called, source)
        if inspect.isawaitable(source):
            source = await source
    if hasattr(source, "__aiter__"):
        async for each in source:
            yield each
    elif isinstance(source, str):
        yield source
    else:
        for each in source:
            yield each


def _called(source: Callable[[], Any]) -> Any:
    found = source()
    return list(islice(found, MOST + 1)) if isinstance(found, Iterable) and not isinstance(found, str) else found


async def recipes(
    source: Any, *, base: str | None, left_out: Callable[[str], None], most: int = MOST
) -> AsyncIterator[Recipe]:
    """The recipes of a list, each once: URLs, or pairs of a URL and header fields. `left_out` is told of what is none."""
    seen: set[str] = set()
    async for each in listed(source):
        if len(seen) >= most:
            left_out(f"there are more than {most:,} URLs")
            return
        try:
            recipe = _recipe(each, base)
        except ValueError as error:
            left_out(str(error))
            continue
        if recipe.id not in seen:
            seen.add(recipe.id)
            yield recipe


def _recipe(listed: Any, base: str | None) -> Recipe:
    if isinstance(listed, Recipe):
        return listed
    if isinstance(listed, tuple) and len(listed) == 2:
        url, headers = listed
        return recipe_for(url, headers.items() if isinstance(headers, Mapping) else headers, base=base)
    return recipe_for(listed, base=base)


def says(name: str) -> Callable[[str], None]:
    """Logs what a list leaves out."""
    return lambda why: logs.LIST_LEAVES_OUT.tell(list=name, reason=why)


async def warm_up(
    found: AsyncIterator[Recipe],
    make: Callable[[Recipe], Awaitable[Any]],
    *,
    at_once: int = AT_ONCE,
    told: Callable[[Recipe, Any], None] = lambda *_: None,
) -> Counter[str]:
    """Renders all of them, `at_once` at a time; how many there were of each outcome. `told` hears of each as it ends."""
    counts: Counter[str] = Counter()
    turn = asyncio.Lock()  # an async generator gives one at a time

    async def work() -> None:
        while True:
            async with turn:
                recipe = await anext(found, _END)
            if not isinstance(recipe, Recipe):
                return
            rendered = await make(recipe)
            counts[rendered.outcome] += 1
            told(recipe, rendered)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return counts
