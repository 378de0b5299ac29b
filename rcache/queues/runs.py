"""One run of a job, from a ticket to what became of it: the same for every queue."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from rcache import logs
from rcache.clock import Clock
from rcache.core.jobs import Job, Outcome, RunRow, Ticket, UnknownJobError, backoff

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
        logs.JOB_TOO_LATE.tell(job=job.name, late=began - ticket.due, ttl=job.ttl)
        return ended("late")
    if attempt > job.retries + DEATHS + 1 and attempt > STRANGE_RUNS:
        return ended("failed", f"given up before run {attempt}: the processes that ran it died")
    try:
        follow = await run(job)
    except UnknownJobError as error:
        if attempt < STRANGE_RUNS:
            logs.JOB_LEFT.tell(job=job.name, error=str(error))
            return ended("again", _line(error), backoff(attempt, _chance.random()))
        logs.JOB_UNKNOWN.tell(job=job.name, error=str(error))
        return ended("unknown", _line(error))
    except Exception as error:
        if attempt <= job.retries:
            again = backoff(attempt, _chance.random())
            logs.JOB_FAILED_ONCE.tell(exc_info=error, job=job.name, run=attempt, runs=job.retries + 1, pause=again)
            return ended("again", _line(error), again)
        logs.JOB_FAILED.tell(exc_info=error, job=job.name)
        return ended("failed", _line(error))
    return ended("done", follow=follow if isinstance(follow, Job) else None)


def _line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 3] + "..."
