"""One run of a job, from a ticket to what became of it: the same for every queue."""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from rcache.clock import Clock
from rcache.core.jobs import Job, Outcome, RunRow, Ticket, UnknownJobError, backoff

logger = logging.getLogger("rcache.jobs")

Run = Callable[[Job], Awaitable[Job | None]]

STRANGE_RUNS: Final = 10
"""How often a job is looked at whose function is unknown: in a deployment some processes know it before others do (17 minutes)."""

DEATHS: Final = 3
"""How many processes may die with a job, beyond its retries, before it is given up: it may be the job that kills them."""

MAX_ERROR: Final = 500  # characters of an error that are kept

_chance = random.SystemRandom()


def this_node() -> str:
    """This process, for people."""
    return f"{socket.gethostname()}#{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run. `again`: seconds until the next one, where there is one. `follow`: the job to be added after it."""

    job: Job
    row: RunRow
    again: float | None = None
    follow: Job | None = None


async def carry_out(run: Run, ticket: Ticket, attempt: int, clock: Clock) -> Ended:
    """Runs it, unless it is too late; never raises but what cancels it."""
    job = ticket.job
    began = clock.time()
    started = clock.monotonic()

    def ended(
        outcome: Outcome, error: str | None = None, again: float | None = None, follow: Job | None = None
    ) -> Ended:
        seconds = clock.monotonic() - started
        row = RunRow(job.name, job.key, job.priority, began + seconds, seconds, attempt, outcome, error, this_node())
        return Ended(job, row, again, follow)

    if ticket.is_late(began):
        logger.warning(
            "job %s is dropped: it was to begin %.1f s ago, and is of no use after %s s",
            job.name,
            began - ticket.due,
            job.ttl,
        )
        return ended("late")
    if attempt > job.retries + DEATHS + 1 and attempt > STRANGE_RUNS:
        return ended("failed", f"given up before run {attempt}: the processes that ran it died")
    try:
        follow = await run(job)
    except UnknownJobError as error:
        if attempt < STRANGE_RUNS:
            logger.warning("job %s is left for a process that knows it: %s", job.name, error)
            return ended("again", _line(error), backoff(attempt, _chance.random()))
        logger.error("job %s is dropped: %s", job.name, error)
        return ended("unknown", _line(error))
    except Exception as error:
        if attempt <= job.retries:
            again = backoff(attempt, _chance.random())
            logger.warning(
                "job %s has failed (run %d of %d), and is run again in %.1f s",
                job.name,
                attempt,
                job.retries + 1,
                again,
                exc_info=error,
            )
            return ended("again", _line(error), again)
        logger.error("job %s has failed", job.name, exc_info=error)
        return ended("failed", _line(error))
    return ended("done", follow=follow if isinstance(follow, Job) else None)


def _line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 3] + "..."
