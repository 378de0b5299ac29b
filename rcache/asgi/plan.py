"""A rule as it applies to one route: what it reads of a request, checked once at start-up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from decimal import Decimal
from enum import Enum
from inspect import isawaitable
from typing import Any
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Scope

from rcache import logs
from rcache.asgi.declared import Declared
from rcache.asgi.replay import replay
from rcache.core import audit as audits
from rcache.core import cookies as cookie_fields
from rcache.core.checks import Refresh, is_async
from rcache.core.errors import ConfigurationError
from rcache.core.headers import joined, values
from rcache.core.keys import prefixed
from rcache.core.policy import Defaults, Options, settled
from rcache.core.search import no_vary_search
from rcache.core.storing import StoringRules
from rcache.core.tags import TagError, Template, check_tag
from rcache.core.targeted import REMEDY as TARGETED_REMEDY
from rcache.core.vary import COOKIE
from rcache.engine.stats import Tally

PathParams = Callable[[Scope], Mapping[str, Any]]

_TELLING = (str, bytes, int, float, Decimal, UUID, date, Enum)
"""What may join a key: an object's text may be its address, which the next object at that place has too."""

TELLING = frozenset(
    (b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"if-match", b"if-unmodified-since")
)
"""Fields that make a request somebody's own, announce a body, or ask what only the application can tell."""

REFRESHING = TELLING | {b"cache-control", b"pragma"}
"""Those, and the fields in which a client that may do so asks for something fresher."""

_JUDGED_HERE = frozenset(("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range"))
"""Fields that select no variant, though an endpoint may declare them: they ask for less than the whole, or bypass the cache."""

REMEDIES = {
    "authorization": 'requests with Authorization need key_by= or guard=, or an answer that says "Cache-Control: public"',
    "cookie": 'name the cookies that matter (cookies=("theme",)), write cookies="ignore", or give key_by= or guard=',
    "security": "the route has a security dependency: give key_by= (whose answer it is) or guard= (who may see it)",
    "set-cookie": "answers that set a cookie are one client's own: set it elsewhere",
    "private": 'the answer says "Cache-Control: private"',
    "no-store": 'the answer says "Cache-Control: no-store"',
    "no-cache": 'the answer says "Cache-Control: no-cache"',
    "vary": 'the answer says "Vary: *"',
    "no-freshness": "give ttl= to the rule or default_ttl= to the middleware, or let the answer say max-age",
    "stale": "the answer's own freshness has run out already",
    "stream": "event streams have no end",
    "too-large": "the body is longer than the cache's max_body",
    "targeted": TARGETED_REMEDY,
    "tag": "give the parameters that its tags are made of defaults, or make the tags with a callable",
    "no-dependencies": "nothing tells when it changes: give it tags=, say what it depends on by depends_on(), or write auto=False",
    "too-many-tags": "the answer depends on so much that it would hardly ever be a hit: name what its parts have in common",
}
"""What to do about each reason; reasons of single requests, like a status, are not listed and not logged."""


WRITING = "asking by GET is not to change anything, and what was read meanwhile is its maker's own: write elsewhere"
"""What to do where the request itself has written."""

UNFOLLOWED = "say what it depends on by depends_on() or depends_on_table(), or give it tags= and auto=False"
"""What to do where something was read that cannot be followed."""

MOST_TOLD = 100
"""Reasons that are logged of one route: what is read may name itself in them."""


class Plan:
    """One rule for one route. Everything that depends on settings alone is settled in `__init__`."""

    __slots__ = (
        "__dict__",
        "is_plain",
        "replay",
        "tally",
        "telling",
    )  # what each hit reads; of so much else a dict is slower

    def __init__(
        self,
        options: Options,
        *,
        label: str,
        defaults: Defaults,
        tally: Tally,
        is_standard: bool = False,
        path_names: frozenset[str] = frozenset(),
        path_params: PathParams | None = None,
        declared: Declared | None = None,
        selecting: tuple[str, ...] = (),
        app: Any = None,
    ) -> None:
        """What `options` leave open, `defaults` say; `is_standard` where no rule applies but the answers' own headers.

        `selecting` are headers that always select among answers, `app` is the application whose route it is, `tally` counts
        what becomes of its requests.
        """
        options = settled(options, defaults)
        self.label = label
        self.tally = tally
        self.is_auto = bool(options.auto)
        self.is_strict = defaults.strict
        self.is_keyed = options.key_by is not None or options.guard is not None
        self.client_ttl = options.client_ttl
        self.wait = options.wait
        self.timeout: float | None = _first(options.timeout, defaults.timeout)
        self.hard_timeout: float | None = _first(options.hard_timeout, defaults.hard_timeout)
        self.is_timed = self.timeout is not None or self.hard_timeout is not None
        self.early: float | bool = _first(options.early, defaults.early)
        self.audit = audits.settled(options.audit, defaults.audit)
        self.replay: Callable[..., Awaitable[None]] = replay
        """How the plainest hits are answered."""
        self.refresh: Refresh = _first(options.refresh, defaults.refresh)
        self.rewarm: int = _first(options.rewarm, defaults.rewarm)
        self.jitter: float = _first(options.jitter, defaults.jitter)
        self.storing = StoringRules(
            ttl=_first(options.ttl, defaults.ttl),
            statuses=options.statuses,
            heuristic=_first(options.heuristic, defaults.heuristic),
            stale_while_revalidate=_first(options.stale_while_revalidate, defaults.stale_while_revalidate),
            stale_on_error=_first(options.stale_on_error, defaults.stale_on_error),
            store_set_cookie=_first(options.store_set_cookie, defaults.store_set_cookie),
        )
        self.client_may_refresh = _first(options.client_may_refresh, defaults.client_may_refresh, is_standard)
        self.telling = REFRESHING if self.client_may_refresh else TELLING
        is_passed_on = _first(options.forward_targeted, defaults.forward_targeted)
        self.hidden: frozenset[bytes] = frozenset() if is_passed_on else frozenset(self.storing.targets)
        """Fields that are read here and not passed on to clients."""
        self.cache_groups = _first(options.cache_groups, defaults.cache_groups)
        self.coding = _first(options.compress, defaults.compress) or None
        self.query = _counting(options, declared)
        self.search = None if self.is_keyed else no_vary_search(self.query)
        self.options = options
        self._declared = declared
        self._selecting = selecting
        self.ignores_cookies = options.cookies is not None or (is_standard and defaults.are_cookies_ordinary)
        self._app = app
        self._path_params = path_params or (lambda scope: scope.get("path_params") or {})
        self._counted = frozenset(name.encode() for name in declared.cookies) if declared else frozenset()
        self.names = self._selecting_names()
        self.own_vary = self._exported_names()
        self.refusal = "security" if declared is not None and declared.has_security and not self.is_keyed else None
        self.is_plain = not self.names and self.query is None and not self.is_keyed and self.refusal is None
        """A request that holds no credentials is told from others by its URL alone."""
        self._constant_tags = _constant(options)
        self._told: set[str] = set()
        self._check_templates(path_names | (declared.names if declared else frozenset()))

    def _selecting_names(self) -> tuple[str, ...]:
        cookies = self.options.cookies
        named = () if cookies is None or cookies == "ignore" else cookies
        declared = self._declared
        if declared is not None:  # what the endpoint reads tells answers apart, whatever else is ignored
            named = (*named, *declared.cookies)
        headers = [name for name in declared.headers if name not in _JUDGED_HERE] if declared is not None else ()
        return tuple(sorted({*self._selecting, *self.options.vary, *headers, *(COOKIE + name for name in named)}))

    def _exported_names(self) -> tuple[bytes, ...]:
        """What our Vary adds to the answer's own: caches outside that are told a freshness must tell apart what we do."""
        names = set(self.options.vary)
        if self.client_ttl is not None:
            names.update("cookie" if name.startswith(COOKIE) else name for name in self.names)
        return tuple(name.encode() for name in sorted(names))

    def _check_templates(self, known: frozenset[str]) -> None:
        for template in self.options.templates:
            self._check_counted(template)
            missing = template.names - known
            if missing:
                raise ConfigurationError(
                    f"{self.label}: the tag {template.text!r} needs {', '.join(sorted(missing))}, which the route cannot supply; "
                    f"it has {', '.join(sorted(known)) or 'no parameters'}, and any query parameter as {{query.NAME}}"
                )

    def _check_counted(self, template: Template) -> None:
        """A tag made of a parameter that does not count would name what another request asked for."""
        if self.query is None:
            return
        aliases = self._declared.query_aliases if self._declared is not None else {}
        used = {*template.query_names, *(aliases[name] for name in template.names if name in aliases)}
        if uncounted := sorted(name for name in used if name.encode() not in self.query):
            raise ConfigurationError(
                f"{self.label}: the tag {template.text!r} is made of {', '.join(uncounted)}, which query= leaves out: add it there"
            )

    # Questions about a request

    def personal(self, headers: Sequence[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]) -> str | None:
        """Why a request is somebody's own in a way the key does not tell: "authorization", "cookie", or None."""
        if b"authorization" in fields:
            return "authorization"
        if b"cookie" in fields and not self.ignores_cookies:
            return "cookie" if cookie_fields.matters(values(headers, b"cookie"), self._counted) else None
        return None

    async def identity(self, scope: Scope) -> tuple[bytes | None, bool]:
        """What `guard` and `key_by` add to the key (None: bypass), and whether that tells whose the answer is.

        Where the header or cookie that `key_by` names is absent, nobody was told apart, and credentials of another kind
        still make the request somebody's own. Raises what the guard raises.
        """
        options = self.options
        request = self.request(scope)
        parts: list[bytes | None] = []
        if options.guard is not None and options.guard is not False:
            answer = await _called(options.guard, request)
            if answer is not None and not isinstance(answer, _TELLING):
                self._tell_type_once(logs.GUARD_UNCLEAR, answer)
                return None, False
            # With its type: 1 and "1" are two answers.
            told = None if answer is None else f"{type(answer).__qualname__}:{answer!r}"
            parts.append(None if told is None else told.encode("utf-8", "surrogatepass"))
        if callable(options.key_by):
            key = self._called_key(options.key_by, request)
            if key is None:
                return None, False
            parts.append(key)
        elif options.key_by:
            parts.append(_named_value(options.key_by, scope["headers"]))
        is_told = options.guard is not None or parts[-1] is not None
        return prefixed(parts), is_told

    def _called_key(self, key_by: Callable[..., Any], request: Request) -> bytes | None:
        try:
            key = key_by(request)
        except Exception:
            logs.KEY_RAISED.tell(exc_info=True, route=self.label)
            return None
        if key is not None and not isinstance(key, str):
            self._tell_type_once(logs.KEY_UNCLEAR, key)
            return None
        return None if key is None else key.encode("utf-8", "surrogatepass")

    def _tell_type_once(self, message: logs.Message, value: object) -> None:
        kind = type(value).__name__
        told = f"{message.event} {kind}"
        if told not in self._told:
            self._told.add(told)
            message.tell(route=self.label, type=kind)

    def request(self, scope: Scope) -> Request:
        """The request as callables see it: with the route's path parameters, without a body."""
        return Request(self.seen(scope))

    def seen(self, scope: Scope) -> Scope:
        """The scope as the endpoint would see it, though the middleware may stand outside the application."""
        app = {} if self._app is None else {"app": self._app}
        return {**scope, **app, "path_params": self._path_params(scope)}

    @property
    def handlers(self) -> Mapping[Any, Any]:
        """The application's own exception handlers, by status or class."""
        handlers: Mapping[Any, Any] = getattr(self._app, "exception_handlers", {})
        return handlers

    # Questions about an answer

    def tags(self, scope: Scope) -> AbstractSet[str]:
        """The rule's tags for this request. Raises TagError or ValueError where one cannot be made."""
        if self._constant_tags is not None:
            return self._constant_tags
        options = self.options
        request = self.request(scope)
        filled = self._declared.values(request) if self._declared is not None else request.path_params
        tags = {template.fill(filled, lambda name: request.query_params.get(name)) for template in options.templates}
        for function in options.callables:
            tags.update(_told_by(function, request))
        return tags

    def tell_once(self, reason: str, detail: str = "", *, otherwise: str | None = None) -> None:
        """Logs, the first time, why this route is not cached, and what to do about it: `otherwise` where REMEDIES say nothing."""
        remedy = REMEDIES.get(reason, otherwise)
        if remedy is not None and reason not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(reason)
            said = f"{reason}: {detail}" if detail else reason
            logs.NOT_CACHED.tell(route=self.label, reason=said, remedy=remedy)


def _first(*said: Any) -> Any:
    """The first that says something."""
    return next((value for value in said if value is not None), None)


def _counting(options: Options, declared: Declared | None) -> frozenset[bytes] | None:
    """The query parameters that count; None: all."""
    if options.query != "declared":
        return options.query
    return frozenset(name.encode() for name in declared.query_aliases.values()) if declared is not None else None


def _constant(options: Options) -> frozenset[str] | None:
    """The tags of a rule whose tags are the same for every request; None where they are not."""
    if options.callables or any(template.names or template.query_names for template in options.templates):
        return None
    return frozenset(template.fill({}, lambda _: None) for template in options.templates)


async def _called(guard: Callable[..., Any], request: Request) -> Any:
    answer = guard(request) if is_async(guard) else await run_in_threadpool(guard, request)
    return await answer if isawaitable(answer) else answer


def _named_value(key_by: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    kind, colon, name = key_by.partition(":")
    return cookie_fields.value(values(headers, b"cookie"), name.encode()) if colon else joined(headers, kind.encode())


def _told_by(function: Callable[..., Any], request: Request) -> Iterable[str]:
    try:
        answer = function(request)
        if answer is None:
            return ()
        return (check_tag(answer),) if isinstance(answer, str) else [check_tag(each) for each in answer]
    except Exception as error:
        raise TagError(f"{function!r} made no tags: {error!r}") from error
