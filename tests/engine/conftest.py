"""A journal, and the store it sends to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rcache.engine.journal import Journal
from tests.engine.faulty import FaultyStore


@pytest.fixture
def store() -> FaultyStore:
    """A store that works until the test says otherwise."""
    return FaultyStore()


@pytest.fixture
def journal(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal that does not wait long between attempts."""
    monkeypatch.setattr("rcache.engine.journal.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("rcache.engine.journal.LONGEST_PAUSE", 0.001)
    journal = Journal(
        lambda tags, seconds: store.purge_sync(tags, seconds, probe=True),
        lambda seconds: store.flush_sync(seconds, probe=True),
        1.0,
    )
    yield journal
    store.is_cut = False
    store.may_go.set()
    journal.close(10.0)
