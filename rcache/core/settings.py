"""Settings as people write them: durations in seconds, sizes in bytes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from rcache.core.errors import ConfigurationError

MAX_SECONDS: Final = 10 * 365.25 * 86_400.0
"""Ten years: whoever writes more has mistaken the unit."""

MAX_BYTES: Final = 1 << 50
"""One pebibyte: whoever writes more has mistaken the unit."""

_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
# Each unit at most once and the larger first, so that a slip like "5m5m" is not read as ten minutes.
_DURATION: Final = re.compile(r"\s*".join(rf"(?:({_NUMBER})\s*{unit})?" for unit in _UNITS))
_PLAIN: Final = re.compile(_NUMBER)

_SIZE: Final = re.compile(rf"({_NUMBER})\s*([a-z]*)")
_SIZES: Final = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}

_DURATION_HELP: Final = 'write seconds (60), a text such as "10m", "1h30m" or "250ms", or a timedelta'
_SIZE_HELP: Final = 'write a number of bytes (1048576) or a text such as "512kB", "64MiB" or "1GiB"'


def seconds(value: float | str | timedelta, name: str) -> float:
    """The duration in seconds: positive and at most ten years. `name` is the setting that errors speak of.

    Texts are numbers with the units w, d, h, m, s and ms, the larger first ("1h30m"); a bare number counts seconds.
    Raises ConfigurationError for anything else.
    """
    if isinstance(value, str):
        result = _duration(value.strip(), name)
    elif isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        result = value
    else:
        raise ConfigurationError(f"{name}={_short(value)} is not a duration: {_DURATION_HELP}")
    # One comparison refuses NaN too, which is neither above nor below anything.
    if not 0 < result <= MAX_SECONDS:
        raise ConfigurationError(f"{name}={_short(value)} must be above zero and at most ten years: {_DURATION_HELP}")
    return float(result)


def size(value: int | str, name: str) -> int:
    """The size in bytes: positive and at most one pebibyte. `name` is the setting that errors speak of.

    Texts are a number with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), in any case.
    Raises ConfigurationError for anything else.
    """
    if isinstance(value, str):
        result = _size(value.strip(), name)
    elif isinstance(value, int) and not isinstance(value, bool):
        result = value
    else:
        raise ConfigurationError(f"{name}={_short(value)} is not a size: {_SIZE_HELP}")
    if not 0 < result <= MAX_BYTES:
        raise ConfigurationError(f"{name}={_short(value)} must be above zero and at most 1024 TiB: {_SIZE_HELP}")
    return int(result)


def _duration(text: str, name: str) -> float:
    if _PLAIN.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{name}={_short(text)} is not a duration: {_DURATION_HELP}")
    return sum(float(number) * unit for number, unit in zip(match.groups("0"), _UNITS.values(), strict=True))


def _size(text: str, name: str) -> float:
    match = _SIZE.fullmatch(text.lower())
    unit = None if match is None else _SIZES.get(match[2])
    if match is None or unit is None:
        raise ConfigurationError(f"{name}={_short(text)} is not a size: {_SIZE_HELP}")
    # Whole numbers stay integers: a float would round those above 2**53.
    return int(match[1][:20]) * unit if match[1].isdigit() else float(match[1]) * unit


def _short(value: object) -> str:
    """`repr`, which fails for integers of more than 4300 digits, in a length that suits a message."""
    try:
        text = repr(value)
    except ValueError:
        return "(a huge number)"
    return text if len(text) <= 60 else text[:57] + "..."
