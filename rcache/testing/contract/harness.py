"""What the suite needs of a store beside the store itself: a second node, and the faults that it has to bear."""

from __future__ import annotations

from typing import Any, Protocol

from rcache.ports import Store


class Harness(Protocol):
    """Makes stores of one kind, and does to their data what time and faults do. The suite asks a fixture `harness` for one."""

    has_hand_clock: bool
    """Whether `advance` moves the very clock that a look-up tells; else it makes what is stored older."""

    async def make(self, **settings: Any) -> Store:
        """An empty store, which the methods below are about from now on.

        `settings` are some of `shards` (guards that tags are spread over), `max_marks` (for each), `max_variants` and `quarantine`
        (seconds for which nothing is answered or stored after a loss).
        """
        ...

    async def second(self) -> Store:
        """Another node on the same data; for a store in one process that is the store."""
        ...

    def joined(self) -> None:
        """Returns when every node hears of what the others do."""
        ...

    async def close(self) -> None:
        """Closes every store that was made."""
        ...

    async def lose_guard(self, tag: str) -> None:
        """The guard that judges `tag` is gone, with its marks and holds."""
        ...

    async def new_epoch(self) -> None:
        """The data is that of another history: a restart, or a replica took over."""
        ...

    async def forget_everything(self) -> None:
        """All of it is gone."""
        ...

    async def advance(self, seconds: float) -> None:
        """As if that time had passed since everything was written."""
        ...
