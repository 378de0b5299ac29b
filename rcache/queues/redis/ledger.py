"""What became of the jobs that a process ran, written down for all to see: a few times per second, not once per job."""

from __future__ import annotations

from collections import Counter, deque

import orjson
from streaq import Worker

from rcache.core.jobs import KEPT_ROWS, OUTCOMES, Outcome, RunRow
from rcache.core.keys import RedisNames
from rcache.queues.redis.lane import dumps


class Ledger:
    """Counts and last rows that are not written down yet."""

    def __init__(self, names: RedisNames) -> None:
        self._names = names
        self._counts: Counter[Outcome] = Counter()
        self._runs: deque[str] = deque(maxlen=KEPT_ROWS)
        self._failures: deque[str] = deque(maxlen=KEPT_ROWS)

    def note(self, row: RunRow) -> None:
        """A run has ended."""
        text = dumps(
            (row.name, row.key, row.lane, row.ended, row.seconds, row.attempt, row.outcome, row.error, row.node)
        )
        self._counts[row.outcome] += 1
        self._runs.append(text)
        if row.outcome != "done":
            self._failures.append(text)

    async def write(self, desk: Worker[None]) -> None:
        """Nothing is left to be written. What cannot be is tried again with the next."""
        if not self._runs:
            return
        counts, runs, failures = self._counts.copy(), tuple(self._runs), tuple(self._failures)
        async with desk.redis.pipeline(transaction=True) as pipe:
            for outcome, number in counts.items():
                pipe.hincrby(self._names.counts, outcome, number)
            for name, rows in ((self._names.runs, runs), (self._names.failures, failures)):
                if rows:
                    pipe.lpush(name, rows)
                    pipe.ltrim(name, 0, KEPT_ROWS - 1)
        self._counts -= counts
        for kept, rows in ((self._runs, runs), (self._failures, failures)):
            for text in rows:
                if kept and kept[0] == text:
                    kept.popleft()


def read_row(text: str) -> RunRow:
    """The row of which `Ledger.note` made the text."""
    return RunRow(*orjson.loads(text))


def read_counts(found: dict[str, str]) -> dict[Outcome, int]:
    """All counts, also of what has not happened yet."""
    return {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES}
