"""What nodes that keep entries near read in the log."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One event, in the order in which all nodes read them."""

    epoch: str
    number: int
    before: int  # the record before it: whoever has not read that one has lost its place
    kind: str  # hold | release | purge | flush
    changes: list[list[str]]  # [tag, transaction, ...]: which transactions came to hold a tag, or hold it no more
    is_awaited: bool  # strict writers wait until every node has read it


class Head(NamedTuple):
    """The end of the log, as the server told it."""

    epoch: str
    number: int  # of the last record
    sequence: int  # at or above it: a fill that begins afterwards may be stored under it
    now: float  # seconds on the server's clock
