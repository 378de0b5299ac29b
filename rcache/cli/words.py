"""How numbers, times and foreign text are written for people."""

from __future__ import annotations

from datetime import UTC, datetime

from rcache.core.keys import URL_TAG
from rcache.core.views import Counters

_SIZES = ("KiB", "MiB", "GiB", "TiB")
_SPANS = ((604800, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def plain(text: str) -> str:
    """`text` as one line that cannot move a terminal's cursor: what does not print is spelled out."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def named(tag: str) -> str:
    """A tag as people know it: that of a URL, which nobody wrote, by what it is."""
    return "(a URL)" if tag.startswith(URL_TAG) else tag


def node(name: str) -> str:
    """The beginning of a node's random name, which tells it from others."""
    return name[:8]


def count(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


def several(number: int, one: str, many: str = "") -> str:
    """`1 node`, `2 nodes`; `many` is the plural where it is not made with an s."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def size(octets: int) -> str:
    """`1.50 KiB`: three digits."""
    if octets < 1000:
        return f"{octets} B"
    amount, unit = octets / 1024, 0
    while amount >= 999.5 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1024, unit + 1
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {_SIZES[unit]}"


def span(seconds: float) -> str:
    """`3m 12s`, the two largest units; `12.5 ms` below a second."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.{3 if seconds >= 0.001 else 2}g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    left = round(seconds)
    for position, (width, unit) in enumerate(_SPANS):
        if left >= width or width == 1:
            whole, left = divmod(left, width)
            below = _SPANS[position + 1 : position + 2]
            rest = "".join(f" {left // each}{name}" for each, name in below if left >= each)
            return f"{whole}{unit}{rest}"
    raise AssertionError("a second is the last unit")


def moment(at: float) -> str:
    """A time of the store's clock, as UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def share(part: float, whole: float) -> str:
    """`97.3 %`; a dash where there is nothing to have a share of."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def hit_share(counters: Counters) -> str:
    """The share of look-ups that were answered from the store."""
    return share(counters.hits + counters.stale, counters.lookups)
