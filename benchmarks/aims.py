"""What the sections of the report share: tables, and aims with what came of them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Aim(NamedTuple):
    """What we wanted, what came out, and whether that is enough; None where it was not measured."""

    aim: str
    measured: str
    is_met: bool | None


def table(*rows: tuple[str, ...]) -> list[str]:
    """The lines of a table; the first row is its head."""
    head, *body = rows
    divider = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, tuple(divider), *body)] + [""]


def spread(numbers: list[float], digits: int = 2) -> str:
    """A median with its quartiles."""
    median, low, high = (f"{number:.{digits}f}" for number in numbers)
    return f"{median} ({low}-{high})"


def at_least(aim: str, measured: list[float] | None, bound: float) -> Aim:
    """Met where the median reaches `bound`."""
    return Aim(aim, "-", None) if measured is None else Aim(aim, spread(measured), measured[0] >= bound)


def at_most(aim: str, lines: dict[str, Any], title: str, column: str, bound: float) -> Aim:
    """Met where the median of that line and column does not exceed `bound`."""
    if title not in lines:
        return Aim(aim, "-", None)
    measured = lines[title][column]
    return Aim(aim, spread(measured), measured[0] <= bound)
