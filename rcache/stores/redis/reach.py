"""A way to the data for those who look at it: blocking, on connections of its own, so that no look is a request's trouble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from rcache.stores.redis.address import Way
from rcache.stores.redis.line import Command, Line
from rcache.stores.redis.scripts import JUDGE_HERE, SEQUENCE, Script

PATIENCE: Final = 2.0  # seconds that one server may say nothing
AT_ONCE: Final = 500  # commands that are sent together

_INHERITED: Final[list[object]] = []  # connections of a parent process: closing them would disturb it


class Question(NamedTuple):
    """A command, and the key by which is found out whom to ask."""

    key: bytes
    command: Command


class Reach(Protocol):
    """Every server of the data. Raises BackendError where one cannot be reached."""

    judge: Script
    """What judges a start in one shard of tags."""

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The replies; an error of Redis' own is one too."""
        ...

    def servers(self) -> list[Any]:
        """Those that hold entries, always in the same order as long as they are the same."""
        ...

    def ask_server(self, server: Any, command: Command) -> Any:
        """The reply of that one."""
        ...

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's."""
        ...

    def close(self) -> None:
        """Lets go of the connections."""
        ...


class OneReach:
    """One server, or the one that sentinels name."""

    judge = JUDGE_HERE

    def __init__(self, way: Way) -> None:
        self._way = way
        self._line = _line(way)

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The replies; an error of Redis' own is one too."""
        self._line.confirm()
        replies: list[Any] = []
        for first in range(0, len(questions), AT_ONCE):
            replies += self._line.ask([question.command for question in questions[first : first + AT_ONCE]])
        return replies

    def servers(self) -> list[None]:
        """There is one."""
        return [None]

    def ask_server(self, server: None, command: Command) -> Any:
        """Its reply."""
        return self.ask([Question(b"", command)])[0]

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's."""
        _INHERITED.append(self._line)
        self._line = _line(self._way)

    def close(self) -> None:
        """Lets go of the connection."""
        self._line.close()


def _line(way: Way) -> Line:
    return Line(way, (JUDGE_HERE, SEQUENCE), PATIENCE)
