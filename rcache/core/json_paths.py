"""Where two JSON values differ, and which of those places nobody cares about.

Places are written as JSONPath writes them (RFC 9535): `$.items[0].price`. Those to be ignored are written in a part of it:
names, indices, `*` for all of one level, and `..` for any number of levels: `$.generated_at`, `$.items[*].seen`, `$..etag`,
`$['odd name']`. Whatever lies below an ignored place is ignored with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from rcache.core.errors import ConfigurationError


class Many(Enum):
    """A step that stands for more than one."""

    ONE = "*"  # every member of one level
    DEEP = ".."  # any number of levels, none among them


Place = tuple[str | int, ...]
Pattern = tuple[str | int | Many, ...]

ABSENT: Final = object()
"""In place of a value: there is none."""

_STEP: Final = re.compile(
    r"""(?P<deep>\.\.)?(?:
        (?(deep)|\.)(?P<name>[^\W\d][\w-]*)
      | (?(deep)|\.)(?P<all>\*)
      | \[(?P<index>0|-?[1-9][0-9]*)\]
      | \[(?P<every>\*)\]
      | \['(?P<single>(?:[^'\\]|\\.)*)'\]
      | \["(?P<double>(?:[^"\\]|\\.)*)"\]
    )""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")
_PLAIN: Final = re.compile(r"[^\W\d][\w-]*")


class Unequal(NamedTuple):
    """A place, and what each of two values holds there."""

    place: Place
    one: Any
    other: Any


def pattern(text: str) -> Pattern:
    """The places that `text` names. Raises ConfigurationError where it cannot be read."""
    steps: list[str | int | Many] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            break
        if step["deep"]:
            steps.append(Many.DEEP)
        steps.append(_member(step))
        at = step.end()
    if not steps or at < len(text) or not text.startswith("$"):
        raise ConfigurationError(
            f"audit: {text!r} is no path: write one like '$.generated_at', '$.items[*].seen', '$..etag' or \"$['odd name']\""
        )
    return tuple(steps)


def _member(step: re.Match[str]) -> str | int | Many:
    if step["all"] or step["every"]:
        return Many.ONE
    if step["index"]:
        return int(step["index"])
    if step["name"] is not None:
        return step["name"]
    quoted = step["single"] if step["single"] is not None else step["double"]
    return _ESCAPED.sub(r"\1", quoted)


def spelled(place: Place) -> str:
    """The place in words that `pattern` reads."""
    pieces = ["$"]
    for step in place:
        if isinstance(step, int):
            pieces.append(f"[{step}]")
        elif _PLAIN.fullmatch(step):
            pieces.append(f".{step}")
        else:
            escaped = step.replace("\\", "\\\\").replace("'", "\\'")
            pieces.append(f"['{escaped}']")
    return "".join(pieces)


def is_within(place: Place, wanted: Pattern) -> bool:
    """Whether `place` is one of those that `wanted` names, or lies below one."""
    if not wanted:
        return True
    first, rest = wanted[0], wanted[1:]
    if first is Many.DEEP:
        return any(is_within(place[skipped:], rest) for skipped in range(len(place)))
    return bool(place) and (first is Many.ONE or _is_same_step(first, place[0])) and is_within(place[1:], rest)


def _is_same_step(wanted: str | int | Many, step: str | int) -> bool:
    return type(wanted) is type(step) and wanted == step


def unequal(one: Any, other: Any, ignored: Iterable[Pattern] = ()) -> Iterator[Unequal]:
    """The places at which two values differ, the deepest that tell them apart, without those that are ignored.

    Numbers are equal where they count the same (`1` and `1.0`), and the order of an object's members says nothing (RFC 8259 §1).
    """
    ignored = tuple(ignored)
    waiting: list[Unequal] = [Unequal((), one, other)]
    while waiting:
        place, here, there = found = waiting.pop()
        if any(is_within(place, each) for each in ignored):
            continue
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            names = dict.fromkeys((*here, *there))
            members = [Unequal((*place, name), here.get(name, ABSENT), there.get(name, ABSENT)) for name in names]
        elif isinstance(here, list) and isinstance(there, list):
            length = max(len(here), len(there))
            members = [Unequal((*place, at), _at(here, at), _at(there, at)) for at in range(length)]
        else:
            if not _is_same(here, there):
                yield found
            continue
        waiting += reversed(members)


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
