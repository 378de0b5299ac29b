"""From a changed row to the tags that its entries carry.

`user:42` is a row, `user` is anything about the table, `user?org_id=7` is "rows with this value" (`user?org_id` alone: rows where
it is NULL). What carries a row's or a value's tag also carries the *family* `user:*`, and with a value's tag `user?*`: so a change
that does not know its rows, or its values, is one mark all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Literal
from uuid import UUID

from rcache.core.errors import ConfigurationError
from rcache.core.tags import TagError, Template, check_tag, written

Op = Literal["insert", "update", "delete"]

_TELLING = (int, str, UUID, date, Enum)
"""Types whose equal values are written alike: not floats, Decimals, times of day or what has a zone."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was inserted, updated or deleted, as every adapter and any application may tell it.

    - `table`: its name; what is known of the table may give it other names in tags.
    - `pk`: the primary key's values in the order of its columns; None: unknown rows, so the whole table.
    - `old`, `new`: values by column as the database had them; a missing column is unknown, and so are all where it is None.
    - `changed`: the columns that an update changed; None: all.
    """

    table: str
    pk: tuple[object, ...] | None
    op: Literal["insert", "update", "delete"] = "update"
    old: Mapping[str, object] | None = None
    new: Mapping[str, object] | None = None
    changed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class TableTags:
    """How a table's rows are named in tags.

    - `names`: the table's, and those of other tables that the row belongs to as well (inheritance).
    - `columns`: those whose values make tags; None: all.
    - `templates`: further tags, filled from the old and from the new row.
    """

    names: tuple[str, ...]
    columns: frozenset[str] | None = None
    templates: tuple[Template, ...] = ()


def row_tag(name: str, pk: tuple[object, ...]) -> str:
    """`user:42`; parts of a composite key are escaped, so that `line:1:2` has one reading. Raises TagError."""
    parts = [_text(part) for part in pk]
    if len(parts) > 1:
        parts = [part.replace("%", "%25").replace(":", "%3A") for part in parts]
    return check_tag(":".join((name, *parts)))


def _text(part: object) -> str:
    return f"{part.value if isinstance(part, Enum) else part}"


def value_tag(name: str, column: str, value: object) -> str | None:
    """`user?org_id=7`; `user?org_id` for NULL; None where the value makes no tag that anybody could have written."""
    if value is None:
        return f"{name}?{column}"
    if not is_telling(value):
        return None
    try:
        return check_tag(f"{name}?{column}={written(value, column)}")
    except TagError:
        return None


def is_telling(value: object) -> bool:
    """Whether equal values of this type are always written alike."""
    return isinstance(value, _TELLING) and not isinstance(value, datetime)


def families(tags: Iterable[str]) -> list[str]:
    """What an entry with these tags carries besides, each once and in order."""
    found = set()
    for tag in tags:  # of an answer with many rows there are many
        colon, asked = tag.find(":"), tag.find("?")
        if asked > 0 and not 0 < colon < asked:
            found.add(tag[:asked] + ":*")
            found.add(tag[:asked] + "?*")
        elif colon > 0:
            found.add(tag[:colon] + ":*")
    return sorted(found.difference(tags))


def table_of(tag: str) -> str:
    """The table that a tag of one of its rows or values names; empty where it is no such tag."""
    return tag[: _end_of_name(tag)]


def without_families(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags that somebody chose."""
    return tuple([tag for tag in tags if not tag.endswith((":*", "?*"))])


def _end_of_name(tag: str) -> int:
    """Where the table's name ends in a tag of one of its rows or values; 0 where it is no such tag."""
    return min([end for end in (tag.find(":"), tag.find("?")) if end > 0], default=0)


def whole_table(name: str) -> tuple[str, str]:
    """The tags of which everything about the table carries one."""
    return name, f"{name}:*"


def template_family(template: Template) -> str:
    """What every tag made by the template carries. Raises ConfigurationError where its beginning tells of no family."""
    found = families((template.prefix,))
    if not found:
        raise ConfigurationError(
            f"the tag template {template.text!r} must begin with a name and a colon, as `customer:{{customer_id}}`: where a "
            "change does not know the values, everything of that name is purged"
        )
    return found[-1] if "?" not in template.prefix else f"{template.prefix[: _end_of_name(template.prefix)]}?*"


def tags_of(change: Change, table: TableTags) -> set[str]:
    """The tags that the change purges."""
    tags: set[str] = set(table.names)
    if change.pk is None:
        tags.update(f"{name}:*" for name in table.names)
        tags.update(map(template_family, table.templates))
        return tags
    for name in table.names:
        try:
            tags.add(row_tag(name, change.pk))
        except TagError:  # nor could a reader have written it
            tags.add(f"{name}:*")
    for image in _images(change):
        for name in table.names:
            tags.update(_values(name, table.columns, image))
        for template in table.templates:
            tags.update(_filled(template, image))
    return tags


def _images(change: Change) -> list[Mapping[str, object] | None]:
    if change.op == "insert":
        return [change.new]
    return [change.old] if change.op == "delete" else [change.old, change.new]


def _values(name: str, columns: frozenset[str] | None, image: Mapping[str, object] | None) -> Iterator[str]:
    if image is None:
        yield f"{name}?*"
        return
    for column in image.keys() if columns is None else columns:
        if column not in image:
            yield f"{name}?*"
        elif (tag := value_tag(name, column, image[column])) is not None:
            yield tag


def _filled(template: Template, image: Mapping[str, object] | None) -> Iterator[str]:
    if image is None or not template.names <= image.keys():
        yield template_family(template)
    elif all(image[name] is not None for name in template.names):  # of NULL there is no such thing
        try:
            yield template.fill(image, _no_query)
        except TagError:  # nor could a reader have written it
            yield template_family(template)


def _no_query(name: str) -> str | None:
    return None
