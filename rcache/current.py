"""The request under way: which cache serves it, and which tags its answer has gathered so far.

The middleware places one mutable object before it calls the application. Context variables that are set *inside*, say under
BaseHTTPMiddleware or in a thread, do not come back; what is added to this object does.
"""

from __future__ import annotations

from contextvars import ContextVar

from rcache.cache import Cache, only_cache
from rcache.core.tags import check_tag
from rcache.engine.purge import Purged


class RequestScope:
    """One request to one cache. `tags` is None where nothing is being gathered."""

    __slots__ = ("cache", "tags")

    def __init__(self, cache: Cache, tags: set[str] | None) -> None:
        self.cache = cache
        self.tags = tags


request_scope: ContextVar[RequestScope | None] = ContextVar("rcache_request", default=None)


def tag(*tags: str) -> None:
    """The answer being made depends on `tags`: a purge of one of them flushes it.

    To be called anywhere under a cached endpoint, also in the threads of sync endpoints and in tasks it awaits. Outside a
    cached request it does nothing. Raises ValueError for an illegal tag.
    """
    checked = [check_tag(each) for each in tags]
    scope = request_scope.get()
    if scope is not None and scope.tags is not None:
        scope.tags.update(checked)


async def invalidate(*tags: str, wait: bool = True) -> Purged:
    """`Cache.invalidate` on the current request's cache, else on the only one in the process.

    Raises ConfigurationError where neither tells which cache is meant.
    """
    return await current_cache().invalidate(*tags, wait=wait)


def invalidate_sync(*tags: str, wait: bool = True) -> Purged:
    """`Cache.invalidate_sync` on the current request's cache, else on the only one in the process."""
    return current_cache().invalidate_sync(*tags, wait=wait)


def current_cache() -> Cache:
    """The current request's cache, else the only one in the process."""
    scope = request_scope.get()
    return scope.cache if scope is not None else only_cache()
