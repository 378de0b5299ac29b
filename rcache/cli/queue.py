"""`rcache queue`: what waits, what ran, what failed; and pausing it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rcache.cli.options import Where, takes
from rcache.cli.screen import Card, Column, Rows, Screen
from rcache.cli.words import count, moment, span
from rcache.core.jobs import Lane, LaneRow, QueueView, RunRow


def add(app: typer.Typer) -> None:
    """`queue`."""
    app.command()(takes(queue, extra="worker"))


async def queue(
    action: Annotated[
        Literal["show", "pause", "resume"], typer.Argument(help="Pause: nothing more begins, what runs goes on.")
    ] = "show",
    lane: Annotated[Lane | None, typer.Argument(help="The lane to pause or resume; both where none is named.")] = None,
    *,
    where: Where,
    screen: Screen,
) -> None:
    """Jobs: what waits, what ran last, what failed; pause them and let them go on."""
    async with where.open() as cache:
        if action == "pause":
            await cache.queue.pause(lane)
        elif action == "resume":
            await cache.queue.resume(lane)
        view = await cache.queue.view()
    whole = Card("queue", view, _QUEUE)
    screen.put(whole) if screen.as_json else screen.put(*parts(view, whole))


def parts(view: QueueView, whole: Card[QueueView]) -> tuple[Rows[LaneRow] | Card[QueueView] | Rows[RunRow], ...]:
    """What people see of a view."""
    return (
        Rows("lanes", view.lanes, _LANE),
        whole,
        Rows("failures", view.failures, _RUN, title="Last failures", empty="no failures"),
        Rows("runs", view.runs, _RUN, title="Last runs", empty="no runs"),
    )


_LANE: tuple[Column[LaneRow], ...] = (
    Column("lane", lambda row: row.lane + (" (paused)" if row.is_paused else "")),
    Column("waiting", lambda row: count(row.waiting), is_number=True),
    Column("oldest", lambda row: span(row.oldest) if row.waiting else "-", is_number=True),
    Column("delayed", lambda row: count(row.delayed), is_number=True),
    Column("running", lambda row: count(row.running), is_number=True),
)
_QUEUE: tuple[Column[QueueView], ...] = (
    Column("workers", lambda view: count(view.workers) if view.workers else "none: web processes run the jobs"),
    Column("done", lambda view: count(view.counts["done"])),
    Column("run again", lambda view: count(view.counts["again"])),
    Column("failed", lambda view: count(view.counts["failed"])),
    Column("too late", lambda view: count(view.counts["late"])),
    Column("unknown", lambda view: count(view.counts["unknown"])),
)
_RUN: tuple[Column[RunRow], ...] = (
    Column("ended", lambda row: moment(row.ended)),
    Column("job", lambda row: row.name),
    Column("key", lambda row: row.key or "-"),
    Column("lane", lambda row: row.lane),
    Column("run", lambda row: str(row.attempt), is_number=True),
    Column("took", lambda row: span(row.seconds), is_number=True),
    Column("outcome", lambda row: row.outcome),
    Column("error", lambda row: row.error or ""),
)
