"""Time as a value: what the acting floors ask instead of the operating system."""

from __future__ import annotations

import time as _clocks
from functools import partial
from time import monotonic as _monotonic
from time import time as _time
from typing import Protocol


class Clock(Protocol):
    """Three clocks: one that people agree on, one that never steps, one that does not stop while the machine is suspended."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never steps back."""
        ...

    def boottime(self) -> float:
        """Seconds since some moment, those of a suspended machine included; never steps back."""
        ...


class SystemClock:
    """The machine's clocks."""

    time = staticmethod(_time)
    monotonic = staticmethod(_monotonic)
    # Elsewhere than on Linux the monotonic clock is the best there is.
    boottime = staticmethod(
        partial(_clocks.clock_gettime, _clocks.CLOCK_BOOTTIME) if hasattr(_clocks, "CLOCK_BOOTTIME") else _monotonic
    )
