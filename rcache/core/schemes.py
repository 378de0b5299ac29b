"""Tags for what a query asked for: "rows of this table with these values, as far as these columns go".

`user:42` and `user?org_id=7` (`core.changes`) are tags that anybody may write; a writer can purge them without having heard of
them. A query compares several columns at once and shows a few of the others, and there is no end to such combinations, so each
that is in use is registered as a *scheme*: whoever changes a row of its table makes the tags of each registered scheme from the
row's old and new values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2s

import orjson

from rcache.core.changes import Change, is_telling
from rcache.core.tags import TagError, check_tag, written

MAX_VALUE = 40
"""Characters of a value that stand in a tag as they are; a longer one stands there as a digest."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to ask a table for rows.

    - `table`: its name in tags.
    - `columns`: those whose values select the rows, sorted; without any, every row counts.
    - `used`: those whose change is seen, `columns` among them; None: all.
    """

    table: str
    columns: tuple[str, ...] = ()
    used: frozenset[str] | None = None

    @property
    def spelled(self) -> bytes:
        """One spelling for equal schemes, which `scheme` reads."""
        used = None if self.used is None else sorted(self.used)
        return orjson.dumps([self.table, sorted(self.columns), used])

    def tag(self, values: Mapping[str, object]) -> str | None:
        """The tag of the rows with these values; None where a value is absent or has no one text (`is_telling`)."""
        pieces = []
        for column in sorted(self.columns):
            if column not in values or not (values[column] is None or is_telling(values[column])):
                return None
            pieces.append(_piece(column, values[column]))
        digest = blake2s(self.spelled, digest_size=5).hexdigest()
        try:
            return check_tag(f"{self.table}?{'&'.join(pieces)}~{digest}")
        except TagError:
            return None

    def sees(self, change: Change) -> bool:
        """Whether the change may alter what somebody was shown who asked this way."""
        if change.op != "update" or self.used is None or change.changed is None:
            return True
        return not self.used.isdisjoint(change.changed)


def _piece(column: str, value: object) -> str:
    if value is None:
        return _escaped(column)
    text = written(value, column)
    if len(text) > MAX_VALUE or not text.isprintable():
        text = f"#{blake2s(text.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
    elif text.startswith("#"):
        text = f"%23{text[1:]}"
    return f"{_escaped(column)}={_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26").replace("=", "%3D").replace("~", "%7E")


def scheme(spelled: bytes) -> Scheme:
    """The scheme of a spelling. Raises ValueError where it is none."""
    try:
        table, columns, used = orjson.loads(spelled)
        texts = [table, *columns, *(used or ())]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
        return Scheme(table, tuple(columns), None if used is None else frozenset(used))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{spelled!r} spells no scheme") from error


def scheme_tags(change: Change, each: Scheme) -> set[str]:
    """The tags of the scheme that the change purges; where values are unknown, those of everything that has values."""
    if change.pk is None or not each.sees(change):
        return set()  # unknown rows purge the table's family, `book:*`, which every such tag comes with
    images = {"insert": (change.new,), "delete": (change.old,), "update": (change.old, change.new)}[change.op]
    return {each.tag(image if image is not None else {}) or f"{each.table}?*" for image in images}
