"""Audits under way in one process, and what they have found: the rate of stale answers as a number."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from rcache import logs
from rcache.engine.refresh import Refreshes

Outcome = Literal["same", "stale", "excused", "unsteady", "failed"]
SAME: Final = "same"
STALE: Final = "stale"
EXCUSED: Final = "excused"
UNSTEADY: Final = "unsteady"
FAILED: Final = "failed"

MOST: Final = 4
"""Audits under way in one event loop; hits beyond that are not audited."""


@dataclass(slots=True)
class AuditCounts:
    """How audits ended, each in one way. A cancelled one counts nowhere."""

    same: int = 0  # the application gives what was served
    stale: int = 0  # it gives something else, and nothing had purged what was served
    excused: int = 0  # it gave something else, and by then the entry was purged, held, or replaced
    unsteady: int = 0  # asked twice, it gave two answers
    failed: int = 0  # it gave no answer that tells anything

    @property
    def audits(self) -> int:
        """All of them."""
        return self.same + self.stale + self.excused + self.unsteady + self.failed

    @property
    def stale_rate(self) -> float | None:
        """The part of hits that were stale, of those that could be judged; None where none could."""
        judged = self.same + self.stale + self.excused
        return self.stale / judged if judged else None

    def __add__(self, other: AuditCounts) -> AuditCounts:
        return AuditCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Audits:
    """Those of one cache in this process, one per key."""

    def __init__(self) -> None:
        self._runs = Refreshes(MOST, logs.AUDIT_FAILED)
        self._counts: dict[str, AuditCounts] = {}
        self._told: set[tuple[str, str]] = set()

    def start(self, key: tuple[object, ...], run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begins one in the running loop, unless one for this key is under way or there are too many."""
        return self._runs.start(key, run)

    def note(self, route: str, outcome: Outcome) -> None:
        """One has ended."""
        counts = self._counts.setdefault(route, AuditCounts())
        setattr(counts, outcome, getattr(counts, outcome) + 1)

    def tell_once(self, message: logs.Message, label: str, **fields: str) -> None:
        """Logs it the first time for this rule."""
        if (message.event, label) not in self._told:
            self._told.add((message.event, label))
            message.tell(route=label, **fields)

    @property
    def routes(self) -> Mapping[str, AuditCounts]:
        """How they ended, by route."""
        return self._counts

    @property
    def total(self) -> AuditCounts:
        """How they ended, all together."""
        return sum(tuple(self._counts.values()), AuditCounts())

    async def wait(self) -> None:
        """Returns when those of the running loop have ended."""
        await self._runs.wait()

    async def aclose(self) -> None:
        """Cancels those of the running loop."""
        await self._runs.aclose()
