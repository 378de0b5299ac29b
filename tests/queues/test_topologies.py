"""What depends on where Redis is, behind sentinels and on a Cluster: the facts of the contract that need every command once."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from rcache.clock import SystemClock
from rcache.ports import Queue
from rcache.queues.redis import open_queue
from tests.queues import test_contract as contract


@pytest.fixture(params=["sentinels", "cluster"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    """An empty queue there."""
    made = open_queue(request.getfixturevalue(request.param).url, f"test-{secrets.token_hex(6)}", SystemClock())
    yield made
    await made.aclose()


for _fact in (
    contract.test_one_key_runs_once_until_it_has_ended,
    contract.test_keys_are_kept_apart_for_as_long_as_they_ask,
    contract.test_a_job_that_is_too_old_is_dropped_and_counted,
    contract.test_a_job_that_raises_is_run_again_and_then_kept_for_the_view,
    contract.test_nothing_begins_in_a_lane_that_is_paused,
    contract.test_workers_are_counted_while_they_serve,
    contract.test_the_view_says_how_long_the_oldest_has_been_waiting,
):
    globals()[_fact.__name__] = _fact
