"""What a `CacheMiddleware` would do with one request, and why: the same questions in the same order, and no endpoint is run.

The store is asked as for the request itself. What only a process that serves requests knows is left out: URLs that proved
uncacheable a moment ago, purges that wait for the store, and the draw of an early refresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Scope

from rcache.asgi.inquiry import Inquiry
from rcache.asgi.middleware import CacheMiddleware
from rcache.asgi.plan import REFRESHING, REMEDIES, Plan
from rcache.cache import Cache
from rcache.core import cache_status, cookies
from rcache.core.coding import is_available
from rcache.core.entry import Entry, Found, Missing
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.headers import values
from rcache.core.invalidation import is_unsafe
from rcache.core.keys import canonical_query, digest, with_body
from rcache.core.policy import Options
from rcache.core.request_directives import NO_ADVICE, RequestDirectives, request_directives
from rcache.core.reuse import Use, reuse, without_demands
from rcache.core.tags import TagError
from rcache.core.vary import COOKIE, merge, normalise
from rcache.engine.near_store import NearStore
from rcache.ports import Budget

Outcome = Literal["hit", "refresh", "validate", "miss", "pass", "refused", "timeout", "untouched", "purge"]
"""What happens: `hit` and `refresh` are answered from the store, `purge` and all others but the next two by the application;
`refused` by the guard, `timeout` with 504."""

PATIENCE: Final = 5.0
"""Seconds that the store may take."""

_MISSING: Final = {
    "absent": "nothing is stored for this key and variant",
    "purged": "what is stored was purged since it was made",
    "held": "a transaction that is about to commit holds one of its tags",
    "quarantine": "Redis has lost holds or purges a moment ago: nothing is used until they would have ended",
    "damaged": "what is stored cannot be read, or is somebody else's",
    "lost": "it was stored before Redis was restarted, failed over or lost what it knew of purges",
    "coding": "it is stored in a coding that cannot be read here: install the extra 'compress'",
    "credentials": "what is stored may not answer requests with credentials",
}

_PASSED: Final = {
    "authorization": "the request holds Authorization",
    "cookie": "the request holds cookies that may matter",
    "security": "the endpoint asks who its client is",
    "key": "key_by or the guard gave nothing that tells whose the answer is",
    "body": "a request with a body bypasses the cache: the application may read it",
    "precondition": "only the application knows the state that If-Match and If-Unmodified-Since speak of",
    "target": "the URL is too long to be worth a key",
    "no-store": "the client says no-store",
    "outage": "the store cannot be reached in time",
}

_CREDENTIALS: Final = frozenset(("authorization", "proxy-authorization", "cookie"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done with a request. Secrets of the request are told by their digests alone."""

    method: str
    url: str
    outcome: Outcome
    why: str
    remedy: str | None = None
    route: str | None = None  # or the rule, where no route is known
    rule: tuple[tuple[str, str], ...] = ()  # its settings, but for those that are as they are anyway
    cache_status: str | None = None  # the field's beginning, as the answer would carry it
    key: tuple[tuple[str, str], ...] = ()
    variant: tuple[
        tuple[str, str], ...
    ] = ()  # what selects among the URL's variants, and what the request holds for it
    whose: str = "anybody's"
    tags: tuple[str, ...] = ()  # that the rule gives
    start: int | None = None  # of the entry that was found
    age: float | None = None
    ttl: float | None = None  # seconds for which it stays fresh; negative once stale


def find_middleware(app: ASGIApp) -> CacheMiddleware:
    """The CacheMiddleware that a request to `app` meets first. Raises ConfigurationError where it meets none."""
    seen: set[int] = set()
    inner: Any = app
    while inner is not None and id(inner) not in seen:
        if isinstance(inner, CacheMiddleware):
            return inner
        seen.add(id(inner))
        if hasattr(
            inner, "build_middleware_stack"
        ):  # Starlette's, which it builds when it is first called, and then keeps
            if inner.middleware_stack is None:
                inner.middleware_stack = inner.build_middleware_stack()
            inner = inner.middleware_stack
        else:
            inner = getattr(inner, "app", None)
    raise ConfigurationError(
        "no CacheMiddleware is around this application: name it as the server is given it, after add_middleware(CacheMiddleware)"
    )


async def explain(
    middleware: CacheMiddleware, scope: Scope, body: bytes = b"", cache: Cache | None = None
) -> Explanation:
    """What `middleware` would do with the request of `scope`, whose content is `body`.

    Its guard and `key_by` are called, its endpoint is not. `cache`: looked up in place of the middleware's own.
    """
    return await _Asked(middleware, scope, body, cache or middleware.cache).explain()


class _Asked:
    """One request to be explained."""

    def __init__(self, middleware: CacheMiddleware, scope: Scope, body: bytes, cache: Cache) -> None:
        self._routes = middleware.rules
        # What is kept near is kept for requests: to look there would make this process a node that writers wait for.
        self._store = cache.store.store_behind if isinstance(cache.store, NearStore) else cache.store
        self._key_host = middleware.cache.key_host
        self._scope = scope
        self._body = body
        self._method: str = scope["method"]
        self._fields: Mapping[bytes, bytes] = dict(scope["headers"])
        query = scope["query_string"]
        target = (scope.get("raw_path") or b"") + (b"?" + query if query else b"")
        self._said = Explanation(self._method, target.decode("latin-1"), "untouched", "")

    async def explain(self) -> Explanation:
        is_read = self._method in ("GET", "HEAD")
        plan = self._routes.plan(self._scope) if is_read else self._routes.body_plan(self._scope)
        if plan is None:
            return self._untouched()
        self._know(route=plan.label, rule=_settings(plan.options), tags=_tags(plan, self._scope))
        if plan.refusal is not None:
            return self._pass(plan.refusal)
        identity: bytes | None = None
        is_told = False
        if plan.is_keyed:
            try:
                identity, is_told = await plan.identity(self._scope)
            except HTTPException as error:
                self._know(cache_status=_text(cache_status.forward("bypass", detail="guard")))
                return self._end("refused", f"the guard answers {error.status_code}: {error.detail}")
            except Exception as error:
                remedy = "give the request what it asks for; here it may lack what the application makes when it starts"
                return self._end("refused", f"the guard raises {type(error).__name__}: {error}", remedy)
            if identity is None:
                return self._pass("key")
            self._know(whose=_whose(plan.options, identity))
        if self._method in plan.options.methods:
            if len(self._body) > plan.options.max_request_body:
                return self._pass("body")
            identity = with_body(identity, self._method, self._scope["headers"], self._body)
        elif self._body:
            return self._pass("body")
        wishes, personal = NO_ADVICE, None
        if not self._fields.keys().isdisjoint(REFRESHING):
            if b"if-match" in self._fields or b"if-unmodified-since" in self._fields:
                return self._pass("precondition", "request")
            personal = None if is_told else plan.personal(self._scope["headers"], self._fields)
            wishes = request_directives(self._scope["headers"])
            wishes = wishes if plan.client_may_refresh else without_demands(wishes)
        ask = Inquiry(self._scope, self._fields, plan.names, plan.query, self._key_host, identity)
        if ask.is_too_long:
            return self._pass("target")
        self._know(key=self._key(ask, plan), variant=self._variant(ask, plan.names))
        return await self._seek(ask, wishes, personal)

    async def _seek(self, ask: Inquiry, wishes: RequestDirectives, personal: str | None) -> Explanation:
        try:
            found = await self._store.lookup(ask, Budget(PATIENCE))
        except BackendError:
            return self._pass("outage")
        self._know(variant=self._variant(ask, merge(ask.names, found.names)))
        if isinstance(found, Found):
            entry = found.entry
            self._know(start=entry.start.number, age=entry.age(found.now), ttl=entry.ttl(found.now))
            if not is_available(entry.coding):
                found = Missing(found.start, found.now, "coding", found.names)
            elif personal is not None and not entry.is_shared:
                found = Missing(found.start, found.now, "credentials", found.names)
        reason, why = "miss", ""
        if isinstance(found, Found):
            use, reason = reuse(found.entry, found.now, wishes)
            why = _use(found.entry, found.now, reason)
            if use is not Use.VALIDATE:
                self._know(cache_status=_text(cache_status.hit(found.entry.ttl(found.now))))
                return self._end("hit" if use is Use.HIT else "refresh", why)
        else:
            why = _MISSING[found.reason]
        if wishes.only_if_cached:
            self._know(cache_status=_text(cache_status.refused("only-if-cached")))
            return self._end("timeout", f"{why}, and the client takes only what is stored")
        if wishes.no_store:
            return self._pass("no-store", "request")
        if personal is not None and isinstance(found, Missing):
            only = "its answer is stored only where it says that it is for everybody"
            self._know(cache_status=_text(cache_status.forward("bypass", detail=personal)))
            return self._end("pass", f"{_PASSED[personal]}: {only}; {why}", REMEDIES.get(personal))
        self._know(cache_status=_text(cache_status.forward(reason)))
        if isinstance(found, Found):
            return self._end("validate", why)
        if found.start is None:
            why += "; the answer is not stored, since the store does not say when it begins"
        return self._end("miss", why)

    # What is said

    def _know(self, **facts: Any) -> None:
        self._said = replace(self._said, **facts)

    def _end(self, outcome: Outcome, why: str, remedy: str | None = None) -> Explanation:
        return replace(self._said, outcome=outcome, why=why, remedy=remedy)

    def _pass(self, reason: str, forwarded: str = "bypass") -> Explanation:
        if _wants_only_stored(self._scope):
            self._know(cache_status=_text(cache_status.refused("only-if-cached")))
            return self._end("timeout", f"{_PASSED[reason]}, and the client takes only what is stored")
        self._know(cache_status=_text(cache_status.forward(forwarded, detail=reason)))
        return self._end("pass", _PASSED[reason], REMEDIES.get(reason))

    def _untouched(self) -> Explanation:
        plan = self._routes.plan(self._scope) if is_unsafe(self._method) else None
        if plan is None:
            return self._end(
                "untouched",
                f"no rule applies to {self._method} of this path",
                'mark its endpoint with @cached(ttl="10m"), or give the middleware a Rule or default_ttl=',
            )
        self._know(route=plan.label, rule=_settings(plan.options))
        return self._end(
            "purge", f"{self._method} is unsafe: where it succeeds, what is stored of its URL is purged (RFC 9111 §4.4)"
        )

    def _key(self, ask: Inquiry, plan: Plan) -> tuple[tuple[str, str], ...]:
        key = ask.key
        query = self._scope["query_string"]
        parts = [
            ("scheme", key.scheme),
            ("host", _text(key.host) if self._key_host else "does not count (key_host=False)"),
            ("path", _text(key.path)),
            ("query", _text(key.query) or "-"),
        ]
        if plan.query is not None and canonical_query(query) != key.query:
            names = ", ".join(sorted(map(_text, plan.query))) or "none"
            parts.append(("of the query", f"parameters that count: {names}"))
        if key.identity is not None:
            parts.append(("identity", f"digest {digest(key.identity)}"))
        return tuple(parts)

    def _variant(self, ask: Inquiry, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple((name, self._held(ask, name)) for name in names)

    def _held(self, ask: Inquiry, name: str) -> str:
        if name.startswith(COOKIE):
            value = cookies.value(values(ask.headers, b"cookie"), name.removeprefix(COOKIE).encode())
        else:
            value = normalise(name, values(ask.headers, name.encode()))
        if value is None:
            return "(absent)"
        is_secret = name in _CREDENTIALS or name.startswith(COOKIE)
        return f"digest {digest(value)}" if is_secret else _text(value)


def _wants_only_stored(scope: Scope) -> bool:
    return request_directives(scope["headers"]).only_if_cached


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _tags(plan: Plan, scope: Scope) -> tuple[str, ...]:
    try:
        return tuple(sorted(plan.tags(scope)))
    except (TagError, ValueError):
        return ()


def _whose(options: Options, identity: bytes) -> str:
    by = []
    if options.guard:
        by.append(f"guard={getattr(options.guard, '__qualname__', options.guard)}")
    if options.key_by:
        by.append(
            f"key_by={options.key_by if isinstance(options.key_by, str) else getattr(options.key_by, '__qualname__', '...')}"
        )
    return f"told apart by {' and '.join(by)}: digest {digest(identity)}"


def _use(entry: Entry, now: float, reason: str) -> str:
    ttl = entry.ttl(now)
    fresh = f"stored {entry.age(now):.0f} s ago, fresh for {ttl:.0f} s more"
    stale = f"stale for {abs(ttl):.0f} s" + (" by a soft purge" if entry.is_softened else "")
    return {
        "fresh": fresh,
        "early": f"{fresh}; the end is so near that a new one is made already",
        "max-stale": f"{stale}, which the client takes",
        "stale-while-revalidate": f"{stale}, which stale_while_revalidate allows; a new one is made meanwhile",
        "stale": f"{stale}: the application is asked whether it still holds",
        "request": f"{fresh}, but the client asks for something fresher",
    }[reason]


_DEFAULTS: Final = Options()


def _settings(options: Options) -> tuple[tuple[str, str], ...]:
    """What a rule says, but for what every rule says that leaves it open."""
    tags = [template.text for template in options.templates]
    tags += [f"{getattr(function, '__qualname__', function)}(...)" for function in options.callables]
    said: dict[str, Any] = {"ttl": options.ttl, "tags": ", ".join(tags) or None}
    for name in Options.__slots__:
        value = getattr(options, name)
        if name not in ("ttl", "templates", "callables") and value != getattr(_DEFAULTS, name):
            said[name] = value
    return tuple((name, _written(value)) for name, value in said.items() if value not in (None, False, ()))


def _written(value: Any) -> str:
    if callable(value):
        return f"{getattr(value, '__qualname__', value)}"
    if isinstance(value, frozenset | tuple):
        return ", ".join(sorted(_text(each) if isinstance(each, bytes) else str(each) for each in value))
    return f"{value:g}" if isinstance(value, float) else str(value)
