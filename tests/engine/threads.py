"""Threads that take turns as often as Python can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def switching(*works: Callable[[], object]) -> list[BaseException]:
    """Runs each in a thread of its own, to the end; what they raised."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return errors
