"""CPU per request inside the process: the application is called as a server would call it, but nothing is sent.

Every row is driven alike: 32 workers, each waiting for its request before it makes the next, so that look-ups on
Redis meet in one turn of the event loop as they do behind a server. Where nothing is awaited the workers simply run one
after the other. The rows take turns in a new order each round, and each ratio is formed within its round.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Scope

from benchmarks import apps
from benchmarks.payload import BODY, PATH
from benchmarks.servers import redis_server
from benchmarks.spread import Spread
from rcache import Cache, CacheMiddleware, Rule, cached

WORKERS: Final = 32
SAMPLE_SECONDS: Final = 0.025  # CPU time of one sample: far above the clock's grain, far below a shift in load
DEADLINE: Final = 5.0  # seconds: a busy machine must not turn a look-up into a bypass here

TEMPLATE: Final[Scope] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": PATH,
    "raw_path": PATH.encode(),
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"example.org"),
        (b"user-agent", b"benchmark/1"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
    ],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}


def same_url() -> Scope:
    """A fresh scope of the one URL: applications write into their scopes."""
    return dict(TEMPLATE)


def new_urls() -> Callable[[], Scope]:
    """Fresh scopes, no two of the same URL."""
    numbers = itertools.count()

    def next_scope() -> Scope:
        scope = dict(TEMPLATE)
        scope["query_string"] = b"n=%d" % next(numbers)
        return scope

    return next_scope


@dataclass
class Subject:
    """One row: what is called, with which requests, and whether it must be answered from the cache."""

    title: str
    app: ASGIApp
    next_scope: Callable[[], Scope] = same_url
    cache_status: str = ""
    workers: int = WORKERS
    body: bytes | None = BODY
    turns: int = 1  # requests per worker in one sample, set by `calibrate`
    samples: list[float] = field(default_factory=list)


async def receive() -> Message:
    """A request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def discard(message: Message) -> None:
    """A client that costs nothing."""


async def drive(subject: Subject, turns: int) -> None:
    """Every worker makes `turns` requests."""

    async def work() -> None:
        app, next_scope = subject.app, subject.next_scope
        for _ in range(turns):
            await app(next_scope(), receive, discard)

    await asyncio.gather(*(work() for _ in range(subject.workers)))


async def sample(subject: Subject, turns: int) -> float:
    """CPU seconds per request."""
    gc.collect()
    before = time.process_time()
    await drive(subject, turns)
    return (time.process_time() - before) / (turns * subject.workers)


async def calibrate(subject: Subject) -> None:
    """After this, one sample takes about SAMPLE_SECONDS."""
    await drive(subject, 2)
    once = await sample(subject, 2)
    subject.turns = max(1, round(SAMPLE_SECONDS / (once * subject.workers)))


async def compare(subjects: list[Subject], rounds: int) -> None:
    """Fills every subject's samples, in turns, and proves before and after that it did what its row says."""
    for subject in subjects:
        await verify(subject)
        await calibrate(subject)
    gc.collect()
    gc.freeze()  # with a million entries each collection between samples would take seconds
    for _ in range(rounds):
        for subject in random.sample(subjects, len(subjects)):
            subject.samples.append(await sample(subject, subject.turns))
    gc.unfreeze()
    for subject in subjects:
        await verify(subject)


async def verify(subject: Subject) -> None:
    """One request whose answer is looked at; a hit needs one before it that fills the cache."""
    for _ in range(2):
        messages: list[Message] = []

        async def keep(message: Message, kept: list[Message] = messages) -> None:
            kept.append(message)

        await subject.app(subject.next_scope(), receive, keep)
    body = b"".join(message.get("body", b"") for message in messages[1:])
    status = dict(messages[0]["headers"]).get(b"cache-status", b"").decode()
    if messages[0]["status"] != 200 or (subject.body is not None and body != subject.body):
        raise RuntimeError(f"{subject.title}: answered {messages[0]['status']} with {len(body)} bytes")
    if subject.cache_status not in status:
        raise RuntimeError(f"{subject.title}: Cache-Status is {status!r}, expected {subject.cache_status!r}")


def ratios(subject: Subject, base: Subject) -> Spread:
    """`subject` over `base`, round by round."""
    return Spread.of([own / one for own, one in zip(subject.samples, base.samples, strict=True)])


def excess(subject: Subject, base: Subject) -> Spread:
    """Microseconds that `subject` takes more than `base`, round by round."""
    return Spread.of([(own - one) * 1e6 for own, one in zip(subject.samples, base.samples, strict=True)])


def measure(rounds: int) -> dict[str, Any]:
    """The section of the results."""
    with redis_server() as url:
        return uvloop.run(_measure(url, rounds))


async def _measure(url: str, rounds: int) -> dict[str, Any]:
    from rcache.engine.near_store import NearStore  # earlier versions, which this harness runs as well, have none

    bare, route = Subject("bare ASGI", apps.bare()), Subject("Starlette route", apps.starlette())
    subjects = [bare, route, Subject("FastAPI route", apps.fastapi())]
    ours, caches = cached_subjects(url)
    near = Cache(url, deadline=DEADLINE, namespace="near", near="fast")
    caches.append(near)
    kept = apps.starlette([Middleware(CacheMiddleware, cache=near)], cached(ttl="1h", tags=["items"]))
    ours.insert(5, Subject("near hit", kept, cache_status="hit"))
    around = CacheMiddleware(apps.starlette(mark=cached(ttl="1h", tags=["items"])), cache=near)
    ours.insert(6, Subject("near hit, around the app", around, cache_status="hit"))
    await verify(ours[5])
    assert isinstance(near.store, NearStore)
    near.store.follow().joined.wait()
    print(f"in process: {rounds} rounds", flush=True)
    try:
        await compare([*subjects, *ours], rounds)
    finally:
        for cache in caches:
            await cache.close()
    passes = {"rcache pass": bare, "rcache pass, Starlette route": route}
    rows = [_line(subject, bare, route, passes.get(subject.title)) for subject in [*subjects, *ours]]
    return {"settings": {"rounds": rounds, "workers": WORKERS}, "rows": rows}


def cached_subjects(url: str) -> tuple[list[Subject], list[Cache]]:
    """rcache's rows, and the caches to be closed after them."""

    def app(cache: Cache, mark: Any = lambda endpoint: endpoint) -> ASGIApp:
        return apps.starlette([Middleware(CacheMiddleware, cache=cache, rules=other)], mark)

    other = [Rule("/reports/{number}", ttl=60)]
    embedded, on_redis = Cache(), Cache(url, deadline=DEADLINE)
    mark = cached(ttl="1h", tags=["items"])
    around = CacheMiddleware(apps.starlette(mark=mark), cache=embedded)
    subjects = [
        Subject("rcache pass", CacheMiddleware(apps.bare(), cache=embedded, rules=other)),
        Subject("rcache pass, Starlette route", app(embedded)),
        Subject("embedded hit", app(embedded, mark), cache_status="hit"),
        Subject("embedded hit, around the app", around, cache_status="hit"),
        Subject("Redis hit", app(on_redis, mark), cache_status="hit"),
        Subject("embedded miss", app(embedded, mark), new_urls(), "fwd=miss"),
        Subject("Redis miss", app(on_redis, mark), new_urls(), "fwd=miss"),
    ]
    return subjects, [embedded, on_redis]


def _line(subject: Subject, bare: Subject, route: Subject, below: Subject | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "title": subject.title,
        "microseconds": round(Spread.of(subject.samples).median * 1e6, 2),
        "to_route": ratios(subject, route).rounded(3),
        "to_bare": ratios(subject, bare).rounded(2),
    }
    if below is not None:
        line["excess"] = excess(subject, below).rounded(2)
    return line
