"""The suite that every store has to pass is anybody's to take, and fails where a store breaks a promise."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rcache import Cache
from rcache.core.entry import Purge
from rcache.stores.memory import MemoryStore
from rcache.testing import contract
from rcache.testing.contract import Harness, entries, holds, losses, purges, schemes, soft_purges
from tests.contract.memory_harness import MemoryHarness

MODULES = (entries, holds, losses, purges, schemes, soft_purges)


class Deaf(MemoryStore):
    """Takes purges, and does nothing."""

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        return Purge(self.start.number + 1, 0)


class DeafHarness(MemoryHarness):
    store_class = Deaf


def all_of(module: Any) -> dict[str, Any]:
    return {name: each for name, each in vars(module).items() if name.startswith("test_")}


def test_one_line_takes_over_all_of_it():
    names = [name for module in MODULES for name in all_of(module)]
    assert len(names) > 60
    assert all_of(contract).keys() == set(names)
    assert len(names) == len(set(names)), "no test hides another of the same name"
    there = {path.stem for path in Path(contract.__file__).parent.glob("*.py")} - {"__init__", "harness", "questions"}
    assert there == {module.__name__.rpartition(".")[2] for module in MODULES}


async def test_a_store_that_keeps_its_promises_passes_and_one_that_does_not_fails():
    kept, broken = 0, 0
    for name, test in all_of(purges).items():
        if list(inspect.signature(test).parameters) == ["harness"] and "thousand" not in name:
            await test(MemoryHarness())
            try:
                await test(DeafHarness())
                kept += 1
            except AssertionError:
                broken += 1
    assert broken > 5 > kept


async def test_a_store_of_ones_own_serves_a_cache():
    cache = Cache(Deaf())
    assert isinstance(cache.store, Deaf)
    assert (await cache.invalidate("x")).landed
    assert await cache.inspector.entries("/") == []
    await cache.close()


@pytest.fixture
async def harness() -> Harness:
    return MemoryHarness()


async def test_the_harness_says_what_it_has_to_do(harness: Harness):
    wanted = {name for name in vars(Harness) if not name.startswith("_")} | {"has_hand_clock"}
    assert all(hasattr(harness, name) for name in wanted)
