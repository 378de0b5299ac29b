"""What depends on where Redis is, behind sentinels and on a Cluster: the facts of the contract that need every command once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from rcache.clock import SystemClock
from rcache.core.jobs import Job
from rcache.ports import Queue
from rcache.queues.redis import open_queue
from tests.clusters import Cluster
from tests.queues import test_contract as contract
from tests.queues.support import Runs, seen, served
from tests.queues.test_entry import everything
from tests.sentinels import SERVICE, Sentinels
from tests.tls import Certificates


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


@pytest.mark.long
async def test_a_failover_is_survived_by_what_runs_and_what_waits():
    sentinels = Sentinels()
    queue, runs = open_queue(sentinels.url, "n", SystemClock()), Runs()
    runs.gate.clear()
    try:
        async with served(queue, runs):
            await queue.add(Job("flight"))
            await runs.began(1)
            await asyncio.to_thread(sentinels.fail_over)
            await queue.add(Job("after"))
            runs.gate.set()
            await seen(
                queue, lambda view: view.counts["done"] >= 2 and view.lanes[1].waiting + view.lanes[1].running == 0
            )
    finally:
        await queue.aclose()
        sentinels.stop()
    # What the new primary had not heard yet, such as that a job has ended, it does not know: that one runs again.
    assert set(runs.names) == {"after", "flight"}


@pytest.mark.long
async def test_tls_and_passwords_lead_to_a_cluster_and_through_sentinels(tmp_path):
    certificates = Certificates(tmp_path)
    files = f"ssl_ca_certs={certificates.authority}"
    cluster = Cluster(certificates=certificates, password="pw", masters=1, replicas=0)
    try:
        assert await everything(f"{cluster.url.replace('redis+', 'rediss+')}?{files}") == "ValueError: no"
    finally:
        cluster.stop()
    sentinels = Sentinels(certificates=certificates, password="pw")
    try:
        assert await everything(f"rediss+sentinel://:pw@{sentinels.tls_places}/{SERVICE}/0?{files}") == "ValueError: no"
    finally:
        sentinels.stop()
