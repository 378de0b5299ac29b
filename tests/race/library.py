"""One author's books, asked for by a scheme on two nodes, while others write.

Every step waits until the test lets it happen: a reader looks up, reads and stores; a writer holds, commits and purges, or only
tells afterwards what it has changed. A reader that began after a COMMIT, or after a telling had returned, must not be answered
from before it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from rcache import Cache, Change
from rcache.core.changes import families
from rcache.core.entry import Found, Missing
from rcache.core.schemes import Scheme
from rcache.engine.near_store import NearStore
from rcache.ports import Store
from rcache.stores.redis import RedisStore, scripts
from tests.clusters import Cluster
from tests.contract.memory_harness import MemoryHarness
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, budget, made
from tests.race.removals import cut
from tests.race.world import NEAR_LEASE, PATIENCE, Actor, acting, gated, pause
from tests.servers import RedisServer
from tests.support import HandClock

BY_AUTHOR = Scheme("book", ("author_id",), frozenset({"author_id"}))
PAGES = (Question("/books?page=1"), Question("/books?page=2"))
A_HOLD_S_LIFE = 25.0  # seconds: a bit more

Removal = Callable[[Any], None]


class Reader(Actor):
    """Somebody who asks how many books there are, and the number that the answer must not be below."""

    def __init__(self, name: str, floor: int) -> None:
        super().__init__(name)
        self.floor = floor
        self.answer = -1

    @property
    def is_stale(self) -> bool:
        return self.answer < self.floor


class Library:
    """The books, and the nodes that answer."""

    def __init__(self, harness: MemoryHarness | RedisHarness, caches: list[Cache]) -> None:
        self.harness = harness
        self.caches = caches
        self.books = 0
        self.floor = 0
        self.actors: list[Actor] = []
        self.story: list[str] = []

    @property
    def readers(self) -> list[Reader]:
        return [actor for actor in self.actors if isinstance(actor, Reader)]

    # Who may come

    async def reader(self, node: int = 0, page: int = 0) -> Reader:
        """Somebody asks that node for a page."""
        reader = Reader(f"reader {len(self.actors)} of page {page} on {node}", self.floor)
        await self._enter(reader, self._read(reader, self.caches[node].store, PAGES[page]))
        return reader

    async def _read(self, reader: Reader, store: Store, ask: Question) -> None:
        found = await store.lookup(ask, budget())
        if isinstance(found, Found):
            reader.answer = int(found.entry.body)
            return
        await pause("read")
        reader.answer = self.books
        if found.start is not None:
            tag = BY_AUTHOR.tag({"author_id": 1})
            assert tag is not None
            entry = made(ask, found.start, found.now, b"%d" % reader.answer, tag, *families([tag]))
            await store.store(ask, (), entry, budget(), [BY_AUTHOR])

    async def writer(self, node: int = 0) -> Actor:
        """Somebody adds a book on that node, in a transaction that holds what it changes."""
        return await self._enter(Actor(f"writer {len(self.actors)} on {node}"), self._write(self.caches[node]))

    async def _write(self, cache: Cache) -> None:
        hold = cache.holds.begin(cache.changes.effect([self._book()]))
        await hold.place()
        await pause("commit")
        await hold.confirm()
        self.books += 1
        self.floor = self.books
        await pause("leave the transaction")
        assert (await hold.purge()).landed

    async def teller(self, node: int = 0) -> Actor:
        """Somebody adds a book, and tells that node of it afterwards."""
        self.books += 1
        return await self._enter(
            Actor(f"teller {len(self.actors)} on {node}"), self._tell(self.caches[node], self.books)
        )

    async def _tell(self, cache: Cache, books: int) -> None:
        assert (await cache.apply([self._book()])).landed
        self.floor = max(self.floor, books)

    @staticmethod
    def _book() -> Change:
        return Change("book", (1,), "insert", None, {"id": 1, "author_id": 1})

    async def _enter(self, actor: Actor, doing: Awaitable[None]) -> Actor:
        async def act() -> None:
            acting.set(actor)
            await doing

        self.actors.append(actor)
        self.story.append(actor.name)
        actor.task = asyncio.ensure_future(act())
        await self._quiet()
        return actor

    # What may happen

    async def go(self, actor: Actor) -> None:
        """The actor takes its next step."""
        self.story.append(f"{actor.name}: {actor.step}")
        actor.go()
        await self._quiet()

    async def until(self, actor: Actor, step: str) -> None:
        """The actor goes on until it is about to take that step."""
        while actor.step != step:
            assert actor.step is not None, f"{actor.name} never comes to {step!r}: {self.story}"
            await self.go(actor)

    async def run(self, actor: Actor) -> None:
        """The actor goes on to its end."""
        while actor.step is not None:
            await self.go(actor)
        await actor.task

    async def read(self, node: int = 0, page: int = 0) -> int:
        """Asks, and waits for the answer."""
        reader = await self.reader(node, page)
        await self.run(reader)
        return reader.answer

    async def pass_by(self, node: int) -> None:
        """Somebody asks for something else, and meets what has become of the guard."""
        assert isinstance(await self.caches[node].store.lookup(Question("/nothing"), budget()), Missing)

    async def lose_guard(self) -> None:
        """The guard is gone, with the schemes and the holds in it; nobody has met that yet."""
        self.story.append("the guard is lost")
        await self.harness.lose_guard("book")

    async def let_holds_run_out(self) -> None:
        """So much time passes, also for those who hold; a quarantine ends."""
        self.story.append("time passes")
        await self.harness.advance(A_HOLD_S_LIFE)
        if isinstance(self.harness, RedisHarness):
            for cache in self.caches:
                if isinstance(cache.clock, HandClock):
                    cache.clock.advance(A_HOLD_S_LIFE)

    async def _quiet(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not all(actor.is_still for actor in self.actors):
                await asyncio.sleep(0)

    # What came of it

    async def wind_up(self) -> list[str]:
        """Everybody comes to an end, and each node is asked once more; the stale answers."""
        while waiting := [actor for actor in self.actors if actor.step is not None]:
            await self.go(waiting[0])
        for node in range(len(self.caches)):
            for page in range(len(PAGES)):
                await self.read(node, page)
        for actor in self.actors:
            await actor.task
        return [f"{each.name}: {each.answer} instead of {each.floor}" for each in self.readers if each.is_stale]

    async def close(self) -> None:
        for actor in self.actors:
            actor.free()
        await asyncio.gather(*[actor.task for actor in self.actors], return_exceptions=True)
        for cache in self.caches:
            await cache.close()
        await self.harness.close()


@asynccontextmanager
async def library(
    kind: str, server: RedisServer | Cluster, removal: Removal | None = None, *, near: bool = False
) -> AsyncIterator[Library]:
    """A library on the embedded store, on one server or on a Cluster; `removal` is done to each cache before it is used."""
    harness: MemoryHarness | RedisHarness
    if kind == "memory":
        harness = MemoryHarness()
        caches = [Cache("memory://", clock=harness.clock)]
        harness.store = caches[0].store  # type: ignore[assignment]
    else:
        harness = RedisHarness(server)
        namespace = f"library-{secrets.token_hex(6)}"
        await harness.make(namespace=namespace)
        options: dict[str, Any] = {"near": "strict", "near_lease": NEAR_LEASE} if near else {"clock": HandClock()}
        caches = [Cache(server.url, namespace=namespace, deadline=PATIENCE, **options) for _ in range(2)]
    for cache in caches:
        if removal is not None:
            removal(cache)
        if isinstance(cache.store, NearStore):
            await cache.store.lookup(Question("/nothing"), budget())
            assert cache.store.follow().joined.wait(PATIENCE)
        gated(cache.store)
    made = Library(harness, caches)
    try:
        yield made
    finally:
        await made.close()


# The rules, each taken out of a cache


def _cut_enrolling(cache: Cache, old: str, new: str) -> None:
    store: Any = cache.store
    if isinstance(store, RedisStore):
        cut(store, "store", (old, new))
    else:
        source = scripts.read("cluster/enrol")
        assert old in source
        store.enrol_script = scripts.script(source.replace(old, new))


def _patch_registering(cache: Cache, change: Callable[[Any, str], None]) -> None:
    """Does something to the guard of a table each time before schemes are registered in it."""
    store: Any = cache.store
    register = store._register

    def changed(entry: Any, schemes: Any) -> bool:
        for each in schemes:
            change(store._guards[0], each.table)
        answer: bool = register(entry, schemes)
        return answer

    store._register = changed


def held(cache: Cache) -> None:
    """Schemes are registered though somebody holds the table."""
    if cache.store.__class__.__name__ == "MemoryStore":
        _patch_registering(cache, lambda guard, table: guard.holds.pop(table, None))
    else:
        _cut_enrolling(cache, "if objection then return objection, abandoned end", "")


def since(cache: Cache) -> None:
    """What was begun before a scheme was registered is accepted."""
    if cache.store.__class__.__name__ == "MemoryStore":
        _patch_registering(
            cache, lambda guard, table: guard.schemes.update({table: dict.fromkeys(guard.schemes.get(table, ()), 0)})
        )
    else:
        _cut_enrolling(cache, "if since then latest = math.max(latest, since) else", "if not since then")


def last_purge(cache: Cache) -> None:
    """A scheme does not remember the last purge of its table."""
    if cache.store.__class__.__name__ == "MemoryStore":
        _patch_registering(cache, lambda guard, table: guard.marks.pop(table, None))
    else:
        _cut_enrolling(cache, "tonumber(redis.call('ZSCORE', marks, table_tag) or '0')", "0")


def learning_from_the_hold(cache: Cache) -> None:
    """A writer holds what it knew before."""
    begin = cache.holds.begin

    def begun(*arguments: Any) -> Any:
        hold: Any = begin(*arguments)
        hold._covers = lambda schemes: True
        return hold

    cache.holds.begin = begun  # type: ignore[method-assign]


def learning_from_the_purge(cache: Cache) -> None:
    """A writer purges what it knew before."""
    cache._purger._unknown = lambda *_: ()  # type: ignore[method-assign]


def doubt(cache: Cache) -> None:
    """A guard that has forgotten what it knew says that there is nothing to know."""
    store: Any = cache.store
    behind = store.store_behind if isinstance(store, NearStore) else store
    silent = "born and not quarantine and (redis.call('HGET', shard[1], SCHEMES .. shard[position]) or '') or false"
    told = "redis.call('HGET', shard[1], SCHEMES .. shard[position]) or ''"
    for name in ("hold", "purge") if isinstance(behind, RedisStore) else ("cluster/place", "cluster/mark"):
        source = scripts.read(name)
        assert silent in source
        setattr(behind, f"{name.rpartition('/')[2]}_script", scripts.script(source.replace(silent, told)))


def birth(cache: Cache) -> None:
    """Nodes are not told that a guard was born again."""
    store: Any = cache.store
    behind = store.store_behind if isinstance(store, NearStore) else store
    if isinstance(behind, RedisStore):
        cut(behind, "repair", ("if is_born_again then", "if false then"))
    else:
        source = scripts.read("cluster/record")
        clause = "local logged = append("
        assert clause in source
        behind.record_script = scripts.script(
            source.replace(clause, "if ARGV[2] == 'flush' then return {'', 0} end\n" + clause)
        )
