"""What an entry depends on, as a picture: the entry, its tags, and the tables whose rows or queries they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

MOST_TAGS: Final = 16
"""Tags that one picture shows: with more it would be higher than a screen."""

BOX: Final = 46  # height of a box
GAP: Final = 14
STEP: Final = BOX + GAP
COLUMNS: Final = ((0, 200), (270, 290), (630, 190))
"""Where the boxes of entry, tags and tables begin, and how wide they are."""

WIDTH: Final = 820
LETTERS: Final = (25, 37, 27)
"""Letters of a line that have room in the boxes of each column."""

_DIGITS: Final = re.compile(r"(\d+)")
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
    """The entry's, with as many tags as it has room for, of each table some, and those of one together."""
    readings = sorted([read(tag) for tag in tags], key=lambda reading: (reading.table, _natural(reading.tag)))
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.table, []).append(reading)
    drawn = _shared_out({table: len(group) for table, group in groups.items()})
    height = max(1, sum(drawn.values())) * STEP - GAP
    middle = (height - BOX) / 2
    boxes, curves, place = [_box("entry", 0, middle, label, url, url)], [], 0
    for table, count in drawn.items():
        places = range(place, place + count)
        y = (place + (count - 1) / 2) * STEP
        for each, reading in zip(places, groups[table], strict=False):
            full = f"{reading.tag}: {reading.text}"
            boxes.append(_box("tag", 1, each * STEP, reading.tag, reading.text, full, reading.tag))
            curves += [_curve(0, middle, 1, each * STEP), _curve(1, each * STEP, 2, y)]
        boxes.append(_box("table", 2, y, table, _kinds(groups[table]), table))
        place += count
    return Picture(height, tuple(boxes), tuple(curves), tuple(readings), len(readings) - place)


def _shared_out(counts: Mapping[str, int]) -> dict[str, int]:
    """How many tags of each table are drawn: one of each in turn, while there is room."""
    drawn: dict[str, int] = {}
    left = MOST_TAGS
    while left > 0 and (open_ones := [table for table, count in counts.items() if drawn.get(table, 0) < count]):
        for table in open_ones[:left]:
            drawn[table] = drawn.get(table, 0) + 1
        left -= len(open_ones)
    return drawn


def _natural(tag: str) -> list[tuple[int, str]]:
    """`book:9` before `book:10`."""
    return [(len(piece) if piece.isdecimal() else 0, piece) for piece in _DIGITS.split(tag)]


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
