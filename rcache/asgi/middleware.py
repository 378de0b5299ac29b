"""`CacheMiddleware`: chooses who answers a request. What then happens is a responder's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.asgi.fill import Fill
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.responders import Forward, replay
from rcache.asgi.routes import Routes
from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.policy import Duration, Rule
from rcache.core.settings import seconds
from rcache.current import RequestScope, request_scope
from rcache.engine.single_flight import Ending, Flight
from rcache.ports import Budget

logger = logging.getLogger("rcache")

SEEN = "rcache"
"""In the scope of a request that a CacheMiddleware further out already handles."""


class CacheMiddleware:
    """Answers GET and HEAD from the cache where a rule or `@cached` says so. Pure ASGI; works anywhere in the stack.

    - `cache`: None makes one from the environment (RCACHE_URL), embedded where that is not set.
    - `rules`: for applications whose endpoints cannot be decorated; the first whose path matches holds, and an endpoint's own
      `@cached` wins over all.
    - `default_ttl`: freshness of rules that name none; with it, URLs without a rule are cached as well.

    Every other request, and every URL without a rule, passes untouched. Rules are checked at start-up, or at the first
    request where no lifespan runs: ConfigurationError names what cannot work.
    """

    def __init__(
        self,
        app: ASGIApp,
        cache: Cache | None = None,
        *,
        rules: Iterable[Rule] = (),
        default_ttl: Duration | None = None,
    ) -> None:
        if cache is not None and not isinstance(cache, Cache):
            raise ConfigurationError(f"cache={cache!r} is no Cache: write CacheMiddleware(app, cache=Cache(...))")
        rules = list(rules)
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError(f'rules: {rule!r} is no Rule: write rules=[Rule("/path", ttl=60)]')
        self.app = app
        self.cache = cache if cache is not None else Cache()
        self._routes = Routes(app, rules, None if default_ttl is None else seconds(default_ttl, "default_ttl"))
        self._passing = RequestScope(self.cache, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if SEEN in scope:
            await self.app(scope, receive, send)
            return
        kind = scope["type"]
        if kind == "http" and (scope["method"] == "GET" or scope["method"] == "HEAD"):
            plan = self._routes.plan(scope)
            if plan is not None:
                fields = dict(scope["headers"])
                if (
                    plan.asks_who
                    or b"authorization" in fields
                    or b"cookie" in fields
                    or b"content-length" in fields
                    or b"transfer-encoding" in fields
                ):
                    await self._ask_who(plan, scope, fields, receive, send)
                    return
                cache = self.cache
                ask = Inquiry(scope, fields, plan.names, plan.query, cache.key_host)
                found = cache.store.at_hand(ask)
                if type(found) is Found and not cache.journal.waiting:
                    cache.stats.hits += 1
                    await replay(cache, found, scope, fields, send)
                else:
                    await self._ask(plan, ask, found, None, scope, fields, receive, send)
                return
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        token = request_scope.set(self._passing)
        try:
            await self.app(scope, receive, send)
        finally:
            request_scope.reset(token)

    async def _ask_who(
        self, plan: Plan, scope: Scope, fields: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """A request that may be somebody's own, or has a body: decides whether the key tells it from others."""
        if plan.refusal is not None:
            await self._bypass(plan, plan.refusal, scope, receive, send)
            return
        identity: bytes | None = None
        is_told = False
        if plan.is_keyed:
            try:
                identity, is_told = await plan.identity(scope)
            except HTTPException as error:
                await self._refuse(plan, error, scope, receive, send)
                return
            if identity is None:
                await self._bypass(plan, "key", scope, receive, send)
                return
        if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
            # An application may read it, and then its sender would choose what everybody else gets.
            await self._bypass(plan, "body", scope, receive, send)
            return
        personal = None if is_told else plan.personal(scope["headers"], fields)
        ask = Inquiry(scope, fields, plan.names, plan.query, self.cache.key_host, identity)
        await self._ask(plan, ask, self.cache.store.at_hand(ask), personal, scope, fields, receive, send)

    async def _ask(
        self,
        plan: Plan,
        ask: Inquiry,
        found: Found | Missing | None,
        personal: str | None,
        scope: Scope,
        fields: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        """Everything but the plainest hit: a trip to the store, another request's flight, or the application."""
        cache = self.cache
        if not cache.is_open:
            cache.open()
        if ask.is_too_long:
            await self._bypass(plan, "target", scope, receive, send)
            return
        reason = cache.uncacheable.reason(ask.key, personal is not None)
        if reason is not None:
            await self._bypass(plan, reason, scope, receive, send)
            return
        budget = Budget(cache.deadline)
        may_follow = personal is None and scope["method"] == "GET"
        while True:
            if found is None:
                try:
                    found = await cache.store.lookup(ask, budget)
                except BackendError:
                    cache.stats.outages += 1
                    await self._bypass(plan, "outage", scope, receive, send)
                    return
            if isinstance(found, Found):
                if cache.journal.waiting and cache.journal.blocks(found.entry.tags):
                    await self._bypass(plan, "purge-pending", scope, receive, send)
                elif personal is not None and not found.entry.is_shared:
                    cache.uncacheable.note(ask.key, True, personal)
                    await self._bypass(plan, personal, scope, receive, send)
                else:
                    cache.stats.hits += 1
                    await replay(cache, found, scope, fields, send)
                return
            if scope["method"] == "HEAD" or found.start is None:
                cache.stats.misses += 1
                detail = None if found.start is not None else found.reason
                await self._forward(cache_status.forward("miss", detail=detail), scope, receive, send)
                return
            flight: Flight | None = None
            if may_follow:
                flight, is_mine = cache.flights.join_or_lead(ask.key, ask.variant(found.names))
                if not is_mine:
                    outcome = await flight.follow()
                    if not isinstance(outcome, Ending):
                        entry = outcome.entry
                        if ask.variant(outcome.names) == outcome.variant and not cache.journal.blocks(entry.tags):
                            cache.stats.collapsed += 1
                            field = cache_status.forward("miss", collapsed=True)
                            await replay(cache, Found(entry, entry.stored_at), scope, fields, send, field)
                            return
                    may_follow = outcome is not Ending.ALONE
                    found = None
                    continue
            cache.stats.misses += 1
            scope[SEEN] = True
            fill = Fill(cache, plan, ask, found, personal=personal, budget=budget, flight=flight)
            await fill.run(self.app, scope, receive, send)
            return

    async def _bypass(self, plan: Plan, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
        plan.tell_once(reason)
        self.cache.stats.bypasses += 1
        await self._forward(cache_status.forward("bypass", detail=reason), scope, receive, send)

    async def _forward(self, field: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SEEN] = True
        await Forward(send, field).run(self.app, self._passing, scope, receive)

    async def _refuse(self, plan: Plan, error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
        """A guard's HTTPException, answered as if the endpoint had raised it."""

        async def raises(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        handlers = {key: handler for key, handler in plan.handlers.items() if key not in (500, Exception)}
        self.cache.stats.bypasses += 1
        forward = Forward(send, cache_status.forward("bypass", detail="guard"))
        await forward.run(ExceptionMiddleware(raises, handlers=handlers), self._passing, plan.seen(scope), receive)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._routes.check(scope)
        except ConfigurationError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise

        async def closing(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                try:
                    await self.cache.close()
                except Exception:
                    logger.exception("the cache could not be closed in order")
            await send(message)

        await self.app(scope, receive, closing)
