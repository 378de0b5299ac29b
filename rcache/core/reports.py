"""What a node tells of itself, as texts that any version of a tool may read: what it does not know it leaves out.

Counters travel flat, each number under a name and all of them whole, so that a server may add up those of many nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson

from rcache.core.histogram import STEPS, Histogram
from rcache.core.views import COUNTED, OTHER_ROUTES, Counters, Event, NodeRow, RouteRow

WINDOW: Final = 300
"""Seconds of hits that make an entry popular."""

EVENTS: Final = 2000
"""Events that are kept."""

MOST_LISTED: Final = 100
"""Tags, and changes, that an event names."""

MOST_ROUTES: Final = 20
"""Routes that one report tells apart: those with most requests."""

_OF: Final = "\x1f"  # between a route and what is counted of it; no path holds one
_MICRO: Final = 1_000_000
_NOTHING: Final = Counters()


@dataclass(frozen=True, slots=True)
class Report:
    """What a node tells at a time."""

    row: NodeRow
    counted: Counters  # since the last report
    routes: tuple[RouteRow, ...]  # likewise
    hot: Mapping[str, int]  # hits by entry, as `popular` spells it, likewise
    events: Sequence[tuple[float, Event]]  # what happened, and how many seconds ago


def flat(counters: Counters, route: str = "") -> dict[str, int]:
    """What was counted, without what is nothing; seconds are told in millionths. That of a route is told apart by its name."""
    found: dict[str, int] = {}
    for name in COUNTED:
        value = getattr(counters, name)
        if isinstance(value, Histogram):
            found |= {f"{name}.{step}": count for step, count in enumerate(value.counts)}
            found[f"{name}.s"] = round(value.seconds * _MICRO)
        else:
            found[name] = round(value * _MICRO) if name == "seconds" else value
    before = route + _OF if route else ""
    return {before + name: value for name, value in found.items() if value}


def unflat(told: Mapping[str, int]) -> tuple[Counters, tuple[RouteRow, ...]]:
    """What was counted in all, and for each route."""
    by_route: dict[str, dict[str, int]] = {}
    for name, value in told.items():
        route, _, what = name.rpartition(_OF)
        by_route.setdefault(route, {})[what] = value
    rows = [RouteRow(route, _counters(numbers)) for route, numbers in sorted(by_route.items()) if route]
    return _counters(by_route.get("", {})), tuple(rows)


def _counters(told: Mapping[str, int]) -> Counters:
    values: dict[str, Any] = {}
    for name in COUNTED:
        if name.endswith("_times"):
            counts = tuple([told.get(f"{name}.{step}", 0) for step in range(STEPS)])
            values[name] = Histogram(counts, told.get(f"{name}.s", 0) / _MICRO)
        else:
            values[name] = told.get(name, 0)
    values["seconds"] /= _MICRO
    return Counters(**values)


def busiest(routes: Sequence[RouteRow]) -> tuple[RouteRow, ...]:
    """Those with most requests, and the others together."""
    ranked = sorted(routes, key=lambda row: -row.counters.lookups)
    rest = [row.counters for row in ranked[MOST_ROUTES:] if row.counters != _NOTHING]
    return tuple(ranked[:MOST_ROUTES]) + ((RouteRow(OTHER_ROUTES, sum(rest, Counters())),) if rest else ())


# Nodes


def encode_node(row: NodeRow) -> bytes:
    """All of it."""
    told: dict[str, Any] = {each.name: getattr(row, each.name) for each in fields(row)}
    told["counters"] = flat(row.counters)
    told["routes"] = [[each.route, flat(each.counters)] for each in row.routes]
    return orjson.dumps(told)


def decode_node(text: bytes, *, seen: float) -> NodeRow | None:
    """The row, which was told at that time; None where it is not to be understood."""
    try:
        told = orjson.loads(text)
        routes = tuple([RouteRow(route, _counters(numbers)) for route, numbers in told.pop("routes")])
        settings = tuple([(str(name), str(value)) for name, value in told.get("settings", ())])
        told |= {"counters": _counters(told["counters"]), "routes": routes, "settings": settings, "seen": seen}
        return NodeRow(**{each.name: told[each.name] for each in fields(NodeRow)})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


# Events


def encode_event(event: Event) -> bytes:
    """All but when it was, which the server tells."""
    return orjson.dumps(
        [event.number, event.kind, event.tags, event.count, event.entries, event.node, event.cause, event.changes]
    )


def decode_event(text: bytes, *, at: float) -> Event | None:
    """The event; None where it is not to be understood."""
    try:
        number, kind, tags, count, entries, node, cause, changes = orjson.loads(text)
        return Event(int(number), at, kind, tuple(tags), int(count), int(entries), node, cause, tuple(changes))
    except (ValueError, TypeError):
        return None


def concerns(event: Event, tags: Sequence[str] | None) -> bool:
    """Whether the event ended the life of what carries one of the tags."""
    if event.kind == "flush":
        return True
    return event.kind in ("purge", "soft-purge") and not set(event.tags).isdisjoint(tags or ())


# Popularity

_LONGEST_URL: Final = 1024


def popular(entry: str, url: str, *, is_private: bool) -> str:
    """An entry as it is listed among the popular: whose it is, is nobody's to know."""
    return entry if is_private or len(url) > _LONGEST_URL else f"{entry} {url}"


def read_popular(text: str) -> tuple[str, str]:
    """Entry and URL."""
    entry, _, url = text.partition(" ")
    return entry, url
