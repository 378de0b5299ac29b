"""`entity_saved` and `entity_deleted` after a COMMIT, for whoever listens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blinker import NamedSignal

from rcache.core.changes import Change
from rcache.integrations.sqlalchemy.names import Names
from rcache.signals import entity_deleted, entity_saved, notify


def tell(names: Iterable[Names], changes: Sequence[Change]) -> None:
    """Tells of each change under the class of its row, or under the table where it has none."""
    known = list(names)
    for signal, is_deleting in ((entity_saved, False), (entity_deleted, True)):
        if len(signal.receivers) > 1:  # rcache's own is one of them
            for change in changes:
                if (change.op == "delete") is is_deleting:
                    _tell_of(signal, change, known)


def _tell_of(signal: NamedSignal, change: Change, known: Sequence[Names]) -> None:
    for names in known:
        table = names.find(change.table)
        if table is not None:
            model = names.model(table, change.new or change.old) or table
            identity = change.pk[0] if change.pk is not None and len(change.pk) == 1 else change.pk
            notify(signal, model, model=model, identity=identity, old=change.old, new=change.new, purged=True)
            return
