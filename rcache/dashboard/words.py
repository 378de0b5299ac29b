"""Numbers as people read them. Every function takes what a row has, None where that is unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

NOTHING: Final = "–"  # noqa: RUF001 (a dash stands for what is not there)

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_LONG: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def count(value: float | None) -> str:
    """1,204, and from ten thousand on 12.3 k."""
    if value is None:
        return NOTHING
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            return f"{_short(value / (1000 if unit == ' k' else limit))}{unit}"
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """So many a second."""
    if value is None:
        return NOTHING
    return count(value) if value >= 100 else _short(value)


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return NOTHING
    amount, step = float(value), 0
    while amount >= 1024 and step < len(_SIZES) - 1:
        amount, step = amount / 1024, step + 1
    return f"{amount:.0f} B" if step == 0 else f"{_short(amount)} {_SIZES[step]}"


def duration(value: float | None) -> str:
    """A time that something took, or takes: 0.31 ms, 4.2 s, 3 min 20 s, 2 d 4 h."""
    if value is None:
        return NOTHING
    amount = abs(value)
    sign = "−" if value < 0 else ""  # noqa: RUF001 (the minus sign, which is as wide as a digit)
    if amount == 0:
        return "0 s"
    if amount < 1:
        return f"{sign}{_short(amount * 1000)} ms"
    if amount < 10:
        return f"{sign}{_short(amount)} s"
    parts: list[str] = []
    left = round(amount)
    for seconds, unit in _LONG:
        whole, left = divmod(left, seconds)
        if whole or parts:
            parts.append(f"{whole} {unit}")
    told = [part for part in parts[:2] if not part.startswith("0 ")]
    return sign + " ".join(told)


def share(value: float | None) -> str:
    """A part of one, in percent; never 100 % where it is less."""
    if value is None:
        return NOTHING
    percent = 100 * value
    if 99.9 < percent < 100:
        return f"{int(percent * 100) / 100} %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def moment(at: float) -> datetime:
    """A time of the store's clock, in UTC; the first moment of all where it makes none."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def clock(at: float) -> str:
    """14:03:27."""
    return f"{moment(at):%H:%M:%S}"


def date(at: float) -> str:
    """2026-11-25 14:03:27 UTC."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: float) -> str:
    """For the `datetime` of a `time` element."""
    return f"{moment(at):%Y-%m-%dT%H:%M:%SZ}"


def _short(value: float) -> str:
    """Three digits at most."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
