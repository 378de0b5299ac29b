"""One request that is not the plainest hit: who asks, what the store says, whose run of the application answers."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from rcache.asgi.fill import Fill, Seen
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.responders import Forward, replay
from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError
from rcache.current import RequestScope
from rcache.engine.single_flight import Ending, Flight
from rcache.ports import Budget

SEEN = "rcache"
"""In the scope of a request that a CacheMiddleware further out already handles."""

MOST_FOLLOWS = 2
"""Flights that a request follows before it runs by itself: one whose Vary was not known yet, and one of its own variant.

Without a bound, purges from elsewhere during each run would let those who wait run one after the other.
"""


class Exchange:
    """Answers one request under `plan`. `fields` are its headers, the last of repeated ones."""

    def __init__(
        self,
        app: ASGIApp,
        passing: RequestScope,
        plan: Plan,
        scope: Scope,
        fields: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._cache: Cache = passing.cache
        self._passing = passing
        self._plan = plan
        self._scope = scope
        self._fields = fields
        self._receive = receive
        self._send = send
        self._personal: str | None = None
        self._is_get = scope["method"] == "GET"
        # The timer that watches over it may be a tick late, and the answer is to be in time all the same.
        self._budget = Budget(0.9 * self._cache.deadline)
        if not self._cache.is_open:
            self._cache.open()

    async def answer(self) -> None:
        """Decides whether the key tells this request from others', and answers it."""
        plan, scope, fields = self._plan, self._scope, self._fields
        if plan.refusal is not None:
            await self._bypass(plan.refusal)
            return
        identity: bytes | None = None
        is_told = False
        if plan.is_keyed:
            try:
                identity, is_told = await plan.identity(scope)
            except HTTPException as error:
                await self._refuse(error)
                return
            if identity is None:
                await self._bypass("key")
                return
        if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
            # An application may read it, and then its sender would choose what everybody else gets.
            await self._bypass("body")
            return
        self._personal = None if is_told else plan.personal(scope["headers"], fields)
        ask = Inquiry(scope, fields, plan.names, plan.query, self._cache.key_host, identity)
        if ask.is_too_long:
            await self._bypass("target")
        else:
            await self._ask(ask)

    async def pass_guarded(self, seen: Seen) -> None:
        """Lets a request through that a CacheMiddleware further out handles, once its guard here has let it pass."""
        if self._plan.options is not seen.options:  # the very same rule has been asked already
            seen.is_inner_keyed = True
            try:
                await self._plan.identity(self._scope)
            except HTTPException as error:
                await self._refuse(error)
                return
        await self._app(self._scope, self._receive, self._send)

    async def _ask(self, ask: Inquiry) -> None:
        """Answers from the store, from another request's flight, or from the application."""
        reason = self._cache.uncacheable.reason(ask.key, self._personal is not None)
        if reason is not None:
            await self._bypass(reason)
            return
        follows = MOST_FOLLOWS if self._is_get and self._personal is None else 0
        while True:
            try:
                found = await self._cache.store.lookup(ask, self._budget)
            except BackendError:
                self._cache.stats.outages += 1
                await self._bypass("outage")
                return
            if isinstance(found, Found):
                if found.entry.ttl(found.now) > 0:
                    await self._serve(ask, found)
                    return
                found = Missing(found.start, found.now, "expired", found.names)
            if not self._is_get or found.start is None:
                self._cache.stats.misses += 1
                await self._forward(cache_status.forward("miss", detail=None if found.start else found.reason))
                return
            if not follows:
                await self._fill(ask, found, None)
                return
            flight, is_mine = self._cache.flights.join_or_lead(ask.key, ask.variant(found.names))
            if is_mine:
                await self._fill(ask, found, flight)
                return
            ending = await self._follow(ask, flight)
            if ending is None:
                return
            follows = follows - 1 if ending is Ending.AGAIN else 0

    async def _serve(self, ask: Inquiry, found: Found) -> None:
        cache, entry = self._cache, found.entry
        if cache.journal.waiting and cache.journal.blocks(entry.tags):
            await self._bypass("purge-pending")
        elif self._personal is not None and not entry.is_shared:
            cache.uncacheable.note(ask.key, True, self._personal)
            await self._bypass(self._personal)
        else:
            cache.stats.hits += 1
            await replay(cache, found, self._scope, self._fields, self._send)

    async def _follow(self, ask: Inquiry, flight: Flight) -> Ending | None:
        """Answers from another request's run where that may be shared with this one (None); else what to do instead."""
        landed = await flight.follow()
        if isinstance(landed, Ending):
            return landed
        entry = landed.entry
        if ask.variant(landed.names) != landed.variant or self._cache.journal.blocks(entry.tags):
            return Ending.AGAIN
        self._cache.stats.collapsed += 1
        field = cache_status.forward("miss", collapsed=True)
        await replay(
            self._cache, Found(entry, entry.stored_at, entry.start), self._scope, self._fields, self._send, field
        )
        return None

    async def _fill(self, ask: Inquiry, missing: Missing, flight: Flight | None) -> None:
        self._cache.stats.misses += 1
        personal, budget = self._personal, self._budget
        seen = self._scope[SEEN] = Seen(self._plan.options)
        fill = Fill(self._cache, self._plan, ask, missing, personal=personal, budget=budget, flight=flight, seen=seen)
        try:
            await fill.run(self._app, self._scope, self._receive, self._send)
        finally:  # whoever calls again with this scope makes a new request
            self._scope.pop(SEEN, None)

    async def _bypass(self, reason: str) -> None:
        self._plan.tell_once(reason)
        self._cache.stats.bypasses += 1
        await self._forward(cache_status.forward("bypass", detail=reason))

    async def _forward(self, field: bytes) -> None:
        self._scope[SEEN] = Seen(self._plan.options)
        try:
            await Forward(self._send, field).run(self._app, self._passing, self._scope, self._receive)
        finally:
            self._scope.pop(SEEN, None)

    async def _refuse(self, error: HTTPException) -> None:
        """A guard's HTTPException, answered as if the endpoint had raised it."""

        async def raises(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        plan = self._plan
        handlers = {key: handler for key, handler in plan.handlers.items() if key not in (500, Exception)}
        self._cache.stats.bypasses += 1
        app = ExceptionMiddleware(raises, handlers=handlers)
        forward = Forward(self._send, cache_status.forward("bypass", detail="guard"))
        await forward.run(app, self._passing, plan.seen(self._scope), self._receive)
