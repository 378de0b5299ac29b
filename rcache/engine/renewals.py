"""Renews what is held while its writers are at work.

In a thread of its own, for all of a cache in this process: a hold must not run out because an event loop is busy, and writers
with and without one need the same.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from rcache import logs

IDLE: Final = 10.0  # seconds that the thread stays when nothing is held: the next hold need not start it again


class Renewable(Protocol):
    """Something that runs out unless it is renewed."""

    def renew(self) -> None:
        """Renews it, or raises."""
        ...


class Renewals:
    """Renews each of its members every `interval` seconds until it is discarded."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._start_idle()

    def _start_idle(self) -> None:
        self._due: dict[Renewable, float] = {}  # soonest first: every interval is the same
        self._chores: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy_with: Renewable | None = None

    def forget_parent(self) -> None:
        """In a forked child: what is held is the parent's to renew, and its lock may be held by a thread that is not here."""
        self._start_idle()

    def add(self, hold: Renewable) -> None:
        """Renews it from now on."""
        with self._changed:
            is_first = not self._due
            self._due.pop(hold, None)
            self._due[hold] = monotonic() + self._interval
            self._work(wake=is_first)

    def discard(self, hold: Renewable) -> bool:
        """Renews it no more; whether a renewal of it may still be under way."""
        with self._changed:
            self._due.pop(hold, None)
            return self._busy_with is hold

    def afterwards(self, chore: Callable[[], None]) -> None:
        """Calls it once the renewal under way is over."""
        with self._changed:
            self._chores.append(chore)
            self._work(wake=True)

    def _work(self, *, wake: bool) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="rcache-renewals", daemon=True)
            self._thread.start()
        elif wake:
            self._changed.notify_all()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception as error:
                logs.HOLD_NOT_RENEWED.tell(error=str(error))
            with self._changed:
                self._busy_with = None

    def _next(self) -> Callable[[], None] | None:
        """What is due, waited for; None when nothing is held any more, and the thread is to end."""
        with self._changed:
            while not self._chores:
                soonest = next(iter(self._due), None)
                if soonest is None:
                    if not self._changed.wait_for(lambda: self._due or self._chores, IDLE):
                        self._thread = None
                        return None
                    continue
                wait = self._due[soonest] - monotonic()
                if wait <= 0:
                    del self._due[soonest]
                    self._due[soonest] = monotonic() + self._interval
                    self._busy_with = soonest
                    return soonest.renew
                self._changed.wait(wait)
            return self._chores.popleft()
