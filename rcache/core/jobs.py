"""A job: a registered function by its name, the plain data it is called with, and when it may run. What tools show of a queue.

Nothing is run that was not registered, and nothing is read from a queue but JSON: who can write to the queue can start
registered functions, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any, Final, Literal, get_args

import orjson

from rcache.core.codec import CodecError
from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.settings import seconds

Lane = Literal["high", "low"]
"""What waits in the low lane never keeps anything in the high lane from running."""

LANES: Final[tuple[Lane, ...]] = get_args(Lane)

MAX_JOB: Final = 1024 * 1024
"""Bytes of one job in the queue. What is larger belongs into a database or a file, and its name into the job."""

MAX_RETRIES: Final = 100
MAX_DEPTH: Final = 64
MAX_DELAY: Final = 3600.0
"""Seconds before a retry, at most."""

KEPT_ROWS: Final = 100
"""Failures, and runs, that are kept for the view: the last ones."""

_VERSION: Final = 1
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_KEY: Final = re.compile(r"[^\x00-\x1f\x7f]{1,500}")


class UnknownJobError(RCacheError):
    """Nobody has registered the function of a job here: it is dropped and counted. Import the module that registers it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the function that is registered as `name`.

    - `arguments`, `named`: what it is called with: None, bool, int, float, str, and lists and dicts of them.
    - `key`: while a job of this key waits or runs, another one is not added. None: always added.
    - `priority`: the lane.
    - `delay`: seconds before which it does not begin.
    - `ttl`: seconds after which it does not begin any more, counted from when it was to; None: it is never too old.
    - `retries`: how often it is run again after it has raised, each time later than the time before.
    - `apart`: seconds for which, after a job of this key has ended, no other one is added or begun.

    Raises ConfigurationError, which names what cannot be.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    priority: Lane = "low"
    delay: float = 0.0
    ttl: float | None = None
    retries: int = 0
    apart: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"name={self.name!r} must be a text of 1 to 200 characters, none a control character"
            )
        if self.key is not None and (not isinstance(self.key, str) or not _KEY.fullmatch(self.key)):
            raise ConfigurationError(
                f"key={self.key!r} must be a text of 1 to 500 characters, none a control character"
            )
        if self.priority not in LANES:
            raise ConfigurationError(f'priority={self.priority!r} must be "high" or "low"')
        if type(self.retries) is not int or not 0 <= self.retries <= MAX_RETRIES:
            raise ConfigurationError(f"retries={self.retries!r} must be a whole number from 0 to {MAX_RETRIES}")
        if self.apart and self.key is None:
            raise ConfigurationError("apart= says how long jobs of one key are kept apart: it needs key=")
        if type(self.arguments) is not tuple or not isinstance(self.named, dict):
            raise ConfigurationError("arguments are a tuple, and named ones a dict")
        _check_plain(list(self.arguments), "arguments", 0)
        _check_plain(self.named, "named", 0)
        # What a caller still holds of its lists and dicts must not change what it has asked for.
        object.__setattr__(self, "arguments", tuple(map(_copied, self.arguments)))
        object.__setattr__(self, "named", _copied(self.named))
        object.__setattr__(self, "delay", wait(self.delay, "delay"))
        object.__setattr__(self, "apart", wait(self.apart, "apart"))
        object.__setattr__(self, "ttl", None if self.ttl is None else seconds(self.ttl, "ttl"))


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job as it lies in the queue. `due`: seconds since the epoch, when it may begin for the first time."""

    job: Job
    due: float

    def is_late(self, now: float) -> bool:
        """It must not begin any more."""
        return self.job.ttl is not None and now > self.due + self.job.ttl


def wait(value: float | str | timedelta, name: str) -> float:
    """A duration that may be 0. Raises ConfigurationError."""
    if type(value) in (int, float) and value == 0:
        return 0.0
    return seconds(value, name)


def backoff(attempt: int, chance: float) -> float:
    """Seconds before a job is run again that has raised for the `attempt`-th time; `chance` is from 0 to 1.

    1, 2, 4 ... seconds, an hour at most, up to a half of it left to chance: what failed together does not
    come back together.
    """
    longest = min(MAX_DELAY, 2.0 ** min(attempt - 1, 20))
    return longest * (1 - chance / 2)


def encode_ticket(ticket: Ticket) -> str:
    """As JSON. Raises ConfigurationError where it is longer than a queue should carry."""
    job = ticket.job
    fields = (job.name, job.arguments, job.named, job.key, job.priority, job.delay, job.ttl, job.retries, job.apart)
    encoded = orjson.dumps((_VERSION, ticket.due, *fields))
    if len(encoded) > MAX_JOB:
        raise ConfigurationError(
            f"{job.name}: its arguments are {len(encoded)} bytes long and {MAX_JOB} are allowed: keep them in a database, and"
            " pass what finds them there"
        )
    return encoded.decode()


def decode_ticket(text: str | bytes) -> Ticket:
    """The ticket of which `encode_ticket` made `text`. Raises CodecError."""
    try:
        version, due, name, arguments, named, key, priority, delay, ttl, retries, apart = orjson.loads(text)
        if version != _VERSION:
            raise CodecError("another version of the format")
        if type(due) is not float or type(arguments) is not list:
            raise CodecError("a field of another type")
        return Ticket(Job(name, tuple(arguments), named, key, priority, delay, ttl, retries, apart), due)
    except (ValueError, TypeError) as error:  # ConfigurationError and JSONDecodeError are ValueErrors
        raise CodecError("damaged") from error


def _check_plain(value: Any, where: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        if not value.isprintable() and not _is_text(value):
            raise ConfigurationError(f"{where} is a text with half a character (a lone surrogate)")
    elif kind is float:
        if not isfinite(value):
            raise ConfigurationError(f"{where} is {value}, which JSON has no word for: pass None")
    elif kind is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise ConfigurationError(f"{where} does not fit into 64 bits: pass it as a text")
    elif kind is list or kind is dict:
        if depth == MAX_DEPTH:
            raise ConfigurationError(f"{where[:200]} lies deeper than {MAX_DEPTH} lists and dicts")
        for name, each in value.items() if kind is dict else enumerate(value):
            if kind is dict and type(name) is not str:
                raise ConfigurationError(f"{where} has a key that is no text: {name!r:.60}")
            if kind is dict:
                _check_plain(name, f"a key of {where}", depth)
            _check_plain(each, f"{where}[{name!r}]", depth + 1)
    elif value is not None and kind is not bool:
        raise ConfigurationError(
            f"{where} is a {kind.__name__}, and a job carries plain data only (None, bool, int, float, str, and lists and dicts of"
            f" them): {_REMEDIES.get(kind.__name__, 'pass what identifies it')}"
        )


_REMEDIES: Final = {
    "tuple": "pass a list",
    "set": "pass a list",
    "frozenset": "pass a list",
    "bytes": "pass a text",
    "datetime": "pass its isoformat()",
    "date": "pass its isoformat()",
    "time": "pass its isoformat()",
    "timedelta": "pass its total_seconds()",
    "UUID": "pass its str()",
    "Decimal": "pass its str()",
}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _copied(value: Any) -> Any:
    if type(value) is list:
        return [_copied(each) for each in value]
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return value


# What tools show

Outcome = Literal["done", "again", "failed", "late", "unknown"]
"""`again`: it raised and will be run again. `late`: dropped, for its ttl. `unknown`: dropped, as nobody knows the function."""

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One lane at this moment."""

    lane: Lane
    waiting: int  # may begin
    delayed: int  # until their time has come
    running: int
    oldest: float  # seconds for which the oldest that may begin has been waiting
    is_paused: bool


@dataclass(frozen=True, slots=True)
class RunRow:
    """How one run of a job ended."""

    name: str
    key: str | None
    lane: Lane
    ended: float  # seconds since the epoch
    seconds: float
    attempt: int  # 1: the first
    outcome: Outcome
    error: str | None  # what it raised, in one line
    node: str  # host and pid


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule of those that the asked process has."""

    name: str
    rhythm: str  # "*/5 * * * *", or "every 1s"
    tz: str
    next: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class QueueView:
    """What waits, what ran, and what failed."""

    lanes: tuple[LaneRow, ...]
    workers: int  # processes of the role; 0: the web processes run the jobs
    counts: Mapping[Outcome, int]  # runs since the queue was made; each outcome is there
    failures: tuple[RunRow, ...] = ()  # the last ones, newest first
    runs: tuple[RunRow, ...] = ()  # likewise, whatever became of them
    schedules: tuple[ScheduleRow, ...] = ()
