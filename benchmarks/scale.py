"""How a hit and a purge change with size: entries, tags per entry, body, and entries per tag.

Everything goes through the public face: entries are made by requests that miss, and purged by `Cache.invalidate`. Each
series is told relative to its own first point, measured in the same rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.inprocess import DEADLINE, TEMPLATE, WORKERS, Subject, compare, discard, ratios, receive
from benchmarks.servers import redis_server
from benchmarks.spread import Spread
from rcache import Cache, CacheMiddleware, Rule

ENTRIES: Final = (1, 1_000, 100_000)
TAGS: Final = (1, 10, 50)
BODIES: Final = (100, 10_000, 100_000, 1_000_000)
PURGED: Final = (1, 10, 100, 1_000, 10_000, 100_000)
MILLION: Final = 1_000_000

SMALL_BODY: Final = 100
BODY_WORKERS: Final = 4  # 32 look-ups of a megabyte each would be one answer of 32 MB
FILL_WORKERS: Final = 32
SAMPLED_URLS: Final = 2_000  # of those stored, at random: more than a processor's inner caches hold
GROUPS: Final = ("red", "green", "blue")
"""Tags that all entries of a purge series carry, so that one fill serves as many purges."""
PURGE_ROUNDS: Final = 15
PURGES: Final = 50_000  # entries over all rounds of one size: filling takes the time, not purging


class Origin:
    """The application below: `size` bytes for every URL, and a count of the requests that reached it."""

    def __init__(self, size: int) -> None:
        self.calls = 0
        self._body = b"x" * size
        self._headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % size)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


class Site:
    """A cache of its own before an origin."""

    def __init__(self, url: str | None, tags: Sequence[str], size: int = SMALL_BODY) -> None:
        self.origin = Origin(size)
        namespace = f"scale{next(_numbers)}"
        self.cache = Cache(url, namespace=namespace, max_bytes="8GiB", deadline=DEADLINE)
        rule = Rule("/items/{number}", ttl="1d", tags=tags)
        self.app: ASGIApp = CacheMiddleware(self.origin, cache=self.cache, rules=[rule])

    async def fill(self, numbers: Sequence[int]) -> None:
        """Afterwards an entry is stored for each of `numbers`."""
        pending = iter(numbers)

        async def work() -> None:
            for number in pending:
                await self.app(scope_of(number), receive, discard)

        await asyncio.gather(*(work() for _ in range(FILL_WORKERS)))

    def subject(self, title: str, stored: int, workers: int = WORKERS) -> Subject:
        """Hits, at random over what is stored."""
        numbers = random.sample(range(stored), min(stored, SAMPLED_URLS))
        return Subject(title, self.app, scopes_of(numbers), "hit", workers, body=None)


_numbers = itertools.count()


def scope_of(number: int) -> Scope:
    """A request for one item."""
    scope = dict(TEMPLATE)
    scope["path"] = path = f"/items/{number}"
    scope["raw_path"] = path.encode()
    return scope


def scopes_of(numbers: Sequence[int]) -> Callable[[], Scope]:
    """Fresh scopes that go round `numbers`."""
    templates = itertools.cycle([scope_of(number) for number in numbers])
    return lambda: dict(next(templates))


def measure(rounds: int, is_full: bool) -> dict[str, Any]:
    """The section of the results; `is_full` goes to a million entries, and takes minutes and gigabytes."""
    with redis_server() as url:
        return uvloop.run(_measure(url, rounds, is_full))


async def _measure(url: str, rounds: int, is_full: bool) -> dict[str, Any]:
    last = (MILLION,) if is_full else ()
    section: dict[str, Any] = {"settings": {"rounds": rounds, "full": is_full}}
    for store, address in (("memory", None), ("redis", url)):
        section[store] = {
            "tags": await _by_tags(address, rounds),
            "body": await _by_body(address, rounds),
            "entries": await _by_entries(address, rounds, (*ENTRIES, *last)),
            "purge": await _by_purged(address, (*PURGED, *last)),
        }
    return section


async def _by_entries(url: str | None, rounds: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    sites = [(size, Site(url, ["item:{number}"])) for size in sizes]
    for size, site in sites:
        await _filled(site, size)
    return await _series([(size, site, site.subject(f"{size} entries", size)) for size, site in sites], rounds)


async def _by_tags(url: str | None, rounds: int) -> list[dict[str, Any]]:
    sites = [(count, Site(url, [f"kind{kind}:{{number}}" for kind in range(count)])) for count in TAGS]
    for _, site in sites:
        await _filled(site, SAMPLED_URLS)
    subjects = [(count, site, site.subject(f"{count} tags", SAMPLED_URLS)) for count, site in sites]
    return await _series(subjects, rounds)


async def _by_body(url: str | None, rounds: int) -> list[dict[str, Any]]:
    sites = [(size, Site(url, ["item:{number}"], size)) for size in BODIES]
    for _, site in sites:
        await _filled(site, BODY_WORKERS)
    subjects = [(size, site, site.subject(f"{size} bytes", BODY_WORKERS, BODY_WORKERS)) for size, site in sites]
    return await _series(subjects, rounds)


async def _filled(site: Site, size: int) -> None:
    began = time.perf_counter()
    await site.fill(range(size))
    if size >= 10_000:
        print(f"scale: stored {size:,} entries in {time.perf_counter() - began:.0f} s", flush=True)


async def _series(points: list[tuple[int, Site, Subject]], rounds: int) -> list[dict[str, Any]]:
    subjects = [subject for _, _, subject in points]
    print(f"scale: {', '.join(subject.title for subject in subjects)}", flush=True)
    reached = [site.origin.calls for _, site, _ in points]
    await compare(subjects, rounds)
    lines = []
    for (size, site, subject), calls in zip(points, reached, strict=True):
        lines.append(
            {
                "size": size,
                "ratio": ratios(subject, subjects[0]).rounded(3),
                "microseconds": round(Spread.of(subject.samples).median * 1e6, 2),
                "reached_application": site.origin.calls - calls,
            }
        )
        await site.cache.close()
    return lines


async def _by_purged(url: str | None, sizes: Sequence[int]) -> list[dict[str, Any]]:
    site = Site(url, GROUPS)
    await site.cache.invalidate("nobody")  # the connection and the scripts are there from now on
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(PURGE_ROUNDS):
        for size in sizes:
            if number == 0 or number * size < PURGES:
                await _filled(site, size)
                taken[size] += [await _purge(site, group) for group in GROUPS]
                await _prove_purged(site)
    await site.cache.close()
    first = Spread.of(taken[sizes[0]]).median
    return [
        {
            "size": size,
            "ratio": Spread.of([seconds / first for seconds in taken[size]]).rounded(2),
            "microseconds": round(Spread.of(taken[size]).median * 1e6, 1),
        }
        for size in sizes
    ]


async def _purge(site: Site, group: str) -> float:
    began = time.perf_counter()
    await site.cache.invalidate(group)
    return time.perf_counter() - began


async def _prove_purged(site: Site) -> None:
    before = site.origin.calls
    await site.app(scope_of(0), receive, discard)
    if site.origin.calls == before:
        raise RuntimeError("a purged entry was served")
