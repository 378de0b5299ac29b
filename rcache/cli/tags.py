"""`rcache tags`: which tags there are."""

from __future__ import annotations

from typing import Annotated

import typer

from rcache.cli.options import Where, takes
from rcache.cli.screen import Rows, Screen, Value
from rcache.cli.tables import TAGS
from rcache.core.errors import ConfigurationError


def add(app: typer.Typer) -> None:
    """`tags`."""
    app.command()(takes(tags))


async def tags(
    *,
    text: Annotated[str, typer.Argument(help="Only those that contain this.")] = "",
    count: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where a former call has ended.")] = None,
    where: Where,
    screen: Screen,
) -> None:
    """List the tags that entries carry, and how many carry them."""
    async with where.look() as seen:
        try:
            found = await seen.inspector.tags(text, cursor=cursor, count=count)
        except ValueError as error:
            raise ConfigurationError(f"--cursor: {error}") from error
    more = None if found.cursor is None else f"There are more: --cursor {found.cursor}"
    empty = f"no tag contains {text!r}" if text else "no entry carries a tag"
    screen.put(Rows("tags", found.rows, TAGS, empty=empty, note=more), Value("cursor", found.cursor))
