"""Which columns rows have, wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from rcache.cli.screen import Column, through
from rcache.cli.words import count, hit_share, moment, named, node, plain, several, size, span
from rcache.core.histogram import Histogram
from rcache.core.views import Counters, EntryRow, EntryView, Event, NodeRow, RouteRow, TagRow

MOST_SHOWN = 5  # tags or rows named in one line; programs are told all of them

STYLES = {
    "fresh": "green",
    "stale": "yellow",
    "softened": "yellow",
    "purged": "red",
    "held": "magenta",
    "lost": "dim",
}


def some(texts: Sequence[str], total: int | None = None) -> str:
    """The first few, and how many more there are."""
    more = (len(texts) if total is None else total) - min(len(texts), MOST_SHOWN)
    return ", ".join(texts[:MOST_SHOWN]) + (f" and {count(more)} more" if more > 0 else "")


def within(times: Histogram, part: float = 0.99) -> str:
    """The time within which that part of the answers came."""
    seconds = times.quantile(part)
    return "-" if seconds is None else span(seconds)


def both(times: Histogram) -> str:
    """The time that half of the answers took at most, and that of all but one in a hundred."""
    return f"{within(times, 0.5)} (p50), {within(times)} (p99)" if times.count else ""


def audits(row: Counters) -> str:
    """How many hits were audited, and how many of those that could be judged were stale."""
    rate = row.stale_rate
    found = f", {count(row.audits_stale)} stale ({100 * rate:.2g} %)" if rate is not None and row.audits_stale else ""
    return count(row.audits) + found


COUNTERS: tuple[Column[Counters], ...] = (
    Column("lookups", lambda row: count(row.lookups), is_number=True),
    Column("hit ratio", hit_share, is_number=True),
    Column("hits", lambda row: count(row.hits), is_number=True, is_extra=True),
    Column("stale", lambda row: count(row.stale), is_number=True, is_extra=True),
    Column("misses", lambda row: count(row.misses), is_number=True, is_extra=True),
    Column("passes", lambda row: count(row.passes), is_number=True, is_extra=True),
    Column("hits, p99", lambda row: within(row.hit_times), is_number=True, is_extra=True),
    Column("misses, p99", lambda row: within(row.miss_times), is_number=True),
)

MORE_COUNTERS: tuple[Column[Counters], ...] = (
    *COUNTERS[:-2],
    Column("a hit takes", lambda row: both(row.hit_times)),
    Column("a miss takes", lambda row: both(row.miss_times)),
    Column("shared runs", lambda row: count(row.collapsed)),
    Column("stored", lambda row: count(row.stores)),
    Column("refused by the store", lambda row: count(row.refusals)),
    Column("purges", lambda row: count(row.purges)),
    Column("outages", lambda row: count(row.outages)),
    Column("audits", audits, style=lambda row: "red" if row.audits_stale else ""),
    Column("sent from the store", lambda row: size(row.size)),
)


ROUTES: tuple[Column[RouteRow], ...] = (
    Column("route", lambda row: row.route),
    *through(COUNTERS, lambda row: row.counters),
)

NODES: tuple[Column[NodeRow], ...] = (
    Column("node", lambda row: node(row.node)),
    Column("host", lambda row: f"{row.host} ({row.pid})"),
    Column("role", lambda row: row.role, is_extra=True),
    Column("version", lambda row: row.version, is_extra=True),
    Column("up", lambda row: span(max(0.0, row.seen - row.began)), is_number=True, is_extra=True),
    Column("lookups", lambda row: count(row.counters.lookups), is_number=True),
    Column("hit ratio", lambda row: hit_share(row.counters), is_number=True),
    Column("near", lambda row: row.near or "-", is_extra=True),
    Column("tail", lambda row: "-" if row.tail is None else str(row.tail), is_number=True, is_extra=True),
    Column("lease", lambda row: "-" if row.lease is None else span(row.lease), is_number=True, is_extra=True),
    Column("purges waiting", lambda row: count(row.pending), is_number=True),
    Column(
        "store",
        lambda row: "down" if row.is_down else "up",
        style=lambda row: "red" if row.is_down else "green",
    ),
)


def variant(row: EntryRow) -> str:
    """What selects an entry among those of its URL."""
    pairs = [f"{name}: {value}" for name, value in row.variant]
    return "; ".join(pairs if not row.identity else ["(somebody's own)", *pairs]) or "-"


ENTRIES: tuple[Column[EntryRow], ...] = (
    Column("entry", lambda row: row.entry),
    Column("url", lambda row: row.url),
    Column("variant", variant),
    Column("state", lambda row: row.state, style=lambda row: STYLES[row.state]),
    Column("status", lambda row: str(row.status), is_number=True, is_extra=True),
    Column("age", lambda row: span(row.age), is_number=True),
    Column("ttl", lambda row: span(row.ttl), is_number=True),
    Column("size", lambda row: size(row.size), is_number=True, is_extra=True),
    Column("tags", lambda row: some(row.tags)),
)

ENTRY: tuple[Column[EntryView], ...] = (
    Column("entry", lambda view: view.row.entry),
    Column("url", lambda view: view.row.url),
    Column("variant", lambda view: variant(view.row)),
    Column("state", lambda view: view.row.state, style=lambda view: STYLES[view.row.state]),
    Column("status", lambda view: str(view.row.status)),
    Column("age", lambda view: span(view.row.age)),
    Column("fresh for", lambda view: span(view.row.ttl)),
    Column("stored at", lambda view: f"{moment(view.row.stored_at)} UTC"),
    Column("kept until", lambda view: f"{moment(view.row.gone_at)} UTC"),
    Column("size", lambda view: size(view.row.size)),
    Column("took", lambda view: span(view.row.cost) if view.row.cost else ""),
    Column("begun at", lambda view: f"number {view.row.start} of the log"),
    Column("hits lately", lambda view: count(view.row.hits)),
    Column("tags", lambda view: "\n".join(view.row.tags)),
    Column("headers", lambda view: "\n".join(f"{name}: {value}" for name, value in view.headers)),
    Column("last purge", lambda view: "" if view.last_purge is None else told(view.last_purge)),
)

TAGS: tuple[Column[TagRow], ...] = (
    Column("tag", lambda row: row.tag),
    Column("entries", lambda row: count(row.entries), is_number=True),
    Column("last purge", lambda row: "-" if row.mark is None else str(row.mark), is_number=True),
    Column("held by", lambda row: count(row.holders) if row.holders else "-", is_number=True),
    Column("size", lambda row: "-" if row.size is None else size(row.size), is_number=True),
)

EVENTS: tuple[Column[Event], ...] = (
    Column("when (UTC)", lambda row: moment(row.at)[-8:], is_number=True),
    Column("number", lambda row: str(row.number) if row.number else "-", is_number=True, is_extra=True),
    Column("what", lambda row: row.kind),
    Column("entries", lambda row: count(row.entries), is_number=True, is_extra=True),
    Column("node", lambda row: node(row.node), is_extra=True),
    Column("cause", lambda row: row.cause),
    Column("tags", lambda row: some([named(tag) for tag in row.tags], row.count)),
    Column("rows", lambda row: some(row.changes)),
)

EVENT_STYLES = {"purge": "red", "soft-purge": "yellow", "hold": "magenta", "release": "green", "flush": "bold red"}


def told(event: Event) -> str:
    """An event as a sentence without its tags."""
    rows = f": {some(event.changes)}" if event.changes else ""
    return f"{moment(event.at)} UTC by {node(event.node)} ({event.cause}{rows}), number {event.number}"


def event_line(event: Event) -> Text:
    """An event as one line of a stream."""
    reach = several(event.entries, "entry", "entries")
    line = Text.assemble(
        (moment(event.at), "dim"),
        "  ",
        (f"{event.kind:<10}", EVENT_STYLES[event.kind]),
        "  ",
        plain(some([named(tag) for tag in event.tags], event.count)),
        ("  " + reach if event.kind in ("purge", "soft-purge", "flush") else ""),
        (plain(f"  {event.cause} on {node(event.node)}"), "dim"),
    )
    if event.changes:
        line.append(plain(f"  {some(event.changes)}"))
    return line
