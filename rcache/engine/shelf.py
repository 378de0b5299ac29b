"""A place for so many bytes of entries, where those in use stay.

S3-FIFO (Yang and others, SOSP 2023): what is new waits in a small queue, and only what was asked for again there moves to the
main one; what did not is remembered for a while, and goes straight to the main queue if it comes back. So a crawler that
asks for everything once pushes out nothing that is in use. A hit only counts: no lock, and nothing moves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

SMALL: Final = 10  # one in so many bytes is for what is new
MOST_USES: Final = 3  # counted; more would keep what was in use long ago


class Item(Protocol):
    """What can be shelved."""

    size: int
    uses: int  # since it was last looked at; whoever serves it adds one, up to MOST_USES

    @property
    def name(self) -> Hashable:
        """What it is known by when it comes back."""
        ...


I = TypeVar("I", bound=Item)  # noqa: E741


class Shelf(Generic[I]):
    """Items up to `max_bytes`; `dropped` is told of each that has to make room. The caller holds a lock."""

    def __init__(self, max_bytes: int, dropped: Callable[[I], None]) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._dropped = dropped
        self._small: OrderedDict[I, None] = OrderedDict()  # oldest first
        self._main: OrderedDict[I, None] = OrderedDict()
        self._small_bytes = 0
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # hashes of names that left the small queue unused

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def add(self, item: I) -> bool:
        """Whether there is room for it at all; others may make some."""
        if item.size > self.max_bytes:
            return False
        self.used_bytes += item.size
        if self._ghosts.pop(hash(item.name), self) is None:
            self._main[item] = None
        else:
            self._small[item] = None
            self._small_bytes += item.size
        while self.used_bytes > self.max_bytes:
            self._make_room()
        return item in self._small or item in self._main

    def discard(self, item: I) -> None:
        """It is here no more; `dropped` is not told."""
        if self._small.pop(item, self) is None:
            self._small_bytes -= item.size
            self.used_bytes -= item.size
        elif self._main.pop(item, self) is None:
            self.used_bytes -= item.size

    def clear(self) -> None:
        """Nothing is here any more; `dropped` is not told."""
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self.used_bytes = self._small_bytes = 0

    def _make_room(self) -> None:
        is_crowded = (
            self._small_bytes > self.max_bytes // SMALL and len(self._small) > 1
        )  # the latest is to have a chance
        if self._small and (is_crowded or not self._main):
            item, _ = self._small.popitem(last=False)
            self._small_bytes -= item.size
            if item.uses:
                item.uses = 0
                self._main[item] = None
                return
            self._ghosts[hash(item.name)] = None
            while len(self._ghosts) > len(self) + 100:
                self._ghosts.popitem(last=False)
        else:
            item, _ = self._main.popitem(last=False)
            if item.uses:
                item.uses -= 1
                self._main[item] = None
                return
        self.used_bytes -= item.size
        self._dropped(item)
