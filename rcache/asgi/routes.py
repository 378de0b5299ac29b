"""Which rule applies to a request: found once per path, then one look-up in a table.

An endpoint's own `@cached` wins over a `Rule`, the first Rule whose path matches over the others, and `default_ttl` and
`standard` take what is left. What a FastAPI route declares counts under each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from starlette.routing import compile_path
from starlette.types import ASGIApp, Scope

from rcache.asgi.audit import auditing
from rcache.asgi.plan import PathParams, Plan
from rcache.asgi.tree import Node, Owner, Tree, find_owner, is_application, match
from rcache.core.errors import ConfigurationError
from rcache.core.policy import Defaults, Options, Rule, options
from rcache.engine.stats import Tally

TABLE_SIZE = 10_000  # paths whose rule is remembered; beyond it the table starts anew
LONGEST_PATH = 1000  # characters; who sends longer ones is not to fill the memory with them
NO_ROUTE = "(no route)"
"""What URLs count under that are cached without a rule, and that no route answers."""

_UNKNOWN = object()


class _PathRule:
    """A Rule whose path was compiled."""

    def __init__(self, rule: Rule) -> None:
        try:
            self._regex, _, self._convertors = compile_path(rule.path)
        except (AssertionError, ValueError) as error:
            raise ConfigurationError(f"{rule!r}: {error}") from error
        self.label = repr(rule)
        self.path = rule.path
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

    def __init__(self, app: ASGIApp, rules: Sequence[Rule], defaults: Defaults, tally: Callable[[str], Tally]) -> None:
        """`tally` gives what counts the requests of a route."""
        self._app = app
        self._tally = tally
        self._defaults = defaults
        self._takes_the_rest = defaults.ttl is not None or defaults.standard
        self._rules = [_PathRule(rule) for rule in rules]
        self._owner = Owner(None)
        self._tree: Tree | None = None
        self._routes: Sequence[Any] = ()
        self._read_length = -1
        self._nearest: Any = None
        self.outermost: ASGIApp | None = None
        """The application that this is a part of, where it has said so."""
        self.root_path = ""
        """What the server, or whatever mounts us, has put before all paths."""
        self.is_rewarming = bool(defaults.rewarm) or any(rule.options.rewarm for rule in self._rules)
        """Whether any rule wants its purged entries made again, as far as the routes are known."""
        self.uses_workers = defaults.refresh == "worker" or any(
            rule.options.refresh == "worker" for rule in self._rules
        )
        """Whether any rule leaves its refreshes to workers, as far as the routes are known."""
        self._plans: dict[Any, Plan | None] = {}
        self._table: dict[Any, Plan | None] = {}
        self.body_methods: frozenset[str] = frozenset()
        """Methods whose bodies join the key, under one rule or another."""
        for rule in self._rules:  # templates are checked here and now; what a route declares only adds to their names
            self._rule_plan(rule, None)

    def check(self, scope: Scope) -> None:
        """Reads the application's routes. Raises ConfigurationError for a rule that its route cannot supply."""
        owner = find_owner(self._app, scope)
        nearest = owner.app if is_application(owner.app) else scope.get("app")
        tree = Tree(owner, nearest)
        self._owner, self._nearest, self._tree = owner, nearest, tree
        self.outermost = scope.get("app") or self.outermost
        self.root_path = scope.get("root_path") or self.root_path
        # New ones, since another thread may still fill the old.
        self._plans, self._table = {}, {}
        bodies = {method for rule in self._rules for method in rule.options.methods}
        for node in _leaves(tree.nodes):
            self._marked_plan(node, "GET")
            if node.options is not None:
                bodies |= node.options.methods
                self.is_rewarming |= bool(node.options.rewarm)
                self.uses_workers |= node.options.refresh == "worker"
        self.body_methods = frozenset(bodies)
        self._routes = owner.routes
        self._read_length = len(self._routes)

    def plan(self, scope: Scope) -> Plan | None:
        """The plan for a GET of this request's path; None where it is none of ours. Reads the routes on first use."""
        if len(self._routes) != self._read_length:  # not read yet, or routes were added since
            self.check(scope)
        root_path = scope.get("root_path")
        key = (root_path, scope["path"]) if root_path else scope["path"]
        plan = self._table.get(key, _UNKNOWN)
        return self._decided(key, scope, "GET") if plan is _UNKNOWN else plan  # type: ignore[return-value]

    def body_plan(self, scope: Scope) -> Plan | None:
        """The plan for a request whose method and body join the key; None where no rule allows that."""
        if len(self._routes) != self._read_length:
            self.check(scope)
        method = scope["method"]
        if method not in self.body_methods:
            return None
        key = (method, scope.get("root_path"), scope["path"])
        plan = self._table.get(key, _UNKNOWN)
        return self._decided(key, scope, method) if plan is _UNKNOWN else plan  # type: ignore[return-value]

    def _decided(self, key: Any, scope: Scope, method: str) -> Plan | None:
        assert self._tree is not None  # noqa: S101 (read by the caller)
        if self._tree.has_grown:
            self.check(scope)
        tree, table = self._tree, self._table
        node, _ = match(tree.nodes, self._as_routed(scope, method))
        plan = self._decide(scope, node, method)
        # A path without a rule stays without where a route answers it: what none answers may get a route later.
        is_settled = plan is not None or node is not None or not tree.nodes
        if tree.is_plain and len(scope["path"]) <= LONGEST_PATH and is_settled:
            if len(table) >= TABLE_SIZE:
                table.clear()
            table[key] = plan
        return plan

    def _decide(self, scope: Scope, node: Node | None, method: str) -> Plan | None:
        if node is not None and node.options is not None:
            return self._marked_plan(node, method)
        path = route_path(self._rooted(scope))
        for rule in self._rules:
            if (method == "GET" or method in rule.options.methods) and rule.params(path) is not None:
                return self._rule_plan(rule, node)
        return self._default_plan(node) if method == "GET" and self._takes_the_rest else None

    # Plans

    def _marked_plan(self, node: Node, method: str) -> Plan | None:
        if node.options is None or not node.options.enabled or (method != "GET" and method not in node.options.methods):
            return None
        path_params = partial(self._route_params, method=method)
        return self._made((node, method), node.options, "", node, node.param_names, path_params)

    def _rule_plan(self, rule: _PathRule, node: Node | None) -> Plan | None:
        def path_params(scope: Scope) -> Mapping[str, Any]:
            return rule.params(route_path(self._rooted(scope))) or {}

        return self._made(rule, rule.options, rule.path, node, rule.names, path_params, label=rule.label)

    def _default_plan(self, node: Node | None) -> Plan | None:
        path_params = partial(self._route_params, method="GET")
        return self._made(None, options(), NO_ROUTE, node, frozenset(), path_params, label="a URL without a rule")

    def _made(
        self,
        source: object,
        settings: Options,
        path: str,
        node: Node | None,
        names: frozenset[str],
        path_params: PathParams,
        *,
        label: str = "",
    ) -> Plan | None:
        """The plan of a rule for a route, made once. `path` and `label` are what it is called where no route is known."""
        if not (settings.enabled and self._defaults.enabled):
            return None
        plan = self._plans.get((source, node))
        if plan is None:
            plan = self._plans[source, node] = Plan(
                settings,
                label=node.label if node is not None else label,
                defaults=self._defaults,
                tally=self._tally((node.path or "/") if node is not None else path),
                is_standard=source is None and self._defaults.standard,
                path_names=names,
                path_params=path_params,
                declared=node.facts if node is not None else None,
                selecting=self._owner.names,
                app=node.app if node is not None else self._nearest,
            )
            if plan.audit is not None:
                plan.replay = auditing(self._app, plan)
        return plan

    # The path

    def _rooted(self, scope: Scope) -> Scope:
        """The scope as the wrapped application sees it: FastAPI puts its own root_path in place of the server's."""
        root_path = "" if self._owner.is_around else getattr(self._owner.app, "root_path", "")
        return {**scope, "root_path": root_path} if root_path else scope

    def _as_routed(self, scope: Scope, method: str) -> Scope:
        """The scope as the router of the routes that were read saw it."""
        owner = self._owner
        if owner.is_around and "router" in scope and scope["router"] is getattr(owner.app, "router", None):
            # We stand below that router, and a Mount may have moved root_path on already.
            scope = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
        return {**self._rooted(scope), "method": method}

    def _route_params(self, scope: Scope, method: str) -> Mapping[str, Any]:
        nodes = self._tree.nodes if self._tree is not None else ()
        _, matched = match(nodes, self._as_routed(scope, method))
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
