"""A run of the application that nobody asked for: what a renderer wants of the CacheMiddleware that its request comes by.

The answer is stored as that of any fill: under a start of its own, taken before the application runs. So it rests on nothing that
was known when the run was decided on, and a purge in between wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from starlette.types import Message, Receive, Scope, Send

from rcache.asgi.bodies import Reread
from rcache.asgi.errand import Errand, Seen
from rcache.asgi.fill import never
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.strict import Watch
from rcache.cache import Cache
from rcache.core.coding import is_available
from rcache.core.entry import Entry, Found, Missing, Start
from rcache.core.errors import BackendError
from rcache.core.headers import joined
from rcache.core.lease import Word
from rcache.engine.single_flight import Ending, Flight, Landed
from rcache.ports import Budget, Lease

Outcome = Literal["stored", "fresh", "elsewhere", "outdated", "uncacheable", "private", "unruled", "outage", "failed"]
"""What became of a render.

- `stored`: a new answer is in the cache. `fresh`: there was nothing to make. `elsewhere`: somebody else makes it.
- `outdated`: a purge came while it was made, and the answer was not stored.
- `uncacheable`: the answer may not be stored. `private`: the rule tells users apart, or may; the application was not called.
- `unruled`: no rule covers the URL; the application was not called. `outage`: the store could not be asked.
- `failed`: the application raised, answered an error, or took too long.
"""

ALWAYS: Final = 1e15
"""As `than`: whatever is stored is made anew."""


@dataclass(slots=True)
class Wish:
    """In the scope of a render, for the CacheMiddleware furthest out: what is to be made, and what became of it."""

    than: float = 0.0  # what was stored by then, on the store's clock, is made anew though it is fresh
    left: float = 0.0  # seconds for which it has to stay fresh, or it is made anew
    outcome: Outcome = "unruled"
    detail: str = ""  # the reason, in the words of Cache-Status, or what was raised
    is_to_repeat: bool = False  # things have changed since one looked

    def is_met_by(self, entry: Entry, now: float) -> bool:
        """Whether what is stored is good enough."""
        return entry.stored_at > self.than and entry.ttl(now) > self.left

    def end(self, outcome: Outcome, detail: str = "") -> None:
        """Says what became of it."""
        self.outcome, self.detail, self.is_to_repeat = outcome, detail, outcome == "outdated"


class Rendition:
    """Carries out one wish under `plan`."""

    def __init__(self, cache: Cache, plan: Plan, scope: Scope, wish: Wish) -> None:
        self._cache = cache
        self._plan = plan
        self._scope = scope
        self._wish = wish
        self._fields: Mapping[bytes, bytes] = dict(scope["headers"])

    async def run(self, call: Callable[[Errand, Receive, Send], Awaitable[None]]) -> None:
        """Has the application called by `call`, where that is needed and may be."""
        plan, cache, wish = self._plan, self._cache, self._wish
        if plan.refusal is not None or plan.is_keyed or plan.personal(self._scope["headers"], self._fields) is not None:
            wish.end("private", plan.refusal or "key")
            return
        ask = Inquiry(self._scope, self._fields, plan.names, plan.query, cache.key_host)
        reason = "target" if ask.is_too_long else cache.uncacheable.reason(ask.key, False)
        if reason is not None:
            wish.end("uncacheable", reason)
            return
        budget = Budget(cache.allowance)
        try:
            found = await cache.store.lookup(ask, budget)
        except BackendError:
            self._plan.tally.outages += 1
            wish.end("outage")
            return
        former = self._former(found)
        if former is not None and wish.is_met_by(former, found.now):
            wish.end("fresh")
        elif found.start is None:
            wish.end("outage", found.reason)
        elif former is not None and (forbidden := cache.forbids(former.tags)) is not None:
            wish.end("outage", forbidden)
        else:
            await self._lead(ask, found, former, call)

    def _former(self, found: Found | Missing) -> Entry | None:
        return found.entry if isinstance(found, Found) and is_available(found.entry.coding) else None

    async def _lead(
        self,
        ask: Inquiry,
        found: Found | Missing,
        former: Entry | None,
        call: Callable[[Errand, Receive, Send], Awaitable[None]],
    ) -> None:
        flight, is_mine = self._cache.flights.join_or_lead(ask.key, ask.variant(found.names))
        if not is_mine:
            self._leave(await flight.follow(self._cache.wait) is Ending.AGAIN)
            return
        try:
            lease = await self._leased(ask, found.names)
            if lease is not None and not lease.is_mine:
                # Also one of our own, of a run that has just ended: nobody else would make what a purge has overtaken.
                self._leave(await lease.word(self._cache.wait) in (Word.AGAIN, Word.STORED))
                flight.land(Ending.AGAIN)
                return
            errand = self._errand(ask, found, former, flight, lease)
        except BaseException:
            flight.land(Ending.AGAIN)
            raise
        answer = _Answer()
        try:
            await call(errand, Reread(_NOTHING_TO_READ, never), answer.send)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._wish.end("failed", "timeout")  # the run was cancelled, not we
        except Exception as error:
            self._wish.end("failed", f"{type(error).__name__}: {error}")
            raise
        else:
            self._judge(errand, answer)
            if self._wish.outcome == "stored" and await self._is_overtaken(ask, errand.start):
                self._wish.end("outdated")

    async def _is_overtaken(self, ask: Inquiry, start: Start) -> bool:
        """Whether a purge has come since it was stored: a job for that was dropped, as this one was running."""
        try:
            found = await self._cache.store.lookup(ask, Budget(self._cache.allowance))
        except BackendError:
            self._plan.tally.outages += 1
            return False
        if isinstance(found, Found):
            return found.entry.is_softened
        # It may have been swept already, and be plainly absent: the sequence tells.
        return found.start is not None and found.start != start

    def _leave(self, is_over: bool) -> None:
        """It is somebody else's to make; once that is over one looks again."""
        self._wish.end("elsewhere")
        self._wish.is_to_repeat = is_over

    async def _leased(self, ask: Inquiry, names: tuple[str, ...]) -> Lease | None:
        try:
            return await self._cache.store.lease(ask, names, Budget(self._cache.allowance))
        except BackendError:
            self._plan.tally.outages += 1
            return None

    def _errand(
        self, ask: Inquiry, found: Found | Missing, former: Entry | None, flight: Flight, lease: Lease | None
    ) -> Errand:
        assert found.start is not None  # noqa: S101 (asked by the caller)
        return Errand(
            cache=self._cache,
            plan=self._plan,
            ask=ask,
            scope=self._scope,
            fields=self._fields,
            start=found.start,
            looked_up=found.now,
            reason="miss" if former is None else "stale",
            seen=Seen(self._plan.options),
            budget=Budget(self._cache.allowance),
            names=found.names,
            watch=Watch() if self._plan.is_strict else None,
            flight=flight,
            lease=lease,
            former=former,
            is_refresh=True,
        )

    def _judge(self, errand: Errand, answer: _Answer) -> None:
        ending = errand.ending
        if isinstance(ending, Landed):
            self._wish.end("stored")
        elif ending is Ending.AGAIN:
            self._wish.end("outdated")
        elif ending is Ending.FAILED or answer.status >= 500 or not answer.status:
            self._wish.end("failed", f"status {answer.status}" if answer.status else "no answer")
        else:
            self._wish.end("uncacheable", answer.reason)


class _Answer:
    """What is looked at of an answer that nobody gets."""

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = joined(message.get("headers", ()), b"cache-status") or b""
            self.reason = told.rpartition(b"detail=")[2].decode("latin-1").strip('"')


_NOTHING_TO_READ: Final[Sequence[Message]] = ({"type": "http.request", "body": b"", "more_body": False},)
