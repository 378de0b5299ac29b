"""How many tags one COMMIT may purge: a transaction that changes much is told of in less detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rcache.core.changes import Change

MOST_TAGS: Final = 2_000
"""Redis does nothing else while it purges them: a few milliseconds."""


def bounded(changes: Sequence[Change], count: Callable[[Sequence[Change]], int]) -> Sequence[Change]:
    """The changes. Where `count` makes their tags too many, the tables with most of them are told of without values, then whole."""
    if count(changes) <= MOST_TAGS:
        return changes
    by_table: dict[str, list[Change]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    shares = {table: count(several) for table, several in by_table.items()}
    for told in (_without_values, _as_a_whole):
        for table in sorted(shares, key=lambda name: -shares[name]):
            if sum(shares.values()) > MOST_TAGS:
                by_table[table] = told(table, by_table[table])
                shares[table] = count(by_table[table])
    return [change for several in by_table.values() for change in several]


def _without_values(table: str, changes: Sequence[Change]) -> list[Change]:
    return [Change(table, change.pk, change.op) for change in changes]


def _as_a_whole(table: str, changes: Sequence[Change]) -> list[Change]:
    return [Change(table, None)]
