"""Response caching for ASGI applications that is right when data changes."""

from rcache import signals
from rcache.asgi.decorator import cached
from rcache.asgi.middleware import CacheMiddleware
from rcache.cache import Cache
from rcache.core.audit import Audit
from rcache.core.changes import Change
from rcache.core.errors import BackendError, ConfigurationError, RCacheError, StrictError, UnknownOutcome
from rcache.core.findings import Finding
from rcache.core.policy import Rule
from rcache.current import invalidate, invalidate_sync, tag, touch, touch_sync, touch_table, touch_table_sync
from rcache.dependencies import capture, depends_on, depends_on_table
from rcache.engine.purge import Purged
from rcache.jobs import enqueue, job, scheduled
from rcache.lists import warm
from rcache.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "BackendError",
    "Cache",
    "CacheMiddleware",
    "Change",
    "ConfigurationError",
    "Finding",
    "Purged",
    "RCacheError",
    "Rule",
    "Settings",
    "StrictError",
    "UnknownOutcome",
    "cached",
    "capture",
    "depends_on",
    "depends_on_table",
    "enqueue",
    "invalidate",
    "invalidate_sync",
    "job",
    "scheduled",
    "signals",
    "tag",
    "touch",
    "touch_sync",
    "touch_table",
    "touch_table_sync",
    "warm",
]
