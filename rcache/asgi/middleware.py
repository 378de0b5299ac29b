"""`CacheMiddleware`: chooses who answers a request. What then happens is a responder's."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.asgi.exchange import SEEN, Exchange
from rcache.asgi.inquiry import plain_key
from rcache.asgi.responders import replay
from rcache.asgi.routes import Routes
from rcache.cache import Cache
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Duration, Rule
from rcache.core.settings import seconds
from rcache.current import RequestScope, request_scope

logger = logging.getLogger("rcache")


TELLING = frozenset((b"authorization", b"cookie", b"content-length", b"transfer-encoding"))
"""Fields that make a request somebody's own, or announce a body."""


ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


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
            await self._pass(scope, receive, send)
            return
        kind = scope["type"]
        if kind == "http" and (scope["method"] == "GET" or scope["method"] == "HEAD"):
            plan = self._routes.plan(scope)
            if plan is not None:
                headers = scope["headers"]
                fields = dict(headers)
                # The plainest request is told by its URL alone; any other goes a longer way to the same answers.
                if plan.is_plain and len(fields) == len(headers) and fields.keys().isdisjoint(TELLING):
                    cache = self.cache
                    found = cache.store.at_hand(plain_key(scope, fields, cache.key_host))
                    if found is not None and not cache.journal.waiting:
                        cache.stats.hits += 1
                        await replay(cache, found, scope, fields, send)
                        return
                await Exchange(self.app, self._passing, plan, scope, fields, receive, send).answer()
                return
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        token = request_scope.set(self._passing)
        try:
            await self.app(scope, receive, send)
        finally:
            request_scope.reset(token)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that a CacheMiddleware further out handles: only who may see the answer is still asked here."""
        plan = self._routes.plan(scope)
        if plan is None or not plan.is_keyed:
            await self.app(scope, receive, send)
        else:
            fields = dict(scope["headers"])
            await Exchange(self.app, self._passing, plan, scope, fields, receive, send).pass_guarded(scope[SEEN])

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._routes.check(scope)
        except ConfigurationError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise

        async def closing(message: Message) -> None:
            if message["type"] in ENDS:
                try:
                    await self.cache.close()
                except Exception:
                    logger.exception("the cache could not be closed in order")
            await send(message)

        await self.app(scope, receive, closing)
