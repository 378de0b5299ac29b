"""What a `Cache` makes of its settings, and what they are where nobody says."""

from __future__ import annotations

import pytest

from rcache import Cache, ConfigurationError
from rcache.engine.near_store import NearStore
from rcache.stores.memory import MemoryStore
from rcache.stores.redis import ClusterStore, RedisStore

# No connection is made before it is needed, so nobody has to be there.
PLACES = {
    "redis://127.0.0.1:1/0": RedisStore,
    "redis+sentinel://127.0.0.1:1/shop/0": RedisStore,
    "redis+cluster://127.0.0.1:1": ClusterStore,
}


@pytest.mark.parametrize("url", PLACES)
def test_on_redis_nothing_is_kept_near_unless_somebody_says_so(url: str) -> None:
    assert type(Cache(url).store) is PLACES[url]


@pytest.mark.parametrize("url", PLACES)
@pytest.mark.parametrize("mode", ["fast", "strict"])
def test_a_near_cache_stands_before_every_kind_of_redis(url: str, mode: str) -> None:
    store = Cache(url, near=mode).store  # type: ignore[arg-type]
    assert isinstance(store, NearStore)
    assert type(store.store_behind) is PLACES[url]
    assert (store.near.max_bytes, store._lease, store._is_strict) == (64 * 2**20, 2.0, mode == "strict")
    behind = store.store_behind
    assert (behind.is_strict, behind.near_lease) == (mode == "strict", 2.0)
    other = Cache(url, near=mode, near_bytes="1MiB", near_lease="500ms").store  # type: ignore[arg-type]
    assert isinstance(other, NearStore)
    assert (other.near.max_bytes, other._lease) == (2**20, 0.5)


def test_an_embedded_cache_is_near_already() -> None:
    assert type(Cache("memory://", near="strict").store) is MemoryStore


@pytest.mark.parametrize("settings", [{"near": "close"}, {"near": True}, {"near_bytes": -1}, {"near_lease": 0}])
def test_a_near_cache_that_cannot_be_is_refused_by_name(settings: dict[str, object]) -> None:
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        Cache("redis://127.0.0.1:1/0", **settings)  # type: ignore[arg-type]


def test_what_the_fault_table_promises_holds_where_nobody_says_otherwise() -> None:
    cache = Cache("redis://127.0.0.1:1/0")
    assert isinstance(cache.store, RedisStore)
    assert (cache.deadline, cache._purger.timeout, cache._purger.on_outage) == (0.05, 2.0, "proceed")
    assert cache.allowance < cache.deadline
    assert cache.journal._bound == 100_000
    assert cache.holds.lasts == cache.store.quarantine == 20.0, "twice the longest COMMIT"
    assert cache.store.max_marks == 1_000_000


def test_a_hold_lives_twice_as_long_as_the_longest_commit_and_so_does_a_quarantine() -> None:
    cache = Cache("redis://127.0.0.1:1/0", commit_timeout="3s")
    assert isinstance(cache.store, RedisStore)
    assert cache.holds.lasts == cache.store.quarantine == 6.0


@pytest.mark.parametrize("settings", [{"on_outage": "retry"}, {"max_pending": 0}, {"commit_timeout": 0}])
def test_an_outage_that_cannot_be_met_so_is_refused_by_name(settings: dict[str, object]) -> None:
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        Cache("redis://127.0.0.1:1/0", **settings)  # type: ignore[arg-type]
