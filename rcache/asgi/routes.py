"""Which rule applies to a request: found once per path, then one look-up in a table.

An endpoint's own `@cached` wins over a `Rule`, the first Rule whose path matches over the others, and `default_ttl` takes what
is left. What a FastAPI route declares counts under each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import compile_path
from starlette.types import ASGIApp, Scope

from rcache.asgi.plan import PathParams, Plan
from rcache.asgi.tree import Node, Owner, Tree, find_owner, is_application, match
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Options, Rule, options

TABLE_SIZE = 10_000  # paths whose rule is remembered; beyond it the table starts anew
LONGEST_PATH = 1000  # characters; who sends longer ones is not to fill the memory with them

_UNKNOWN = object()


class _PathRule:
    """A Rule whose path was compiled."""

    def __init__(self, rule: Rule) -> None:
        try:
            self._regex, _, self._convertors = compile_path(rule.path)
        except (AssertionError, ValueError) as error:
            raise ConfigurationError(f"{rule!r}: {error}") from error
        self.label = repr(rule)
        self.options = rule.options
        self.names = frozenset(self._convertors)

    def params(self, route_path: str) -> dict[str, Any] | None:
        """The values in the path; None where it does not match, or holds what its convertor cannot take."""
        found = self._regex.match(route_path)
        if found is None:
            return None
        try:
            return {name: self._convertors[name].convert(value) for name, value in found.groupdict().items()}
        except ValueError:  # an integer of more than 4300 digits
            return None


class Routes:
    """The rules of one middleware, over the routes of the application it wraps."""

    def __init__(self, app: ASGIApp, rules: Sequence[Rule], default_ttl: float | None) -> None:
        self._app = app
        self._default_ttl = default_ttl
        self._rules = [_PathRule(rule) for rule in rules]
        self._owner = Owner(None)
        self._tree: Tree | None = None
        self._routes: Sequence[Any] = ()
        self._read_length = -1
        self._nearest: Any = None
        self._plans: dict[Any, Plan | None] = {}
        self._table: dict[Any, Plan | None] = {}
        for rule in self._rules:  # templates are checked here and now; what a route declares only adds to their names
            self._rule_plan(rule, None)

    def check(self, scope: Scope) -> None:
        """Reads the application's routes. Raises ConfigurationError for a rule that its route cannot supply."""
        owner = find_owner(self._app, scope)
        nearest = owner.app if is_application(owner.app) else scope.get("app")
        tree = Tree(owner, nearest)
        self._owner, self._nearest, self._tree = owner, nearest, tree
        # New ones, since another thread may still fill the old.
        self._plans, self._table = {}, {}
        for node in _leaves(tree.nodes):
            self._marked_plan(node)
        self._routes = owner.routes
        self._read_length = len(self._routes)

    def plan(self, scope: Scope) -> Plan | None:
        """The plan for this request's path; None where it is none of ours. Reads the routes on first use."""
        if len(self._routes) != self._read_length:  # not read yet, or routes were added since
            self.check(scope)
        root_path = scope.get("root_path")
        key = (root_path, scope["path"]) if root_path else scope["path"]
        plan = self._table.get(key, _UNKNOWN)
        return self._decided(key, scope) if plan is _UNKNOWN else plan  # type: ignore[return-value]

    def _decided(self, key: Any, scope: Scope) -> Plan | None:
        assert self._tree is not None  # noqa: S101 (read by the caller)
        if self._tree.has_grown:
            self.check(scope)
        tree, table = self._tree, self._table
        plan = self._decide(tree, scope)
        if tree.is_plain and len(scope["path"]) <= LONGEST_PATH and (plan is not None or self._is_settled(tree, scope)):
            if len(table) >= TABLE_SIZE:
                table.clear()
            table[key] = plan
        return plan

    def _is_settled(self, tree: Tree, scope: Scope) -> bool:
        """Whether a path without a rule stays without: one that no route answers may get a route later."""
        return not tree.nodes or match(tree.nodes, self._as_routed(scope))[0] is not None

    def _decide(self, tree: Tree, scope: Scope) -> Plan | None:
        node, _ = match(tree.nodes, self._as_routed(scope))
        if node is not None and node.options is not None:
            return self._marked_plan(node)
        path = route_path(self._rooted(scope))
        for rule in self._rules:
            if rule.params(path) is not None:
                return self._rule_plan(rule, node)
        return self._default_plan(node) if self._default_ttl is not None else None

    # Plans

    def _marked_plan(self, node: Node) -> Plan | None:
        if node.options is None or not node.options.enabled:
            return None
        return self._made(node, node.options, node.label, node, node.param_names, self._route_params)

    def _rule_plan(self, rule: _PathRule, node: Node | None) -> Plan | None:
        def path_params(scope: Scope) -> Mapping[str, Any]:
            return rule.params(route_path(self._rooted(scope))) or {}

        return self._made(rule, rule.options, rule.label, node, rule.names, path_params)

    def _default_plan(self, node: Node | None) -> Plan | None:
        return self._made(None, options(), "default_ttl", node, frozenset(), self._route_params)

    def _made(
        self,
        source: object,
        settings: Options,
        label: str,
        node: Node | None,
        names: frozenset[str],
        path_params: PathParams,
    ) -> Plan | None:
        """The plan of a rule for a route, made once."""
        if not settings.enabled:
            return None
        plan = self._plans.get((source, node))
        if plan is None:
            plan = self._plans[source, node] = Plan(
                settings,
                label=node.label if node is not None else label,
                default_ttl=self._default_ttl,
                path_names=names,
                path_params=path_params,
                declared=node.facts if node is not None else None,
                selecting=self._owner.names,
                app=node.app if node is not None else self._nearest,
            )
        return plan

    # The path

    def _rooted(self, scope: Scope) -> Scope:
        """The scope as the wrapped application sees it: FastAPI puts its own root_path in place of the server's."""
        root_path = "" if self._owner.is_around else getattr(self._owner.app, "root_path", "")
        return {**scope, "root_path": root_path} if root_path else scope

    def _as_routed(self, scope: Scope) -> Scope:
        """The scope as the router of the routes that were read saw it, for a GET."""
        owner = self._owner
        if owner.is_around and "router" in scope and scope["router"] is getattr(owner.app, "router", None):
            # We stand below that router, and a Mount may have moved root_path on already.
            scope = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
        return {**self._rooted(scope), "method": "GET"}

    def _route_params(self, scope: Scope) -> Mapping[str, Any]:
        nodes = self._tree.nodes if self._tree is not None else ()
        _, matched = match(nodes, self._as_routed(scope))
        return matched.get("path_params") or {}


def route_path(scope: Scope) -> str:
    """The path below root_path, as Starlette's routes see it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and (len(path) == len(root) or path[len(root)] == "/"):
        return path[len(root) :]
    return path


def _leaves(nodes: Sequence[Node]) -> list[Node]:
    found = []
    for node in nodes:
        found += _leaves(node.children) if node.children else [node]
    return found
