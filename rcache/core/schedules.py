"""When a schedule fires: moments that every process works out alike, so that nobody needs to lead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rcache.core.errors import ConfigurationError
from rcache.core.settings import seconds

LEAST: Final = 1.0
"""Seconds between two ticks, at least."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Either a cron string, read in a time zone, or a number of seconds. `made` makes it, and checks."""

    cron: str | None
    every: float | None
    tz: str = "UTC"

    @property
    def rhythm(self) -> str:
        """For people: `*/5 * * * *`, or `every 1s`."""
        return self.cron if self.cron is not None else f"every {self.every:g}s"

    def ticks(self, after: float) -> Iterator[float]:
        """Its moments later than `after`, in seconds since the epoch, earliest first; a date that never comes ends them.

        Every so many seconds: the multiples of that since the epoch, whatever the zone. Cron follows Debian where clocks are set:
        what was to happen in the hour that is left out happens right after it, what lies in the hour that comes twice happens
        once, and what has `*` among its hours or minutes goes on as if nothing had been set.
        """
        if self.every is not None:
            number = int(after // self.every)
            while True:
                number += 1
                if number * self.every > after:
                    yield number * self.every
        moments = _cronsim()(self.cron, datetime.fromtimestamp(after, UTC).astimezone(ZoneInfo(self.tz)))
        for moment in moments:
            # Asked within an hour that comes twice, it also names what was to happen the first time.
            if moment.timestamp() > after:
                yield moment.timestamp()


def made(cron: str | None, every: float | str | timedelta | None, tz: str) -> Schedule:
    """The schedule that is written so. Raises ConfigurationError."""
    if (cron is None) == (every is None):
        raise ConfigurationError('a schedule has either cron="*/5 * * * *" or every="10s"')
    try:
        ZoneInfo(tz)
    except (ValueError, OSError, TypeError, AttributeError, KeyError) as error:  # an unknown zone is a KeyError
        raise ConfigurationError(
            f"tz={tz!r} is no time zone that is known here: write a name such as Europe/Berlin (on Windows: pip install tzdata)"
        ) from error
    if every is not None:
        apart = seconds(every, "every")
        if apart < LEAST:
            raise ConfigurationError(f"every={every!r}: a second is the least")
        return Schedule(None, apart, tz)
    if not isinstance(cron, str):
        raise ConfigurationError(f'cron={cron!r} must be a text: write cron="*/5 * * * *"')
    parse = _cronsim()
    try:
        is_never = next(iter(parse(cron, datetime(2000, 1, 1, tzinfo=UTC))), None) is None
    except Exception as error:  # of a class that can only be named once the package is there
        raise ConfigurationError(
            f"cron={cron!r} is no cron string ({error}): write minute, hour, day of month, month, day of week, as in"
            ' "*/5 * * * *", with seconds as a sixth field before them'
        ) from error
    if is_never:
        raise ConfigurationError(f"cron={cron!r} never comes")
    return Schedule(cron, None, tz)


def _cronsim() -> Any:
    try:
        from cronsim import CronSim
    except ModuleNotFoundError as error:
        raise ConfigurationError("cron= needs a package: pip install 'rcache[worker]'") from error
    return CronSim
