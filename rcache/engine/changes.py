"""What one cache knows of writes: how tables are named in tags, which transactions are under way, and what they have changed.

An integration brings that knowledge; nothing here imports one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from rcache.core.changes import Change, TableTags, tags_of
from rcache.core.schemes import Effect


class Tables(Protocol):
    """Somebody who knows tables."""

    def describe(self, change: Change) -> TableTags | None:
        """How the changed row is named in tags; None where the table is unknown here."""
        ...


class Transactions(Protocol):
    """Somebody who follows transactions."""

    def join(self, effect: Effect, connection: object | None) -> bool:
        """Whether the effect is now purged together with a transaction, and forgotten where that is rolled back.

        That of `connection`; where it is None, one of the same task or thread that has written and not yet committed.
        """
        ...


class Changes:
    """One cache's."""

    def __init__(self, detach: Callable[[], None]) -> None:
        """`detach`: lets no request that begins from now on share an answer with one that began before."""
        self.tables: list[Tables] = []
        self.transactions: list[Transactions] = []
        self.withheld: dict[str, int] = {}
        """Tags that transactions which will never commit have changed, in a test suite; nothing that carries one is served."""
        self._detach = detach
        self._lock = threading.Lock()

    def effect(self, changes: Iterable[Change]) -> Effect:
        """What the changes purge."""
        tags, by_table = set[str](), dict[str, list[Change]]()
        for change in changes:
            table = self.describe(change)
            tags |= tags_of(change, table)
            for name in table.names if change.pk is not None else ():
                by_table.setdefault(name, []).append(change)
        return Effect(tags, by_table)

    def describe(self, change: Change) -> TableTags:
        """How the changed row is named in tags, where nobody knows its table by the table's own name."""
        for tables in self.tables:
            found = tables.describe(change)
            if found is not None:
                return found
        return TableTags((change.table,))

    def join(self, effect: Effect, connection: object | None = None) -> bool:
        """`Transactions.join`, in whatever follows that transaction."""
        joined = [transactions.join(effect, connection) for transactions in tuple(self.transactions)]
        return any(joined)

    def withhold(self, tags: Iterable[str]) -> None:
        """Nothing in this process is answered from an entry that carries one of the tags."""
        with self._lock:
            for tag in tags:
                self.withheld[tag] = self.withheld.get(tag, 0) + 1
        self._detach()

    def restore(self, tags: Iterable[str]) -> None:
        """Ends a `withhold`."""
        with self._lock:
            for tag in tags:
                count = self.withheld.pop(tag, 0)
                if count > 1:
                    self.withheld[tag] = count - 1
        self._detach()

    def withholds(self, tags: Iterable[str]) -> bool:
        """Whether one of the tags is withheld."""
        withheld = self.withheld
        return any(tag in withheld for tag in tags)
