"""What happened in a run, one line each, by a clock that all processes share; and the lines around a stale answer."""

from __future__ import annotations

import logging
import os
import time
from operator import itemgetter
from pathlib import Path


class Events:
    """Appends lines; each is one write, so that those of a process that is killed are there as well."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._who = who

    def note(self, what: str) -> None:
        """This happens now."""
        os.write(self._file, f"{time.monotonic():.6f} {self._who} {what}\n".encode())


class EventHandler(logging.Handler):
    """Lets what rcache logs stand among the events."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self._events.note(f"log: {record.getMessage()[:200]}".replace("\n", " "))


def around(path: Path, item: int, since: float, until: float, most: int = 400) -> list[str]:
    """What concerns an item, or everybody, in that time, oldest first; times relative to `until`."""
    lines = []
    with path.open(errors="replace") as file:
        for line in file:
            at, _, what = line.partition(" ")
            if since <= float(at) <= until and _concerns(what, item):
                lines.append((float(at), what.rstrip()))
    lines.sort(key=itemgetter(0))
    return [f"{at - until:+9.4f} s  {what}" for at, what in lines[-most:]]


def _concerns(what: str, item: int) -> bool:
    if " items=" not in what:
        return True
    named = what.partition(" items=")[2].split()[0]
    return str(item) in named.split(",")
