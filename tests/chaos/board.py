"""What writers know to be committed, in memory that all processes of a run share.

A column per writer, and one for the monitor, which asks the database itself: nobody waits for anybody, and a number that is
there stays though its writer is killed. A number is written at once (eight aligned bytes).
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Final

ITEMS: Final = 48
GROUP: Final = 4  # items that one page shows together
COLUMNS: Final = 4
MONITOR: Final = COLUMNS - 1
SLOTS: Final = 512  # versions of an item whose moment is remembered
STOP, CLOCK = 0, 1  # of the first words
HEAD: Final = 8
SIZE: Final = 8 * (HEAD + COLUMNS * ITEMS + 2 * ITEMS * SLOTS)


def is_held(item: int) -> bool:
    """Whether writers hold its tag around the COMMIT (P2); the others are invalidated after it (P1)."""
    return item % 2 == 1


class Board:
    """One process' view of it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")
        self.columns = [self._words[HEAD + ITEMS * place : HEAD + ITEMS * (place + 1)] for place in range(COLUMNS)]
        self._moments = self._words[HEAD + COLUMNS * ITEMS :]

    def publish(self, column: int, item: int, version: int) -> None:
        """From now on nobody may be answered with an earlier version."""
        place = 2 * (item * SLOTS + version % SLOTS)
        if self._moments[place] != version:
            self._moments[place + 1] = time.monotonic_ns()
            self._moments[place] = version
        if self.columns[column][item] < version:
            self.columns[column][item] = version

    def newest(self, item: int) -> int:
        """The newest version that is known to be committed."""
        return max([column[item] for column in self.columns])

    def overtaken_at(self, item: int, version: int, newest: int) -> float:
        """The moment (of the monotonic clock) at which the first later version than `version` was published."""
        later = [
            self._moments[place + 1]
            for number in range(version + 1, newest + 1)
            if self._moments[place := 2 * (item * SLOTS + number % SLOTS)] == number
        ]
        return min(later) / 1e9 if later else float("nan")

    @property
    def is_over(self) -> bool:
        """Whether everybody is to end."""
        return bool(self._words[STOP])

    def end(self) -> None:
        """Everybody is to end."""
        self._words[STOP] = 1

    @property
    def clock_step(self) -> float:
        """Seconds by which the stepped node's clock is wrong."""
        return self._words[CLOCK] / 1e6

    def step_clock(self, seconds: float) -> None:
        """That node's clock is wrong by so much from now on."""
        self._words[CLOCK] = int(seconds * 1e6)
