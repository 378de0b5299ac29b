"""The request under way: which cache serves it, and which tags its answer has gathered so far.

The middleware places one mutable object before it calls the application. Context variables that are set *inside*, say under
BaseHTTPMiddleware or in a thread, do not come back; what is added to this object does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from rcache.cache import Cache, only_cache, tag_name
from rcache.core.changes import Change
from rcache.core.reads import Reads
from rcache.core.tags import check_tag
from rcache.engine.purge import Purged
from rcache.engine.reading import current_reads as current_reads
from rcache.engine.reading import gathering as gathering


class RequestScope:
    """One request to one cache. `tags` is None where nothing is being gathered.

    - `reads`: what is known of the answer being made beside the tags that it was given.
    - `refusal`: why it is not to be stored, in the words of Cache-Status.
    """

    __slots__ = ("cache", "reads", "refusal", "tags")

    def __init__(self, cache: Cache, tags: set[str] | None, reads: Reads | None = None) -> None:
        self.cache = cache
        self.tags = tags
        self.reads = reads
        self.refusal: str | None = None


request_scope: ContextVar[RequestScope | None] = ContextVar("rcache_request", default=None)


def tag(*tags: str) -> None:
    """The answer being made depends on `tags`: a purge of one of them flushes it.

    To be called anywhere under a cached endpoint, also in the threads of sync endpoints and in tasks it awaits. Outside a
    cached request (and a `capture`) it does nothing. Raises ValueError for an illegal tag.
    """
    checked = [check_tag(each) for each in tags]
    scope, reads = request_scope.get(), current_reads()
    if scope is not None and scope.tags is not None:
        scope.tags.update(checked)
    if reads is not None:
        for each in checked:
            reads.add(each)


async def invalidate(*tags: str, wait: bool = True, soft: bool = False) -> Purged:
    """`Cache.invalidate` on the current request's cache, else on the only one in the process.

    Raises ConfigurationError where neither tells which cache is meant.
    """
    return await current_cache().invalidate(*tags, wait=wait, soft=soft)


def invalidate_sync(*tags: str, wait: bool = True, soft: bool = False) -> Purged:
    """`Cache.invalidate_sync` on the current request's cache, else on the only one in the process."""
    return current_cache().invalidate_sync(*tags, wait=wait, soft=soft)


async def touch(model: Any, pks: Iterable[Any], *, connection: object | None = None) -> Purged:
    """Rows of the model (or table, or table's name) have changed in a way nobody saw: COPY, a driver's cursor, a procedure.

    - `pks`: their primary keys; a composite one is a tuple.
    - `connection`: the session or connection whose COMMIT it belongs to. Without it: as `Cache.apply`.
    """
    return await current_cache().apply(_touched(model, pks), connection=connection)


def touch_sync(model: Any, pks: Iterable[Any], *, connection: object | None = None) -> Purged:
    """`touch` without an event loop."""
    return current_cache().apply_sync(_touched(model, pks), connection=connection)


async def touch_table(model: Any, *, connection: object | None = None) -> Purged:
    """`touch` where nobody knows which rows: everything about the table is purged."""
    return await current_cache().apply([Change(_table_name(model), None)], connection=connection)


def touch_table_sync(model: Any, *, connection: object | None = None) -> Purged:
    """`touch_table` without an event loop."""
    return current_cache().apply_sync([Change(_table_name(model), None)], connection=connection)


def _touched(model: Any, pks: Iterable[Any]) -> list[Change]:
    name = _table_name(model)
    return [Change(name, pk if isinstance(pk, tuple) else (pk,)) for pk in pks]


def _table_name(model: Any) -> str:
    if isinstance(model, str):
        return model
    table = getattr(model, "__table__", model)
    name = getattr(table, "name", None)
    return name if isinstance(name, str) else tag_name(model)


def current_cache() -> Cache:
    """The current request's cache, else the only one in the process."""
    scope = request_scope.get()
    return scope.cache if scope is not None else only_cache()
