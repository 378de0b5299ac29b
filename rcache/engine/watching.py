"""What an observer is told, and the purges that it watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec

from rcache.core.changes import without_families
from rcache.core.entry import Found, Missing
from rcache.ports import Facts, Observer

if TYPE_CHECKING:
    from rcache.engine.purge import Purged, Purger

P = ParamSpec("P")

MOST_TAGS: Final = 10
"""Tags that an observer is told of one purge, or entry."""


def looked_up(found: Found | Missing) -> Facts:
    """What came of a look-up: "fresh", "stale" or "softened", else why there is nothing."""
    if isinstance(found, Missing):
        return {"verdict": found.reason}
    entry = found.entry
    verdict = "softened" if entry.is_softened else "fresh" if entry.ttl(found.now) > 0 else "stale"
    return {"verdict": verdict, "age": entry.age(found.now), **tagged(entry.tags[1:])}


def tagged(tags: tuple[str, ...]) -> Facts:
    """How many tags there are, and the first of them."""
    named = without_families(tags)
    return {"tags": named[:MOST_TAGS], "tag_count": len(named)}


def _purged(purged: Purged) -> Facts:
    facts = {"verdict": "landed" if purged.landed else "pending", "entries": purged.entries, **tagged(purged.tags)}
    return facts if purged.sequence is None else {**facts, "sequence": purged.sequence}


def watched(
    purge: Callable[Concatenate[Purger, P], Awaitable[Purged]],
) -> Callable[Concatenate[Purger, P], Awaitable[Purged]]:
    """A way to purge that an observer sees."""

    @wraps(purge)
    async def watching(self: Purger, /, *given: P.args, **named: P.kwargs) -> Purged:
        observer: Observer | None = self.observer
        purging = purge(self, *given, **named)
        return await purging if observer is None else await observer.watch("purge", "", purging, _purged)

    return watching


def watched_sync(purge: Callable[Concatenate[Purger, P], Purged]) -> Callable[Concatenate[Purger, P], Purged]:
    """Likewise without an event loop."""

    @wraps(purge)
    def watching(self: Purger, /, *given: P.args, **named: P.kwargs) -> Purged:
        observer: Observer | None = self.observer
        if observer is None:
            return purge(self, *given, **named)
        return observer.watch_sync("purge", "", lambda: purge(self, *given, **named), _purged)

    return watching
