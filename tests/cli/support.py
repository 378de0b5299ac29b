"""An inspector that tells what a test says, for commands that only show it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

import rcache.cache
from rcache.core.tags import check_tag
from rcache.core.views import (
    Counters,
    EntryRow,
    EntryView,
    Event,
    NodeRow,
    Preview,
    RouteRow,
    Rows,
    Sample,
    TagRow,
)
from rcache.engine.telemetry import Telemetry
from rcache.ports import Store
from tests.support import EPOCH

PAGES = RouteRow("/pages/{title}", Counters(hits=70, stale=5, misses=20, passes=5, stores=15, seconds=0.4, size=7000))
LISTS = RouteRow("/lists", Counters(hits=1, misses=1, seconds=0.01))


def node(name: str, **settings: object) -> NodeRow:
    """A node that counted what PAGES and LISTS say."""
    counters = Counters(hits=71, stale=5, misses=21, passes=5, stores=15, purges=3, seconds=0.41, size=7000)
    given = {
        "node": name,
        "host": "web",
        "pid": 7,
        "role": "web",
        "version": "0.1.0",
        "began": EPOCH - 60,
        "seen": EPOCH,
        "near": None,
        "tail": None,
        "lease": None,
        "is_down": False,
        "pending": 0,
        "counters": counters,
        "routes": (PAGES, LISTS),
    }
    return NodeRow(**(given | settings))  # type: ignore[arg-type]


def row(entry: str, **settings: object) -> EntryRow:
    """A stored page."""
    given = {
        "entry": entry,
        "url": "http://shop.test/pages/tea",
        "identity": False,
        "variant": (),
        "state": "fresh",
        "status": 200,
        "age": 12.0,
        "ttl": 588.0,
        "stored_at": EPOCH - 12,
        "gone_at": EPOCH + 588,
        "size": 1536,
        "tags": ("page:tea",),
        "start": 41,
    }
    return EntryRow(**(given | settings))  # type: ignore[arg-type]


PURGE = Event(
    number=42,
    at=EPOCH,
    kind="purge",
    tags=("page:tea", "page"),
    count=2,
    entries=1,
    node="a1",
    cause="commit",
    changes=("update page:tea",),
)  # type: ignore[arg-type]
HOLD = Event(43, EPOCH + 1, "hold", ("page:tea",), 1, 0, "b2", "commit")


@dataclass
class Told:
    """`rcache.ports.Inspector` over plain lists."""

    node_rows: list[NodeRow] = field(default_factory=lambda: [node("a1"), node("b2", is_down=True, pending=2)])
    rows: list[EntryRow] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    tag_rows: list[TagRow] = field(default_factory=list)
    cursor: str | None = None
    event_rows: list[Event] = field(default_factory=lambda: [HOLD, PURGE])

    is_embedded = False
    damaged = 0

    async def last_purge(self, tags: Sequence[str]) -> Event | None:
        purges = [event for event in self.event_rows if event.kind == "purge" and {*tags} & {*event.tags}]
        return purges[0] if purges else None

    def close(self) -> None:
        """Nothing is open."""

    async def nodes(self) -> list[NodeRow]:
        return self.node_rows

    async def history(self, seconds: float = 3600.0) -> list[Sample]:
        counters = Counters(hits=8, misses=2, seconds=0.1, size=1000)
        return [Sample(EPOCH + at, 1.0, counters, (RouteRow("/lists", counters),)) for at in range(int(seconds))]

    async def entries(self, url: str) -> list[EntryRow]:
        return [row for row in self.rows if row.url == url or urlsplit(row.url).path == url]

    async def entry(self, entry: str, *, with_private: bool = False) -> EntryView | None:
        for row in self.rows:
            if row.entry == entry:
                body = self.bodies.get(entry, b"<p>tea</p>") if with_private or not row.identity else None
                return EntryView(row, (("content-type", "text/html"),), body, PURGE)
        return None

    async def hottest(self, count: int = 50) -> list[EntryRow]:
        return self.rows[:count]

    async def largest(self, count: int = 50) -> list[EntryRow]:
        return self.rows[:count]

    async def tags(self, text: str = "", *, cursor: str | None = None, count: int = 100) -> Rows[TagRow]:
        return Rows(tuple([row for row in self.tag_rows if text in row.tag][:count]), self.cursor)

    async def tagged(self, tag: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        return Rows(tuple([row for row in self.rows if tag in row.tags]))

    async def search(self, text: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        return Rows(tuple([row for row in self.rows if text in row.url]))

    async def preview(self, tags: Sequence[str]) -> Preview:
        carried = [row for row in self.rows if set(row.tags) & set(map(check_tag, tags))]
        return Preview(tuple([TagRow(tag, len(carried), None) for tag in tags]), tuple(carried), len(carried))

    async def events(self, *, before: int | None = None, count: int = 100) -> list[Event]:
        return self.event_rows[:count]

    async def follow(self) -> AsyncIterator[Event]:
        for event in self.event_rows:
            yield event


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the inspector of every cache on Redis tells in this test; RCACHE_URL leads to one that nobody asks."""
    inspector = Told()
    observed = rcache.cache.observed

    def pretended(store: Store, telemetry: Telemetry) -> tuple[Any, Any]:
        real, reporter = observed(store, telemetry)
        return (real, reporter) if real.is_embedded else (inspector, None)

    monkeypatch.setattr(rcache.cache, "observed", pretended)
    monkeypatch.setenv("RCACHE_URL", "redis://127.0.0.1:1")
    return inspector
