"""Being woken by NOTIFY, on a connection of one's own: what arrives while nobody looks is still there when somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rcache import logs
from rcache.integrations.postgresql.migration import OUTBOX

_AUTOCOMMIT: Final[Any] = {"isolation_level": "AUTOCOMMIT"}


class Listening:
    """Hears of whatever commits after it was entered; where the driver or the server has no LISTEN, it hears nothing."""

    def __init__(self, engine: Engine | AsyncEngine) -> None:
        self._engine = engine
        self._heard = asyncio.Event()
        self._is_lost = False
        self._connection: AsyncConnection | Connection
        self._unwatch: Callable[[], object] = bool

    async def wait(self, seconds: float) -> None:
        """Returns once it has heard something since the last time, or after so long. Raises ConnectionError where it is deaf."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)
        self._heard.clear()
        if self._is_lost:
            raise ConnectionError("the connection that listens is gone")

    async def __aenter__(self) -> Self:
        driver: Any
        if isinstance(self._engine, AsyncEngine):
            self._connection = await self._engine.connect()
            driver = (await self._connection.get_raw_connection()).driver_connection
        else:
            self._connection = await asyncio.to_thread(self._engine.connect)
            driver = self._connection.connection.driver_connection
        try:
            await self._begin(driver)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._unwatch()
        if isinstance(self._connection, AsyncConnection):
            await self._connection.close()
        else:
            await asyncio.to_thread(self._connection.close)

    async def _begin(self, driver: Any) -> None:
        # Detached, so that somebody else may have its place in the pool.
        if isinstance(self._connection, AsyncConnection):
            await self._connection.execution_options(**_AUTOCOMMIT)
            await self._connection.run_sync(Connection.detach)
        else:
            self._connection.execution_options(**_AUTOCOMMIT)
            self._connection.detach()
        try:
            await self._listen(driver)
        except Exception as error:
            await self._execute("SELECT 1")  # raises where that is not about LISTEN
            logs.OUTBOX_NOT_HEARD.tell(error=repr(error))

    async def _listen(self, driver: Any) -> None:
        if hasattr(driver, "add_listener"):  # asyncpg
            driver.add_termination_listener(lambda _: self._lose())
            await driver.add_listener(OUTBOX, lambda *_: self._heard.set())
        elif hasattr(driver, "pgconn"):  # psycopg
            await self._execute(f"LISTEN {OUTBOX}")
            self._watch(driver)
        else:
            raise NotImplementedError(f"{type(driver).__module__} cannot be listened with")

    async def _execute(self, sql: str) -> None:
        if isinstance(self._connection, AsyncConnection):
            await self._connection.exec_driver_sql(sql)
        else:
            await asyncio.to_thread(self._connection.exec_driver_sql, sql)

    def _watch(self, driver: Any) -> None:
        """Nothing else reads from the connection's socket from now on."""
        loop, socket = asyncio.get_running_loop(), driver.fileno()

        def on_readable() -> None:
            try:
                driver.pgconn.consume_input()
            except driver.OperationalError:
                loop.remove_reader(socket)
                self._lose()
            while driver.pgconn.notifies():
                self._heard.set()

        loop.add_reader(socket, on_readable)
        self._unwatch = lambda: loop.remove_reader(socket)

    def _lose(self) -> None:
        self._is_lost = True
        self._heard.set()
