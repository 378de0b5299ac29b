"""Time as a value: what the acting floors ask instead of the operating system."""

from __future__ import annotations

from time import monotonic as _monotonic
from time import time as _time
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

    time = staticmethod(_time)
    monotonic = staticmethod(_monotonic)
