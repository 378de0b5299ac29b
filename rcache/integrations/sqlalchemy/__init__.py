"""A COMMIT flushes exactly what it changed: `track(engine, metadata, cache=cache)`, and nobody calls `invalidate` any more."""

from rcache.integrations.sqlalchemy.track import Tracking, track, untrack

__all__ = ["Tracking", "track", "untrack"]
