"""The way in for the queue's own driver, coredis: the same servers, passwords and certificates that the cache uses."""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio as aredis
from coredis import ConnectionPool
from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.credentials import AbstractCredentialProvider, UserPass
from redis.credentials import CredentialProvider

from rcache.stores.redis.address import CONNECT_TIMEOUT, Address
from rcache.stores.redis.urls import Place, Sharded, Watched

MOST_CONNECTIONS: Final = 32


class _Credentials(AbstractCredentialProvider):
    """Asks a provider of redis-py for each connection."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def get_credentials(self) -> UserPass:
        name, *rest = await self._provider.get_credentials_async()
        return UserPass(name, rest[0]) if rest else UserPass("default", name)


async def entry(place: Place) -> dict[str, Any]:
    """What a Worker of streaq takes to come there."""
    if isinstance(place, Sharded):
        nodes = [(seed.host, seed.port) for seed in place.seeds]
        return {"cluster_nodes": nodes, "redis_kwargs": _without(await _who(place.seeds[0]), "client_name", "db")}
    if isinstance(place, Watched):
        sentinels = [(each.host, each.port) for each in place.sentinels]
        return {
            "sentinel_nodes": sentinels,
            "sentinel_master": place.service,
            "sentinel_kwargs": _without(await _who(place.sentinels[0]), "db"),
            "redis_kwargs": await _who(place.server),
        }
    connection = await place.connection()
    location = (
        UnixDomainSocketLocation(connection.path)
        if isinstance(connection, aredis.UnixDomainSocketConnection)
        else TCPLocation(place.host, place.port)
    )
    pool: Any = ConnectionPool(
        location=location, decode_responses=True, max_connections=MOST_CONNECTIONS, **await _who(place)
    )
    return {"redis_pool": pool}


async def _who(address: Address) -> dict[str, Any]:
    """Database, credentials and TLS, as the driver of the cache reads them."""
    connection = await address.connection()
    who: dict[str, Any] = {
        "db": connection.db,
        "client_name": connection.client_name,
        "connect_timeout": CONNECT_TIMEOUT,
    }
    if connection.credential_provider is not None:
        who["credential_provider"] = _Credentials(connection.credential_provider)
    elif connection.password:
        who["username"], who["password"] = connection.username, connection.password
    if isinstance(connection, aredis.SSLConnection):
        who["ssl_context"] = connection.ssl_context.get()
    return who


def _without(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}
