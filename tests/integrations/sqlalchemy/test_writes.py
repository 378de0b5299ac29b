"""Every kind of write, in every shape of transaction, on every driver: exactly what it changed is flushed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.integrations.sqlalchemy.harness import World, Write
from tests.integrations.sqlalchemy.writes import KINDS

Shape = Callable[[World, Write], Any]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_commit_flushes_what_it_changed_and_nothing_else(world: World, kind: str) -> None:
    chosen = KINDS[kind]

    def work(session: Session) -> None:
        chosen.write(session)
        session.commit()

    await world.run(work)
    assert await world.flushed() == chosen.flushed
    assert set(world.tracking.table_level) == ({chosen.reason} if chosen.reason else set())
