"""Spares requests the wait for a Redis that does not answer."""

from __future__ import annotations

import threading
import time
from typing import Final

from rcache import logs

FIRST_WAIT: Final = 0.25  # seconds from the failure to the first probe
LONGEST_WAIT: Final = 2.0  # waits double up to this many seconds


class Breaker:
    """Closed while Redis answers. Once it fails, open: one call at a time goes out as a probe, the others fail at once.

    Shared by all loops and threads of a store. Says once per opening why, and once that it is over.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._lock = threading.Lock()
        self._wait = FIRST_WAIT
        self._probe_at = 0.0

    def admits(self) -> bool:
        """Whether a call may go out: always while closed, else only as the one probe of this interval."""
        if not self.is_open:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._probe_at:
                return False
            # The next probe is not before this one had its time; a probe that is cancelled needs no care.
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._probe_at = now + self._wait
            return True

    def fail(self, reason: str) -> None:
        """A call got no answer that can be used."""
        with self._lock:
            if self.is_open:
                return
            self.is_open = True
            self._wait = FIRST_WAIT
            self._probe_at = time.monotonic() + FIRST_WAIT
        logs.STORE_DOWN.tell(error=str(reason))

    def succeed(self) -> None:
        """Redis answered."""
        if not self.is_open:
            return
        with self._lock:
            if not self.is_open:
                return
            self.is_open = False
        logs.STORE_UP.tell()
