"""Time as a test sets it."""

from __future__ import annotations

import time
from datetime import timedelta

from rcache.core.settings import seconds


class HandClock:
    """Time that passes only when a test says so. `Cache(clock=HandClock())` goes by it, with its store and its middleware."""

    def __init__(self, now: float | None = None) -> None:
        """`now`: seconds since the epoch; None: this moment, in whole seconds."""
        self.now = float(int(time.time())) if now is None else now
        self.elapsed = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """Seconds that have passed since the clock was made."""
        return self.elapsed

    def boottime(self) -> float:
        """The same: nothing is suspended."""
        return self.elapsed

    def advance(self, duration: float | str | timedelta) -> None:
        """Lets a time pass: seconds, a text such as "10m", or a timedelta."""
        passed = duration if isinstance(duration, int | float) else seconds(duration, "duration")
        self.now += passed
        self.elapsed += passed
