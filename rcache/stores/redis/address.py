"""One server and the way in: makes connections for event loops, and their synchronous twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import redis
from redis import asyncio as aredis
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


def is_kept(option: str) -> bool:
    """Whether an option says where or who. Timeouts, retries and decoding are this library's own."""
    return option in _KEPT or option.startswith(_KEPT_PREFIXES)


class Way(Protocol):
    """How to come to the server that answers for the data, whichever that is at the moment."""

    generation: int
    """Connections made under an earlier one lead to a server that must not be asked any more."""

    @property
    def is_sure(self) -> bool:
        """Whether connections may be used without `confirm` before."""
        ...

    @property
    def is_aging(self) -> bool:
        """Whether it is time to `confirm`, so that nobody has to wait for it later."""
        ...

    @property
    def reign(self) -> bytes:
        """The number of failovers that those count who appoint the server; empty where there are none."""
        ...

    def unsettled(self) -> float:
        """Seconds for which other processes may still follow a server that answered before this one."""
        ...

    async def confirm(self) -> None:
        """Finds out whether it is still the same server; begins another generation where it is not."""
        ...

    def confirm_sync(self, timeout: float) -> None:
        """`confirm`, without an event loop."""
        ...

    async def connection(self) -> aredis.Connection:
        """A connection for the running loop, not yet open; it neither retries nor times out by itself."""
        ...

    def sync_connection(self, timeout: float) -> redis.Connection:
        """A connection for threads, not yet open; every wait of it ends after `timeout` seconds."""
        ...

    def greeting(self) -> bytes | None:
        """The command that a connection begins with, packed; None where there is none."""
        ...

    def greeted(self, reply: Any) -> None:
        """What the server answered to `greeting`."""
        ...

    def doubt(self) -> None:
        """The server said that it is a replica: the next connections are made anew."""
        ...


class Address:
    """A server and the way in. No connection is made here."""

    is_sure = True
    is_aging = False
    reign = b""

    def __init__(self, kind: type, options: Mapping[str, object]) -> None:
        if kind not in _TWINS:
            raise ConfigurationError(
                f"rcache cannot make a synchronous twin of {kind.__name__}: pass a redis://, rediss:// or unix:// URL,"
                " or a redis.asyncio client made from one"
            )
        self.generation = 0
        self._kind = kind
        self._options = {name: value for name, value in options.items() if is_kept(name)}
        self._options["client_name"] = self._options.get("client_name") or CLIENT_NAME

    def __repr__(self) -> str:
        return f"<{self.place}>"

    @property
    def host(self) -> str:
        """The name or number of its machine."""
        return str(self._options.get("host", "localhost"))

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(str(self._options.get("port", 6379)))

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return str(self._options.get("path") or f"{self.host}:{self.port}")

    def at(self, host: str, port: int) -> Address:
        """Another server that is entered the same way."""
        return Address(self._kind, {**self._options, "host": host, "port": port})

    async def connection(self) -> aredis.Connection:
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

    def doubt(self) -> None:
        """Behind its name may by now be another server: the next connections are made anew."""
        self.generation += 1

    def greeting(self) -> bytes | None:
        """None: whoever answers here is the one."""
        return None

    def greeted(self, reply: Any) -> None:
        """There is no greeting."""

    def unsettled(self) -> float:
        """No server answered before this one."""
        return 0.0

    async def confirm(self) -> None:
        """There is nobody to ask."""

    def confirm_sync(self, timeout: float) -> None:
        """There is nobody to ask."""
