"""What an entry depends on, as a picture: the entry, its tags, and the tables whose rows or queries they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

MOST_TAGS: Final = 40
"""Tags that one picture shows."""

BOX: Final = 46  # height of a box
GAP: Final = 14
COLUMNS: Final = ((0, 200), (270, 290), (630, 190))
"""Where the boxes of entry, tags and tables begin, and how wide they are."""

WIDTH: Final = 820
LETTERS: Final = (25, 37, 27)
"""Letters of a line that have room in the boxes of each column."""

_DIGEST: Final = re.compile(r"~[0-9a-f]{10}\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tag says, as far as its spelling tells: `table` is empty where it names none."""

    tag: str
    table: str
    kind: str  # row | query | values | family | table
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """A box with two lines, in full for those who point at it."""

    kind: str  # entry | tag | table
    x: float
    y: float
    width: float
    first: str
    second: str
    full: str
    target: str = ""  # a tag that it leads to


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and the curves between them."""

    height: float
    boxes: tuple[Box, ...]
    curves: tuple[str, ...]
    readings: tuple[Reading, ...]
    left_out: int


def read(tag: str) -> Reading:
    """What a tag names, by the spelling that found and written tags share: `book:42`, `book?author=7`, `book:*`, `book`."""
    name, mark, rest = _split(tag)
    if not mark or not name:
        return Reading(tag, tag, "table", "anything of it")
    if mark == ":":
        return (
            Reading(tag, name, "family", "a change of unknown rows")
            if rest == "*"
            else Reading(tag, name, "row", f"row {rest}")
        )
    if rest == "*":
        return Reading(tag, name, "family", "a change of unknown values")
    plain = _DIGEST.sub("", rest)
    is_query = plain != rest
    if not plain:
        return Reading(tag, name, "query", "a query over all rows")
    pieces = [piece.partition("=") for piece in plain.split("&")]
    told = " and ".join(
        [f"{unquote(column)} {'= ' + unquote(value) if equal else 'is null'}" for column, equal, value in pieces]
    )
    return Reading(tag, name, "query" if is_query else "values", f"{'query' if is_query else 'rows'} where {told}")


def _split(tag: str) -> tuple[str, str, str]:
    found = re.search(r"[:?]", tag)
    return (tag[: found.start()], found[0], tag[found.end() :]) if found else (tag, "", "")


def picture(url: str, label: str, tags: Sequence[str]) -> Picture:
    """The entry's, with as many tags as it has room for, those of one table together."""
    readings = sorted([read(tag) for tag in tags], key=lambda reading: (reading.table, reading.tag))
    shown = readings[:MOST_TAGS]
    tables: dict[str, list[int]] = {}
    for place, reading in enumerate(shown):
        tables.setdefault(reading.table, []).append(place)
    height = max(1, len(shown)) * (BOX + GAP) - GAP
    boxes = [_box("entry", 0, (height - BOX) / 2, label, url, url)]
    curves = []
    for place, reading in enumerate(shown):
        boxes.append(
            _box(
                "tag", 1, place * (BOX + GAP), reading.tag, reading.text, f"{reading.tag}: {reading.text}", reading.tag
            )
        )
        curves.append(_curve(0, (height - BOX) / 2, 1, place * (BOX + GAP)))
    for table, places in tables.items():
        y = sum(places) / len(places) * (BOX + GAP)
        boxes.append(_box("table", 2, y, table, _kinds([shown[place] for place in places]), table, table))
        curves += [_curve(1, place * (BOX + GAP), 2, y) for place in places]
    return Picture(height, tuple(boxes), tuple(curves), tuple(readings), len(readings) - len(shown))


_COUNTED: Final = (("row", "rows"), ("query", "queries"), ("values", "values"))


def _kinds(readings: Sequence[Reading]) -> str:
    """What of a table the tags name: "2 rows, 1 query"."""
    told = []
    for kind, plural in _COUNTED:
        found = sum([reading.kind == kind for reading in readings])
        if found:
            told.append(f"{found} {plural if found > 1 else kind.removesuffix('s')}")
    return ", ".join(told) or "as a whole"


def _box(kind: str, column: int, y: float, first: str, second: str, full: str, target: str = "") -> Box:
    x, width = COLUMNS[column]
    return Box(
        kind, x, round(y, 1), width, shortened(first, LETTERS[column]), shortened(second, LETTERS[column]), full, target
    )


def _curve(from_column: int, from_y: float, to_column: int, to_y: float) -> str:
    x, width = COLUMNS[from_column]
    start, end = x + width, COLUMNS[to_column][0]
    middle = (start + end) / 2
    y1, y2 = round(from_y + BOX / 2, 1), round(to_y + BOX / 2, 1)
    return f"M{start},{y1} C{middle},{y1} {middle},{y2} {end},{y2}"


def shortened(text: str, most: int) -> str:
    """Its beginning and its end, where it is longer: what tells two apart is often at the end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}"
