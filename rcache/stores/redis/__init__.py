"""The store on Redis: one server, shared by every process that uses its namespace."""

from rcache.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
