"""Counters of one cache in this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    """What this process did since the cache was made. Every request to a rule counts under exactly one of the first four."""

    hits: int = 0
    misses: int = 0
    collapsed: int = 0  # answered from another request's run of the application
    bypasses: int = 0
    stores: int = 0
    refusals: int = 0  # the store did not accept an entry: purged meanwhile, quarantine, or full
    purges: int = 0
    outages: int = 0  # trips that failed or took too long
