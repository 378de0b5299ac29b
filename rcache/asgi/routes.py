"""Which rule applies to a request: found once per path, then one look-up in a table.

Routes are read from the application that the middleware wraps: Starlette's routes, mounts and hosts, and FastAPI's included
routers, whose routes are not in `app.routes` as such. An endpoint's own `@cached` wins over a `Rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Host, Match, Mount, Route, WebSocketRoute, compile_path
from starlette.types import ASGIApp, Scope

from rcache.asgi.declared import Declared, declared
from rcache.asgi.decorator import options_of
from rcache.asgi.plan import Plan
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Rule, options

TABLE_SIZE = 10_000  # paths whose rule is remembered; beyond it the table starts anew

_PLAIN = {Route, Mount, Host, WebSocketRoute}
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class _Node:
    """A route, with the plan of its endpoint or the routes below it."""

    matches: Callable[[Scope], tuple[Match, Scope]]
    plan: Plan | None = None
    is_marked: bool = False  # with `enabled=False` there is a mark and no plan
    children: tuple[_Node, ...] = ()


@dataclass(frozen=True, slots=True)
class _PathRule:
    rule: Rule
    plan: Plan | None
    regex: Any
    convertors: Mapping[str, Any]

    def params(self, route_path: str) -> dict[str, Any] | None:
        match = self.regex.match(route_path)
        if match is None:
            return None
        return {name: self.convertors[name].convert(value) for name, value in match.groupdict().items()}


class Routes:
    """The rules of one middleware, over the routes of the application it wraps."""

    def __init__(self, app: ASGIApp, rules: Sequence[Rule], default_ttl: float | None) -> None:
        self._app = app
        self._default_ttl = default_ttl
        self._rules = [self._path_rule(rule) for rule in rules]
        self._default = (
            Plan(options(), label="default_ttl", default_ttl=default_ttl) if default_ttl is not None else None
        )
        self._table: dict[Any, Plan | None] = {}
        self._root_path = ""
        self._source: Sequence[Any] = ()
        self._read_length = -1
        self._nodes: tuple[_Node, ...] = ()
        self._is_plain = True  # every route is chosen by path alone

    def _path_rule(self, rule: Rule) -> _PathRule:
        try:
            regex, _, convertors = compile_path(rule.path)
        except (AssertionError, ValueError) as error:
            raise ConfigurationError(f"{rule!r}: {error}") from error

        def path_params(scope: Scope) -> Mapping[str, Any]:
            return path_rule.params(route_path(self._rooted(scope))) or {}

        plan = None
        if rule.options.enabled:
            plan = Plan(
                rule.options,
                label=repr(rule),
                default_ttl=self._default_ttl,
                path_names=frozenset(convertors),
                path_params=path_params,
            )
        path_rule = _PathRule(rule, plan, regex, convertors)
        return path_rule

    def check(self, scope: Scope) -> None:
        """Reads the application's routes. Raises ConfigurationError for a rule that its route cannot supply."""
        owner = self._find_owner(scope)
        source = getattr(owner, "routes", ())
        self._root_path = "" if owner is scope.get("app") else getattr(owner, "root_path", "")
        handlers = getattr(owner, "exception_handlers", None) or getattr(scope.get("app"), "exception_handlers", {})
        self._is_plain = True
        self._nodes = tuple(self._read(source, "", handlers, frozenset()))
        self._table.clear()
        self._source, self._read_length = source, len(source)

    def plan(self, scope: Scope) -> Plan | None:
        """The plan for this request's path; None where it is none of ours. Reads the routes on first use."""
        if len(self._source) != self._read_length:  # not read yet, or routes were added since
            self.check(scope)
        root_path = scope.get("root_path")
        key = (root_path, scope["path"]) if root_path else scope["path"]
        plan = self._table.get(key, _UNKNOWN)
        if plan is not _UNKNOWN:
            return plan  # type: ignore[return-value]
        plan = self._decide(scope)
        if self._is_plain:
            if len(self._table) >= TABLE_SIZE:
                self._table.clear()
            self._table[key] = plan
        return plan

    def _decide(self, scope: Scope) -> Plan | None:
        scope = self._rooted(scope)
        node, _ = _match(self._nodes, {**scope, "method": "GET"})
        if node is not None and node.is_marked:
            return node.plan
        path = route_path(scope)
        for each in self._rules:
            if each.regex.match(path):
                return each.plan
        return self._default

    def _rooted(self, scope: Scope) -> Scope:
        """The scope as the wrapped application sees it, which may set its own root_path only later."""
        return {**scope, "root_path": self._root_path} if self._root_path and not scope.get("root_path") else scope

    def _route_params(self, scope: Scope) -> Mapping[str, Any]:
        _, matched = _match(self._nodes, {**self._rooted(scope), "method": "GET"})
        return matched.get("path_params") or {}

    def _find_owner(self, scope: Scope) -> Any:
        """What owns the routes: the first that has any behind the middleware between, else the application around us."""
        app: Any = self._app
        while app is not None:
            if isinstance(getattr(app, "routes", None), list | tuple):
                return app
            app = getattr(app, "app", None)
        around = scope.get("app")
        return around if isinstance(getattr(around, "routes", None), list | tuple) else None

    def _read(
        self, routes: Sequence[Any], prefix: str, handlers: Mapping[Any, Any], outer: frozenset[str]
    ) -> Iterator[_Node]:
        for route in _flattened(routes):
            if _is_custom(route):
                self._is_plain = False
            names = outer | frozenset(getattr(route, "param_convertors", None) or ())
            path = prefix + (getattr(route, "path", None) or "")
            if isinstance(below := getattr(route, "routes", None), list | tuple) and below:
                app = getattr(route, "_base_app", None) or getattr(route, "app", None)
                inner = getattr(app, "exception_handlers", None) or handlers
                yield _Node(route.matches, children=tuple(self._read(below, path, inner, names)))
            else:
                yield self._node(route, path, handlers, names)

    def _node(self, route: Any, path: str, handlers: Mapping[Any, Any], names: frozenset[str]) -> _Node:
        endpoint = getattr(route, "endpoint", None)
        found = None if isinstance(route, WebSocketRoute) else options_of(endpoint)
        if found is None:
            return _Node(route.matches)
        methods = getattr(route, "methods", None)
        if methods and "GET" not in methods:
            raise ConfigurationError(
                f"{path}: @cached on {_name(endpoint)}, which answers only {', '.join(sorted(methods))}, not GET"
            )
        if not found.enabled:
            return _Node(route.matches, is_marked=True)
        dependant = getattr(route, "dependant", None)
        facts: Declared | None = declared(dependant) if dependant is not None else None
        plan = Plan(
            found,
            label=f"GET {path}",
            default_ttl=self._default_ttl,
            path_names=names,
            path_params=self._route_params,
            declared=facts,
            handlers=handlers,
        )
        return _Node(route.matches, plan, is_marked=True)


def route_path(scope: Scope) -> str:
    """The path below root_path, as Starlette's routes see it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and (len(path) == len(root) or path[len(root)] == "/"):
        return path[len(root) :]
    return path


def _match(nodes: Sequence[_Node], scope: Scope) -> tuple[_Node | None, Scope]:
    """The route that answers, as Starlette chooses: the first that matches in full, then within it."""
    for node in nodes:
        match, child_scope = node.matches(scope)
        if match is Match.FULL:
            inner = {**scope, **child_scope}
            return _match(node.children, inner) if node.children else (node, inner)
    return None, scope


def _flattened(routes: Sequence[Any]) -> Iterator[Any]:
    """Each route where it counts: FastAPI keeps an included router as one route that knows its own."""
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield route
        else:
            for context in contexts():
                yield getattr(context, "starlette_route", None) or context


def _is_custom(route: Any) -> bool:
    """Whether something but the path may decide: a host, or a class of the application's own."""
    if isinstance(route, Host):
        return True
    return type(route) not in _PLAIN and not type(route).__module__.startswith(("fastapi.", "starlette."))


def _name(endpoint: Any) -> str:
    return getattr(endpoint, "__qualname__", repr(endpoint))
