"""The log: one record per hold, purge and release, in order; and the table of nodes that read it."""

import asyncio
import itertools
import threading
import time

import pytest

from rcache.core.errors import BackendError
from rcache.stores.redis import RedisStore, writing
from rcache.stores.redis.log import RedisLog
from tests.contract.redis_harness import RedisHarness

from .conftest import Request, budget, fill

LEASE = 60.0


@pytest.fixture
def log(harness: RedisHarness) -> RedisLog:
    made = harness.store.log()
    yield made
    made.close()


async def write_everything(harness: RedisHarness) -> None:
    store = harness.store
    await store.hold(["a", "b"], "t1", 20.0, 5.0)
    await store.hold(["a"], "t2", 20.0, 5.0)
    await store.release(["a"], "t2", 5.0)
    await store.purge(["a", "b"], 5.0, "t1")
    await store.purge(["c"], 5.0)
    await asyncio.to_thread(store.flush_sync, 5.0)


async def test_each_event_is_one_record_that_names_the_one_before(harness: RedisHarness, log: RedisLog):
    await fill(harness.store, Request())
    await write_everything(harness)

    records = log.read(0, 0)

    assert [(record.kind, record.changes, record.is_awaited) for record in records] == [
        ("hold", [["a", "t1"], ["b", "t1"]], True),
        ("hold", [["a", "t2"]], True),
        ("release", [["a", "t2"]], False),
        ("purge", [["a", "t1"], ["b", "t1"]], False),
        ("purge", [["c"]], True),
        ("flush", [], True),
    ]
    assert [record.before for record in records] == [0, *[record.number for record in records[:-1]]]
    assert len({record.epoch for record in records}) == 1


async def test_a_renewed_hold_is_not_logged_again_and_a_release_of_nothing_neither(harness, log):
    await harness.store.hold(["a"], "t1", 20.0, 5.0)
    await harness.store.hold(["a"], "t1", 20.0, 5.0)
    await harness.store.release(["a"], "t2", 5.0)
    await harness.store.hold(["a", "b"], "t1", 20.0, 5.0)

    assert [(record.kind, record.changes) for record in log.read(0, 0)] == [
        ("hold", [["a", "t1"]]),
        ("hold", [["b", "t1"]]),
    ]


async def test_a_purge_that_ends_only_some_of_its_holds_is_waited_for(harness, log):
    await harness.store.hold(["a"], "t1", 20.0, 5.0)
    await harness.store.purge(["a", "b"], 5.0, "t1")

    assert log.read(0, 0)[-1].is_awaited


async def test_a_purge_names_the_holds_that_ran_out(harness, log):
    await harness.store.hold(["a", "b"], "dead", 20.0, 5.0)
    await harness.advance(21.0)
    await harness.store.purge(["a"], 5.0)

    assert log.read(0, 0)[-1].changes == [["a", "dead"]]


async def test_a_mark_is_below_its_record(harness, log):
    purge = await harness.store.purge(["a"], 5.0)
    await fill(harness.store, Request())
    purge = await harness.store.purge(["a"], 5.0)

    assert log.read(0, 0)[-1].number == purge.number + 1


async def test_it_is_trimmed_by_length(harness, log, monkeypatch):
    monkeypatch.setattr(writing, "LOG_BOUNDS", (b"100", b"60000"))
    await fill(harness.store, Request())
    for number in range(400):
        harness.store.purge_sync([f"tag:{number}"], 5.0)

    assert 100 <= harness.client.xlen(harness.store.names.log) <= 250


async def test_it_is_trimmed_by_age(harness, log, monkeypatch):
    monkeypatch.setattr(writing, "LOG_BOUNDS", (b"100000", b"1"))
    await fill(harness.store, Request())
    for number in range(50):
        harness.store.purge_sync([f"tag:{number}"], 5.0)
        await asyncio.sleep(0.002)

    assert harness.client.xlen(harness.store.names.log) <= 4


async def test_a_head_that_is_no_number_is_an_error_until_something_is_purged(harness, log):
    await fill(harness.store, Request())
    counter = itertools.count(1)
    for damage in (b"x", b"\xff", b"1.79e+15"):
        head = log.join("node", next(counter), LEASE, False)
        assert head is not None
        harness.client.hset(harness.store.names.sequence, "last", damage)
        with pytest.raises(BackendError, match="no number"):
            log.renew("node", next(counter), head.number)
        with pytest.raises(BackendError, match="no number"):
            log.join("node", next(counter), LEASE, False)
        await harness.store.purge(["a"], 5.0)
        await harness.store.lookup(Request(), budget())


async def test_without_an_epoch_nothing_is_logged(harness, log):
    await harness.store.purge(["a"], 5.0)

    assert log.read(0, 0) == []


@pytest.mark.parametrize("instead", [None, "a string"])
async def test_a_log_that_is_lost_or_somebody_else_s_begins_again_and_readers_see_the_gap(harness, log, instead):
    await fill(harness.store, Request())
    await harness.store.purge(["a"], 5.0)
    await harness.store.purge(["b"], 5.0)
    first, second = log.read(0, 0)
    harness.client.delete(harness.store.names.log)
    if instead is not None:
        harness.client.set(harness.store.names.log, instead)
    await harness.store.purge(["c"], 5.0)

    (third,) = log.read(first.number, 0)

    assert third.before == second.number


async def test_a_sequence_that_was_set_back_ends_the_epoch(harness, log):
    await fill(harness.store, Request())
    for _ in range(3):
        await harness.store.purge(["a"], 5.0)
    harness.client.hset(harness.store.names.sequence, "n", 1)
    await harness.store.purge(["b"], 5.0)

    assert log.join("n1", 1, LEASE, True) is None


async def test_a_new_epoch_begins_a_new_log(harness, log):
    await fill(harness.store, Request())
    await harness.store.purge(["a"], 5.0)
    await harness.new_epoch()
    await harness.store.lookup(Request(), budget())
    head = log.join("n1", 1, LEASE, True)

    assert head.number == 0
    assert log.read(0, 0) == []


# Reading


async def test_a_reader_waits_for_what_comes(harness, log):
    await fill(harness.store, Request())
    records = []
    thread = threading.Thread(target=lambda: records.extend(log.read(0, 10.0)))
    thread.start()
    await harness.store.purge(["a"], 5.0)
    await asyncio.to_thread(thread.join, 30.0)

    assert [record.changes for record in records] == [[["a"]]]


async def test_nothing_comes_of_a_wait_in_which_nothing_happens(harness, log):
    assert log.read(0, 0.001) == []


async def test_closing_wakes_up_whoever_waits(harness, log):
    errors = []

    def read() -> None:
        try:
            log.read(0, 60.0)
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not _is_blocked(harness):
        await asyncio.sleep(0.001)
    log.close()
    await asyncio.to_thread(thread.join, 30.0)

    assert errors


def _is_blocked(harness: RedisHarness) -> bool:
    return any(client["cmd"] == "xread" for client in harness.client.client_list())


async def test_what_is_no_record_is_an_error(harness, log):
    harness.client.xadd(harness.store.names.log, {"colour": "green"})

    with pytest.raises(BackendError, match="no record"):
        log.read(0, 0)


# Nodes


async def test_a_node_joins_at_the_head_and_renews(harness, log):
    await fill(harness.store, Request())
    assert log.join("n1", 1, LEASE, False).number == 0
    await harness.store.purge(["a"], 5.0)
    (record,) = log.read(0, 0)

    head = log.renew("n1", 2, 0)
    assert head.number == record.number
    assert head.sequence >= head.number
    assert log.join("n2", 1, LEASE, True).number == record.number
    nodes = harness.client.hgetall(harness.store.names.nodes)
    assert nodes[b"n1"].split()[:4] == [b"fast", b"60000", b"2", b"0"]
    assert nodes[b"n2"].split()[:4] == [b"strict", b"60000", b"1", b"%d" % record.number]


async def test_before_there_is_an_epoch_nobody_joins(log):
    assert log.join("n1", 1, LEASE, True) is None


@pytest.mark.parametrize("reason", ["unknown", "lapsed", "struck out", "another epoch", "damaged"])
async def test_a_renewal_is_refused(harness, log, reason):
    await fill(harness.store, Request())
    log.join("n1", 1, LEASE, True)
    nodes = harness.store.names.nodes
    if reason == "unknown":
        assert log.renew("n2", 2, 0) is None
        return
    if reason == "lapsed":
        harness.client.hset(nodes, "n1", b"strict 1 1 0 1")
    elif reason == "struck out":
        harness.client.hdel(nodes, "n1")
    elif reason == "another epoch":
        harness.client.hset(nodes, "epoch", "another")
    else:
        harness.client.hset(nodes, "n1", "damaged")

    assert log.renew("n1", 2, 0) is None


async def test_leaving_takes_a_node_out_of_the_table(harness, log):
    await fill(harness.store, Request())
    log.join("n1", 1, LEASE, True)
    log.leave("n1")

    assert set(harness.client.hgetall(harness.store.names.nodes)) == {b"epoch", b"born"}


async def test_nodes_that_died_long_ago_are_forgotten_when_another_joins(harness, log):
    await fill(harness.store, Request())
    log.join("n1", 1, LEASE, True)
    harness.client.hset(harness.store.names.nodes, "dead", b"strict 2000 7 0 1000")
    log.join("n2", 1, LEASE, True)

    assert set(harness.client.hgetall(harness.store.names.nodes)) == {b"epoch", b"born", b"n1", b"n2"}


# Strict writers


@pytest.fixture
async def strict(harness: RedisHarness, log: RedisLog) -> RedisHarness:
    """A namespace with one strict node, that joined long ago."""
    await fill(harness.store, Request())
    log.join("n1", 1, LEASE, True)
    harness.client.hset(harness.store.names.nodes, "born", 1)
    return harness


def acknowledge(log: RedisLog, counter: int = 2) -> None:
    """The node reads, and says so."""
    records = log.read(0, 10.0)
    while not records[-1].is_awaited:
        records = log.read(records[-1].number, 10.0)
    log.renew("n1", counter, records[-1].number)


@pytest.mark.parametrize("how", ["purge", "hold", "flush"])
async def test_a_writer_waits_until_the_node_has_read(strict, log, how):
    store = strict.store
    if how == "purge":
        doing = asyncio.ensure_future(store.purge(["a"], 5.0))
    elif how == "hold":
        doing = asyncio.ensure_future(store.hold(["a"], "t1", 20.0, 5.0))
    else:
        doing = asyncio.ensure_future(asyncio.to_thread(store.flush_sync, 5.0))
    await asyncio.to_thread(log.read, 0, 10.0)
    assert not doing.done()
    await asyncio.to_thread(acknowledge, log)
    await doing


async def test_a_thread_waits_likewise(strict, log):
    doing = asyncio.ensure_future(asyncio.to_thread(strict.store.hold_sync, ["a"], "t1", 20.0, 5.0))
    await asyncio.to_thread(log.read, 0, 10.0)
    assert not doing.done()
    await asyncio.to_thread(acknowledge, log)
    await doing


async def test_a_hold_whose_reply_was_lost_is_waited_for_when_it_is_sent_again(strict, log):
    """It stands already, and was logged, but nobody knows that the node has read of it."""
    lost = asyncio.ensure_future(strict.store.hold(["a"], "t1", 20.0, 5.0))
    await asyncio.to_thread(log.read, 0, 10.0)
    lost.cancel()
    again = asyncio.ensure_future(strict.store.hold(["a"], "t1", 20.0, 5.0))
    for _ in range(5):
        await strict.store.lookup(Request(), budget())
    assert not again.done()
    await asyncio.to_thread(acknowledge, log)
    await again


async def test_what_stands_and_is_known_to_all_is_renewed_without_waiting_and_what_was_lost_is_not(strict, log):
    placing = asyncio.ensure_future(strict.store.hold(["a", "b"], "t1", 20.0, 5.0))
    await asyncio.to_thread(acknowledge, log)
    await placing
    await strict.store.release(["b"], "t1", 5.0)  # nobody waits until the node has read of that
    await strict.store.hold(["a"], "t1", 20.0, 5.0, (), True)
    lost = asyncio.ensure_future(strict.store.hold(["a", "b"], "t1", 20.0, 5.0, (), True))
    for _ in range(5):
        await strict.store.lookup(Request(), budget())
    assert not lost.done()
    head = int(strict.client.hget(strict.store.names.sequence, "last"))
    await asyncio.to_thread(log.renew, "n1", 3, head)
    await lost


async def test_a_purge_whose_hold_was_read_by_all_waits_for_nobody(strict, log):
    doing = asyncio.ensure_future(strict.store.hold(["a"], "t1", 20.0, 5.0))
    await asyncio.to_thread(acknowledge, log)
    await doing
    await strict.store.purge(["a"], 5.0, "t1")
    await strict.store.release(["a"], "t1", 5.0)


async def test_a_writer_waits_for_no_fast_node(harness, log):
    await fill(harness.store, Request())
    log.join("n1", 1, LEASE, False)
    harness.store.is_strict = True
    harness.client.hset(harness.store.names.nodes, "born", 1)
    await harness.store.purge(["a"], 5.0)


async def test_a_node_that_renews_nothing_is_struck_out(strict, log):
    log.join("n1", 2, 0.05, True)
    strict.store.near_lease = 0.05
    await strict.store.purge(["a"], 5.0)

    assert b"n1" not in strict.client.hgetall(strict.store.names.nodes)
    assert log.renew("n1", 3, 0) is None


async def test_a_node_that_lives_is_waited_for_however_long_it_takes(strict, log):
    lease = 0.6  # seconds: far more than a busy machine sleeps between two renewals
    log.join("n1", 2, lease, True)
    strict.store.near_lease = lease
    doing = asyncio.ensure_future(strict.store.purge(["a"], 5.0))
    began = time.monotonic()
    counter = 2
    while time.monotonic() - began < 2 * lease:  # longer than a node is watched that renews nothing
        counter += 1
        assert await asyncio.to_thread(log.renew, "n1", counter, 0) is not None
        await asyncio.sleep(0.01)
        assert not doing.done()
    await asyncio.to_thread(acknowledge, log, counter + 1)
    await doing


async def test_a_node_that_renews_between_the_look_and_the_strike_stays(strict, log):
    step = writing.Step(strict.store.strike_script, (strict.store.names.nodes.encode(),), (b"n1", b"0"))
    assert strict.client.eval(step.script.source, 1, *step.keys, *step.arguments) == 0
    assert b"n1" in strict.client.hgetall(strict.store.names.nodes)


def age_of_table(harness: RedisHarness) -> float:
    """Milliseconds since the table of nodes was made."""
    seconds, microseconds = harness.client.time()
    return seconds * 1000 + microseconds / 1000 - int(harness.client.hget(harness.store.names.nodes, "born"))


@pytest.mark.parametrize("table", ["missing", "of another epoch", "young"])
async def test_a_table_that_may_not_know_everybody_is_waited_for(strict, log, table):
    nodes = strict.store.names.nodes
    if table == "missing":
        strict.client.delete(nodes)
    elif table == "of another epoch":
        strict.client.hset(nodes, "epoch", "another")
    else:
        seconds, microseconds = strict.client.time()
        strict.client.hset(nodes, "born", seconds * 1000 + microseconds // 1000)
        strict.client.hdel(nodes, "n1")
    strict.store.near_lease = 0.2
    await strict.store.purge(["a"], 5.0)
    assert age_of_table(strict) >= 1.25 * 200


async def test_who_has_seen_strict_nodes_remembers_them(strict, log):
    log.leave("n1")
    await strict.store.purge(["a"], 5.0)

    assert strict.store.is_strict


async def test_on_a_server_that_forbids_a_command_the_error_names_it(strict, log):
    server = strict.server
    with server.client() as client:
        client.acl_setuser(
            "reader",
            enabled=True,
            passwords=["+secret"],
            keys=["rc:*"],
            commands=["+@all", "-@dangerous", "+info", "-xread"],
        )
    limited = RedisStore(f"redis://reader:secret@127.0.0.1:{server.port}/0", namespace=strict.store.names.namespace)
    other = limited.log()
    assert other.join("n2", 1, LEASE, True) is not None
    with pytest.raises(BackendError, match="xread"):
        other.read(0, 0)
    other.close()
