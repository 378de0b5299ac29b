"""What an error of a node means for a call that was sent there: where to go next, or that there is nowhere to go."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final, NamedTuple

from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.stores.redis.cluster.slots import Node, read_address
from rcache.stores.redis.failures import REFUSALS, UnwritableError, refusal, translated
from rcache.stores.redis.scripts import pack

ASKING: Final = pack((b"ASKING",))
HOPS: Final = 40  # redirections of one call
FIRST_PAUSE: Final = (
    0.002  # seconds before a call is tried again whose keys are on their way, doubled up to LONGEST_PAUSE
)
LONGEST_PAUSE: Final = 0.05


class Heading(Enum):
    """How a call goes on."""

    MOVED = auto()  # to the node that serves the slot now
    ASK = auto()  # once, to the node that the slot is on its way to
    AGAIN = auto()  # to the same, a little later: its keys are on their way
    ELSEWHERE = auto()  # to whoever serves the slot by now, if that is another node
    NOWHERE = auto()  # it has failed


class Turn(NamedTuple):
    """How a call goes on after an error; `node` is where MOVED and ASK lead."""

    heading: Heading
    node: Node | None = None


class Goal(NamedTuple):
    """Where a call goes next."""

    node: Node | None
    is_asking: bool = False


class Pauses:
    """How long a call waits that is tried again and again."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def next(self) -> float:
        """Seconds: each time twice as many, up to LONGEST_PAUSE."""
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause


def turn_of(error: BaseException, asked: Node) -> Turn:
    """What the error of the node `asked` means."""
    if isinstance(error, driver.MovedError):
        return Turn(Heading.MOVED, read_address(error.message.split(" ")[1], asked.host))
    if isinstance(error, driver.AskError):
        return Turn(Heading.ASK, read_address(error.message.split(" ")[1], asked.host))
    if isinstance(error, driver.TryAgainError):
        return Turn(Heading.AGAIN)
    if isinstance(error, driver.TimeoutError | TimeoutError):
        return Turn(Heading.NOWHERE)
    if isinstance(error, driver.ClusterDownError | driver.ReadOnlyError | driver.ConnectionError | OSError):
        return Turn(Heading.ELSEWHERE)
    return Turn(Heading.NOWHERE)


def is_refusal(reply: Any) -> bool:
    """Whether a script told that it ran where it must not."""
    return reply.__class__ is list and bool(reply) and reply[0] in REFUSALS


def refused(reply: list[Any]) -> driver.ReadOnlyError | BackendError:
    """The error that a refusal amounts to: a replica's is like that of a write there."""
    return driver.ReadOnlyError("a replica") if reply[0] == b"replica" else refusal(reply)


def failure(error: BaseException) -> BackendError:
    """The error that rcache raises for `error`."""
    if isinstance(error, driver.ClusterDownError):
        failed: BackendError = BackendError(f"the Cluster is down: {error}")
    elif isinstance(error, driver.MovedError):
        failed = BackendError("the nodes of the Cluster do not agree who serves the slot")
    elif isinstance(error, driver.AskError | driver.TryAgainError):
        failed = BackendError("the keys are on their way to another node of the Cluster")
    else:
        failed = translated(error)
    if failed is not error:
        failed.__cause__ = error
    return failed


def is_outage(error: BaseException) -> bool:
    """Whether the node itself is to be spared for a while."""
    if isinstance(error, driver.TryAgainError | driver.AskError):
        return False
    return not isinstance(failure(error), UnwritableError)
