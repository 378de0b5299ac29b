"""`rcache explain`: what would be done with a request, and why."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

import typer
from starlette.types import Scope

from rcache.asgi.explain import Explanation, explain, find_middleware
from rcache.asgi.middleware import CacheMiddleware
from rcache.cli.options import Where, found_at, takes
from rcache.cli.places import Target, target, url_tags
from rcache.cli.screen import Card, Column, Part, Rows, Screen, Value
from rcache.cli.tables import ENTRIES, some, told
from rcache.cli.words import named, span
from rcache.core.errors import ConfigurationError
from rcache.core.views import EntryRow, Event
from rcache.ports import Inspector

EMBEDDED = "The application's cache is embedded: what it holds, only its own process sees. This is told as if nothing were stored."

OUTCOMES = {
    "hit": "answered from the store",
    "refresh": "answered from the store, and made anew meanwhile",
    "validate": "stored and stale: the application is asked",
    "miss": "the application answers, and the answer may be stored",
    "pass": "the application answers, and the cache stays out of it",
    "refused": "the guard refuses it",
    "timeout": "504: the client takes only what is stored",
    "untouched": "the application answers; the cache has nothing to do with it",
    "purge": "the application answers; what is stored of its URL goes",
}

_STYLES = {"hit": "green", "refresh": "green", "validate": "yellow", "miss": "yellow"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a request."""

    explanation: Explanation | None
    entries: list[EntryRow]
    last_purge: Event | None
    note: str | None


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in pairs)


EXPLANATION: tuple[Column[Explanation], ...] = (
    Column("request", lambda row: f"{row.method} {row.url}"),
    Column("outcome", lambda row: OUTCOMES[row.outcome], style=lambda row: _STYLES.get(row.outcome, "")),
    Column("why", lambda row: row.why),
    Column("remedy", lambda row: row.remedy or ""),
    Column("route", lambda row: row.route or ""),
    Column("rule", lambda row: _pairs(row.rule)),
    Column("key", lambda row: _pairs(row.key)),
    Column("variant", lambda row: _pairs(row.variant)),
    Column("whose", lambda row: row.whose),
    Column("tags", lambda row: "\n".join(row.tags)),
    Column("age", lambda row: "" if row.age is None else span(row.age)),
    Column("fresh for", lambda row: "" if row.ttl is None else span(row.ttl)),
    Column("Cache-Status", lambda row: row.cache_status or ""),
)

PURGE: tuple[Column[Event], ...] = (
    Column("last purge", told),
    Column("of", lambda event: some([named(tag) for tag in event.tags], event.count)),
)


def add(app: typer.Typer) -> None:
    """`explain`."""
    app.command("explain")(takes(explain_request))


async def explain_request(
    *,
    page: Annotated[str, typer.Argument(metavar="URL", help="A path, or a whole URL.")],
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="The application: its own rules decide; no endpoint is run."),
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="It is a function that makes the application.")] = False,
    header: Annotated[
        list[str], typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Of the request; may be repeated.")
    ] = [],  # noqa: B006 (read only)
    method: Annotated[str, typer.Option("--method", "-X", help="Of the request.")] = "GET",
    data: Annotated[str, typer.Option("--data", "-d", help="The request's content.")] = "",
    where: Where,
    screen: Screen,
) -> None:
    """Explain what rcache would do with a request and why: rule, key, variant, freshness, and what purged it last.

    With --app the application's own rules decide, in this process: its guard and key_by are called, its endpoint is not. Without
    it, what is stored is told.
    """
    asked = target(page)
    headers = [_header(each) for each in header]
    if app is None:
        if header or data or factory or method != "GET":
            raise ConfigurationError("--header, --method, --data and --factory are of no use without --app MODULE:NAME")
        async with where.look() as seen:
            answer = await _stored(seen.inspector, asked)
    else:
        middleware = find_middleware(_application(app, is_factory=factory))
        answer = await _explained(middleware, asked, method.upper(), headers, data.encode(), where)
    _show(answer, asked, screen)


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip()) or not text.isprintable():
        raise ConfigurationError(f"--header {text!a} is not 'NAME: VALUE'")
    return name.strip().lower().encode(), value.strip().encode("utf-8", "surrogateescape")


def _application(where: str, *, is_factory: bool) -> Any:
    found = found_at(where)
    if is_factory:
        if not callable(found):
            raise ConfigurationError(f"{where!r} is a {type(found).__name__}, not a function that makes an application")
        try:
            return found()
        except Exception as error:  # whatever the application does while it is made
            raise ConfigurationError(f"{where}() cannot be made: {type(error).__name__}: {error}") from error
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        raise ConfigurationError(f"{where!r} is a function that takes nothing: to call it, add --factory")
    return found


async def _stored(inspector: Inspector, asked: Target) -> Answer:
    rows = await inspector.entries(asked.text)
    note = "What would be done with a request is told with the application at hand: --app MODULE:NAME"
    return Answer(None, rows, await _last_purge(inspector, asked, rows, ()), note)


async def _explained(
    middleware: CacheMiddleware,
    asked: Target,
    method: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    where: Where,
) -> Answer:
    cache = where.open() if where.url or where.cache else middleware.cache
    async with cache:
        if cache.inspector.is_embedded:
            scope = _scope(asked, method, headers, body)
            return Answer(await explain(middleware, scope, body, cache), [], None, EMBEDDED)
        inspector = cache.inspector
        rows = await inspector.entries(asked.text)
        asked, note = _placed(asked, headers, rows, key_host=middleware.cache.key_host)
        said = await explain(middleware, _scope(asked, method, headers, body), body, cache)
        return Answer(said, rows, await _last_purge(inspector, asked, rows, said.tags), note)


def _placed(
    asked: Target, headers: list[tuple[bytes, bytes]], rows: list[EntryRow], *, key_host: bool
) -> tuple[Target, str | None]:
    """A path with the host that something is stored under, where the host counts; and what is to be said of that."""
    if asked.host or any(name == b"host" for name, _ in headers) or not key_host:
        return asked, None
    places = {(place.scheme, place.host) for place in (target(row.url) for row in rows) if place.host}
    scheme, host = min(places, default=("http", "localhost"))
    others = f", one of {len(places)} that it is stored for" if len(places) > 1 else ""
    placed = asked._replace(scheme=scheme, host=host)
    return placed, f"Asked as {scheme}://{host}{asked.path}{others}: the host is part of the key"


def _scope(asked: Target, method: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Scope:
    """The request as a server would hand it to the application."""
    names = {name for name, _ in headers}
    added = []
    if b"host" not in names:
        added.append((b"host", (asked.host or "localhost").encode()))
    if body and b"content-length" not in names:
        added.append((b"content-length", b"%d" % len(body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": asked.scheme or "http",
        "root_path": "",
        "state": {},
        "extensions": {},
        "path": unquote(asked.path),
        "raw_path": asked.path.encode(),
        "query_string": asked.query.encode(),
        "headers": [*added, *headers],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 0),
    }


async def _last_purge(inspector: Inspector, asked: Target, rows: list[EntryRow], tags: Sequence[str]) -> Event | None:
    """The last purge of what is stored, and of what would be."""
    carried = {*tags, *url_tags(asked, rows), *(tag for row in rows for tag in row.tags)}
    return await inspector.last_purge(sorted(carried))


def _show(answer: Answer, asked: Target, screen: Screen) -> None:
    if screen.as_json:
        names = ("explanation", "entries", "last_purge", "note")
        screen.put(*(Value(name, getattr(answer, name)) for name in names))
        return
    parts: list[Part] = []
    if answer.explanation is not None:
        parts.append(Card("explanation", answer.explanation, EXPLANATION))
    if answer.last_purge is not None:
        parts.append(Card("last_purge", answer.last_purge, PURGE))
    parts.append(Rows("entries", answer.entries, ENTRIES, "Stored", f"nothing is stored of {asked.text}", answer.note))
    screen.put(*parts)
    if answer.note is not None and not answer.entries:
        screen.say(answer.note)
