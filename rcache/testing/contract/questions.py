"""What the contract suite asks of stores, in few words: questions, fills, and what a lookup gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcache.core.entry import Entry, Found, Missing, Start
from rcache.core.keys import Key
from rcache.core.vary import variant_material
from rcache.ports import Budget, Store

LIFETIME = 60.0  # seconds
TIMEOUT = 30.0  # seconds: no test is about slowness


class Question:
    """A request as a store sees it: `Ask`, with headers but without cookies."""

    def __init__(
        self,
        path: str = "/book/1",
        *,
        query: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        names: tuple[str, ...] = (),
        identity: bytes | None = None,
    ) -> None:
        self.key = Key("http", b"shop.example", path.encode(), query.encode(), identity)
        self.names = names
        self.headers = list(headers)

    def variant(self, names: tuple[str, ...]) -> bytes:
        """What this request holds for `names`."""
        return variant_material(names, self.headers, lambda _: None)


def in_language(language: bytes, path: str = "/book/1") -> Question:
    """A request that asks for a language."""
    return Question(path, headers=[(b"accept-language", language)])


def budget() -> Budget:
    """Time enough."""
    return Budget(TIMEOUT)


def made(ask: Question, start: Start, at: float, body: bytes = b"old", *tags: str, **changes: Any) -> Entry:
    """An entry filled from `start` on, made at `at`."""
    fields: dict[str, Any] = {
        "start": start,
        "status": 200,
        "headers": ((b"content-type", b"text/plain"),),
        "body": body,
        "tags": (ask.key.url_tag, *tags),
        "stored_at": at,
        "initial_age": 0.0,
        "lifetime": LIFETIME,
    }
    return Entry(**(fields | changes))


async def missing(store: Store, ask: Question) -> Missing:
    """The lookup of something that is not to be found."""
    found = await store.lookup(ask, budget())
    assert isinstance(found, Missing), found
    return found


async def begin(store: Store, ask: Question) -> Missing:
    """A lookup that gives the start of a fill."""
    miss = await missing(store, ask)
    assert miss.start is not None, miss
    return miss


async def finish(
    store: Store,
    ask: Question,
    miss: Found | Missing,
    body: bytes = b"old",
    *tags: str,
    names: tuple[str, ...] = (),
    **changes: Any,
) -> bool:
    """Stores what was filled since `miss`; whether it was accepted."""
    assert miss.start is not None
    return await store.store(ask, names, made(ask, miss.start, miss.now, body, *tags, **changes), budget())


async def fill(
    store: Store, ask: Question, body: bytes = b"old", *tags: str, names: tuple[str, ...] = (), **changes: Any
) -> None:
    """Fills a miss, and is accepted."""
    assert await finish(store, ask, await begin(store, ask), body, *tags, names=names, **changes)


async def body_of(store: Store, ask: Question) -> bytes | None:
    """The body of the hit; None for a miss."""
    found = await store.lookup(ask, budget())
    return found.entry.body if isinstance(found, Found) else None


async def purge(store: Store, *tags: str) -> int:
    """Purges; the number of the purge."""
    return (await store.purge(tags, TIMEOUT)).number
