"""Stores on real servers, requests as values, and entries to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from rcache.core.entry import Entry, Missing, Start
from rcache.core.keys import Key, prefixed
from rcache.ports import Budget
from rcache.stores.redis import RedisStore
from tests.contract.redis_harness import RedisHarness
from tests.servers import RedisServer

GENEROUS = 5.0  # seconds: a busy machine must not fail a test that is not about time


@dataclass
class Request:
    """An `Ask`: a path, and what it holds for the names that may select."""

    path: bytes = b"/articles/7"
    names: tuple[str, ...] = ()
    fields: dict[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key("http", b"localhost", self.path, b"")

    def variant(self, names: tuple[str, ...]) -> bytes:
        parts: list[bytes | None] = []
        for name in names:
            parts += [name.encode(), self.fields.get(name)]
        return prefixed(parts)


def budget(seconds: float = GENEROUS) -> Budget:
    return Budget(seconds)


def entry_of(
    start: Start, now: float, *tags: str, body: bytes = b"hello", lifetime: float = 60.0, initial_age: float = 0.0
) -> Entry:
    headers = ((b"content-type", b"text/plain"), (b"x-one", b"1"), (b"x-one", b"2"))
    return Entry(start, 200, headers, body, tags or ("article:7",), now, initial_age, lifetime)


async def start_of(store: RedisStore, ask: Request) -> Missing:
    missing = await store.lookup(ask, budget())
    assert isinstance(missing, Missing)
    assert missing.start is not None
    return missing


async def fill(store: RedisStore, ask: Request, *tags: str, body: bytes = b"hello", lifetime: float = 60.0) -> Entry:
    """Stores an entry as a request would: looks up, then stores under the start it was given."""
    missing = await start_of(store, ask)
    assert missing.start is not None
    entry = entry_of(missing.start, missing.now, *tags, body=body, lifetime=lifetime)
    assert await store.store(ask, ask.names, entry, budget())
    return entry


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RedisHarness]:
    made = RedisHarness(redis_server)
    await made.make()
    yield made
    await made.close()


@pytest.fixture
def store(harness: RedisHarness) -> RedisStore:
    return harness.store


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may stop, kill and restart."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
async def own_harness(own_server: RedisServer) -> AsyncIterator[RedisHarness]:
    made = RedisHarness(own_server)
    await made.make()
    yield made
    await made.close()
