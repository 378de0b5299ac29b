"""A Redis that is slow, gone, a replica, or says no: the deadline holds, the breaker spares, and nothing is made up."""

import asyncio
import contextlib
import logging
import time

import pytest

from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError, ConfigurationError
from rcache.stores.redis import RedisStore
from tests.contract.redis_harness import RedisHarness
from tests.servers import RedisServer, free_port

from .conftest import Request, budget, entry_of, fill, start_of


async def until_it_answers(store: RedisStore):
    """The first answer after an outage; a breaker lets a probe through now and then."""
    deadline = time.monotonic() + 30.0
    while True:
        with contextlib.suppress(BackendError):
            return await store.lookup(Request(), budget())
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_stopped_redis_is_given_up_and_then_spared(own_server: RedisServer, own_harness: RedisHarness, caplog):
    store = own_harness.store
    await fill(store, Request())
    own_server.pause()
    left = budget(0.05)

    with pytest.raises(BackendError, match="in time"):
        await store.lookup(Request(), left)
    assert left.left <= 0
    assert store.is_down
    breaker, trips = store._trips._breaker, store.trips
    breaker._probe_at = float("inf")  # however slow the machine is, no probe is due yet
    with pytest.raises(BackendError):
        await store.lookup(Request(), budget(0.05))
    with pytest.raises(BackendError):
        await store.purge(["article:7"], 2.0)
    with pytest.raises(BackendError):
        store.purge_sync(["article:7"], 2.0)
    assert store.trips == trips
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1

    own_server.resume()
    breaker._probe_at = 0.0
    assert isinstance(await until_it_answers(store), Found)
    assert not store.is_down


async def test_an_answer_that_comes_too_late_is_not_taken_for_another(
    own_server: RedisServer, own_harness: RedisHarness
):
    store = own_harness.store
    for n in range(8):
        await fill(store, Request(b"/%d" % n), body=b"%d" % n)
    own_server.pause()
    late = [store.lookup(Request(b"/%d" % n), budget(0.02)) for n in range(4)]
    assert all(isinstance(answer, BackendError) for answer in await asyncio.gather(*late, return_exceptions=True))
    own_server.resume()

    await until_it_answers(store)
    for n in range(8):
        assert (await store.lookup(Request(b"/%d" % n), budget())).entry.body == b"%d" % n


async def test_a_connection_that_never_answers_is_replaced(
    own_server: RedisServer, own_harness: RedisHarness, monkeypatch
):
    monkeypatch.setattr("rcache.stores.redis.pipe.PATIENCE", 0.05)
    store = own_harness.store
    await fill(store, Request())
    before = own_harness.client.info("stats")["total_connections_received"]
    own_server.pause()
    with pytest.raises(BackendError):
        await store.lookup(Request(), budget(0.02))
    async with asyncio.timeout(30.0):  # the connection's own patience, on its own clock
        while any(wire.connection is not None for wire in store._trips.pipe().wires):
            await asyncio.sleep(0.01)
    own_server.resume()

    assert isinstance(await until_it_answers(store), Found)
    assert own_harness.client.info("stats")["total_connections_received"] > before


async def test_a_redis_that_is_absent_is_an_error_at_once_and_used_when_it_comes(own_server: RedisServer):
    own_server.kill()
    store = RedisStore(own_server.url)
    with pytest.raises(BackendError, match="cannot be reached"):
        await store.lookup(Request(), budget())
    own_server.start()

    assert isinstance(await until_it_answers(store), Missing)
    await store.aclose()


async def test_a_restart_between_two_calls_goes_unnoticed(own_server: RedisServer, own_harness: RedisHarness):
    store = own_harness.store
    await store.lookup(Request(), budget())
    own_server.restart(keep_data=False)

    await store.lookup(Request(), budget())

    assert not store.is_down


@pytest.mark.parametrize("keep_data", [True, False])
async def test_after_a_restart_nothing_older_is_served(keep_data, own_server: RedisServer, own_harness: RedisHarness):
    store = own_harness.store
    missing = await start_of(store, Request(b"/running"))
    await fill(store, Request())
    own_server.restart(keep_data=keep_data)

    answer = await until_it_answers(store)
    assert (answer.start, answer.reason) == (None, "quarantine")
    assert not await store.store(Request(b"/running"), (), entry_of(missing.start, missing.now), budget())
    await own_harness.advance(21.0)
    await fill(store, Request(), body=b"new")
    assert (await store.lookup(Request(), budget())).entry.body == b"new"


async def test_an_old_snapshot_brings_no_old_entry_back(own_server: RedisServer, own_harness: RedisHarness):
    store = own_harness.store
    await fill(store, Request())
    own_harness.client.save()
    await store.purge(["article:7"], 5.0)
    own_server.kill()
    own_server.start()

    assert isinstance(await until_it_answers(store), Missing)
    await own_harness.advance(21.0)
    assert isinstance(await until_it_answers(store), Missing)


async def test_killed_in_mid_call_it_is_an_error(own_server: RedisServer, own_harness: RedisHarness):
    store = own_harness.store
    await fill(store, Request())
    own_server.pause()
    calls = [asyncio.ensure_future(store.lookup(Request(), budget())) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    own_server.kill()

    assert all(isinstance(answer, BackendError) for answer in await asyncio.gather(*calls, return_exceptions=True))


async def test_a_probe_goes_out_while_the_breaker_is_open_and_closes_it(
    own_server: RedisServer, own_harness: RedisHarness
):
    store = own_harness.store
    await fill(store, Request())
    own_server.pause()
    with pytest.raises(BackendError):
        await store.lookup(Request(), budget(0.02))
    with pytest.raises(BackendError):
        store.purge_sync(["article:7"], 0.05, probe=True)
    own_server.resume()

    assert store.purge_sync(["article:7"], 5.0, probe=True).number > 0
    assert not store.is_down


async def test_no_time_left_is_no_outage(store):
    with pytest.raises(BackendError):
        await store.lookup(Request(), budget(0.0))

    assert not store.is_down


async def test_a_trip_after_idleness_is_charged(store):
    await fill(store, Request())
    pipe = store._trips.pipe()
    while pipe._watch is not None:
        await asyncio.sleep(0.001)
    time.sleep(0.02)  # the loop has nothing to do with Redis meanwhile
    left = budget()

    await store.lookup(Request(), left)

    assert left.left < budget().left


# A late event loop is not a late Redis.


async def test_a_loop_that_is_blocked_before_sending_still_hits(store):
    await fill(store, Request())
    call = asyncio.ensure_future(store.lookup(Request(), budget(0.15)))
    await asyncio.sleep(0)
    time.sleep(0.5)  # the call is queued, not sent

    assert isinstance(await call, Found)
    assert not store.is_down


async def test_a_loop_that_is_blocked_after_sending_still_hits(store):
    await fill(store, Request())
    calls = [asyncio.ensure_future(store.lookup(Request(), budget(0.15))) for _ in range(20)]
    trips = store.trips
    while store.trips == trips:
        await asyncio.sleep(0)
    time.sleep(0.5)  # the replies lie in the socket

    assert all(isinstance(answer, Found) for answer in await asyncio.gather(*calls))


async def test_a_loop_that_is_late_turn_after_turn_still_hits(store):
    await fill(store, Request())

    async def laggard() -> None:
        while True:
            time.sleep(0.2)
            await asyncio.sleep(0)

    slow = asyncio.ensure_future(laggard())
    assert isinstance(await store.lookup(Request(), budget(0.15)), Found)
    slow.cancel()


# Who may, and who must not, answer.


@pytest.fixture
def eager(monkeypatch):
    """A breaker that lets every call through as a probe."""
    monkeypatch.setattr("rcache.stores.redis.breaker.FIRST_WAIT", 0.0)
    monkeypatch.setattr("rcache.stores.redis.breaker.LONGEST_WAIT", 0.0)


@pytest.mark.usefixtures("eager")
async def test_a_replica_is_never_asked(own_server: RedisServer, caplog):
    replica = RedisServer("--replicaof", "127.0.0.1", str(own_server.port))
    try:
        store = RedisStore(replica.url)
        for _ in range(3):
            with pytest.raises(BackendError, match="primary"):
                await store.lookup(Request(), budget())
        with pytest.raises(BackendError, match="primary"):
            store.purge_sync(["article:7"], 5.0, probe=True)
        await store.aclose()
    finally:
        replica.stop()
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("missing", ["-info", "-evalsha", "-script"])
async def test_a_missing_permission_is_named_once_with_its_remedy(missing, own_server: RedisServer, caplog):
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~rc:*", "+@all", missing)
    store = RedisStore(f"redis://app:secret@127.0.0.1:{own_server.port}/0")

    for _ in range(3):
        with pytest.raises(BackendError):
            await store.lookup(Request(), budget())

    assert len(caplog.records) == 1
    assert "+info" in caplog.records[0].getMessage()
    assert "permit" in caplog.records[0].getMessage()
    await store.aclose()


async def test_the_permissions_that_are_named_suffice(own_server: RedisServer):
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~rc:*", "+@all", "-@dangerous", "+info")
    store = RedisStore(f"redis://app:secret@127.0.0.1:{own_server.port}/0")

    await fill(store, Request())
    assert isinstance(await store.lookup(Request(), budget()), Found)
    assert (await store.purge(["article:7"], 5.0)).entries == 1
    await store.swept()
    assert store.purge_sync(["article:7"], 5.0).number
    await store.aclose()


async def test_a_wrong_password_is_named(own_server: RedisServer, caplog):
    store = RedisStore(f"redis://app:wrong@127.0.0.1:{own_server.port}/0")

    with pytest.raises(BackendError, match="password"):
        await store.lookup(Request(), budget())


# Configuration


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        ("http://localhost", "rcache"),
        ("localhost:6379", "rcache"),
        ("redis://localhost:notaport", "rcache"),
        ("unix://", "rcache"),
        ("redis://localhost?socket_timeout=soon", "rcache"),
        ("redis://localhost", ""),
        ("redis://localhost", "a{b}"),
        ("redis://localhost", "a\x01b"),
        ("redis://localhost", "a b"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_once(url, namespace):
    with pytest.raises(ConfigurationError):
        RedisStore(url, namespace=namespace)


def test_no_connection_is_made_before_it_is_needed():
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")

    assert not store.is_down
    store.close()
