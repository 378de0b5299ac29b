"""`Cache`: the one object users hold. It wires a store to the engine."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from rcache import signals
from rcache.clock import Clock, SystemClock
from rcache.core.changes import Change, row_tag, whole_table
from rcache.core.configuration import EMBEDDED, CacheSettings, cache_contradiction, shown_url
from rcache.core.entry import Purge
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.reports import MOST_LISTED
from rcache.core.schemes import NO_EFFECT, Effect
from rcache.core.tags import check_tag
from rcache.engine.audits import Audits
from rcache.engine.changes import Changes
from rcache.engine.fame import Fame
from rcache.engine.holds import Holds
from rcache.engine.near_store import NearStore
from rcache.engine.purge import Purged, Purger
from rcache.engine.reading import note_write
from rcache.engine.refresh import Refreshes
from rcache.engine.single_flight import Flights, Turns
from rcache.engine.telemetry import Kind, Standing, Telemetry, described
from rcache.engine.uncacheable import Uncacheable
from rcache.engine.warming import Warming
from rcache.engine.work import APPLICATION, Functions, Work
from rcache.engine.write import SyncWrite, Write
from rcache.observing import observed
from rcache.queues.memory import MemoryQueue
from rcache.settings import ALIKE, CACHE, Settings, in_force
from rcache.stores.memory import MemoryStore

if TYPE_CHECKING:
    import redis.asyncio

    from rcache.core.entry import AtHand
    from rcache.core.keys import Key
    from rcache.ports import Inspector, Observer, Popularity, Queue, Store

_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


class Cache:
    """Entries, and the purges that reach them.

    - `url`: `memory://` (embedded, in this process: the default), `redis://host:6379/0` and its kin, or a ready client or store.
    - `settings`: what is in force where neither `url` nor a keyword says otherwise; None: what the environment and the file say.
    - `clock`: for tests.

    Everything else is a setting by name: `Settings` says what each means. It opens by itself on first use. `await close()`,
    `async with` or the application's lifespan closes it; used again after that, it opens again. Raises ConfigurationError for
    settings that cannot work.
    """

    def __init__(
        self,
        url: str | redis.asyncio.Redis | redis.asyncio.RedisCluster | Store | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        **given: Unpack[CacheSettings],
    ) -> None:
        self.settings = said = in_force(settings, given if url is None else {"url": url, **given}, CACHE, "Cache")
        if (problem := cache_contradiction(said.said(CACHE))) is not None:
            raise ConfigurationError(problem)
        self.clock = clock or SystemClock()
        self.max_body = said.max_body
        self.deadline = said.deadline
        # The timer that watches over it may be a tick late, and the answer is to be in time all the same.
        self.allowance = 0.9 * said.deadline
        self.wait = said.wait
        self.key_host = said.key_host
        self.store: Store = _store(said, self.clock)
        self._queue: Queue | None = None
        self.functions = Functions(APPLICATION)
        self.at_hand: Callable[[Key], AtHand | None] = self.store.at_hand
        """What answers the plainest requests."""
        self.observer: Observer | None = None
        self.flights = Flights()
        self.turns = Turns()
        self.refreshes = Refreshes()
        self.audits = Audits()
        self.uncacheable = Uncacheable(self.clock)
        self.telemetry = Telemetry(self.clock, self._standing)
        self.stats = self.telemetry.stats
        self._near = said.near
        self.inspector: Inspector
        self.inspector, self._reporter = observed(self.store, self.telemetry)
        self.store.watch_burials(self._buried)
        self.warming = Warming(self.store, self._queue_of_workers, self.clock, Fame(self.inspector, self.clock).hits)
        self._purger = Purger(
            self.store,
            timeout=said.purge_timeout,
            on_outage=said.on_outage,
            before=self._before_purge,
            max_pending=said.max_pending,
        )
        self.journal = self._purger.journal
        self.holds = Holds(
            self.store, self._purger, commit_timeout=said.commit_timeout, clock=self.clock, told=self._told
        )
        self.changes = Changes(self.flights.detach)
        self.is_open = False
        self.open()

    def __repr__(self) -> str:
        return f"<Cache on {type(self.store).__name__}>"

    def open(self) -> None:
        """From here on signals reach this cache, and it counts among those of the process. Connections open on first use."""
        if not self.is_open:
            self.is_open = True
            _caches.add(self)

    @property
    def popularity(self) -> Popularity:
        """What is asked for often, in all nodes."""
        return self.inspector.popularity

    async def invalidate(self, *tags: str, wait: bool = True, soft: bool = False, cause: str = "invalidate") -> Purged:
        """Purges every entry that carries one of `tags`, exactly as spelled; returns once that has landed.

        A request that begins after a landed return is not answered, on any node, from an entry begun before it. While the
        store cannot be reached: see `purge_timeout` and `on_outage`. `wait=False` returns at once. Raises ValueError for
        an illegal tag.

        Where the same task has written in a tracked transaction and not yet committed, it joins that: the tags are held and
        purged with the COMMIT and forgotten on ROLLBACK, and `landed` is False.

        `soft=True` makes entries stale instead of dead: they go on answering where a stale answer may, by
        `stale_while_revalidate` and `stale_on_error`, counted from now, while a new one is made. The promise above is given up
        for them. A purge that is not soft wins, whenever it comes; and a soft one is as hard as any where it joins a
        transaction, has to wait for the store, or is not waited for.

        `cause` is what tools are told of why it was done.
        """
        note_write()
        checked = _checked(tags)
        if self.changes.join(Effect(checked, {})):
            return _joined(checked)
        if soft and checked:
            self.open()
            purged = await self._purger.soften(checked, wait=wait)
            self._softened(purged)
            return self._told(purged, "soft-purge", cause=cause)
        return await self.purge(checked, wait=wait, cause=cause)

    async def purge(
        self,
        tags: tuple[str, ...],
        *,
        wait: bool = True,
        effect: Effect = NO_EFFECT,
        cause: str = "invalidate",
        changes: Iterable[str] = (),
    ) -> Purged:
        """`invalidate` for tags that are known to be legal, those of URLs (`Key.url_tag`) among them, and what the effect says.

        `changes` tell people what has changed, beside what the effect tells.
        """
        self.open()
        if not (tags or effect.tags):
            return self._told(_NOTHING)
        purged = await self._purger.purge(tags, wait=wait, effect=effect)
        return self._told(purged, cause=cause, effect=effect, changes=changes)

    def invalidate_sync(self, *tags: str, wait: bool = True, soft: bool = False, cause: str = "invalidate") -> Purged:
        """`invalidate` without an event loop: in sync endpoints, scripts, other frameworks; on a loop's thread it blocks."""
        note_write()
        checked = _checked(tags)
        if self.changes.join(Effect(checked, {})):
            return _joined(checked)
        if soft and checked:
            self.open()
            purged = self._purger.soften_sync(checked, wait=wait)
            self._softened(purged)
            return self._told(purged, "soft-purge", cause=cause)
        return self.purge_sync(checked, wait=wait, cause=cause)

    def purge_sync(
        self, tags: tuple[str, ...], *, wait: bool = True, effect: Effect = NO_EFFECT, cause: str = "invalidate"
    ) -> Purged:
        """`purge` without an event loop."""
        self.open()
        if not (tags or effect.tags):
            return self._told(_NOTHING)
        return self._told(self._purger.purge_sync(tags, wait=wait, effect=effect), cause=cause, effect=effect)

    async def apply(
        self, changes: Iterable[Change], *, connection: object | None = None, cause: str = "apply"
    ) -> Purged:
        """Purges what rows that have changed are shown in: for writes that no tracked engine sees.

        To be called after their COMMIT; within a tracked transaction that has written, or of `connection` (a session or
        connection of a tracked engine), it joins that, as `invalidate` does.
        """
        note_write()
        effect = self.changes.effect(changes)
        if self._joins(effect, connection):
            return _joined(effect.tags)
        return await self.purge((), effect=effect, cause=cause)

    def apply_sync(
        self, changes: Iterable[Change], *, connection: object | None = None, cause: str = "apply"
    ) -> Purged:
        """`apply` without an event loop."""
        note_write()
        effect = self.changes.effect(changes)
        if self._joins(effect, connection):
            return _joined(effect.tags)
        return self.purge_sync((), effect=effect, cause=cause)

    def _joins(self, effect: Effect, connection: object | None) -> bool:
        is_joined = self.changes.join(effect, connection)
        if connection is not None and not is_joined:
            raise ConfigurationError(
                f"{connection!r} is not of an engine that this cache tracks: call track(engine, ...)"
            )
        return is_joined

    @property
    def queue(self) -> Queue:
        """Where jobs wait: on the cache's Redis, in its namespace; embedded, in this process.

        Raises ConfigurationError where a package for that is missing.
        """
        if self._queue is None:
            self._queue = _queue(self.settings, self.clock)
        return self._queue

    def _queue_of_workers(self) -> Queue | None:
        try:
            return self.queue
        except ConfigurationError:  # without the package there are no workers either
            return None

    @property
    def work(self) -> Work:
        """What runs jobs and schedules in this process: those of the application, and of `functions`."""
        return Work(self.queue, self.functions, self.clock)

    def observe(self, observer: Observer | None) -> None:
        """From here on it watches what this cache does in this process; None: nobody does."""
        self.observer = self._purger.observer = observer
        self.at_hand = _nothing if observer is not None and observer.wants_plain_hits else self.store.at_hand

    def forbids(self, tags: tuple[str, ...]) -> str | None:
        """Why this process serves nothing that carries one of the tags, whatever the store says."""
        if self.journal.waiting and self.journal.blocks(tags):
            return "purge-pending"
        if self.changes.withheld and self.changes.withholds(tags):
            return "uncommitted"
        return None

    def writing(self, *tags: str) -> Write:
        """`async with cache.writing("user:42"): ...` around a write to anything: a database, a file, another service.

        From before the block until its purge has landed no request is answered, on any node, with what carries one of `tags`.
        After the block they are purged; where it raises they are released, and nothing is flushed. Where it is cancelled,
        loses a connection (OSError) or raises `UnknownOutcome`, nobody knows what was written: they are purged, and stay held
        until the hold runs out. A process that is killed anywhere in between leaves nothing stale behind.
        """
        self.open()
        note_write()
        return Write(partial(self.holds.begin, cause="writing"), tags)

    def writing_sync(self, *tags: str) -> SyncWrite:
        """`with cache.writing_sync("user:42"): ...`: `writing` without an event loop."""
        self.open()
        note_write()
        return SyncWrite(partial(self.holds.begin, cause="writing"), tags)

    def _before_purge(self) -> None:
        self.flights.detach()
        self.warming.prepare()

    def _softened(self, purged: Purged) -> None:
        if purged.sequence is not None:
            self.warming.softened(purged.tags, purged.sequence)

    def _told(
        self,
        purged: Purged,
        kind: Kind = "purge",
        *,
        cause: str = "",
        effect: Effect = NO_EFFECT,
        changes: Iterable[str] = (),
    ) -> Purged:
        self.stats.purges += 1
        self.flights.detach()
        if purged.entries:
            self.warming.purged()
        if purged.tags:
            named = (*changes, *map(described, effect.changes[:MOST_LISTED]))
            number = purged.sequence or 0
            self.telemetry.happened(
                kind, purged.tags, entries=purged.entries, number=number, cause=cause, changes=named
            )
        if signals.tags_invalidated.receivers:
            signals.notify(
                signals.tags_invalidated,
                self,
                tags=purged.tags,
                entries=purged.entries,
                sequence=purged.sequence,
                landed=purged.landed,
            )
        return purged

    def _buried(self, tags: Sequence[str], purge: Purge) -> None:
        """This process has purged tags for a writer whose hold ran out."""
        self.telemetry.happened("purge", tags, entries=purge.entries, number=purge.number, cause="abandoned-hold")

    def _standing(self) -> Standing:
        near = self.store.near if isinstance(self.store, NearStore) else None
        tail, lease = (near.tail, near.lease_left) if near is not None else (None, None)
        alike = tuple([(name, str(getattr(self.settings, name))) for name in ALIKE])
        return Standing(self._near, tail, lease, self.store.is_down, len(self.journal.waiting), alike)

    async def close(self) -> None:
        """Lets go of connections and, embedded, of all entries. Purges under way are waited for.

        Refreshes and audits are cancelled.
        """
        self._leave()
        await self.refreshes.aclose()
        await self.warming.aclose()
        if self._queue is not None:
            await self._queue.aclose()
        await self.audits.aclose()
        await self._purger.aclose()
        if self._reporter is not None and self._reporter.is_awake:
            await asyncio.to_thread(self._reporter.stop)
        self.inspector.close()
        await self.store.aclose()

    def close_sync(self) -> None:
        """`close` where no event loop runs."""
        self._leave()
        self._purger.close()
        if self._reporter is not None:
            self._reporter.stop()
        self.inspector.close()
        self.store.close()

    def forget_parent(self) -> None:
        """In a forked child: threads are not here, and may have held locks."""
        self.journal.forget_parent()
        self.telemetry.forget_parent()
        self.holds.renewals.forget_parent()

    def _leave(self) -> None:
        self.is_open = False
        _caches.discard(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _forget_parents() -> None:
    for cache in list(_caches):
        cache.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


def _nothing(key: Key) -> None:
    """Nothing is at hand: every request takes the longer way."""


_NOTHING = Purged((), 0, None, landed=True)


def _joined(tags: tuple[str, ...]) -> Purged:
    return Purged(tags, 0, None, landed=False)


def _checked(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_tag(tag) for tag in tags))


def _store(said: Settings, clock: Clock) -> Store:
    url = said.url
    bounds: dict[str, Any] = {
        "max_variants": said.max_variants,
        "max_marks": said.max_marks,
        "quarantine": 2 * said.commit_timeout,  # what was lost may have been held for so long
    }
    if isinstance(url, str) and url.startswith("memory:"):
        if url != EMBEDDED:
            raise ConfigurationError(f"{shown_url(url)}: an embedded cache takes no address; write {EMBEDDED}")
        return MemoryStore(max_bytes=said.max_bytes, clock=clock, **bounds)
    if hasattr(url, "at_hand"):  # somebody's own
        ready: Store = url
        return ready
    from rcache.stores.redis import open_store  # an embedded cache does not load the driver

    is_strict = said.near == "strict"
    store = open_store(url, namespace=said.namespace, is_strict=is_strict, near_lease=said.near_lease, **bounds)
    if said.near is None:
        return store
    return NearStore(
        store, store.log, max_bytes=said.near_bytes, lease=said.near_lease, is_strict=is_strict, clock=clock
    )


def _queue(said: Settings, clock: Clock) -> Queue:
    if said.url == EMBEDDED or hasattr(said.url, "at_hand"):
        return MemoryQueue(clock)
    from rcache.queues.redis import open_queue

    return open_queue(said.url, said.namespace, clock)


def tag_name(sender: Any) -> str:
    """What an entity's table is called in tags: `__cache_tag__`, else the table's name, else the class' in lower case."""
    model = sender if isinstance(sender, type) else type(sender)
    table = getattr(model, "__table__", None)
    meta = getattr(model, "_meta", None)
    name: str = (
        getattr(model, "__cache_tag__", None)
        or getattr(model, "__tablename__", None)
        or getattr(table, "name", None)
        or getattr(meta, "db_table", None)
        or model.__name__.lower()
    )
    return name


def entity_tags(sender: Any, identity: object) -> tuple[str, ...]:
    """The tags of a changed entity: its row, "anything about the table", and whatever was asked for by values, which nobody
    knows here; the whole table where its identity is unknown."""
    name = tag_name(sender)
    if identity is None:
        return whole_table(name)
    return row_tag(name, identity if isinstance(identity, tuple) else (identity,)), name, f"{name}?*"


def _on_entity_changed(sender: Any, *, identity: object = None, purged: bool = False, **_: Any) -> None:
    """Purges in every open cache; one that cannot be reached does not keep the others from it."""
    if purged:
        return
    tags = entity_tags(sender, identity)
    failures = []
    for cache in list(_caches):
        try:
            cache.invalidate_sync(*tags, cause="signal")
        except BackendError as error:
            failures.append(error)
    if failures:
        raise failures[0]


for _source in (signals.entity_saved, signals.entity_deleted):
    _source.connect(_on_entity_changed)


def open_caches() -> list[Cache]:
    """Those of this process that were not closed."""
    return list(_caches)


def caches() -> list[Cache]:
    """The open caches of this process."""
    return list(_caches)


def only_cache() -> Cache:
    """The one cache of this process; ConfigurationError where there is none, or more than one."""
    caches = list(_caches)
    if len(caches) > 1:  # applications that are gone leave caches in reference cycles
        caches.clear()
        gc.collect()
        caches = list(_caches)
    if not caches:
        raise ConfigurationError(
            "there is no cache in this process: create a Cache first, with the URL that the application uses"
        )
    if len(caches) > 1:
        raise ConfigurationError(
            f"there are {len(caches)} caches in this process, and no request of one is under way: "
            "call .invalidate() on the one you mean"
        )
    return caches[0]
