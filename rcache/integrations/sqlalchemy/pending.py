"""What one transaction has changed and not yet committed: a level for the transaction, and one for each savepoint in it.

It lies on the database connection (`Connection.info`), so that sessions which share one share it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Final, Protocol

from rcache import logs
from rcache.cache import Cache
from rcache.core.changes import Change
from rcache.core.errors import BackendError
from rcache.core.schemes import NO_EFFECT, Effect
from rcache.current import current_reads, request_scope
from rcache.engine.holds import Hold
from rcache.integrations.sqlalchemy.waiting import carry_out

MOST_CHANGES: Final = 500
"""Changes of one table that a transaction remembers one by one."""

UNCOMMITTED: Final = "uncommitted"
"""Why an answer is not stored that was made of what nobody may see yet, as Cache-Status says it."""


class Level:
    """The changes since a savepoint."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._changes: dict[str, list[Change]] = {}
        self._suspected: list[Change] = []
        self.joined: dict[Cache, Effect] = {}
        self.withheld: list[tuple[Cache, tuple[str, ...]]] = []

    def add(self, change: Change) -> bool:
        """Remembers it; where there are too many of a table, only that it has changed. Whether they have just become too many."""
        changes = self._changes.setdefault(change.table, [])
        if changes and changes[0].pk is None:
            return False
        is_crowded = change.pk is not None and len(changes) >= MOST_CHANGES
        if change.pk is None or is_crowded:
            changes[:] = [Change(change.table, None)]
        else:
            changes.append(change)
        return is_crowded

    def suspect(self, changes: list[Change]) -> Callable[[], None]:
        """They may be made by a statement under way, for all that is known; what is returned says that this is over."""
        self._suspected += changes

        def acquit() -> None:
            for change in changes:
                self._suspected.remove(change)

        return acquit

    def merge(self, other: Level) -> None:
        """The savepoint was released: what came after it came after the one before."""
        for change in other.changes():
            self.add(change)
        for cache, effect in other.joined.items():
            self.join(cache, effect)
        self.withheld += other.withheld

    def join(self, cache: Cache, effect: Effect) -> None:
        """That is to be purged too."""
        self.joined[cache] = self.joined.get(cache, NO_EFFECT) | effect

    def changes(self) -> Iterator[Change]:
        """All of them, by table."""
        for changes in self._changes.values():
            yield from changes
        yield from self._suspected

    def restore(self) -> None:
        """What was withheld is good again."""
        for cache, tags in self.withheld:
            cache.changes.restore(tags)
        self.withheld = []

    @property
    def is_empty(self) -> bool:
        """Nothing has changed since."""
        return not (self._changes or self._suspected or self.joined)


class Source(Protocol):
    """Who follows the engine."""

    def effect(self, cache: Cache, changes: Sequence[Change]) -> Effect:
        """What the changes purge in that cache."""
        ...


class Pending:
    """One transaction of a connection."""

    def __init__(self, source: Source, is_async: bool) -> None:
        self.source = source
        self.levels = [Level()]
        self._is_async = is_async
        self.noted: str | None = None
        """The row of the outbox that tells of it."""
        self.ends_with_statement = False
        """The statement under way commits: by itself, or because it says so."""
        self._holds: list[Hold] = []
        self._circle: Circle | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether it has changed anything."""
        return not all(level.is_empty for level in self.levels)

    def add(self, changes: Iterable[Change], withholding: Iterable[Cache] = ()) -> list[str]:
        """They have been made, and will be seen when the transaction commits. The tables of which they are too many from now on."""
        made = list(changes)
        if not made:
            return []
        level = self.levels[-1]
        crowded = [change.table for change in made if level.add(change)]
        for cache in withholding:
            tags = self.source.effect(cache, made).widest
            cache.changes.withhold(tags)
            level.withheld.append((cache, tags))
        self.mark()
        if self._circle is None:
            self._circle = Circle.current()
            self._circle.transactions.append(self)
        return crowded

    def join(self, cache: Cache, effect: Effect, is_withholding: bool) -> None:
        """The effect is purged together with what has changed."""
        level = self.levels[-1]
        level.join(cache, effect)
        if is_withholding:
            cache.changes.withhold(effect.widest)
            level.withheld.append((cache, effect.widest))

    @staticmethod
    def mark() -> None:
        """The answer being made shows what is not committed: it is not stored."""
        scope = request_scope.get()
        if scope is not None and scope.tags is not None:
            scope.refusal = UNCOMMITTED
        reads = current_reads()
        if reads is not None:
            reads.exclude(UNCOMMITTED)

    # Savepoints

    def savepoint(self, name: str) -> None:
        """A level of its own for what comes now."""
        self.levels.append(Level(name))

    def release_savepoint(self, name: str) -> None:
        """What came after it belongs to the level below."""
        for level in self._since(name):
            self.levels[-1].merge(level)

    def rollback_savepoint(self, name: str) -> None:
        """What came after it never happened."""
        for level in self._since(name):
            level.restore()

    def _since(self, name: str) -> list[Level]:
        """The levels from the savepoint on, taken off."""
        for index in range(len(self.levels) - 1, 0, -1):
            if self.levels[index].name == name:
                taken = self.levels[index:]
                del self.levels[index:]
                return taken
        return []

    # A statement that commits by itself

    def end_statement(self, changes: list[Change], caches: Iterable[Cache]) -> None:
        """It has committed by itself, and changed this: less than was held, since that was not known before."""
        for cache in caches:
            effect = self.source.effect(cache, changes)
            purges = partial(cache.purge, (), effect=effect), partial(cache.purge_sync, (), effect=effect)
            try:
                carry_out(self._is_async, *purges)
            except BackendError as outage:
                logs.PURGE_FAILED.tell(error=str(outage))
        self.forget()
        self.release()

    # The end

    def changes(self) -> list[Change]:
        """All of them."""
        return [change for level in self.levels for change in level.changes()]

    def effect(self, cache: Cache) -> Effect:
        """What the COMMIT purges in that cache."""
        effect = self.source.effect(cache, self.changes())
        for level in self.levels:
            effect |= level.joined.get(cache, NO_EFFECT)
        return effect

    def hold(self, caches: Iterable[Cache], *, for_statement: bool = False) -> None:
        """From here on nobody is served what the COMMIT may change. Raises BackendError where COMMIT is not to be sent."""
        self.ends_with_statement = for_statement
        if self._holds:  # PREPARE came before
            for hold in self._holds:
                carry_out(self._is_async, hold.confirm, hold.confirm_sync)
            return
        try:
            for cache in caches:
                effect = self.effect(cache)
                if effect.tags:
                    cache.open()
                    hold = cache.holds.begin(effect)
                    self._holds.append(hold)
                    carry_out(self._is_async, hold.place, hold.place_sync)
        except BaseException:
            self.release()
            raise

    def purge(self) -> bool:
        """COMMIT has landed. What cannot land in the store now is sent until it does; nobody is told that COMMIT failed.

        Whether all of it has landed.
        """
        return self._end(is_known=True)

    def leave(self) -> None:
        """COMMIT was sent, and nobody knows what became of it: purged, and held until the holds run out."""
        self._end(is_known=False)

    def _end(self, *, is_known: bool) -> bool:
        self.ends_with_statement = False
        holds, self._holds = self._holds, []
        cancelled: asyncio.CancelledError | None = None
        has_landed = True
        for hold in holds:
            try:
                if is_known:
                    has_landed &= carry_out(self._is_async, hold.purge, hold.purge_sync).landed
                else:
                    carry_out(self._is_async, hold.leave, hold.leave_sync)
            except BackendError as outage:
                has_landed = False
                logs.PURGE_FAILED.tell(error=str(outage))
            except asyncio.CancelledError as error:  # the purge has landed, or is journalled
                has_landed = False
                cancelled = error
        if is_known:
            self.forget()
            if cancelled is not None:
                raise cancelled
        return has_landed

    def release(self) -> None:
        """It is rolled back, or COMMIT is not sent: what was held is good again."""
        self.ends_with_statement = False
        holds, self._holds = self._holds, []
        for hold in holds:
            carry_out(self._is_async, hold.release, hold.release_sync)

    def forget(self) -> None:
        """The transaction is over."""
        if self._circle is not None:
            self._circle.transactions.remove(self)
            self._circle = None
        self.noted = None
        for level in self.levels:
            level.restore()
        self.levels = [Level()]


class Circle:
    """The transactions that one task, or one call in a thread, has written in and not yet ended."""

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self.transactions: list[Pending] = []

    @staticmethod
    def found() -> list[Pending]:
        """The transactions of this task or thread."""
        circle = _circle.get()
        return circle.transactions if circle is not None and circle._owner is _owner() else []

    @classmethod
    def current(cls) -> Circle:
        """This task's or thread's own: a task that it started has another."""
        owner = _owner()
        circle = _circle.get()
        if circle is None or circle._owner is not owner:
            circle = cls(owner)
            _circle.set(circle)
        return circle


_circle: ContextVar[Circle | None] = ContextVar("rcache_transactions", default=None)


def _owner() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or threading.current_thread()
