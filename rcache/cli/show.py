"""`rcache show`: what is stored of a URL."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from rcache.cli.options import Where, takes
from rcache.cli.places import target
from rcache.cli.screen import Card, Rows, Screen
from rcache.cli.tables import ENTRIES, ENTRY
from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.views import EntryView

MOST_IN_FULL = 100  # entries of one URL that are read one by one


def add(app: typer.Typer) -> None:
    """`show`."""
    app.command()(takes(show))


async def show(
    *,
    page: Annotated[str, typer.Argument(metavar="URL", help="A path (then whatever the host), or a whole URL.")],
    entry: Annotated[str | None, typer.Option(help="Only this one, where there are several.")] = None,
    body: Annotated[bool, typer.Option("--body", help="The stored body alone, as it is.")] = False,
    private: Annotated[bool, typer.Option("--private", help="The body too where it belongs to one user.")] = False,
    where: Where,
    screen: Screen,
) -> int:
    """Show what is stored of a URL: variants, ages, tags, sizes; in full where it is one. 1 where nothing is."""
    asked = target(page)
    async with where.look() as seen:
        rows = await seen.inspector.entries(asked.text)
        if entry is not None:
            rows = [row for row in rows if row.entry == entry]
        if screen.as_json or body or len(rows) == 1:
            found = [await seen.inspector.entry(row.entry, with_private=private) for row in rows[:MOST_IN_FULL]]
            return _in_full([view for view in found if view is not None], asked.text, screen, with_body=body)
    note = f"One in full: --entry {rows[0].entry}" if rows else None
    screen.put(Rows("entries", rows, ENTRIES, empty=f"nothing is stored of {asked.text}", note=note))
    return 0 if rows else 1


def _in_full(views: list[EntryView], asked: str, screen: Screen, *, with_body: bool) -> int:
    if screen.as_json:
        screen.put(Rows("entries", views if with_body else [replace(view, body=None) for view in views], ()))
    elif not views:
        raise RCacheError(f"nothing is stored of {asked}")
    elif not with_body:
        screen.put(Card("entry", views[0], ENTRY))
    elif len(views) > 1:
        names = ", ".join(view.row.entry for view in views)
        raise ConfigurationError(f"{len(views)} entries are stored of {asked}: choose by --entry, of {names}")
    elif views[0].body is None:
        raise ConfigurationError("this entry belongs to one user: --private shows its body all the same")
    else:
        screen.raw(views[0].body)
    return 0 if views else 1
