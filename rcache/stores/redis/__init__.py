"""The store on Redis: one server, one behind sentinels, or a Cluster, shared by every process that uses its namespace."""

from __future__ import annotations

from typing import Any

from rcache.stores.redis.cluster.store import ClusterStore
from rcache.stores.redis.store import RedisStore
from rcache.stores.redis.urls import Sharded, Source, located

__all__ = ["ClusterStore", "RedisStore", "open_store"]


def open_store(source: Source, **settings: Any) -> RedisStore | ClusterStore:
    """The store for what a URL or a ready client leads to. Raises ConfigurationError where it leads nowhere."""
    place = located(source)
    return ClusterStore(place, **settings) if isinstance(place, Sharded) else RedisStore(place, **settings)
