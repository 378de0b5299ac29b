"""`rcache tail`: the log, live."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import typer

from rcache.cli.options import Where, takes
from rcache.cli.screen import Screen
from rcache.cli.tables import event_line
from rcache.core.views import Event


def add(app: typer.Typer) -> None:
    """`tail`."""
    app.command()(takes(tail))


async def tail(
    *,
    last: Annotated[int, typer.Option(min=0, max=1000, help="Begin with so many that were before.")] = 10,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Only those, and end.")] = False,
    purges: Annotated[bool, typer.Option("--purges", help="Leave out holds and releases.")] = False,
    where: Where,
    screen: Screen,
) -> None:
    """Follow the log: every purge, hold and release, with the node and the cause. Ctrl-C ends it."""

    def show(event: Event) -> None:
        if not purges or event.kind in ("purge", "soft-purge", "flush"):
            screen.line(event, event_line(event))

    async with where.look() as seen:
        if no_follow:
            for event in reversed(await seen.inspector.events(count=last) if last else []):
                show(event)
            return
        # It follows before it looks back, so that nothing falls between; what both tell is shown once.
        stream = seen.inspector.follow()
        following = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        before = await seen.inspector.events(count=last) if last else []
        for event in reversed(before):
            show(event)
        with contextlib.suppress(StopAsyncIteration):
            while True:
                event = await following
                if event not in before:
                    show(event)
                following = asyncio.ensure_future(anext(stream))
