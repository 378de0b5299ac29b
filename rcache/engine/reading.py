"""Who wants to know what is read just now: the answer being made, or a `capture`.

A context variable holds one object that is placed before the application is called, since what is set *inside*, say under
BaseHTTPMiddleware or in a thread, does not come back; what is added to this object does.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from rcache.core.reads import Reads

gathering: ContextVar[Reads | None] = ContextVar("rcache_reads", default=None)
"""Where whoever sees the application read writes it down; None where nobody asks."""

WROTE: Final = "wrote"
"""Why an answer is not stored whose making changed something, as Cache-Status says it."""


def current_reads() -> Reads | None:
    """What is being gathered now, in this task, this thread or this greenlet; None where nobody asks."""
    return gathering.get()


def note_write() -> None:
    """Something is being changed: an answer made meanwhile shows what is its maker's own."""
    reads = gathering.get()
    if reads is not None:
        reads.exclude(WROTE)
