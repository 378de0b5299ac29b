"""Response caching for ASGI applications that is right when data changes."""

from rcache import signals
from rcache.asgi.decorator import cached
from rcache.asgi.middleware import CacheMiddleware
from rcache.cache import Cache
from rcache.core.errors import BackendError, ConfigurationError, RCacheError, UnknownOutcome
from rcache.core.policy import Rule
from rcache.current import invalidate, invalidate_sync, tag
from rcache.engine.purge import Purged

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Cache",
    "CacheMiddleware",
    "ConfigurationError",
    "Purged",
    "RCacheError",
    "Rule",
    "UnknownOutcome",
    "cached",
    "invalidate",
    "invalidate_sync",
    "signals",
    "tag",
]
