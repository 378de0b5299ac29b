"""`rcache worker`: a process that runs jobs and schedules, so that web processes need not."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Annotated, Any

import typer

from rcache.asgi.explain import find_middleware
from rcache.asgi.lifespan import running
from rcache.cache import Cache, only_cache
from rcache.cli.main import DONE, FAILED, INTERRUPTED
from rcache.cli.options import found_at, log_to_stderr, named, takes
from rcache.core.errors import ConfigurationError
from rcache.core.jobs import LANES, Lane
from rcache.core.settings import seconds
from rcache.engine.work import CONCURRENCY
from rcache.stores.memory import MemoryStore

logger = logging.getLogger("rcache.jobs")

MOST = 200


def add(app: typer.Typer) -> None:
    """`worker`."""
    app.command()(takes(worker, extra="worker"))


def worker(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="The application, as for its server.")],
    *,
    factory: Annotated[bool, typer.Option("--factory", help="It is a function that makes the application.")] = False,
    cache: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Its Cache, where it has no CacheMiddleware, or several.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(help="Jobs of each lane that run at a time.", min=1, max=MOST)
    ] = CONCURRENCY,
    lanes: Annotated[str, typer.Option(help="Which it serves: high,low or one of them.", metavar="LIST")] = "high,low",
    drain: Annotated[str, typer.Option(help="How long jobs under way may take once it is to end.")] = "30s",
) -> int:
    """Run jobs and schedules until SIGTERM; what is under way then is waited for.

    The application is loaded and its lifespan runs, but no request comes. Exit codes: 0 all has ended in order; 1 the application
    did not start, or jobs were left to others; 130 it was interrupted.
    """
    log_to_stderr()
    chosen = _lanes(lanes)
    patience = seconds(drain, "--drain")
    app: Any = found_at(application)
    if factory:
        app = app()
    if not callable(app):
        raise ConfigurationError(f"{application!r} is a {type(app).__name__}, not an application")
    found = _cache(app, cache)
    if isinstance(found.store, MemoryStore):
        raise ConfigurationError(
            "an embedded cache (memory://) runs its jobs in the application's own process: for workers give it a cache on Redis,"
            " redis://host:6379/0"
        )
    return asyncio.run(_serve(app, found, chosen, concurrency, patience))


def _lanes(text: str) -> list[Lane]:
    chosen = [lane for lane in LANES if lane in text.split(",")]
    if not chosen or len(chosen) != len(text.split(",")):
        raise ConfigurationError(f"--lanes {text!r}: write high,low or one of them")
    return chosen


def _cache(app: Any, where: str | None) -> Cache:
    if where is not None:
        return named(where, Cache)
    try:
        return find_middleware(app).cache
    except ConfigurationError:  # a framework that does not show what it is made of
        return only_cache()


async def _serve(app: Any, cache: Cache, lanes: list[Lane], concurrency: int, patience: float) -> int:
    cache.telemetry.role = "worker"
    cache.warming.application = app
    told = asyncio.Event()
    ends: list[int] = []

    def end(number: int) -> None:
        ends.append(number)
        told.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    async with running(app):
        work = cache.work
        for row in work.schedules():
            logger.info("schedule %s: %s (%s)", row.name, row.rhythm, row.tz)
        logger.info("worker serves %s of %r, %d jobs each", " and ".join(lanes), cache.queue, concurrency)
        serving = asyncio.create_task(work.serve(told, lanes=lanes, concurrency=concurrency, is_worker=True))
        ending = asyncio.create_task(told.wait())
        await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
        logger.info("worker ends, and waits for jobs under way")
        _, left = await asyncio.wait([serving], timeout=patience)
        ending.cancel()
        if left:
            serving.cancel()
            logger.error("jobs under way were left to other processes: they took longer than %s s", patience)
            return FAILED
    await serving
    return INTERRUPTED if signal.SIGINT in ends else DONE
