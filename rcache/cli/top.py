"""`rcache top`: what happens at this moment, drawn anew every second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from rcache.cli.options import Where, takes
from rcache.cli.screen import Card, Column, Part, Rows, Screen, rendered
from rcache.cli.sums import Rate, by_route, rate, total
from rcache.cli.tables import ENTRIES, EVENTS, NODES, ROUTES, within
from rcache.cli.words import count, hit_share, share, size
from rcache.core.settings import seconds
from rcache.core.views import Counters, EntryRow, Event, NodeRow, RouteRow
from rcache.ports import Inspector

MINUTE = 60.0
MOST = 8  # rows of each table


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at one moment: rates of the last seconds, counts of the last minute."""

    rate: Rate
    minute: Counters
    routes: Sequence[RouteRow]
    nodes: Sequence[NodeRow]
    hottest: Sequence[EntryRow]
    events: Sequence[Event]


RATE: tuple[Column[Moment], ...] = (
    Column("requests", lambda row: f"{row.rate.requests:,.1f} a second"),
    Column(
        "hit ratio",
        lambda row: f"{share(row.rate.hits, row.rate.requests)} now, {hit_share(row.minute)} in the last minute",
    ),
    Column("misses", lambda row: f"{row.rate.misses:,.1f} a second, {within(row.minute.miss_times)} (p99)"),
    Column("purges", lambda row: f"{count(row.minute.purges)} in the last minute"),
    Column("sent from the store", lambda row: f"{size(round(row.rate.octets))} a second"),
    Column("nodes", lambda row: _of_nodes(row.nodes), style=lambda row: "red" if _in_need(row.nodes) else ""),
)


def _in_need(nodes: Sequence[NodeRow]) -> list[NodeRow]:
    return [node for node in nodes if node.is_down or node.pending]


def _of_nodes(nodes: Sequence[NodeRow]) -> str:
    need = _in_need(nodes)
    return f"{len(nodes)}" + (f", of which {len(need)} cannot reach the store or have purges waiting" if need else "")


_SHOWN = frozenset(("url", "variant", "state", "ttl", "size"))
HOTTEST: tuple[Column[EntryRow], ...] = (
    Column("hits", lambda row: count(row.hits), is_number=True),
    *(column for column in ENTRIES if column.title in _SHOWN),
)


def add(app: typer.Typer) -> None:
    """`top`."""
    app.command()(takes(top))


async def top(
    *,
    every: Annotated[str, typer.Option(metavar="DURATION", help="How often it is drawn.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="What is seen now, and end.")] = False,
    where: Where,
    screen: Screen,
) -> None:
    """Watch the cache at work: rates, routes, nodes, hottest entries, last purges. q or Ctrl-C ends it.

    Where standard output is no terminal it is shown once, and with --json a line is written each time.
    """
    pause = max(seconds(every, "--every"), 0.1)
    async with where.look() as seen:
        if screen.is_terminal and not (screen.as_json or once):
            await _live(seen.inspector, screen, pause)
            return
        while True:
            moment = await _moment(seen.inspector)
            if screen.as_json:
                screen.line(moment, Text())
            else:
                screen.put(*_parts(moment))
            if once or not screen.as_json:
                return
            await asyncio.sleep(pause)


async def _live(inspector: Inspector, screen: Screen, pause: float) -> None:
    ended = asyncio.Event()
    hint = Text.assemble(("rcache top", "bold"), ("   q ends", "dim"))
    with _keys(ended.set), Live(console=screen.console, screen=True, auto_refresh=False) as live:
        while not ended.is_set():
            # What does not fit below is cut.
            live.update(
                Group(hint, Text(), rendered(*_parts(await _moment(inspector)), width=screen.console.width)),
                refresh=True,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await ended.wait()


async def _moment(inspector: Inspector) -> Moment:
    samples = await inspector.history(MINUTE)
    hottest, events = await inspector.hottest(MOST), await inspector.events(count=MOST)
    return Moment(
        rate=rate(samples[-5:]),
        minute=total(sample.counters for sample in samples),
        routes=by_route(samples),
        nodes=await inspector.nodes(),
        hottest=hottest,
        events=events,
    )


def _parts(moment: Moment) -> list[Part]:
    return [
        Card("now", moment, RATE),
        Rows("routes", moment.routes[:MOST], ROUTES, "By route, in the last minute", "no request in the last minute"),
        Rows("nodes", moment.nodes[:MOST], NODES, "Nodes", "no node has written its counters"),
        Rows("hottest", moment.hottest, HOTTEST, "Hottest entries", "no hits lately"),
        Rows("events", moment.events, EVENTS, "Last in the log", "nothing yet"),
    ]


@contextlib.contextmanager
def _keys(ended: Callable[[], None]) -> Iterator[None]:
    """`ended` is called when q is pressed, where keys can be read one by one."""
    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C is left
        yield
        return
    try:
        stream = sys.stdin.fileno()
        before = termios.tcgetattr(stream)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        keys = os.read(stream, 64)
        if not keys or b"q" in keys.lower():
            ended()

    tty.setcbreak(stream)
    loop.add_reader(stream, read)
    try:
        yield
    finally:
        loop.remove_reader(stream)
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
