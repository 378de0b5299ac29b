"""Applications, their caches and a database with one row, whose every step waits until the test lets it happen.

The steps are those of the coherence model: a visit looks up, reads the row, answers, sends its store, and is told what became of
it; a writer commits, sends its purge, and is told that it landed; a holder holds, commits or rolls back, and then purges or
releases. They are paused inside the real middleware and the real stores. Whatever the order: a visit that began after an
invalidation had returned, or after a holder's commit, may not be answered from before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest
from starlette.types import Receive, Scope, Send

from rcache import Cache, CacheMiddleware, Rule
from rcache.core.lease import Word
from rcache.engine.near_store import NearStore
from rcache.engine.single_flight import Flight
from rcache.ports import Budget, Store
from rcache.stores.redis.leases import Awaited, Held, LoopLeases
from tests.contract.memory_harness import MemoryHarness
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question
from tests.servers import RedisServer
from tests.support import Answer, RawClient

PATIENCE = 30.0  # seconds until a step that never comes is an error
QUARANTINE = 20.0
ENDLESS = 3600  # seconds that nothing here takes
NEAR_LEASE = 0.2  # seconds: the first write of each world waits for one
TAG = "row"

Change = Callable[[Store], None]


class Actor:
    """A visit or a writer: a task that stops at every step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[Any]
        self.step: str | None = None  # where it waits
        self.following: Flight | None = None
        self.awaiting: bytes | None = None  # whose lease has to end first
        self._go = asyncio.Event()
        self._is_free = False

    async def pause(self, step: str) -> None:
        if self._is_free:
            return
        self.step = step
        await self._go.wait()
        self._go.clear()

    def go(self) -> None:
        self.step = None
        self._go.set()

    def free(self) -> None:
        """It waits for the test no more."""
        self._is_free = True
        self.go()

    @property
    def is_still(self) -> bool:
        """It waits for the test, or for somebody who does, or has ended."""
        return self.task.done() or self.step is not None or self.is_following or self.is_awaiting

    @property
    def is_awaiting(self) -> bool:
        return self.awaiting is not None and self.awaiting not in ended

    @property
    def is_following(self) -> bool:
        return self.following is not None and not self.following._future.done()


class Visit(Actor):
    """A GET, and the version it may not be answered from before."""

    def __init__(self, name: str, floor: int) -> None:
        super().__init__(name)
        self.floor = floor

    @property
    def answer(self) -> Answer:
        answer: Answer = self.task.result()
        return answer

    @property
    def version(self) -> int:
        return int(self.answer.body)

    @property
    def is_stale(self) -> bool:
        return self.version < self.floor


A = TypeVar("A", bound=Actor)

acting: ContextVar[Actor | None] = ContextVar("acting", default=None)
ended: set[bytes] = set()
"""Holders of leases that have ended: whoever waits for one is about to be told."""


async def pause(step: str) -> None:
    actor = acting.get()
    if actor is not None:
        await actor.pause(step)


class World:
    """One row, and the nodes that serve it."""

    def __init__(self, harness: MemoryHarness | RedisHarness, caches: list[Cache]) -> None:
        self.harness = harness
        self.caches = caches
        self.clients = [RawClient(CacheMiddleware(self._app, cache, rules=[self._rule()])) for cache in caches]
        self.version = 0
        self.floor = 0
        self.actors: list[Actor] = []
        self.story: list[str] = []

    @staticmethod
    def _rule() -> Rule:
        return Rule("/", ttl=3600, tags=[TAG])

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await pause("read")
        body = b"%d" % self.version
        await pause("answer")
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # Steps

    async def visit(self, node: int = 0) -> Visit:
        """A client asks; returns when its request waits somewhere, or is answered."""
        visit = Visit(f"visit {len(self.actors)} to {node}", self.floor)
        return await self._enter(visit, self.clients[node].get("/"))

    async def writer(self, node: int = 0) -> Actor:
        """Somebody writes the row on this node, commits, and begins to invalidate."""
        writer = Actor(f"writer {len(self.actors)} on {node}")
        self.version += 1
        return await self._enter(writer, self._invalidate(self.version, node))

    async def _invalidate(self, version: int, node: int) -> None:
        purged = await self.caches[node].invalidate(TAG)
        assert purged.landed
        self.floor = max(self.floor, version)

    async def holder(self, node: int = 0, *, fails: bool = False) -> Actor:
        """Somebody writes the row on this node inside `writing`, and commits; with `fails`, rolls back."""
        return await self._enter(Actor(f"holder {len(self.actors)} on {node}"), self._hold(node, fails))

    async def _hold(self, node: int, fails: bool) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with self.caches[node].writing(TAG):
                await pause("roll back" if fails else "commit")
                if fails:
                    raise ZeroDivisionError
                self.version += 1
                self.floor = self.version
                await pause("leave the block")

    async def write(self, node: int = 0) -> None:
        """A whole write: committed, invalidated, and that has returned."""
        await self.run(await self.writer(node))

    async def _enter(self, actor: A, doing: Awaitable[Any]) -> A:
        async def act() -> Any:
            acting.set(actor)
            return await doing

        self.actors.append(actor)
        self.story.append(actor.name)
        actor.task = asyncio.ensure_future(act())
        await self.quiet()
        return actor

    async def go(self, actor: Actor) -> None:
        """Lets the actor take its next step."""
        self.story.append(f"{actor.name}: {actor.step}")
        actor.go()
        await self.quiet()

    async def until(self, actor: Actor, step: str) -> None:
        """Lets the actor go on until it is about to take that step."""
        while actor.step != step:
            assert actor.step is not None, f"{actor.name} never comes to {step!r}: {self.story}"
            await self.go(actor)

    async def run(self, actor: Actor) -> None:
        """Lets the actor go on to its end."""
        while not actor.task.done():
            assert actor.step is not None, f"{actor.name} waits for others: {self.story}"
            await self.go(actor)
        await actor.task

    async def look(self, node: int = 0) -> Visit:
        """A whole visit, from its beginning to its end."""
        visit = await self.visit(node)
        await self.run(visit)
        return visit

    async def quiet(self) -> None:
        """Returns when everybody waits for the test."""
        async with asyncio.timeout(PATIENCE):
            while not all(actor.is_still for actor in self.actors):
                await asyncio.sleep(0)

    async def lose_guard(self) -> None:
        """The guard is lost, and somebody meets that."""
        self.story.append("the guard is lost")
        await self.harness.lose_guard(TAG)
        await self.look()

    async def landed(self) -> None:
        """Returns when no purge waits to be sent again: what it names is not served before."""
        async with asyncio.timeout(PATIENCE):
            while any(cache.journal.waiting for cache in self.caches):
                await asyncio.sleep(0.001)

    async def end_quarantine(self) -> None:
        """The quarantine runs out, and somebody meets that."""
        self.story.append("the quarantine ends")
        await self.harness.advance(QUARANTINE + 1)
        await self.look()

    # What came of it

    @property
    def visits(self) -> list[Visit]:
        return [actor for actor in self.actors if isinstance(actor, Visit)]

    async def wind_up(self) -> list[Visit]:
        """Lets everybody come to an end, and looks once more on each node; the stale answers."""
        while any(waiting := [actor for actor in self.actors if actor.step is not None]):
            await self.go(waiting[0])
        for node in range(len(self.caches)):
            await self.look(node)
        assert all(actor.task.done() for actor in self.actors)
        return [visit for visit in self.visits if visit.is_stale]

    async def close(self) -> None:
        for actor in self.actors:
            actor.free()
        await asyncio.gather(*[actor.task for actor in self.actors], return_exceptions=True)
        for cache in self.caches:
            await cache.close()
        await self.harness.close()


def gated(store: Any) -> None:
    """Lets sends and answers of this store wait."""
    stores, purges, holds = store.store, store.purge, store.hold

    async def gated_store(*arguments: Any) -> bool:
        await pause("send the store")
        accepted: bool = await stores(*arguments)
        await pause("hear of the store")
        return accepted

    async def gated_purge(*arguments: Any) -> Any:
        await pause("send the purge")
        purge = await purges(*arguments)
        await pause("hear of the purge")
        return purge

    async def gated_hold(*arguments: Any) -> Any:
        await pause("send the hold")
        told = await holds(*arguments)
        await pause("hear of the hold")
        return told

    store.store, store.purge, store.hold = gated_store, gated_purge, gated_hold


@asynccontextmanager
async def world(
    kind: str, server: RedisServer, change: Change | None = None, *, with_leases: bool = False
) -> AsyncIterator[World]:
    """A world on the embedded store (one node) or on Redis (two), `near` with near caches that writers wait for.

    `change` is done to each store before it is used. `with_leases` nodes wait for each other's runs; else each runs for itself,
    so that more may happen at the same time.
    """
    harness: MemoryHarness | RedisHarness
    if kind == "memory":
        harness = MemoryHarness()
        caches = [Cache("memory://", clock=harness.clock)]
        harness.store = caches[0].store  # type: ignore[assignment]
    else:
        harness = RedisHarness(server)
        namespace = f"race-{secrets.token_hex(6)}"
        await harness.make(namespace=namespace)
        near = {"near": "strict", "near_lease": NEAR_LEASE} if kind == "near" else {}
        waits = {"deadline": PATIENCE, "wait": ENDLESS}
        caches = [Cache(server.url, namespace=namespace, **waits, **near) for _ in range(2)]  # type: ignore[arg-type]
    for cache in caches:
        if change is not None:
            change(cache.store)
        if isinstance(cache.store, NearStore):
            await cache.store.lookup(Question("/nothing"), Budget(PATIENCE))
            assert cache.store.follow().joined.wait(PATIENCE)
        gated(cache.store)
        if not with_leases:
            cache.store.lease = _no_lease  # type: ignore[method-assign]
    made = World(harness, caches)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flight, "follow", _noted(Flight.follow))
        patch.setattr(Awaited, "word", _awaiting(Awaited.word))
        patch.setattr(LoopLeases, "settle", _ending(LoopLeases.settle))
        patch.setattr("rcache.stores.redis.leases._LASTS", b"%d" % (1000 * ENDLESS))
        try:
            yield made
        finally:
            await made.close()
            ended.clear()


async def _no_lease(*arguments: Any) -> None:
    return None


def _awaiting(word: Callable[[Awaited, float], Awaitable[Any]]) -> Callable[[Awaited, float], Awaitable[Any]]:
    async def noted(lease: Awaited, timeout: float) -> Any:
        actor = acting.get()
        assert actor is not None
        actor.awaiting = lease._holder
        try:
            return await word(lease, timeout)
        finally:
            actor.awaiting = None

    return noted


def _ending(settle: Callable[[LoopLeases, Held, Word], None]) -> Callable[[LoopLeases, Held, Word], None]:
    def noted(leases: LoopLeases, lease: Held, word: Word) -> None:
        ended.add(lease.holder)
        settle(leases, lease, word)

    return noted


def _noted(follow: Callable[[Flight, float], Awaitable[Any]]) -> Callable[[Flight, float], Awaitable[Any]]:
    async def noted(flight: Flight, patience: float) -> Any:
        actor = acting.get()
        assert actor is not None
        actor.following = flight
        try:
            return await follow(flight, patience)
        finally:
            actor.following = None

    return noted
