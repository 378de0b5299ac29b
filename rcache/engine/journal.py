"""Purges that have not landed: kept in order, and sent again until they do.

While the store cannot be reached, the tags wait here, and this process serves nothing that carries one of them. A thread of
its own sends them, with the store's synchronous client, so that a script without an event loop, a test client with a new
loop per request and a server share one mechanism. Memory is bounded: a tag that waits already waits once, and where too many
wait, the journal no longer tells them apart. It then holds one purge of everything, and until that has landed this process
serves nothing at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from rcache import logs
from rcache.core.entry import Purge
from rcache.core.errors import BackendError

FIRST_PAUSE = 0.05  # seconds between two attempts, doubled up to LONGEST_PAUSE
LONGEST_PAUSE = 1.0
SLICE = 1000  # tags that one attempt sends
EVERYTHING = "\x1e"
"""In place of all tags; users' tags cannot hold a control character."""


class Ticket(NamedTuple):
    """One purge in the journal."""

    number: int
    entries_before: int  # killed by what had landed when it was issued


class Journal:
    """The purges of one cache in this process that have yet to land."""

    def __init__(
        self,
        send: Callable[[Sequence[str], float], Purge],
        flush: Callable[[float], Purge],
        timeout: float,
        bound: int = 100_000,
    ) -> None:
        """`bound`: how many tags are told apart."""
        self._send = send
        self._flush = flush
        self._timeout = timeout
        self._bound = bound
        self.waiting: dict[str, _Wait] = {}  # longest waiting first
        self._issued = 0
        self._landed = 0
        self._number = 0  # of the purge that landed last
        self._entries = 0  # killed by all that landed
        self.forget_parent()

    def forget_parent(self) -> None:
        """In a forked child: the thread is not here, and may have held the lock. What waits is sent from here as well."""
        self._changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._closing = False

    def blocks(self, tags: Iterable[str]) -> bool:
        """Whether a purge of one of `tags` has yet to land, so that nothing which carries it may be served."""
        waiting = self.waiting
        if not waiting or not (EVERYTHING in waiting or any(tag in waiting for tag in tags)):
            return False
        if self._thread is None:  # given up at a close, but the cache is in use again
            with self._changed:
                self._send_on()
        return True

    def add(self, tags: Iterable[str]) -> Ticket:
        """The ticket of a purge that is now sent until it lands."""
        with self._changed:
            self._issued += 1
            for tag in (EVERYTHING,) if EVERYTHING in self.waiting else tags:
                self.waiting.setdefault(tag, _Wait(self._issued)).latest = self._issued
            if len(self.waiting) > self._bound:
                self._overflow()
            self._send_on()
            return Ticket(self._issued, self._entries)

    def _overflow(self) -> None:
        logs.PURGES_OVERFLOW.tell(bound=self._bound)
        everything = _Wait(min(wait.earliest for wait in self.waiting.values()))
        everything.latest = self._issued
        self.waiting = {EVERYTHING: everything}

    def _send_on(self) -> None:
        # A thread that close() told to end may still be sending: it is to go on as well.
        self._closing = False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="rcache-journal", daemon=True)
            self._thread.start()

    def landed(self, ticket: Ticket) -> Purge | None:
        """What the ticket's purge did, once it has landed: a number at or above its own, and an upper bound of entries."""
        with self._changed:
            if self._landed < ticket.number:
                return None
            return Purge(self._number, self._entries - ticket.entries_before)

    def wait(self, ticket: Ticket, timeout: float) -> Purge | None:
        """`landed`, waited for at most `timeout` seconds. Blocks the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._landed >= ticket.number, timeout)
        return self.landed(ticket)

    async def wait_async(self, ticket: Ticket, timeout: float) -> Purge | None:
        """`wait` that leaves the event loop free."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def listener() -> None:
            if self._landed >= ticket.number:
                with contextlib.suppress(RuntimeError):  # the loop was closed, and with it whoever waited
                    loop.call_soon_threadsafe(done.set)

        self._listeners.add(listener)
        try:
            listener()
            await asyncio.wait_for(done.wait(), timeout)
        except TimeoutError:
            pass
        finally:
            self._listeners.discard(listener)
        return self.landed(ticket)

    def hurry(self, timeout: float) -> bool:
        """Sends what waits at once; whether all of it has landed within `timeout` seconds. Blocks the thread."""
        with self._changed:
            self._hurry.set()
            return self._changed.wait_for(lambda: not self.waiting, timeout)

    def close(self, timeout: float) -> None:
        """Gives what waits one more chance of `timeout` seconds; what has not landed by then is given up, and logged.

        Its tags stay blocked, and it is sent again once the cache is used again.
        """
        with self._changed:
            if self.waiting:
                self._send_on()
            self._hurry.set()
            self._changed.wait_for(lambda: not self.waiting, timeout)
            self._closing = True
            self._hurry.set()
            if self.waiting:
                logs.PURGES_LOST.tell(count=len(self.waiting), tags=str(list(self.waiting)[:20]))

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                if self._closing or not self.waiting:
                    self._thread = None
                    self._hurry.clear()
                    return
                sent = {tag: wait.latest for tag, wait in islice(self.waiting.items(), SLICE)}
            try:
                purge = self._flush(self._timeout) if EVERYTHING in sent else self._send(list(sent), self._timeout)
            except Exception as error:
                if not isinstance(error, BackendError):
                    logs.PURGE_UNFORESEEN.tell(exc_info=True)
                self._hurry.wait(pause)
                self._hurry.clear()
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                self._strike(sent, purge)

    def _strike(self, sent: dict[str, int], purge: Purge) -> None:
        with self._changed:
            for tag, latest in sent.items():
                wait = self.waiting.get(tag)
                if wait is None:  # told apart no more
                    continue
                if wait.latest == latest:
                    del self.waiting[tag]
                else:  # asked for again while it was being sent
                    wait.earliest = latest + 1
            self._landed = min((wait.earliest for wait in self.waiting.values()), default=self._issued + 1) - 1
            self._number = purge.number
            self._entries += purge.entries
            self._changed.notify_all()
        for listener in list(self._listeners):
            listener()


class _Wait:
    """The tickets that a waiting tag has yet to satisfy."""

    __slots__ = ("earliest", "latest")

    def __init__(self, ticket: int) -> None:
        self.earliest = ticket
        self.latest = ticket
