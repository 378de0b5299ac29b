"""What is rendered while nobody waits: by workers where some are alive, else in this process, a few at a time.

An application comes in through what it attaches: a middleware that can render, and that knows what its rules want.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, cast

from rcache import logs
from rcache.clock import Clock
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.jobs import Job, Lane
from rcache.core.keys import Carrier
from rcache.core.recipe import Recipe, recipe_from, recipe_of
from rcache.engine.lists import recipes, says, warm_up
from rcache.engine.near_store import NearStore
from rcache.engine.pool import Pool
from rcache.engine.rewarm import Hot, Rewarmer, Wanted
from rcache.ports import Queue, Store, Sweeps

RENDER: Final = "rcache.render"
SWEEP: Final = "rcache.sweep"

HOT: Final = 10
"""Hits in the last window from which on a render waits in the lane of what is urgent."""

LASTS: Final = 60.0
"""Seconds after which a render that could not begin is dropped: by then requests have made what is wanted."""

LOOKED_AT: Final = 2.0
"""Seconds for which it is taken for known whether there are workers."""

ASKED: Final = 1.0
"""Seconds for which a refresh that was handed to the workers is not handed to them again."""

MOST_ASKED: Final = 10_000

TOGETHER: Final = 32
"""Jobs that are added at a time."""


Hits = Callable[[Sequence[Carrier]], Awaitable[Sequence[int]]]


class Renders(Protocol):
    """What a middleware attaches."""

    def wanted(self, recipe: Recipe) -> Wanted | None:
        """What the rule of the recipe's path wants of its purged entries; None where it wants nothing, or is not there."""
        ...

    @property
    def is_rewarming(self) -> bool:
        """Whether any rule wants something."""
        ...

    @property
    def uses_workers(self) -> bool:
        """Whether any rule leaves to workers what they could do."""
        ...

    async def render(self, recipe: Recipe, *, than: float = 0.0, left: float = 0.0) -> Any:
        """Makes it, as `rcache.asgi.renderer.Renderer.render` does."""
        ...


class Warming:
    """The renders of one cache in this process."""

    def __init__(
        self,
        store: Store,
        queue: Callable[[], Queue | None],
        clock: Clock,
        count: Hits | None = None,
    ) -> None:
        """`count` tells the hits of entries in the last window, of all nodes; without it one is as hot as another."""
        self._store = _sweeping(store)
        self._queue = queue
        self._clock = clock
        self.count = count
        self._renders: list[weakref.ref[Renders]] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # where an application is served
        self._here: dict[asyncio.AbstractEventLoop, tuple[Rewarmer, Pool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, float] = {}  # refreshes that were handed over, until when
        self._has_workers = (0.0, False)  # until when that is taken for known
        self._is_swept_by_others = False
        self.application: Any = None
        """The outermost application, where that is known: what stands before its own is passed as well."""
        self.is_worker = False
        """This process is one of the role."""

    # The application

    def attach(self, renders: Renders) -> None:
        """From here on what it serves can be rendered. It is not kept alive by this."""
        self._renders = [each for each in self._renders if each() is not None]
        if renders not in self.attached:
            self._renders.append(weakref.ref(renders))

    def serve_here(self) -> None:
        """The running loop is where an application is served, and where purges of other threads are acted on."""
        self._loop = asyncio.get_running_loop()
        self.prepare()

    @property
    def attached(self) -> list[Renders]:
        """Those that can render, the last attached first."""
        return [found for each in reversed(self._renders) if (found := each()) is not None]

    def wanted(self, recipe: Recipe) -> Wanted | None:
        """What is wanted of a purged entry."""
        return next((found for each in self.attached if (found := each.wanted(recipe)) is not None), None)

    async def render(self, recipe: Recipe, *, than: float = 0.0, left: float = 0.0) -> Any:
        """Makes it, by the first application that has a rule for it. Raises ConfigurationError where there is no application."""
        rendered = None
        for each in self.attached:
            rendered = await each.render(recipe, than=than, left=left)
            if rendered.outcome != "unruled":
                break
        if rendered is None:
            raise ConfigurationError("nothing can be rendered here: no CacheMiddleware uses this cache in this process")
        return rendered

    async def render_job(self, plain: Sequence[Any], than: float = 0.0, left: float = 0.0) -> None:
        """A job: makes what the plain data of a recipe asks for. Raises ValueError, and RuntimeError where it has failed."""
        recipe = recipe_from(plain)
        rendered = await self.render(recipe, than=than, left=left)
        if rendered.outcome == "failed":
            raise RuntimeError(f"{recipe.url}: {rendered.detail}")

    async def sweep_job(self) -> None:
        """A job: frees the bytes of what purges killed."""
        self.prepare()
        if self._store is not None:
            await self._store.sweep()

    def begin(self, source: Any) -> None:
        """In the background of the running loop what a list names is made, where it is not stored or not fresh."""

        async def make() -> None:
            await self.warm_up(recipes(source, base=None, left_out=says("warm=")))

        self._soon(make)

    async def warm_up(self, found: AsyncIterator[Recipe], *, left: float = 0.0) -> Counter[str]:
        """Has all of them made that do not stay fresh for `left` seconds: by workers, else here, a few at a time.

        How many there were of each outcome; `queued` are those that workers will make.
        """
        is_theirs = await self.has_workers()

        async def make(recipe: Recipe) -> Any:
            if is_theirs and await self._add(_job(recipe, 0, left=left)) is not None:
                return _QUEUED
            return await self.render(recipe, left=left)

        return await warm_up(found, make)

    # Refreshes

    async def is_handed_over(self, carrier: Carrier, than: float) -> bool:
        """Whether workers make anew what is stored there since `than`, or were asked to a moment ago."""
        recipe = recipe_of(*carrier)
        if recipe is None:
            return False
        now = self._clock.monotonic()
        if self._asked.get(recipe.id, 0.0) > now:
            return True
        if not await self.has_workers():
            return False
        (hits,) = await self.hits([carrier])
        if await self._add(_job(recipe, hits, than=than)) is None:
            return False
        if len(self._asked) >= MOST_ASKED:
            self._asked.clear()
        self._asked[recipe.id] = now + ASKED
        return True

    async def has_workers(self) -> bool:
        """Whether processes of the role are alive, as far as that is known."""
        until, has_workers = self._has_workers
        now = self._clock.monotonic()
        if now < until:
            return has_workers
        queue = self._queue()
        has_workers = False
        if queue is not None:
            try:
                has_workers = await queue.workers() > 0
            except BackendError as error:
                logs.WARM_LATE.tell(what="the queue cannot be reached", error=str(error))
        self._has_workers = (now + LOOKED_AT, has_workers)
        return has_workers

    async def _add(self, job: Job) -> bool | None:
        """Whether it is new to the queue; None where that cannot be reached."""
        queue = self._queue()
        if queue is None:
            return None
        try:
            return await queue.add(job)
        except BackendError as error:
            logs.WARM_LATE.tell(what="the queue cannot be reached", error=str(error))
            return None

    async def hits(self, carriers: Sequence[Carrier]) -> Sequence[int]:
        """Hits in the last window, of all nodes; none where that cannot be told."""
        if self.count is None:
            return [1] * len(carriers)
        try:
            return await self.count(carriers)
        except BackendError as error:
            logs.WARM_LATE.tell(what="nobody knows what is hot", error=str(error))
            return [0] * len(carriers)

    # After purges

    @property
    def is_rewarming(self) -> bool:
        """Whether any rule of an application here wants its purged entries made again."""
        return any(each.is_rewarming for each in self.attached)

    @property
    def uses_workers(self) -> bool:
        """Whether there may be workers that make what this process would."""
        return any(each.uses_workers for each in self.attached)

    def prepare(self) -> None:
        """A purge is about to be sent: whoever sweeps what it kills is to tell of it, and workers do where there are some."""
        if self._store is None:
            return
        by_others = False
        if self.uses_workers and not self.is_worker:
            until, by_others = self._has_workers
            if until <= self._clock.monotonic():
                self._soon(self._look)
        self._is_swept_by_others = by_others
        self._store.tell_freed(self._hear if self.is_rewarming else None, by_others=by_others)

    def purged(self) -> None:
        """A purge has landed, from whatever thread: what it killed is swept now, for what is hot among it."""
        if self._store is not None and (self._is_swept_by_others or self.is_rewarming):
            self._soon(partial(self._swept, self._store))

    def softened(self, tags: Sequence[str], number: int) -> None:
        """A soft purge of that number has landed, from whatever thread."""
        if self._store is not None and self.is_rewarming:
            self._soon(partial(self._listed, self._store, tags, number))

    async def _hear(self, number: int, carriers: Sequence[Carrier]) -> None:
        await self._of_loop()[0].hear(number, carriers)

    async def _look(self) -> None:
        await self.has_workers()

    async def _swept(self, store: Sweeps) -> None:
        job = Job(SWEEP, key=SWEEP, priority="high", ttl=LASTS)
        # Where one runs already it may be at its end, and not see this purge any more: whoever sweeps then, does so alone.
        if not (self._is_swept_by_others and await self._add(job)):
            await store.sweep()

    async def _listed(self, store: Sweeps, tags: Sequence[str], number: int) -> None:
        for tag in tags:
            async for carriers in store.carriers(tag):
                await self._hear(number, carriers)

    def _soon(self, act: Callable[[], Awaitable[None]]) -> None:
        """Has it done in the running loop, else in that where the application is served, if there is one."""

        async def acted() -> None:
            try:
                await act()
            except BackendError as error:
                logs.WARM_LATE.tell(what="what was to be made is not", error=str(error))
            except Exception:
                logs.NOT_WARMED.tell(exc_info=True)

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(acted(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(begin)
        else:
            begin()

    def _of_loop(self) -> tuple[Rewarmer, Pool]:
        loop = asyncio.get_running_loop()
        here = self._here.get(loop)
        if here is None:
            for other in [other for other in self._here if other.is_closed()]:
                del self._here[other]
            here = self._here[loop] = (Rewarmer(self.wanted, self.hits, self._hand_over), Pool())
        return here

    async def _hand_over(self, hottest: Sequence[Hot]) -> None:
        """Has them made: by workers, else here."""
        left = list(hottest)
        if left and await self.has_workers():
            left = [
                hot for begin in range(0, len(left), TOGETHER) for hot in await self._queued(left[begin:][:TOGETHER])
            ]
        pool = self._of_loop()[1]
        for hits, key, recipe in left:
            pool.add(key, hits, lambda recipe=recipe: self.render(recipe))  # type: ignore[misc]

    async def _queued(self, hottest: Sequence[Hot]) -> list[Hot]:
        """Adds their jobs; those that could not be added."""
        added = await asyncio.gather(*[self._add(_job(hot.recipe, hot.hits)) for hot in hottest])
        return [hot for hot, is_new in zip(hottest, added, strict=True) if is_new is None]

    # Ending

    async def wait(self) -> None:
        """Returns when nothing is left to do in the running loop."""
        loop = asyncio.get_running_loop()
        while mine := [task for task in self._tasks if task.get_loop() is loop]:
            await asyncio.wait(mine)
        if loop in self._here:
            rewarmer, pool = self._here[loop]
            await rewarmer.wait()
            await pool.wait()

    async def aclose(self) -> None:
        """Cancels what is under way in the running loop, and forgets what waits there."""
        loop = asyncio.get_running_loop()
        mine = [task for task in self._tasks if task.get_loop() is loop]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        here = self._here.pop(loop, None)
        if here is not None:
            for each in here:
                await each.aclose()
        if self._loop is loop:
            self._loop = None


def _sweeping(store: Store) -> Sweeps | None:
    """The store as one that tells what it frees; None where it does not."""
    behind = store.store_behind if isinstance(store, NearStore) else store
    return cast("Sweeps", store) if hasattr(behind, "tell_freed") else None


class _Queued(NamedTuple):
    outcome: str = "queued"


_QUEUED: Final = _Queued()


def _job(recipe: Recipe, hits: int, **named: float) -> Job:
    priority: Lane = "high" if hits >= HOT else "low"
    return Job(RENDER, (recipe.plain,), named, key=f"render:{recipe.id}", priority=priority, ttl=LASTS)
