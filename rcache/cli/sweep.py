"""`rcache sweep`: frees the bytes of what purges killed, by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import typer

from rcache.cli.options import Where, takes
from rcache.cli.screen import Card, Column, Screen
from rcache.ports import Sweeps


def add(app: typer.Typer) -> None:
    """`sweep`."""
    app.command()(takes(sweep))


@dataclass(frozen=True, slots=True)
class Swept:
    """What was done."""

    freed: int  # entries


async def sweep(where: Where, screen: Screen) -> None:
    """Frees the memory of purged entries, unless another process does at this moment.

    Purges begin it by themselves: this is for what is left where the process that purged was killed.
    """
    async with where.open() as cache:
        freed = await cast("Sweeps", cache.store).sweep()
    screen.put(Card("sweep", Swept(freed), [Column("entries freed", lambda row: f"{row.freed:,}")]))
