"""An application's own cache, embedded and empty while a test lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp

from rcache.asgi.middleware import CacheMiddleware
from rcache.cache import Cache
from rcache.clock import Clock
from rcache.core.configuration import EMBEDDED
from rcache.core.errors import ConfigurationError
from rcache.observing import observed


@contextmanager
def embedded(cache: Cache | ASGIApp, clock: Clock | None = None) -> Iterator[Cache]:
    """In this block the cache, of whatever URL, is an empty one in this process that goes by `clock`; afterwards it is as before.

    It stays the same object with the same settings, so that whoever holds it need not be told: the middleware, tracked engines,
    the application's modules. Its counters begin at nothing. `cache` may be the application in whose stack a CacheMiddleware
    stands. Raises ConfigurationError where there is none.
    """
    meant = cache if isinstance(cache, Cache) else _cache_of(cache)
    before = dict(meant.__dict__)
    Cache.__init__(meant, EMBEDDED, settings=meant.settings, clock=clock)
    # Whoever was told of this cache's transactions and tables goes on being told, also of those that come in the block.
    meant.changes.tables = before["changes"].tables
    meant.changes.transactions = before["changes"].transactions
    # Routes that were read before count where they did, and nobody tells Redis of it.
    telemetry = meant.telemetry = before["telemetry"]
    meant.stats = telemetry.stats
    meant.stats.reset()
    heard, heirs = telemetry.heard, list(telemetry.heirs)
    meant.inspector, meant._reporter = observed(meant.store, telemetry)
    try:
        yield meant
    finally:
        meant.close_sync()
        telemetry.heard, telemetry.heirs = heard, heirs
        meant.__dict__.clear()
        meant.__dict__.update(before)
        if meant.is_open:
            meant.is_open = False
            meant.open()


def _cache_of(app: Any) -> Cache:
    seen: list[Any] = []
    while app is not None and app not in seen:
        if isinstance(app, CacheMiddleware):
            return app.cache
        seen.append(app)
        if getattr(app, "middleware_stack", app) is None:  # Starlette makes it when the first request comes
            app.middleware_stack = app.build_middleware_stack()
        app = getattr(app, "middleware_stack", None) or getattr(app, "app", None)
    raise ConfigurationError(f"{seen[0]!r} has no CacheMiddleware in its stack: hand its Cache to embedded()")
