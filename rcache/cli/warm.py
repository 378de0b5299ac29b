"""`rcache warm`: renders what lists name, before anybody asks for it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from rcache.asgi.lifespan import running
from rcache.asgi.renderer import Renderer
from rcache.asgi.rendition import ALWAYS
from rcache.cache import caches
from rcache.cli.main import DONE, FAILED
from rcache.cli.options import found_at, takes
from rcache.cli.screen import Card, Column, Rows, Screen, progress
from rcache.cli.sources import urls_of
from rcache.core.errors import ConfigurationError
from rcache.core.recipe import Recipe
from rcache.core.settings import seconds
from rcache.engine.lists import recipes, warm_up
from rcache.lists import LISTS, checked_base
from rcache.stores.memory import MemoryStore

MOST = 10_000_000  # URLs: who asks for so many by hand means it
SHOWN = 20  # of what has not been stored
ENDS = ("stored", "fresh", "elsewhere")
"""Outcomes after which the page is warm, or is made so by somebody else."""


def add(app: typer.Typer) -> None:
    """`warm`."""
    app.command()(takes(warm))


@dataclass(frozen=True, slots=True)
class Unwarmed:
    """A page that is not warm now, and why."""

    url: str
    outcome: str
    detail: str


@dataclass(slots=True)
class Summary:
    """What became of all pages."""

    pages: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)


def warm(
    screen: Screen,
    urls: Annotated[list[str] | None, typer.Argument(help="URLs, or paths below --base.", metavar="[URL]...")] = None,
    *,
    app: Annotated[str, typer.Option("--app", help="The application.", metavar="MODULE:NAME")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="A sitemap, an index of sitemaps, or a text with a URL a line; packed or not; a file, an http(s) URL or -.",
            metavar="LIST",
        ),
    ] = None,
    marked: Annotated[bool, typer.Option("--lists", help="The application's own lists: what is marked @warm.")] = False,
    base: Annotated[
        str | None, typer.Option(help="What stands before paths, as clients spell it.", metavar="https://HOST")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="A field of each request: it may select a variant.", metavar="NAME:VALUE")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Pages at a time.", min=1, max=256)] = 8,
    ahead: Annotated[str | None, typer.Option(help="How long an answer has to stay fresh, or it is made anew.")] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Make all anew, fresh or not.")] = False,
    root_path: Annotated[str, typer.Option(help="What the server is told by its own --root-path.")] = "",
) -> int:
    """Renders pages by calling the application in this process, and stores them as any fill is.

    What is fresh is left as it is. Ends with 1 where a page could not be made warm; says of each why.
    """
    if not (urls or source or marked):
        raise ConfigurationError("what is to be warmed? URLs, --from sitemap.xml or --lists")
    if base is not None:
        checked_base(base)
    fields = [_field(each) for each in header or ()]
    least = seconds(ahead, "ahead") if ahead else 0.0
    found = found_at(app)
    if not callable(found):
        raise ConfigurationError(f"{app} is a {type(found).__name__}, not an ASGI application")
    plain = [*(urls or ()), *(url for each in source or () for url in urls_of(each))]
    return asyncio.run(
        _warm(
            screen, found, _Wanted(plain, fields, base, marked), concurrency, ALWAYS if anew else 0.0, least, root_path
        )
    )


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigurationError(f"--header {text!r}: write NAME:VALUE, as in accept-language:de")
    return name.strip(), value.strip()


@dataclass(frozen=True, slots=True)
class _Wanted:
    urls: list[str]
    fields: list[tuple[str, str]]
    base: str | None
    is_marked: bool

    async def recipes(self, left_out: list[str]) -> AsyncIterator[Recipe]:
        """All of them, each once; what is none is told of."""
        seen: set[str] = set()
        sources: list[tuple[Any, str | None]] = [([(url, self.fields) for url in self.urls], self.base)]
        if self.is_marked:
            sources += [(each.source, each.base or self.base) for each in LISTS.values()]
        for source, base in sources:
            async for recipe in recipes(source, base=base, left_out=left_out.append, most=MOST):
                if recipe.id not in seen:
                    seen.add(recipe.id)
                    yield recipe


async def _warm(
    screen: Screen, app: Any, wanted: _Wanted, concurrency: int, than: float, left: float, root_path: str
) -> int:
    counts: Counter[str] = Counter()
    unwarmed: list[Unwarmed] = []
    began = time.monotonic()
    async with running(app) as state:
        if not any(not isinstance(cache.store, MemoryStore) for cache in caches()):
            raise ConfigurationError(
                "what is rendered here would be stored in this process alone, and be gone with it: the application needs a"
                " cache on Redis, Cache('redis://host:6379/0') or RCACHE_URL"
            )
        renderer = Renderer(app, root_path=root_path, state=state)
        left_out: list[str] = []
        all_of_them = [recipe async for recipe in wanted.recipes(left_out)]
        unwarmed += [Unwarmed("", "no URL", text) for text in left_out]
        with progress() as bars:
            bar = bars.add_task("warming", total=len(all_of_them))

            def told(recipe: Recipe, rendered: Any) -> None:
                bars.advance(bar)
                if rendered.outcome not in ENDS:
                    unwarmed.append(Unwarmed(recipe.url, rendered.outcome, rendered.detail))

            async def make(recipe: Recipe) -> Any:
                return await renderer.render(recipe, than=than, left=left)

            counts = await warm_up(_each(all_of_them), make, at_once=concurrency, told=told)
    if left_out:
        counts["no URL"] = len(left_out)
    _show(screen, Summary(counts.total(), round(time.monotonic() - began, 3), dict(counts)), unwarmed)
    return FAILED if unwarmed else DONE


async def _each(found: list[Recipe]) -> AsyncIterator[Recipe]:
    for recipe in found:
        yield recipe


UNWARMED: tuple[Column[Unwarmed], ...] = (
    Column("url", lambda row: row.url or "-"),
    Column("outcome", lambda row: row.outcome),
    Column("reason", lambda row: row.detail),
)


def _show(screen: Screen, summary: Summary, unwarmed: list[Unwarmed]) -> None:
    columns: list[Column[Summary]] = [
        Column("pages", lambda row: f"{row.pages:,}"),
        *[Column(name, _count_of(name)) for name in sorted(summary.outcomes)],
        Column("seconds", lambda row: f"{row.seconds:.1f}"),
    ]
    card = Card("summary", summary, columns)
    if not unwarmed:
        screen.put(card)
        return
    shown = unwarmed if screen.as_json else unwarmed[:SHOWN]
    more = len(unwarmed) - len(shown)
    screen.put(card, Rows("unwarmed", shown, UNWARMED, title="Not warm", note=f"and {more:,} more" if more else None))


def _count_of(name: str) -> Callable[[Summary], str]:
    return lambda row: f"{row.outcomes[name]:,}"
