"""How many tags one COMMIT may purge: a transaction that changes much is told of in less detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rcache.core.changes import Change

MOST_TAGS: Final = 2_000
"""Redis does nothing else while it purges them: a few milliseconds."""


def bounded(changes: Sequence[Change], tags: Callable[[Sequence[Change]], tuple[str, ...]]) -> tuple[str, ...]:
    """`tags` of the changes. Where they are too many, the tables with most of them are told of without values, then as a whole."""
    found = tags(changes)
    if len(found) <= MOST_TAGS:
        return found
    by_table: dict[str, list[Change]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    shares = {table: tags(several) for table, several in by_table.items()}
    for told in (_without_values, _as_a_whole):
        for table in sorted(shares, key=lambda name: -len(shares[name])):
            if sum(map(len, shares.values())) > MOST_TAGS:
                shares[table] = tags(told(table, by_table[table]))
    return tuple(sorted({tag for share in shares.values() for tag in share}))


def _without_values(table: str, changes: Sequence[Change]) -> list[Change]:
    return [Change(table, change.pk, change.op) for change in changes]


def _as_a_whole(table: str, changes: Sequence[Change]) -> list[Change]:
    return [Change(table, None)]
