"""The routes of an application, read once: which endpoint answers a path, what it was marked with, what it declares.

Read are Starlette's routes, mounts and hosts, and FastAPI's included routers, whose routes are not in `app.routes` as such.
Other frameworks' routes are not understood, and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host, Match, Mount, Route, WebSocketRoute
from starlette.types import Scope

from rcache.asgi.declared import Declared, declared
from rcache.asgi.decorator import methods_of, options_of
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Options

_PLAIN = {Route, Mount, Host, WebSocketRoute}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A route: the mark of its endpoint and what FastAPI declares for it, or the routes below it."""

    matches: Callable[[Scope], tuple[Match, Scope]]
    path: str = ""
    options: Options | None = None
    facts: Declared | None = None
    param_names: frozenset[str] = frozenset()
    app: Any = None  # the application whose route it is: what `request.app` is there, and whose handlers answer
    children: tuple[Node, ...] = ()

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"GET {self.path}"


@dataclass(frozen=True, slots=True)
class Owner:
    """What owns the routes that a middleware wraps, or stands among."""

    app: Any  # None where there are no routes to be read
    is_around: bool = False  # it was found in the scope: we stand somewhere inside it
    names: tuple[str, ...] = ()  # headers that select among answers because of what stands between

    @property
    def routes(self) -> Sequence[Any]:
        """Its routes, a list that may grow."""
        routes: Sequence[Any] = getattr(self.app, "routes", ())
        return routes


def find_owner(app: Any, scope: Scope) -> Owner:
    """The first application with routes behind the middleware between, else the one around us."""
    inside, names = _behind(app)
    if inside is not None:
        return Owner(inside, names=names)
    around = scope.get("app")
    return Owner(around, is_around=True, names=names) if _has_routes(around) else Owner(None, names=names)


def _behind(app: Any) -> tuple[Any, tuple[str, ...]]:
    """The first with routes along the chain of `.app`, and what the CORS middleware on the way there reads.

    That one says `Vary: Origin` only where a request has an Origin: an answer kept without one would lack the fields that
    browsers on other sites need.
    """
    names: tuple[str, ...] = ()
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        if _has_routes(app):
            return app, names
        if isinstance(app, CORSMiddleware):
            names = ("origin",)
        seen.add(id(app))
        app = getattr(app, "app", None)
    return None, names


def _has_routes(app: Any) -> bool:
    routes = getattr(app, "routes", None)
    return isinstance(routes, list | tuple) and all(callable(getattr(route, "matches", None)) for route in routes)


class Tree:
    """All routes of one owner, as they were when it was read. Raises ConfigurationError for a mark that cannot work."""

    def __init__(self, owner: Owner, app: Any) -> None:
        self.is_plain = True
        """Every route is chosen by path alone."""
        self._watched: list[tuple[Sequence[Any], int]] = []
        self.nodes = tuple(self._read(owner.routes, "", app, frozenset()))

    @property
    def has_grown(self) -> bool:
        """Whether routes were added (or removed) anywhere since it was read."""
        return any(len(routes) != length for routes, length in self._watched)

    def _read(self, routes: Sequence[Any], prefix: str, app: Any, outer: frozenset[str]) -> Iterator[Node]:
        for route in self._flattened(routes):
            if _is_custom(route):
                self.is_plain = False
            names = outer | frozenset(getattr(route, "param_convertors", None) or ())
            path = prefix + (getattr(route, "path", None) or "")
            inner, _ = _behind(getattr(route, "_base_app", None) or route.app) if _holds(route) else (None, ())
            if inner is None:
                yield _leaf(route, path, app, names)
            else:
                nearest = inner if is_application(inner) else app
                below = tuple(self._read(inner.routes, path, nearest, names - {"path"}))
                yield Node(route.matches, path, children=below)

    def _flattened(self, routes: Sequence[Any]) -> Iterator[Any]:
        """Each route where it counts: FastAPI keeps an included router as one route that knows its own."""
        self._watch(routes)
        for route in routes:
            contexts = getattr(route, "effective_route_contexts", None)
            if contexts is None:
                yield route
                continue
            self._watch_included(route)
            for context in contexts():
                yield getattr(context, "starlette_route", None) or context

    def _watch(self, routes: Sequence[Any]) -> None:
        self._watched.append((routes, len(routes)))

    def _watch_included(self, route: Any) -> None:
        routes = getattr(getattr(route, "original_router", None), "routes", ())
        self._watch(routes)
        for each in routes:
            if hasattr(each, "original_router"):
                self._watch_included(each)


def match(nodes: Sequence[Node], scope: Scope) -> tuple[Node | None, Scope]:
    """The route that answers, as Starlette chooses: the first that matches in full, then within it.

    A convertor that raises fails in the application as well, which is where that is answered.
    """
    for node in nodes:
        try:
            found, child_scope = node.matches(scope)
        except Exception:
            return None, scope
        if found is Match.FULL:
            inner = {**scope, **child_scope}
            return match(node.children, inner) if node.children else (node, inner)
    return None, scope


def is_application(app: Any) -> bool:
    """Whether this is one with handlers and state of its own, and not just a router."""
    return hasattr(app, "exception_handlers")


def _leaf(route: Any, path: str, app: Any, names: frozenset[str]) -> Node:
    endpoint = getattr(route, "endpoint", None)
    dependant = getattr(route, "dependant", None)
    options = None if _holds(route) else options_of(endpoint)
    if isinstance(route, WebSocketRoute):
        if options is not None:
            raise ConfigurationError(f"{path}: @cached on {_name(endpoint)}, which answers a WebSocket, not GET")
        return Node(route.matches, path)
    _check_methods(route, path, endpoint, options)
    facts = declared(dependant, getattr(route, "dependencies", ())) if dependant is not None else None
    if options is not None and options.query == "declared" and facts is None:
        raise ConfigurationError(
            f'{path}: query="declared" takes the parameters that FastAPI knows of {_name(endpoint)}; name them: query=("page",)'
        )
    return Node(route.matches, path, options, facts, names, app)


def _check_methods(route: Any, path: str, endpoint: Any, options: Options | None) -> None:
    methods = getattr(route, "methods", None)
    if options is not None and methods and not ({"GET", *options.methods} & set(methods)):
        raise ConfigurationError(
            f"{path}: @cached on {_name(endpoint)}, which answers only {', '.join(sorted(methods))}, not GET; "
            'QUERY and POST are cached where methods=("POST",) says so'
        )
    if others := methods_of(endpoint):
        raise ConfigurationError(
            f"{path}: @cached on {', '.join(others)} of {_name(endpoint)}; only answers to GET are kept"
        )


def _holds(route: Any) -> bool:
    """Whether other routes may lie below."""
    return isinstance(route, Mount | Host)


def _is_custom(route: Any) -> bool:
    """Whether something but the path may decide: a host, or a class of the application's own."""
    if isinstance(route, Host):
        return True
    return type(route) not in _PLAIN and not type(route).__module__.startswith(("fastapi.", "starlette."))


def _name(endpoint: Any) -> str:
    return getattr(endpoint, "__qualname__", repr(endpoint))
