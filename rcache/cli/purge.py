"""`rcache purge`: what carries a tag, or is stored of a URL, answers nobody any more."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from rcache.cache import Cache
from rcache.cli.doctor import refuse_unwritable
from rcache.cli.options import Seen, Where, takes
from rcache.cli.places import target, url_tags
from rcache.cli.screen import Card, Column, Rows, Screen, Value, progress
from rcache.cli.tables import ENTRIES, TAGS, some
from rcache.cli.words import count, several
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.tags import TagError, check_tag
from rcache.core.views import EntryRow, Preview
from rcache.engine.purge import Purged

CAUSE = "cli"
AT_ONCE = 500  # tags of one trip
MOST_NAMED = 20  # entries that a preview shows to people


PURGED: tuple[Column[Purged], ...] = (
    Column("purged", lambda row: some(row.tags)),
    Column("entries", lambda row: f"at most {count(row.entries)}"),
    Column("number", lambda row: "-" if row.sequence is None else str(row.sequence)),
)


def add(app: typer.Typer) -> None:
    """`purge`."""
    app.command()(takes(purge))


async def purge(
    *,
    tags: Annotated[
        list[str],
        typer.Argument(
            metavar="TAG...", help="As the entries carry them; - reads them from standard input, one a line."
        ),
    ] = [],  # noqa: B006 (read only)
    page: Annotated[
        list[str], typer.Option(metavar="URL", help="What is stored of this path or whole URL; may be repeated.")
    ] = [],  # noqa: B006 (read only)
    soft: Annotated[bool, typer.Option("--soft", help="Make entries stale instead of dead.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and purge nothing.")] = False,
    where: Where,
    screen: Screen,
) -> None:
    """Purge what carries a tag, on all nodes. It has landed when the command ends with 0; 1 where it has not."""
    wanted = _checked(tags)
    pages = [target(each) for each in page]
    if not (wanted or pages):
        raise ConfigurationError("what is to be purged? Name tags, or --page URL")
    if soft and pages:
        raise ConfigurationError("--soft is for tags: leave --page or --soft out")
    async with where.look() as seen:
        if not dry_run:  # it would wait for better times, and then say less
            await refuse_unwritable(seen.cache)
        rows = [row for each in pages for row in await seen.inspector.entries(each.text)]
        if dry_run:
            _show(await _preview(seen, wanted), rows, screen)
            return
        urls = tuple(dict.fromkeys(tag for each in pages for tag in url_tags(each, rows)))
        done = await _purged(seen.cache, wanted, urls, soft=soft)
    # A URL's own tag has no registry that would tell its entries.
    done = replace(done, tags=(*wanted, *(each.text for each in pages)), entries=done.entries + len(rows))
    screen.put(Card("purged", done, PURGED))


def _checked(tags: Sequence[str]) -> tuple[str, ...]:
    found = [tag for text in tags for tag in (_lines() if text == "-" else (text,))]
    try:
        return tuple(dict.fromkeys(map(check_tag, found)))
    except TagError as error:
        raise ConfigurationError(str(error)) from error


def _lines() -> Iterator[str]:
    return (line for line in (line.rstrip("\r\n") for line in sys.stdin) if line)


async def _preview(seen: Seen, tags: tuple[str, ...]) -> Preview:
    return await seen.inspector.preview(tags) if tags else Preview((), (), 0)


def _show(preview: Preview, rows: list[EntryRow], screen: Screen) -> None:
    entries = list({row.entry: row for row in (*rows, *preview.entries)}.values())
    shown = entries if screen.as_json else entries[:MOST_NAMED]
    most = max(preview.count + len(rows), len(entries))
    more = len(entries) - len(shown)
    note = f"at most {several(most, 'entry', 'entries')}" + (f", {count(more)} not shown here" if more else "")
    parts = [Rows("tags", preview.tags, TAGS)] if preview.tags else []
    screen.put(
        *parts,
        Rows("entries", shown, ENTRIES, empty="no entry would go", note=note),
        Value("count", most),
    )
    screen.say("Nothing was purged: --dry-run.")


async def _purged(cache: Cache, tags: tuple[str, ...], urls: tuple[str, ...], *, soft: bool) -> Purged:
    """Purges all of them, some at a time. Raises BackendError where that has not landed."""
    entries, number = 0, None
    with progress() as bar:
        most = len(tags) + len(urls)
        task = bar.add_task("purging", total=most, visible=most > AT_ONCE)
        for of_urls, batch in (*((False, each) for each in _batches(tags)), *((True, each) for each in _batches(urls))):
            done = await (
                cache.purge(batch, cause=CAUSE) if of_urls else cache.invalidate(*batch, soft=soft, cause=CAUSE)
            )
            if not done.landed:
                raise BackendError("the purge has not landed, and is given up: run it again")
            entries, number = entries + done.entries, done.sequence
            bar.advance(task, len(batch))
    return Purged((*tags, *urls), entries, number, landed=True)


def _batches(tags: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (tags[first : first + AT_ONCE] for first in range(0, len(tags), AT_ONCE))
