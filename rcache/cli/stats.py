"""`rcache stats`: what all nodes count."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rcache.cli.options import Where, takes
from rcache.cli.screen import Card, Rows, Screen
from rcache.cli.sums import by_route, total
from rcache.cli.tables import MORE_COUNTERS, NODES, ROUTES
from rcache.cli.words import several
from rcache.core.settings import seconds

NO_NODES = (
    "none has written its counters within the last seconds. Does the application run, with this Redis and namespace?"
)


def add(app: typer.Typer) -> None:
    """`stats`."""
    app.command()(takes(stats))


async def stats(
    *,
    where: Where,
    last: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Only what was counted within so long, as 10m; else since each node began."
        ),
    ] = None,
    screen: Screen,
) -> None:
    """Say what all nodes count: hits and misses, by route and by node."""
    within = None if last is None else seconds(last, "--last")
    async with where.look() as seen:
        nodes = await seen.inspector.nodes()
        sources: list[Any] = nodes if within is None else await seen.inspector.history(within)
    since = "since each node began" if within is None else f"within the last {last}"
    screen.put(
        Card(
            "total",
            total(source.counters for source in sources),
            MORE_COUNTERS,
            f"{several(len(nodes), 'node')}, {since}",
        ),
        Rows("routes", by_route(sources), ROUTES, "By route", "no route was asked for"),
        Rows("nodes", nodes, NODES, "Nodes", NO_NODES),
    )
