"""How transactions end: COMMIT between hold and purge, ROLLBACK with a release, savepoints with a level more or less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Engine, PoolProxiedConnection

from rcache.cache import Cache
from rcache.core.changes import Change
from rcache.core.schemes import Effect
from rcache.integrations.sqlalchemy import bounds
from rcache.integrations.sqlalchemy.memory import KEY as REMEMBERED
from rcache.integrations.sqlalchemy.outbox import Outbox
from rcache.integrations.sqlalchemy.pending import Pending
from rcache.integrations.sqlalchemy.states import begin, was_refused
from rcache.integrations.sqlalchemy.target import Target
from rcache.integrations.sqlalchemy.telling import tell

KEY: Final = "rcache_pending"
RUNNING: Final = "rcache_running"
"""Where a connection keeps its transaction, and the statement under way."""

WRAPPED: Final = ("do_commit", "do_commit_twophase", "do_rollback", "do_rollback_twophase", "do_savepoint")
"""What the dialect does through us: every way to a COMMIT leads through the first two, those of the pool as well."""


class Endings:
    """The ends of one engine's transactions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.targets: list[Target] = []
        self.outbox: Outbox | None = None
        self._originals: dict[str, Callable[..., None]] = {name: getattr(engine.dialect, name) for name in WRAPPED}

    @property
    def dialect(self) -> Dialect:
        """The engine's own."""
        return self.engine.dialect

    def _caches(self) -> list[Cache]:
        return list({id(target.cache): target.cache for target in self.targets}.values())

    def effect(self, cache: Cache, changes: Sequence[Change]) -> Effect:
        """What the changes purge in that cache."""
        names = [target.names for target in self.targets if target.cache is cache]
        concerned = [change for change in changes if any(each.find(change.table) is not None for each in names)]
        effect = cache.changes.effect(concerned)
        if len(effect.tags) <= bounds.MOST_TAGS:
            return effect
        return cache.changes.effect(bounds.bounded(concerned, lambda some: len(cache.changes.effect(some).tags)))

    def pending(self, info: dict[str, Any]) -> Pending:
        """The transaction of the connection with this info."""
        found: Pending | None = info.get(KEY)
        if found is None:
            found = info[KEY] = Pending(self, bool(self.dialect.is_async))
        return found

    # Savepoints

    def _do_savepoint(self, connection: Connection, name: str) -> None:
        begin(connection)
        self._originals["do_savepoint"](connection, name)
        self.pending(connection.info).savepoint(name)

    def _on_savepoint_rollback(self, connection: Connection, name: str, context: None) -> None:
        self.pending(connection.info).rollback_savepoint(name)

    def _on_savepoint_release(self, connection: Connection, name: str, context: None) -> None:
        self.pending(connection.info).release_savepoint(name)

    # The end

    def _on_commit(self, connection: Connection) -> None:
        pending: Pending | None = connection.info.get(KEY)
        if pending is not None and pending.is_dirty:
            if self.outbox is not None and pending.noted is None:
                # The schemes are told by the hold, which comes after this: whoever drains it purges what they may say.
                tags = {tag for cache in self._caches() for tag in pending.effect(cache).widest}
                pending.noted = self.outbox.note(connection, sorted(tags))
            pending.hold(self._caches())

    def _on_twophase(self, connection: Connection, *_: Any) -> None:
        self._on_commit(connection)

    def _do_commit(self, dbapi_connection: PoolProxiedConnection) -> None:
        self._commit(_info(dbapi_connection), partial(self._originals["do_commit"], dbapi_connection))

    def _do_commit_twophase(self, connection: Connection, xid: Any, *args: Any, **options: Any) -> None:
        self._commit(connection.info, partial(self._originals["do_commit_twophase"], connection, xid, *args, **options))

    def _commit(self, info: dict[str, Any], commit: Callable[[], None]) -> None:
        """Sends COMMIT, between hold and purge."""
        pending: Pending | None = info.pop(KEY, None)
        if pending is None or not pending.is_dirty:
            commit()
            return
        try:
            pending.hold(self._caches())
        except BaseException:
            info[KEY] = pending
            raise
        try:
            commit()
        except BaseException as error:
            info[KEY] = pending
            if was_refused(self.dialect, error):
                pending.release()
            else:
                pending.leave()
            raise
        self._committed(pending)

    def _committed(self, pending: Pending) -> None:
        changes = pending.changes()
        noted = pending.noted
        try:
            has_landed = pending.purge()
            if self.outbox is not None and noted is not None and has_landed:
                self.outbox.landed(noted)
        finally:
            tell([target.names for target in self.targets], changes)

    def _do_rollback(self, dbapi_connection: PoolProxiedConnection) -> None:
        try:
            self._originals["do_rollback"](dbapi_connection)
        finally:
            self._rolled_back(_info(dbapi_connection))

    def _do_rollback_twophase(self, connection: Connection, xid: Any, *args: Any, **options: Any) -> None:
        try:
            self._originals["do_rollback_twophase"](connection, xid, *args, **options)
        finally:
            self._rolled_back(connection.info)

    @staticmethod
    def _rolled_back(info: dict[str, Any]) -> None:
        pending: Pending | None = info.pop(KEY, None)
        info.pop(RUNNING, None)
        info.pop(REMEMBERED, None)
        if pending is not None:
            pending.forget()
            pending.release()

    def _on_lost(self, dbapi_connection: Any, record: Any, *_: Any) -> None:
        """The connection is gone, and its transaction with it, unless it was prepared: then its holds run out."""
        pending: Pending | None = record.info.pop(KEY, None)
        if pending is not None:
            pending.leave()
            pending.forget()


def _info(connection: PoolProxiedConnection) -> dict[str, Any]:
    try:
        return connection.info
    except NotImplementedError:  # the dialect looks around on its first connection, which belongs to no pool yet
        return {}
