"""`Cache.writing`: a block that writes to anything, held before, purged after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rcache import logs
from rcache.core.errors import BackendError, UnknownOutcome
from rcache.core.tags import check_tag
from rcache.engine.holds import Hold
from rcache.engine.purge import Purged


class _Block:
    """What both kinds of block share."""

    def __init__(self, begin: Callable[[], Hold], tags: tuple[str, ...]) -> None:
        self._begin = begin
        self._tags = tuple(map(check_tag, tags))
        self._is_unknown = False
        self.hold: Hold
        self.purged: Purged | None = None
        """What the purge at the block's end did; None before, and where it was released."""

    def unknown(self) -> None:
        """From here on nobody knows whether it is written: whatever is raised now, the tags are purged and stay held.

        To be called right before a COMMIT whose exceptions do not tell.
        """
        self._is_unknown = True

    def _is_rolled_back(self, error: BaseException | None) -> bool:
        # A connection that breaks, or a task that is cancelled, may do so in the middle of a COMMIT.
        return isinstance(error, Exception) and not (self._is_unknown or isinstance(error, (UnknownOutcome, OSError)))


class Write(_Block):
    """`async with cache.writing(*tags) as write:`"""

    async def __aenter__(self) -> Self:
        self.hold = self._begin()
        try:
            await self.hold.place(self._tags)
        except BaseException:  # also cancelled: nothing was written
            await self.hold.release()
            raise
        return self

    async def add(self, *tags: str) -> None:
        """These tags are held as well: to be called before what they are about is committed. Raises as the block's beginning."""
        await self.hold.place(map(check_tag, tags))

    async def confirm(self) -> None:
        """Renews the hold where less than half of its time remains, which a long block does right before COMMIT."""
        await self.hold.confirm()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.hold.tags:
            return
        if error is None:
            self.purged = await self.hold.purge()
        elif self._is_rolled_back(error):
            await self.hold.release()
        else:
            try:
                self.purged = await self.hold.leave()
            except BackendError as outage:  # told by what is being raised, and sent until it lands
                logs.PURGE_FAILED.tell(error=str(outage))
            except asyncio.CancelledError:
                if not isinstance(error, asyncio.CancelledError):
                    raise


class SyncWrite(_Block):
    """`with cache.writing_sync(*tags) as write:`"""

    def __enter__(self) -> Self:
        self.hold = self._begin()
        try:
            self.hold.place_sync(self._tags)
        except BaseException:
            self.hold.release_sync()
            raise
        return self

    def add(self, *tags: str) -> None:
        """`Write.add`."""
        self.hold.place_sync(map(check_tag, tags))

    def confirm(self) -> None:
        """`Write.confirm`."""
        self.hold.confirm_sync()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.hold.tags:
            return
        if error is None:
            self.purged = self.hold.purge_sync()
        elif self._is_rolled_back(error):
            self.hold.release_sync()
        else:
            try:
                self.purged = self.hold.leave_sync()
            except BackendError as outage:
                logs.PURGE_FAILED.tell(error=str(outage))
