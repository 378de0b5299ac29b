"""What a GET costs while Redis is gone: milliseconds on top of the application's own answer.

One request after the other, through a Starlette application with the middleware, in these states of its Redis: well (hits),
stopped (SIGSTOP: it keeps its connections and says nothing), and killed. The first request after Redis stopped waits for the
deadline; after that the breaker is open, and only its probes wait. The application's own time is measured in the same rounds,
without a cache. Requests are spread over a few seconds, so that probes fall among them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from benchmarks import apps
from benchmarks.inprocess import discard, receive, same_url
from benchmarks.servers import redis_process
from rcache import Cache, CacheMiddleware, cached

REQUESTS: Final = 300
PAUSE: Final = 0.01  # seconds between two requests
ALLOWANCE: Final = 50.0  # milliseconds


def measure() -> dict[str, Any]:
    """The section of the results."""
    with redis_process() as (url, pid):
        return uvloop.run(_measure(url, pid))


async def _measure(url: str, pid: int) -> dict[str, Any]:
    print("outage", flush=True)
    cache = Cache(url)
    around = [Middleware(CacheMiddleware, cache=cache)]
    app, plain = apps.starlette(around, cached(ttl="1h", tags=["items"])), apps.starlette()
    own = await _latencies(plain)
    states: dict[str, Callable[[], None]] = {
        "well": lambda: None,
        "stopped": lambda: os.kill(pid, signal.SIGSTOP),
        "killed": lambda: os.kill(pid, signal.SIGKILL),
    }
    await _latencies(app)  # fills the cache, and opens the connection
    rows = []
    for state, bring_about in states.items():
        bring_about()
        rows.append(_line(state, await _latencies(app), own))
    await cache.close()
    return {"settings": {"requests": REQUESTS, "allowance_ms": ALLOWANCE}, "rows": rows}


async def _latencies(app: ASGIApp) -> list[float]:
    """Seconds per request, in the order they were made."""
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        await app(same_url(), receive, discard)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    return taken


def _line(state: str, taken: list[float], own: list[float]) -> dict[str, Any]:
    base = sorted(own)[len(own) // 2]
    extra = sorted((each - base) * 1e3 for each in taken)
    return {
        "name": f"Redis {state}",
        "median_ms": round(extra[len(extra) // 2], 3),
        "p99_ms": round(extra[int(len(extra) * 0.99)], 2),
        "worst_ms": round(extra[-1], 2),
    }
