"""Audits under way in one process. What they have found is counted with everything else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from rcache import logs
from rcache.engine.refresh import Refreshes

MOST: Final = 4
"""Audits under way in one event loop; hits beyond that are not audited."""


class Audits:
    """Those of one cache in this process, one per key."""

    def __init__(self) -> None:
        self._runs = Refreshes(MOST, logs.AUDIT_FAILED)
        self._told: set[tuple[str, str]] = set()

    def start(self, key: tuple[object, ...], run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begins one in the running loop, unless one for this key is under way or there are too many."""
        return self._runs.start(key, run)

    def tell_once(self, message: logs.Message, label: str, **fields: str) -> None:
        """Logs it the first time for this rule."""
        if (message.event, label) not in self._told:
            self._told.add((message.event, label))
            message.tell(route=label, **fields)

    async def wait(self) -> None:
        """Returns when those of the running loop have ended."""
        await self._runs.wait()

    async def aclose(self) -> None:
        """Cancels those of the running loop."""
        await self._runs.aclose()
