"""The queue on Redis: one server, one behind sentinels, or a Cluster; streaq carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcache.clock import Clock
from rcache.core.errors import ConfigurationError
from rcache.stores.redis.urls import Source, located

if TYPE_CHECKING:
    from rcache.queues.redis.queue import RedisQueue

__all__ = ["open_queue"]


def open_queue(source: Source, namespace: str, clock: Clock) -> RedisQueue:
    """The queue in the namespace, where a URL or a ready client leads to. Raises ConfigurationError."""
    try:
        from rcache.queues.redis.queue import RedisQueue
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"jobs on Redis need a package ({error}): pip install 'rcache[worker]'") from error
    return RedisQueue(located(source), namespace, clock)
