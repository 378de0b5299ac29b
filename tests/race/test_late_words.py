"""What a node said, and a network delivers when nobody waits for it any more: it must not speak for the node as it is now."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rcache.core.log import Head, Record
from rcache.engine.near_cache import NearCache
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, begin, fill
from tests.servers import RedisServer
from tests.support import HandClock

NODE = "node"
LEASE = 60.0


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RedisHarness]:
    harness = RedisHarness(redis_server)
    await harness.make(quarantine=0.0)
    await fill(harness.store, Question("/row"), b"1", "row")  # makes the epoch
    yield harness
    await harness.close()


def tail_of(harness: RedisHarness) -> int:
    """How far writers believe that the node has read."""
    field = harness.client.hget(harness.store.names.nodes, NODE)
    assert field is not None
    return int(field.split()[3])


async def test_a_join_that_comes_late_does_not_say_that_the_node_has_read_what_was_purged_since(harness: RedisHarness):
    """Else a strict writer would not wait for it, while it still serves what was purged."""
    given_up, followed = harness.store.log(), harness.store.log()
    head = followed.join(NODE, 2, LEASE, is_strict=False)  # so that the purge below does not wait
    await harness.store.purge(["row"], 1.0)
    assert given_up.join(NODE, 1, LEASE, is_strict=False) is None
    assert tail_of(harness) == head.number
    given_up.close()
    followed.close()


async def test_a_renewal_that_comes_late_does_not_tell_of_records_of_an_earlier_epoch(harness: RedisHarness):
    given_up, followed = harness.store.log(), harness.store.log()
    for _ in range(5):
        await harness.store.purge(["row"], 1.0)
    read = given_up.join(NODE, 1, LEASE, is_strict=True).number
    await harness.forget_everything()
    await harness.store.purge(["row"], 1.0)
    await begin(harness.store, Question("/row"))  # makes another epoch, whose numbers begin anew
    head = followed.join(NODE, 3, LEASE, is_strict=True)
    assert head.number < read

    assert given_up.renew(NODE, 2, read) is None
    assert tail_of(harness) == head.number
    assert followed.renew(NODE, 4, head.number) is not None
    given_up.close()
    followed.close()


def test_a_lease_goes_on_only_once_what_its_renewal_tells_of_was_read():
    """A link may bring an empty read late and the renewal after it fast: what came in between is as old as the link is slow."""
    clock = HandClock()
    near = NearCache(10_000, clock)
    near.join(Head("epoch", 10, 10, 0.0), clock.boottime(), 2.0)
    clock.advance(1.9)
    assert near.renew(Head("epoch", 11, 11, 1.9), clock.boottime(), 2.0)
    clock.advance(0.5)
    assert not near.is_alive
    assert near.apply([Record("epoch", 11, 10, "purge", [["row"]], True)])
    assert near.is_alive
    clock.advance(1.5)
    assert not near.is_alive


def test_a_lease_whose_renewal_tells_of_nothing_new_goes_on_at_once():
    clock = HandClock()
    near = NearCache(10_000, clock)
    near.join(Head("epoch", 10, 10, 0.0), clock.boottime(), 2.0)
    clock.advance(1.9)
    assert near.renew(Head("epoch", 10, 10, 1.9), clock.boottime(), 2.0)
    clock.advance(1.9)
    assert near.is_alive
