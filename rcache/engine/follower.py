"""Follows the log for a near cache: one thread, one connection, one lease.

A thread, because a process may have several event loops, or a new one for each test, and all of them share what is kept near.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import weakref
from collections.abc import Iterator
from typing import Final

from rcache import logs
from rcache.clock import Clock
from rcache.core.errors import BackendError
from rcache.core.log import Record
from rcache.engine.near_cache import NearCache
from rcache.ports import Log

RENEWALS: Final = 4  # per lease
FIRST_PAUSE: Final = 0.05  # seconds between two attempts to follow, doubled up to LONGEST_PAUSE
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
        self._pause = 0.0
        self._is_told = False
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(self), log, self._stopped), name="rcache-near", daemon=True
        )
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def turn(self) -> tuple[int, float] | None:
        """Joins or renews where that is due; after which record to read, and how long to wait. None: not now."""
        try:
            if not self.joined.is_set() and not self._join():
                return None
            if self._boottime() >= self._renew_at:
                self._renew()
        except Exception as error:
            self.doubt(error)
            return None
        return self._near.tail, max(0.0, self._renew_at - self._boottime())

    def _join(self) -> bool:
        """Whether there is a log to follow."""
        self._counter += 1
        sent = self._boottime()
        head = self._log.join(self.node, self._counter, self._lease, self._is_strict)
        if head is None:
            return False
        with self._following():
            self._near.join(head, sent, self._lease)
            self.joined.set()
        self._renew_at = sent + self._lease / RENEWALS
        self._behind = None
        return True

    def _renew(self) -> None:
        self._counter += 1
        sent = self._boottime()
        tail = self._near.tail
        head = self._log.renew(self.node, self._counter, tail)
        with self._following():
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
        with self._following():
            if not self._near.apply(records):
                raise DoubtError("it lost its place in the log")
        self._pause = 0.0
        self._is_told = False
        if self._is_strict and any(record.is_awaited for record in records):
            self._renew_at = 0.0

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        """What is done to the near cache is done before this was stopped or not at all: somebody else may follow by then."""
        with self._lock:
            if self._stopped.is_set():
                raise DoubtError("nobody wants it any more")
            yield

    def doubt(self, error: Exception) -> None:
        """Lets go of everything; the next turn joins anew."""
        with self._lock:
            if self._stopped.is_set():
                return
            self.joined.clear()
            self._near.doubt()
        if isinstance(error, DoubtError):
            logs.NEAR_ANEW.tell(error=str(error))
        elif not self._is_told:
            self._is_told = True
            unforeseen = None if isinstance(error, BackendError) else error
            logs.NEAR_PAUSED.tell(exc_info=unforeseen, error=str(error))

    def pause(self) -> float:
        """Seconds until the next turn, where nothing could be read: none at first, then twice as many each time."""
        pause, self._pause = self._pause, min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        return pause

    def stop(self, timeout: float = 5.0) -> None:
        """Serves nothing from now on, leaves, and ends the thread. Blocks."""
        with self._lock:
            self._stopped.set()
            self.joined.clear()
            self._near.doubt()
        self._log.close()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)


def _run(follower_of: weakref.ref[Follower], log: Log, stopped: threading.Event) -> None:
    """The thread's work. While it waits it keeps nobody alive, so that a cache may be dropped unclosed.

    Whatever fails is a doubt: nothing ends the thread but `stopped`, and that nobody wants it any more.
    """
    node = ""
    while not stopped.is_set() and (follower := follower_of()) is not None:
        node = follower.node
        place = follower.turn()
        pause = follower.pause() if place is None else 0.0
        del follower
        if place is not None:
            pause = _take(follower_of, log, place)
        if pause:
            stopped.wait(pause)
    try:
        log.leave(node)
    except Exception as error:  # it is struck out when somebody waits for it
        logs.NODE_SILENT.tell(error=str(error))
    log.close()


def _take(follower_of: weakref.ref[Follower], log: Log, place: tuple[int, float]) -> float:
    """Reads what comes after that place, and hands it over; for how many seconds to pause where that failed."""
    try:
        records = log.read(*place)
        if (follower := follower_of()) is not None:
            follower.apply(records)
    except Exception as error:
        if (follower := follower_of()) is not None:
            follower.doubt(error)
            return follower.pause()
    return 0.0
