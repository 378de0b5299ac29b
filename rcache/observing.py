"""Who looks into a cache, and who tells others what is counted here: one process' own, or that of all who share a Redis."""

from __future__ import annotations

from typing import Protocol, cast

from rcache.engine.local import LocalFleet
from rcache.engine.near_store import NearStore
from rcache.engine.reporter import Reporter
from rcache.engine.telemetry import Telemetry
from rcache.ports import Board, Inspector, Store
from rcache.stores.memory import MemoryStore
from rcache.stores.memory_inspector import MemoryInspector


class _Shared(Protocol):
    def board(self) -> Board: ...

    def inspector(self) -> _Looking: ...


class _Looking(Inspector, Protocol):
    def forget_parent(self) -> None: ...


def observed(store: Store, telemetry: Telemetry) -> tuple[Inspector, Reporter | None]:
    """What looks into the store, and what tells others; None where there are no others."""
    behind = store.store_behind if isinstance(store, NearStore) else store
    embedded = getattr(behind, "embedded", behind)  # what keeps the entries of a fleet in a test
    if isinstance(embedded, MemoryStore):
        return MemoryInspector(embedded, LocalFleet(telemetry)), None
    if not hasattr(behind, "inspector"):  # somebody's own store: what is counted is shown, and none of its entries
        return MemoryInspector(MemoryStore(), LocalFleet(telemetry)), None
    shared = cast("_Shared", behind)
    inspector = shared.inspector()
    telemetry.heirs.append(inspector.forget_parent)
    return inspector, Reporter(telemetry, shared.board)
