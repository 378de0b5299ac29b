"""`CacheMiddleware`: chooses who answers a request. What then happens is a responder's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache import logs
from rcache.asgi.errand import SEEN, Errand
from rcache.asgi.exchange import Exchange
from rcache.asgi.fill import Fill
from rcache.asgi.inquiry import plain_key
from rcache.asgi.plan import Plan
from rcache.asgi.renderer import Rendered, Renderer, place
from rcache.asgi.rendition import Rendition, Wish
from rcache.asgi.routes import Routes
from rcache.asgi.stand_in import StandIn
from rcache.asgi.timed import Timed
from rcache.asgi.unsafe import Unsafe
from rcache.cache import Cache
from rcache.core.configuration import MiddlewareSettings
from rcache.core.entry import Entry
from rcache.core.errors import ConfigurationError
from rcache.core.invalidation import is_unsafe
from rcache.core.keys import Key
from rcache.core.policy import Rule, defaults
from rcache.core.recipe import Recipe
from rcache.current import RequestScope, request_scope
from rcache.engine.rewarm import Wanted
from rcache.engine.warming import RENDER, SWEEP
from rcache.settings import MIDDLEWARE, Settings, in_force

ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


class CacheMiddleware:
    """Answers GET and HEAD from the cache where a rule or `@cached` says so. Pure ASGI; works anywhere in the stack.

    - `cache`: None makes one of the same settings, embedded where nobody says where entries are.
    - `rules`: for applications whose endpoints cannot be decorated; the first whose path matches holds, and an endpoint's own
      `@cached` wins over all.
    - `settings`: what is in force where no keyword says otherwise; None: what the environment and the file say.
    - `warm`: URLs that are rendered as soon as the application has started, where they are not stored or not fresh: whole ones, as
      clients spell them, or pairs of one and header fields; or a function that returns or yields them.

    Everything else is a setting by name: `Settings` says what each means, and `cached` what it does for one rule.

    An unsafe request that succeeds under a path which is cached purges its URL, and those that its answer names in Location
    and Content-Location (RFC 9111 §4.4). Every other request, and every URL without a rule, passes untouched. Rules are
    checked at start-up, or at the first request where no lifespan runs: ConfigurationError names what cannot work.
    """

    def __init__(
        self,
        app: ASGIApp,
        cache: Cache | None = None,
        *,
        rules: Iterable[Rule] = (),
        settings: Settings | None = None,
        warm: Iterable[Any] | Callable[[], Any] = (),
        **given: Unpack[MiddlewareSettings],
    ) -> None:
        if cache is not None and not isinstance(cache, Cache):
            raise ConfigurationError(f"cache={cache!r} is no Cache: write CacheMiddleware(app, cache=Cache(...))")
        rules = list(rules)
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError(f'rules: {rule!r} is no Rule: write rules=[Rule("/path", ttl=60)]')
        self.settings = in_force(settings, given, MIDDLEWARE, "CacheMiddleware")
        settled = defaults(**cast("MiddlewareSettings", self.settings.said(MIDDLEWARE)))
        self.app = app
        self.cache = cache if cache is not None else Cache(settings=self.settings)
        self._routes = Routes(app, rules, settled, self.cache.stats.tally)
        self._passing = RequestScope(self.cache, None)
        self._state: Mapping[str, Any] | None = None  # what the start-up has left for requests
        self._warm = warm
        self.cache.warming.attach(self)

    @property
    def rules(self) -> Routes:
        """Which rule applies to a request."""
        return self._routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if SEEN in scope:
            await self._pass(scope, receive, send)
            return
        kind = scope["type"]
        if kind == "http":
            method = scope["method"]
            if method == "GET" or method == "HEAD":
                plan = self._routes.plan(scope)
                if plan is not None:
                    headers = scope["headers"]
                    fields = dict(headers)
                    # The plainest request is told by its URL alone; any other goes a longer way to the same answers.
                    if plan.is_plain and len(fields) == len(headers) and fields.keys().isdisjoint(plan.telling):
                        cache = self.cache
                        key = plain_key(scope, fields, cache.key_host)
                        found = cache.at_hand(key)
                        if found is not None and not cache.journal.waiting and not cache.changes.withheld:
                            tally = plan.tally
                            left = tally.left = tally.left - 1
                            entry, now = found
                            if left > 0:
                                await plan.replay(cache, entry, now, scope, fields, send)
                            else:
                                await self._watched(plan, key, entry, now, scope, fields, send)
                            return
                    await Exchange(self.app, self._passing, plan, scope, fields, receive, send).answer()
                    return
            elif await self._is_answered(method, scope, receive, send):
                return
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        token = request_scope.set(self._passing)
        try:
            await self.app(scope, receive, send)
        finally:
            request_scope.reset(token)

    async def _watched(
        self, plan: Plan, key: Key, entry: Entry, now: float, scope: Scope, fields: Mapping[bytes, bytes], send: Send
    ) -> None:
        """A hit that is looked at more closely: most are not, since that would cost them more than it tells."""
        cache = self.cache
        began = cache.clock.monotonic()
        try:
            await plan.replay(cache, entry, now, scope, fields, send)
        finally:
            ended = cache.clock.monotonic()
            plan.tally.look(key, b"", entry.length, ended - began, ended)

    async def pass_everything(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called in place of this object where a test suite has switched caching off: nothing but the lifespan is handled here."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        token = request_scope.set(self._passing)
        try:
            await self.app(scope, receive, send)
        finally:
            request_scope.reset(token)

    async def _is_answered(self, method: str, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answers a request of another method where a rule caches that, or its success purges what is cached."""
        plan = self._routes.body_plan(scope)
        if plan is not None:
            fields = dict(scope["headers"])
            await Exchange(self.app, self._passing, plan, scope, fields, receive, send).answer()
            return True
        plan = self._routes.plan(scope) if is_unsafe(method) else None
        if plan is None:
            return False
        await Unsafe(self._routes, plan, self._passing, scope, send).run(self.app, receive)
        return True

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that a CacheMiddleware further out handles: only who may see the answer is still asked here."""
        plan = self._routes.plan(scope)
        if isinstance(wish := scope[SEEN], Wish):
            await self._render(wish, plan, scope, send)
            return
        if plan is None or not plan.is_keyed:
            await self.app(scope, receive, send)
        else:
            fields = dict(scope["headers"])
            await Exchange(self.app, self._passing, plan, scope, fields, receive, send).pass_guarded(scope[SEEN])

    def _come_forward(self) -> None:
        """From here on what is to be made is made in this event loop; where jobs are run, also for other processes."""
        cache = self.cache
        cache.open()
        cache.warming.is_worker = cache.telemetry.role == "worker"
        cache.warming.serve_here()
        if cache.warming.is_worker or not cache.functions.is_empty:
            cache.functions.add(RENDER, cache.warming.render_job)
            cache.functions.add(SWEEP, cache.warming.sweep_job)

    async def render(self, recipe: Recipe, *, than: float = 0.0, left: float = 0.0) -> Rendered:
        """Makes and stores an answer in-process, as `Renderer.render` does, through the application that this is a part of."""
        app: ASGIApp = self.cache.warming.application or self._routes.outermost or self
        return await Renderer(app, root_path=self._routes.root_path, state=self._state).render(
            recipe, than=than, left=left
        )

    def wanted(self, recipe: Recipe) -> Wanted | None:
        """What the rule of the recipe's path wants of its purged entries."""
        plan = self._routes.plan(
            {"type": "http", "method": "GET", "root_path": self._routes.root_path, **place(recipe)}
        )
        return Wanted(plan.label, plan.rewarm) if plan is not None and plan.rewarm else None

    @property
    def is_rewarming(self) -> bool:
        """Whether any rule wants its purged entries made again."""
        return self._routes.is_rewarming

    @property
    def uses_workers(self) -> bool:
        """Whether any rule leaves to workers what they could do."""
        return self._routes.is_rewarming or self._routes.uses_workers

    async def _render(self, wish: Wish, plan: Plan | None, scope: Scope, send: Send) -> None:
        """What a `Renderer` wants made; it is answered with nothing."""

        async def call(errand: Errand, receive: Receive, send: Send) -> None:
            scope[SEEN] = errand.seen
            await (Timed if errand.plan.is_timed else Fill)(errand).run(self.app, receive, send)

        if plan is not None:
            await Rendition(self.cache, plan, scope, wish).run(call)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        stand_in = StandIn(self.cache)
        try:
            self._routes.check(scope)
            stand_in.check()
        except ConfigurationError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise

        self._state = scope.get("state")
        self._come_forward()
        has_listened = False

        async def listening() -> Message:
            nonlocal has_listened
            has_listened = True
            return await receive()

        async def closing(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                stand_in.start()
                if self._warm:
                    self.cache.warming.begin(self._warm)
            elif message["type"] in ENDS:
                try:
                    await stand_in.stop()
                    await self.cache.close()
                except Exception:
                    logs.NOT_CLOSED.tell(exc_info=True)
            await send(message)

        try:
            await self.app(scope, listening, closing)
        except Exception:
            if has_listened:
                raise
            # It knows no lifespan, as Django does not; the cache has one all the same.
            await _run_lifespan(receive, closing)


async def _run_lifespan(receive: Receive, send: Send) -> None:
    """The lifespan of an application that has none."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
