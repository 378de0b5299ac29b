"""What `rcache doctor` looks for: each check decides from what a server, the nodes or the settings say, and names the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rcache.cli.words import count, several, size, span
from rcache.core.views import NodeRow

if TYPE_CHECKING:  # what only helps, or completes a word, does without the driver
    from rcache.stores.redis.vitals import Vitals

LEAST_VERSION = (7, 0)
SLOW = 0.5  # of the deadline that a trip may take
MOST_AHEAD = 2.0  # seconds between two clocks that nobody need care about
FULL = 0.9
CROWDED = 0.8  # of the clients that Redis admits


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at."""

    name: str
    state: Literal["ok", "finding", "unknown"]
    says: str
    remedy: str | None = None
    place: str | None = None  # the server or node, where there are several


def of_server(vitals: Vitals, deadline: float) -> list[Check]:
    """All that one server says."""
    checks = [
        _connection(vitals, deadline),
        _version(vitals),
        _role(vitals),
        _permissions(vitals),
        _eviction(vitals),
        _memory(vitals),
        _clients(vitals),
        _clock(vitals),
        _replicas(vitals),
    ]
    if vitals.cluster_state is not None:
        checks.append(_cluster(vitals.cluster_state))
    return checks


def _ok(name: str, says: str) -> Check:
    return Check(name, "ok", says)


def _finding(name: str, says: str, remedy: str) -> Check:
    return Check(name, "finding", says, remedy)


def _unknown(name: str, says: str) -> Check:
    return Check(name, "unknown", says)


def _connection(vitals: Vitals, deadline: float) -> Check:
    says = f"{vitals.place} answers within {span(vitals.seconds)}"
    if vitals.seconds > SLOW * deadline:
        remedy = f"bring it nearer, or give the cache a longer deadline: after {span(deadline)} requests go without the cache"
        return _finding("connection", says, remedy)
    return _ok("connection", says)


def _version(vitals: Vitals) -> Check:
    info = vitals.info
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = info.get("valkey_version") or info.get("redis_version")
    if text is None:
        return _unknown("version", "Redis does not say its version")
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if version < LEAST_VERSION:
        return _finding("version", f"{name} {text} is too old", "rcache needs Redis 7.0 or later, or Valkey")
    return _ok("version", f"{name} {text}")


def _role(vitals: Vitals) -> Check:
    role = vitals.info.get("role")
    if role is None:
        return _unknown("role", "Redis does not say whether it is a primary")
    if role != "master":
        primary = f"{vitals.info.get('master_host', '?')}:{vitals.info.get('master_port', '?')}"
        return _finding(
            "role", "this server is a replica", f"it may lag behind purges: point the URL at the primary, {primary}"
        )
    if vitals.info.get("cluster_enabled") == "1" and vitals.cluster_state is None:
        return _finding(
            "role", "this server is a node of a Redis Cluster", "write redis+cluster:// in place of redis://"
        )
    return _ok("role", "primary")


def _permissions(vitals: Vitals) -> Check:
    if vitals.forbidden is not None:
        return _finding("permissions", *_split(vitals.forbidden))
    return _ok("permissions", "its user may do all that is needed")


def _eviction(vitals: Vitals) -> Check:
    policy = vitals.info.get("maxmemory_policy")
    if policy is None:
        return _unknown("eviction", "Redis does not say its maxmemory-policy")
    if policy.startswith("allkeys"):
        says = f"maxmemory-policy is {policy}: what is known of purges may be evicted, and then much is a miss"
        return _finding("eviction", says, "CONFIG SET maxmemory-policy volatile-lru (or noeviction)")
    return _ok("eviction", f"maxmemory-policy is {policy}")


def _memory(vitals: Vitals) -> Check:
    info = vitals.info
    if "used_memory" not in info:
        return _unknown("memory", "Redis does not say how much memory it uses")
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    evicted = int(info.get("evicted_keys", 0))
    if not most:
        return _ok("memory", f"{size(used)} used, no bound (maxmemory 0)")
    says = f"{size(used)} of {size(most)} used, {several(evicted, 'key')} evicted"
    if used > FULL * most and info.get("maxmemory_policy") == "noeviction":
        return _finding(
            "memory", f"{says}: it is full", "give it more (CONFIG SET maxmemory), or maxmemory-policy volatile-lru"
        )
    return _ok("memory", says)


def _clients(vitals: Vitals) -> Check:
    info = vitals.info
    if "connected_clients" not in info or "maxclients" not in info:
        return _unknown("clients", "Redis does not say how many clients it has")
    clients, most = int(info["connected_clients"]), int(info["maxclients"])
    says = f"{count(clients)} of {count(most)}"
    if clients > CROWDED * most:
        return _finding(
            "clients", f"{says}: there is hardly room for more", "CONFIG SET maxclients, or let fewer clients connect"
        )
    return _ok("clients", says)


def _clock(vitals: Vitals) -> Check:
    way = "ahead of" if vitals.ahead > 0 else "behind"
    says = f"{span(abs(vitals.ahead))} {way} this machine's"
    if abs(vitals.ahead) > MOST_AHEAD:
        return _finding(
            "clock",
            says,
            "let both follow a time server: Age and Date tell clients wrong times",
        )
    return _ok("clock", says)


def _replicas(vitals: Vitals) -> Check:
    info = vitals.info
    replicas, least = int(info.get("connected_slaves", 0)), vitals.least_replicas
    if least is None and "min_slaves_good_slaves" in info:
        least = 1
    if not replicas and not least:
        return _ok("replicas", "none")
    if not least:
        if vitals.least_replicas is None:
            return _unknown("replicas", f"{replicas}; its user may not ask for min-replicas-to-write")
        says = f"{replicas}, and min-replicas-to-write is 0: cut off from them it goes on taking writes that a failover forgets"
        return _finding("replicas", says, "CONFIG SET min-replicas-to-write 1")
    good = int(info.get("min_slaves_good_slaves", replicas))
    if good < least:
        says = f"{good} of at least {least}: it takes no writes"
        return _finding("replicas", says, "bring its replicas back, or lower min-replicas-to-write")
    return _ok("replicas", f"{replicas}, of which {least} must have each write")


def _cluster(state: str) -> Check:
    if state != "ok":
        return _finding(
            "cluster",
            f"its state is {state}",
            "look at CLUSTER INFO: slots without a master serve nobody",
        )
    return _ok("cluster", "ok")


def of_settings(contradictions: Sequence[str]) -> list[Check]:
    """Settings that cannot work together: each text says what, and after a colon what to write instead."""
    if not contradictions:
        return [_ok("settings", "none contradicts another")]
    return [_finding("settings", *_split(text)) for text in contradictions]


def _split(text: str) -> tuple[str, str]:
    says, _, remedy = text.partition(": ")
    return says, remedy


def of_nodes(nodes: Sequence[NodeRow], version: str) -> list[Check]:
    """What the nodes of the fleet say, each for itself and side by side."""
    if not nodes:
        says = "none has written its counters within the last seconds"
        return [Check("nodes", "unknown", says, "is the application running, with this Redis and namespace?")]
    checks = [_ok("nodes", f"{several(len(nodes), 'node')} of {several(len({node.host for node in nodes}), 'host')}")]
    for node in nodes:
        checks += _of_node(node)
    checks.append(
        _alike("versions", {node.version for node in nodes} | {version}, "let all run the same version of rcache")
    )
    near = {node.near or "none" for node in nodes if node.role == "web"}
    remedy = "set near= alike for all: a writer waits only for near caches that it knows to be strict"
    checks.append(_alike("near", near, remedy) if near else _ok("near", "no web node"))
    checks += _settings_of(nodes)
    return checks


def _settings_of(nodes: Sequence[NodeRow]) -> list[Check]:
    """The settings in which nodes differ that have to have them alike."""
    said: dict[str, dict[str, list[str]]] = {}
    for node in nodes:
        for name, value in node.settings:
            said.setdefault(name, {}).setdefault(value, []).append(f"{node.host} ({node.pid})")
    return [
        _finding("settings of nodes", f"{name} is {_by_value(values)}", "set it alike for all who share the namespace")
        for name, values in said.items()
        if len(values) > 1
    ]


def _by_value(values: dict[str, list[str]]) -> str:
    return ", ".join(f"{value} at {', '.join(where[:3])}" for value, where in sorted(values.items()))


def _of_node(node: NodeRow) -> list[Check]:
    who = f"{node.host} ({node.pid})"
    found = []
    if node.is_down:
        says = f"{who} does not reach the store"
        found.append(_finding("node", says, "look at its network and its log; its requests go without the cache"))
    if node.pending:
        says = f"{who} has {several(node.pending, 'purge')} that have yet to land"
        found.append(_finding("node", says, "they are sent until they land: let it run, and reach Redis"))
    if node.lease is not None and node.lease < 0:
        says = f"{who} has let its lease lapse {span(-node.lease)} ago"
        found.append(
            _finding(
                "node", says, "its near cache answers nothing until it hears of Redis: look at its load and network"
            )
        )
    return found


def _alike(name: str, values: set[str], remedy: str) -> Check:
    told = ", ".join(sorted(values))
    return _ok(name, told) if len(values) == 1 else _finding(name, f"they differ: {told}", remedy)


def placed(checks: Iterable[Check], place: str) -> list[Check]:
    """The checks of one server among several."""
    return [Check(each.name, each.state, each.says, each.remedy, place) for each in checks]
