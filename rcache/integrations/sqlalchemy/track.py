"""`track`: from here on, what commits on an engine is flushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy import Engine, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from rcache.cache import Cache, only_cache
from rcache.core.errors import ConfigurationError
from rcache.integrations.sqlalchemy.draining import drain_async, drain_sync
from rcache.integrations.sqlalchemy.engine import FOLLOWED, Followed
from rcache.integrations.sqlalchemy.names import Names
from rcache.integrations.sqlalchemy.outbox import Outbox
from rcache.integrations.sqlalchemy.target import Target

ImageSource = Literal["strict", "memory"]
Durable = Literal["outbox"]

_NOTHING: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


class Tracking:
    """What one `track` has begun; `untrack()` ends it."""

    def __init__(self, followed: Followed, target: Target) -> None:
        self._followed = followed
        self._target = target

    @property
    def table_level(self) -> dict[str, int]:
        """How often a change on the engine could only be told of a whole table, by reason."""
        return dict(self._followed.table_level)

    async def drain(self) -> int:
        """Purges what processes that are gone have left in the outbox: at start-up, and now and then. How many rows that were.

        Each is delivered at least once: rows whose purge has landed, but which no later transaction has deleted yet, are purged
        again. Raises ConfigurationError without `durable="outbox"`.
        """
        engine = AsyncEngine(self._followed.engine)
        return (await drain_async(engine, self._outbox(), self._target.cache, {})).rows

    def drain_sync(self) -> int:
        """`drain` of an Engine that is not asynchronous."""
        return drain_sync(self._followed.engine, self._outbox(), self._target.cache, {}).rows

    def _outbox(self) -> Outbox:
        if self._followed.outbox is None:
            raise ConfigurationError('there is no outbox: track(engine, metadata, durable="outbox")')
        return self._followed.outbox

    def untrack(self) -> None:
        """Nothing is flushed on its account any more; where nothing else is asked of the engine, it is as before."""
        self._followed.drop(self._target)


def track(
    engine: Engine | AsyncEngine,
    metadata: MetaData,
    *,
    cache: Cache | None = None,
    images: ImageSource = "strict",
    uncommitted: bool = False,
    durable: Durable | None = None,
    views: Mapping[str, Sequence[str]] = _NOTHING,
    functions: Mapping[str, Sequence[str]] = _NOTHING,
) -> Tracking:
    """Every COMMIT on the engine flushes exactly what the rows of the metadata's tables were shown in that it changed.

    Whoever is answered after it is not answered from before it, on any node, even where the writer was killed in between.
    Tables and sessions may come later; the same metadata may be tracked on other engines and for other caches.

    - `cache`: the one in the process, where there is only one.
    - `images`: `"strict"` asks the database for a row before and after it is changed; `"memory"` trusts what sessions remember
      of it, which is cheaper, and misses what depended on the real values where another transaction has changed the row since.
    - `uncommitted`: for test suites that run inside one outer transaction which never commits: what it has changed is not served
      from the cache while it lasts.
    - `durable`: `"outbox"` commits what is to be flushed along with what has changed, in the table `rcache_outbox` of the metadata;
      `drain` then flushes what a process left that died while Redis could not be reached. Two statements more per COMMIT.
    - `views`: the tables behind each view that queries name, as `{"v_orders": ("orders", "customer")}`; a mapped class says it as
      `__cache_reads__ = ("orders", "customer")`, a Table in `info={"cache_reads": ...}`.
    - `functions`: SQL functions that give the same for the same arguments, with the tables that they read:
      `{"slug": (), "order_total": ("orders",)}`.

    Raises ConfigurationError where it cannot work.
    """
    if images not in ("strict", "memory"):
        raise ConfigurationError(f'images={images!r} must be "strict" or "memory"')
    if durable not in (None, "outbox"):
        raise ConfigurationError(f'durable={durable!r} must be None or "outbox"')
    if not isinstance(metadata, MetaData):
        raise ConfigurationError(f"track(engine, Base.metadata): {metadata!r} is no MetaData")
    root = _root(engine)
    followed: Followed = getattr(root.dialect, FOLLOWED, None) or Followed(root)
    target = Target(
        Names(metadata),
        cache or only_cache(),
        is_strict=images == "strict",
        is_uncommitted=uncommitted,
        views={name.lower(): _names("views", name, reads) for name, reads in views.items()},
        functions={name.lower(): _names("functions", name, reads) for name, reads in functions.items()},
    )
    followed.add(target)
    if durable == "outbox":
        followed.outbox = Outbox(metadata)
    return Tracking(followed, target)


def _names(option: str, name: str, tables: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tables, str) or not all(isinstance(each, str) for each in tables):
        raise ConfigurationError(
            f"{option}={{{name!r}: {tables!r}}} must name tables, as {option}={{{name!r}: ('orders',)}}"
        )
    return tuple(tables)


def untrack(engine: Engine | AsyncEngine, metadata: MetaData | None = None, *, cache: Cache | None = None) -> None:
    """Ends every `track` of the engine, or those of one metadata or cache."""
    followed: Followed | None = getattr(_root(engine).dialect, FOLLOWED, None)
    if followed is None:
        return
    for target in list(followed.targets):
        if metadata in (None, target.names.metadata) and cache in (None, target.cache):
            followed.drop(target)


def _root(engine: Engine | AsyncEngine) -> Engine:
    """The engine whose events every connection passes, also those with options of their own."""
    plain = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if not isinstance(plain, Engine):
        raise ConfigurationError(f"track() takes an Engine or an AsyncEngine, not {engine!r}")
    while (proxied := getattr(plain, "_proxied", None)) is not None:
        plain = proxied
    return plain
