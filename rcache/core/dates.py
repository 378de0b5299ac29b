"""HTTP dates (RFC 9110 §5.6.7), read and written without regard to the locale."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name.encode(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_DAY: Final = "(?:" + "|".join(_DAYS) + ")"
_LONG_DAY: Final = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH: Final = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME: Final = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"


def _form(pattern: str) -> re.Pattern[bytes]:
    """RFC 9110 §5.6.7 spells dates in one case, and RFC 9111 §4.2 has caches read them in any."""
    return re.compile(pattern.encode(), re.IGNORECASE)


_IMF: Final = _form(f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT")
_RFC850: Final = _form(f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT")
_ASCTIME: Final = _form(f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})")


def parse_http_date(value: bytes, now: float) -> float | None:
    """Seconds since the epoch; None where the value is no HTTP date.

    All three forms are read. The two-digit year of the second is the latest that lies at most 50 years after `now`.
    """
    match = _IMF.fullmatch(value) or _RFC850.fullmatch(value) or _ASCTIME.fullmatch(value)
    if match is None:
        return None
    year, day, hour, minute, second = map(int, match.group("year", "day", "hour", "minute", "second"))
    rest = (_MONTH_NUMBERS[match["month"].title()], day, hour, minute)
    if len(match["year"]) == 2:
        year = _full_year(year, (*rest, second), now)
    try:
        moment = datetime(year, *rest, tzinfo=UTC)
    except ValueError:  # no such day
        return None
    # Added, since a leap second (60) is legal here and unknown to datetime.
    return (moment - _EPOCH).total_seconds() + second


def format_http_date(t: float) -> bytes:
    """The moment as an IMF-fixdate, in whole seconds; `t` is seconds since the epoch, from the year 1 to 9999."""
    moment = _EPOCH + timedelta(seconds=floor(t))
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    clock = f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    return f"{day}, {moment.day:02} {month} {moment.year:04} {clock} GMT".encode()


def _full_year(two_digits: int, rest: tuple[int, ...], now: float) -> int:
    moment = datetime.fromtimestamp(now, UTC)
    limit = moment.year + 50
    year = limit - (limit - two_digits) % 100
    if year == limit and rest > (moment.month, moment.day, moment.hour, moment.minute, moment.second):
        year -= 100
    return year
