"""Tells once a second what a node has counted, from a thread of its own: whatever fails there is nobody's trouble."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from rcache import logs
from rcache.core.errors import BackendError
from rcache.core.history import together
from rcache.core.reports import Report, busiest
from rcache.engine.telemetry import INTERVAL, MOST_WAITING, Telemetry
from rcache.ports import Board

PATIENCE: Final = 5.0  # seconds that a close leaves the last report
AT_EXIT: Final = 1.0  # seconds that the end of the process leaves it

_REPORTERS: weakref.WeakSet[Reporter] = weakref.WeakSet()


class Reporter:
    """Begins when it is woken, in each process, and tells until it is stopped, or nobody wants its telemetry any more."""

    def __init__(self, telemetry: Telemetry, board: Callable[[], Board]) -> None:
        """`board` makes a way to where it is told."""
        self._telemetry = telemetry
        self._make_board = board
        _REPORTERS.add(self)
        telemetry.heard = self.wake
        telemetry.heirs.append(self._begin)  # the thread is not there, and its connection is the parent's
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    @property
    def is_awake(self) -> bool:
        """Whether its thread runs."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def wake(self, now: float = 0.0) -> None:
        """Tells from now on."""
        if self.is_awake:
            return
        with self._lock:
            if not self.is_awake:
                self._stopped = threading.Event()
                work = _Work(self._telemetry, self._make_board(), self._stopped)
                self._thread = threading.Thread(target=work.run, name="rcache-telemetry", daemon=True)
                self._thread.start()

    def stop(self, patience: float = PATIENCE) -> None:
        """Tells what is left, and ends. Blocks for so many seconds at most; begins again when it is woken."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience)


@atexit.register
def _tell_all() -> None:
    """A script that purges and ends without a close is to leave its events, too."""
    for reporter in list(_REPORTERS):
        if reporter.is_awake:
            reporter.stop(AT_EXIT)


class _Work:
    """What the thread does. While it waits it keeps nobody alive, so that a cache may be dropped unclosed."""

    def __init__(self, telemetry: Telemetry, board: Board, stopped: threading.Event) -> None:
        self._telemetry = weakref.ref(telemetry)
        self._board = board
        self._stopped = stopped
        self._node = ""
        self._late: Report | None = None  # could not be told
        self._is_told = True

    def run(self) -> None:
        try:
            while self._tell() and not self._stopped.wait(INTERVAL):
                pass
            if self._late is None and self._tell():  # where Redis is gone nobody is to wait for it at a close
                self._board.depart(self._node)
        except Exception as error:
            logs.NODE_SILENT.tell(error=str(error))
        finally:
            self._board.close()

    def _tell(self) -> bool:
        """Whether there is still something to be told."""
        telemetry = self._telemetry()
        if telemetry is None:
            return False
        self._node = telemetry.node
        try:
            report = _both(self._late, telemetry.report())
            self._late = report
            self._board.report(report)
        except Exception as error:
            if self._is_told:
                self._is_told = False
                unforeseen = None if isinstance(error, BackendError) else error
                logs.COUNTS_UNTOLD.tell(exc_info=unforeseen, error=str(error))
        else:
            self._late, self._is_told = None, True
        return True


def _both(late: Report | None, report: Report) -> Report:
    """What could not be told before is told now, but for hits: by then others are popular."""
    if late is None:
        return report
    counted, routes = together((late.counted, late.routes), (report.counted, report.routes))
    aged = [(age + INTERVAL, event) for age, event in late.events]
    return replace(report, counted=counted, routes=busiest(routes), events=[*aged, *report.events][-MOST_WAITING:])
