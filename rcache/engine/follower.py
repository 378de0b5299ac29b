"""Follows the log for a near cache: one thread, one connection, one lease.

A thread, because a process may have several event loops, or a new one for each test, and all of them share what is kept near.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import weakref
from typing import Final

from rcache.clock import Clock
from rcache.core.errors import BackendError
from rcache.core.log import Record
from rcache.engine.near_cache import NearCache
from rcache.ports import Log

logger = logging.getLogger("rcache")

RENEWALS: Final = 4  # per lease
FIRST_PAUSE: Final = 0.05  # seconds between two attempts to join, doubled up to LONGEST_PAUSE
LONGEST_PAUSE: Final = 1.0


class DoubtError(Exception):
    """The near cache may have missed something: it begins anew."""


class Follower:
    """Joins, reads and renews, and begins anew on any doubt, until it is stopped."""

    def __init__(self, near: NearCache, log: Log, *, lease: float, is_strict: bool, clock: Clock) -> None:
        self.node = secrets.token_hex(8)
        self.joined = threading.Event()
        self._near = near
        self._log = log
        self._lease = lease
        self._is_strict = is_strict
        self._boottime = clock.boottime
        self._counter = 0
        self._renew_at = 0.0
        self._behind: tuple[int, float] | None = None  # a head that was not read yet, and since when
        self._pause = FIRST_PAUSE
        self._is_told = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=_run, args=(weakref.ref(self), log), name="rcache-near", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def turn(self) -> tuple[int, float] | None:
        """Joins or renews where that is due; after which record to read, and how long to wait. None where it is stopped."""
        while not self._stopped.is_set():
            try:
                if not self.joined.is_set():
                    self._join()
                elif self._boottime() >= self._renew_at:
                    self._renew()
                return self._near.tail, max(0.0, self._renew_at - self._boottime())
            except (BackendError, DoubtError) as error:
                self.doubt(error)
        return None

    def _join(self) -> None:
        self._counter += 1
        sent = self._boottime()
        head = self._log.join(self.node, self._counter, self._lease, self._is_strict)
        self._near.join(head, sent, self._lease)
        self._renew_at = sent + self._lease / RENEWALS
        self._behind = None
        self._pause = FIRST_PAUSE
        self._is_told = False
        self.joined.set()

    def _renew(self) -> None:
        self._counter += 1
        sent = self._boottime()
        tail = self._near.tail
        head = self._log.renew(self.node, self._counter, tail)
        if head is None or not self._near.renew(head, sent, self._lease):
            raise DoubtError("its lease had lapsed, or the log is another one")
        if head.number > tail and self._behind is None:
            self._behind = head.number, sent
        elif self._behind is not None and tail >= self._behind[0]:
            self._behind = None
        elif self._behind is not None and sent - self._behind[1] > self._lease / 2:
            raise DoubtError("what the log should hold cannot be read")
        self._renew_at = sent + self._lease / RENEWALS

    def apply(self, records: list[Record]) -> None:
        """Takes in what was read; what strict writers wait for is acknowledged at once."""
        if not self._near.apply(records):
            raise DoubtError("it lost its place in the log")
        if self._is_strict and any(record.is_awaited for record in records):
            self._renew_at = 0.0

    def doubt(self, error: Exception) -> None:
        """Lets go of everything, waits a little, and joins anew."""
        self.joined.clear()
        self._near.doubt()
        if isinstance(error, DoubtError):
            logger.info("the near cache begins anew: %s", error)
            return
        if not self._is_told and not self._stopped.is_set():
            self._is_told = True
            logger.warning("nothing is kept near until the log can be followed: %s", error)
        self._stopped.wait(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def stop(self, timeout: float = 5.0) -> None:
        """Serves nothing from now on, leaves, and ends the thread. Blocks."""
        self._stopped.set()
        self.joined.clear()
        self._near.doubt()
        self._log.close()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)


def _run(follower_of: weakref.ref[Follower], log: Log) -> None:
    """The thread's work. While it waits for records it keeps nobody alive, so that a cache may be dropped unclosed."""
    node = ""
    while (follower := follower_of()) is not None:
        node = follower.node
        place = follower.turn()
        if place is None:
            break
        del follower
        try:
            records = log.read(*place)
        except BackendError as error:
            if (follower := follower_of()) is not None:
                follower.doubt(error)
            continue
        if (follower := follower_of()) is not None:
            try:
                follower.apply(records)
            except DoubtError as error:
                follower.doubt(error)
    with contextlib.suppress(BackendError):  # it is struck out when somebody waits for it
        log.leave(node)
    log.close()
