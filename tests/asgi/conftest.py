"""A cache on a clock set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rcache import Cache
from tests.support import HandClock


@pytest.fixture(autouse=True)
def _alone(no_other_caches: None) -> None:
    """Public functions find the test's own cache."""


@pytest.fixture
def clock() -> HandClock:
    """The cache's clock."""
    return HandClock()


@pytest.fixture
async def cache(clock: HandClock) -> AsyncIterator[Cache]:
    """An embedded cache, closed after the test."""
    cache = Cache("memory://", clock=clock)
    yield cache
    await cache.close()
