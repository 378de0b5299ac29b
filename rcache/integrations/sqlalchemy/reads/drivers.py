"""Connections that were taken past SQLAlchemy: `engine.raw_connection()`.

Every connection is checked out of the pool; one that is SQLAlchemy's own says so right afterwards, and a raw one does not. What
is done with the driver's connection of one of SQLAlchemy's own is not seen.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, Pool, event

from rcache.current import gathering

RAW: Final = "a raw connection"
_TAKEN: Final = "rcache_taken"


class Drivers:
    """Follows what is taken from one engine's pool."""

    def __init__(self, engine: Engine, pool: Pool) -> None:
        self._engine = engine
        self._pool = pool

    def install(self) -> None:
        """From here on it is noted."""
        event.listen(self._pool, "checkout", _on_checkout)
        event.listen(self._engine, "engine_connect", _on_connect)

    def uninstall(self) -> None:
        """No more."""
        event.remove(self._pool, "checkout", _on_checkout)
        event.remove(self._engine, "engine_connect", _on_connect)


def _on_checkout(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    reads = gathering.get()
    record.info.pop(_TAKEN, None)  # who took it raw before has given it back
    if reads is not None and RAW not in reads.refused:
        reads.exclude(RAW)  # until the connection says whose it is
        record.info[_TAKEN] = reads


def _on_connect(connection: Connection) -> None:
    taken = connection.info.pop(_TAKEN, None)
    if taken is not None:
        taken.pardon(RAW)
