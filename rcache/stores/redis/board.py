"""Where nodes leave what they counted: one script a second, on a connection of its own."""

from __future__ import annotations

import time
from typing import Final

import orjson

from rcache.core.history import MINUTES_LAST, SECONDS_LAST, minute_of
from rcache.core.keys import RedisNames
from rcache.core.reports import EVENTS, WINDOW, Report, encode_event, encode_node, flat
from rcache.stores.redis import scripts
from rcache.stores.redis.address import Way
from rcache.stores.redis.line import Line

ROW_LASTS: Final = 10.0  # seconds that a node is shown after it told last
EVENTS_LAST: Final = 7 * 86_400.0  # seconds
MOST_POPULAR: Final = 5000  # entries of one window
PATIENCE: Final = 1.0  # seconds

_LIVES: Final = tuple(
    int(1000 * seconds) for seconds in (ROW_LASTS, SECONDS_LAST, MINUTES_LAST, 2 * WINDOW, EVENTS_LAST)
)


class RedisBoard:
    """`rcache.ports.Board` on one Redis server, or on the node of a Cluster that serves the namespace's own slot."""

    def __init__(self, way: Way, names: RedisNames) -> None:
        self._names = names
        self._line = Line(way, (scripts.REPORT, scripts.DEPART), PATIENCE)
        self._ahead: float | None = None  # of the server's clock before this process' own

    def report(self, report: Report) -> None:
        """All who look see it. Where seconds and minutes begin, the server's clock says, by what it told last."""
        if self._ahead is None:
            seconds, microseconds = self._line.call("TIME")
            self._note(seconds, microseconds)
        now = time.monotonic() + (self._ahead or 0.0)
        names, node = self._names, report.row.node
        keys = (
            names.node(node),
            names.fleet,
            names.second(int(now)),
            names.minute(minute_of(now)),
            names.popular(window_of(now)),
            names.events,
        )
        counted = flat(report.counted)
        for row in report.routes:
            counted |= flat(row.counters, row.route)
        happened = [[int(1000 * age), encode_event(event).decode()] for age, event in report.events]
        told = [orjson.dumps(each) for each in (counted, dict(report.hot), happened)]
        self._note(
            *self._line.carry_out(
                scripts.REPORT, keys, node, encode_node(report.row), *told, *_LIVES, MOST_POPULAR, EVENTS
            )
        )

    def _note(self, seconds: bytes, microseconds: bytes) -> None:
        self._ahead = int(seconds) + int(microseconds) / 1e6 - time.monotonic()

    def depart(self, node: str) -> None:
        """The node is not shown any more."""
        self._line.carry_out(scripts.DEPART, (self._names.node(node), self._names.fleet), node)

    def close(self) -> None:
        """Lets go of the connection."""
        self._line.close()


def window_of(now: float) -> int:
    """When the window began in which hits count now."""
    return int(now) // WINDOW * WINDOW
