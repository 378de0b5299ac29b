"""Time as a value: what the acting floors ask instead of the operating system."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that people agree on, one that never steps."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never steps back."""
        ...


class SystemClock:
    """The machine's clocks."""

    time = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
