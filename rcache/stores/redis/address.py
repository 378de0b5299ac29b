"""Where Redis is and how to get in: makes connections for event loops, and their synchronous twins."""

from __future__ import annotations

from typing import cast

import redis
from redis import asyncio as aredis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from rcache.core.errors import ConfigurationError

CONNECT_TIMEOUT = 2.0  # seconds; callers wait for their own deadline only, connecting goes on behind them
CLIENT_NAME = "rcache"

_TWINS: dict[type, type] = {
    aredis.Connection: redis.Connection,
    aredis.SSLConnection: redis.SSLConnection,
    aredis.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
}
_KEPT = {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name"}
_KEPT_PREFIXES = ("ssl_", "socket_keepalive")


class Address:
    """A server and the way in. No connection is made here."""

    def __init__(self, source: str | aredis.Redis) -> None:
        kind, options = _from_url(source) if isinstance(source, str) else _from_client(source)
        # Only what says where and who: timeouts, retries and decoding are this library's own.
        self._kind = kind
        self._options = {
            name: value for name, value in options.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
        }
        self._options["client_name"] = self._options.get("client_name") or CLIENT_NAME
        if kind not in _TWINS:
            raise ConfigurationError(
                f"rcache cannot make a synchronous twin of {kind.__name__}: pass a redis://, rediss:// or unix:// URL,"
                " or a redis.asyncio.Redis client made from one"
            )

    def connection(self) -> aredis.Connection:
        """A connection for the running loop, not yet open; it neither retries nor times out by itself."""
        connection: aredis.Connection = self._kind(
            **self._options,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        return connection

    def sync_connection(self, timeout: float) -> redis.Connection:
        """A connection for threads, not yet open; every wait of it ends after `timeout` seconds."""
        connection: redis.Connection = _TWINS[self._kind](
            **self._options,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        return connection


def _from_url(url: str) -> tuple[type, dict[str, object]]:
    try:
        options = dict(parse_url(url))
    except ValueError as error:
        raise ConfigurationError(
            f"not a URL of a Redis server ({error}): write redis://host:6379/0, rediss:// for TLS, or unix:///path"
        ) from error
    kind = cast("type", options.pop("connection_class", aredis.Connection))
    if kind is aredis.UnixDomainSocketConnection and not options.get("path"):
        raise ConfigurationError("unix:// needs the path of the socket: write unix:///run/redis.sock")
    return kind, options


def _from_client(client: aredis.Redis) -> tuple[type, dict[str, object]]:
    pool = getattr(client, "connection_pool", None)
    if not isinstance(client, aredis.Redis) or pool is None:
        raise ConfigurationError("pass a Redis URL or a redis.asyncio.Redis client")
    return pool.connection_class, dict(pool.connection_kwargs)
