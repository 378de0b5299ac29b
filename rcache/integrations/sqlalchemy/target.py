"""Where the changes of one metadata's tables go: to one cache, whose `invalidate` may join the transactions that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect
from sqlalchemy.orm import Session

from rcache.cache import Cache
from rcache.core.schemes import Effect
from rcache.integrations.sqlalchemy.names import Names
from rcache.integrations.sqlalchemy.pending import Circle, Pending, Source


class Target:
    """Where changes of one metadata's tables go."""

    def __init__(
        self,
        names: Names,
        cache: Cache,
        *,
        is_strict: bool,
        is_uncommitted: bool,
        views: Mapping[str, Sequence[str]],
        functions: Mapping[str, Sequence[str]],
    ) -> None:
        """`views`, `functions`: the tables that each reads, by its name in lower case."""
        self.views = views
        self.functions = functions
        self.names = names
        self.cache = cache
        self.is_strict = is_strict
        self.is_uncommitted = is_uncommitted
        self.joiner: Joiner


class Follower(Source, Protocol):
    """Who follows the engine."""

    @property
    def dialect(self) -> Dialect:
        """The engine's own."""
        ...

    def pending(self, info: dict[str, Any]) -> Pending:
        """The transaction of the connection with this info."""
        ...


class Joiner:
    """Lets `invalidate` join the transactions of one engine for one cache."""

    def __init__(self, followed: Follower, target: Target) -> None:
        self._followed = followed
        self._target = target

    def join(self, effect: Effect, connection: object | None) -> bool:
        """`Transactions.join`."""
        if connection is None:
            mine = [each for each in Circle.found() if each.source is self._followed and each.is_dirty]
        else:
            mine = self._of(connection)
        for pending in mine:
            pending.join(self._target.cache, effect, self._target.is_uncommitted)
        return bool(mine)

    def _of(self, given: Any) -> list[Pending]:
        given = getattr(given, "sync_session", None) or getattr(given, "sync_connection", None) or given
        connection = given.connection() if isinstance(given, Session) else given
        if not isinstance(connection, Connection) or connection.dialect is not self._followed.dialect:
            return []
        pending = self._followed.pending(connection.info)
        pending.add([])
        return [pending]
