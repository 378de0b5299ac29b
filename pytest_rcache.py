"""The fixtures of rcache for pytest, which finds them by itself where rcache is installed.

Nothing of rcache is imported before a test asks for one of them: a suite that does not pays for this file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rcache import Cache
    from rcache.testing import Fleet, HandClock

pytest.register_assert_rewrite("rcache.testing.contract")


@pytest.fixture
def hand_clock() -> HandClock:
    """Time that passes only when the test says so: `hand_clock.advance("5m")`."""
    from rcache.testing import HandClock

    return HandClock()


@pytest.fixture
def rcache_cache(hand_clock: HandClock) -> Iterator[Cache]:
    """An embedded cache, empty, that goes by `hand_clock`. To be overridden where the application has one of its own."""
    from rcache import Cache

    cache = Cache("memory://", clock=hand_clock)
    yield cache
    cache.close_sync()


@pytest.fixture
def rcache_fleet(hand_clock: HandClock) -> Iterator[Callable[..., Fleet]]:
    """`rcache_fleet(create_app, nodes=3)`: nodes that share a store, by `hand_clock`; see `rcache.testing.fleet`."""
    from rcache.testing import fleet

    with ExitStack() as begun:

        def begin(create_app: Callable[[Cache], Any], nodes: int = 2, **settings: Any) -> Fleet:
            return begun.enter_context(fleet(create_app, nodes, clock=hand_clock, **settings))

        yield begin


@pytest.fixture
def rcache_disabled() -> Iterator[None]:
    """While the test runs every request passes, as if there were no cache."""
    from rcache.testing import disable

    with disable():
        yield


@pytest.fixture
def rcache_strict() -> Iterator[None]:
    """While the test runs cached endpoints raise StrictError where they read what their key or tags do not tell."""
    from rcache.testing import strict

    with strict():
        yield
