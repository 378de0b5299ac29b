"""The stories of the coherence model that both stores can meet, told through the whole middleware.

Each is told twice: with all rules nobody is answered from before an invalidation that had returned, and with the rule it is about
taken out somebody is. Logs, near caches and what matters only where a step is taken in several are `test_protocol.py`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from rcache.stores.redis import RedisStore
from tests.contract.memory_harness import MemoryHarness
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, begin, body_of, fill, finish, missing, purge
from tests.race import removals
from tests.race.removals import Removal
from tests.race.world import Visit, World, world
from tests.servers import RedisServer

Story = Callable[[World], Awaitable[None]]
both = pytest.mark.parametrize("kind", ["memory", "redis"])


async def stale(story: Story, kind: str, server: RedisServer, removal: Removal | None = None) -> bool:
    """Whether somebody is answered from before an invalidation."""
    async with world(kind, server, removal) as here:
        await story(here)
        return bool(await here.wind_up())


# The fill race


async def fill_race(here: World) -> None:
    """A request reads the row, somebody writes and invalidates, the request finishes."""
    visit = await here.visit(0)
    await here.until(visit, "answer")
    await here.write(len(here.caches) - 1)
    await here.run(visit)
    assert visit.version == 0, "its own client gets its answer"


@both
async def test_an_answer_read_before_a_write_is_its_own_client_s_alone(redis_server: RedisServer, kind: str) -> None:
    async with world(kind, redis_server) as here:
        await fill_race(here)
        for node in range(len(here.caches)):
            assert (await here.look(node)).version == 1
        assert (await here.look(0)).answer.is_hit


@both
async def test_the_one_who_answers_from_before_is_told_so(redis_server: RedisServer, kind: str) -> None:
    async with world(kind, redis_server) as here:
        await fill_race(here)
        assert here.visits[0].answer.cache == "rcache; fwd=miss; detail=refused"
        assert sum(cache.stats.refusals for cache in here.caches) == 1


@both
@pytest.mark.parametrize("removal", [removals.start, removals.mark], ids=["start", "mark"])
async def test_the_fill_race_is_lost_without(redis_server: RedisServer, kind: str, removal: Removal) -> None:
    assert not await stale(fill_race, kind, redis_server)
    assert await stale(fill_race, kind, redis_server, removal)


async def stored_just_before(here: World) -> None:
    """The store is accepted, then comes the purge, then the application hears of its store."""
    visit = await here.visit(0)
    await here.until(visit, "hear of the store")
    await here.write(len(here.caches) - 1)
    assert (await here.look(0)).version == 1
    await here.run(visit)


async def purged_between_send_and_store(here: World) -> None:
    """The purge has landed but its caller does not know, when the store arrives."""
    visit = await here.visit(0)
    await here.until(visit, "send the store")
    writer = await here.writer(len(here.caches) - 1)
    await here.until(writer, "hear of the purge")
    await here.run(visit)
    await here.run(writer)


async def written_twice(here: World) -> None:
    """Two writers, whose purges cross."""
    visit = await here.visit(0)
    await here.until(visit, "answer")
    one = await here.writer(0)
    two = await here.writer(len(here.caches) - 1)
    await here.until(two, "hear of the purge")
    await here.run(visit)
    other = await here.visit(0)
    await here.until(other, "send the store")
    await here.run(one)
    await here.run(other)
    await here.run(two)


@both
@pytest.mark.parametrize("story", [stored_just_before, purged_between_send_and_store, written_twice])
async def test_however_store_and_purge_cross_nobody_is_answered_from_before(
    redis_server: RedisServer, kind: str, story: Story
) -> None:
    assert not await stale(story, kind, redis_server)


# Holds


async def asked_between_commit_and_purge(here: World) -> None:
    """A writer that holds the row has committed, and its purge has not been sent."""
    await here.look(0)
    holder = await here.holder(len(here.caches) - 1)
    await here.until(holder, "commit")
    await here.look(0)
    await here.until(holder, "leave the block")
    await here.look(0)
    await here.run(holder)
    assert (await here.look(0)).version == 1


async def held_by_two(here: World) -> None:
    """One rolls back while the other has committed: what it held is still held."""
    await here.look(0)
    one = await here.holder(0, fails=True)
    two = await here.holder(len(here.caches) - 1)
    await here.until(one, "roll back")
    await here.until(two, "leave the block")
    await here.run(one)
    await here.look(0)
    await here.run(two)


@both
@pytest.mark.parametrize("story", [asked_between_commit_and_purge, held_by_two])
async def test_from_a_holder_s_commit_on_nobody_is_answered_from_before(
    redis_server: RedisServer, kind: str, story: Story
) -> None:
    assert not await stale(story, kind, redis_server)
    assert await stale(story, kind, redis_server, removals.hold)


@both
async def test_what_a_holder_rolled_back_is_a_hit_again(redis_server: RedisServer, kind: str) -> None:
    async with world(kind, redis_server) as here:
        await here.look(0)
        holder = await here.holder(0, fails=True)
        await here.until(holder, "roll back")
        during = await here.look(0)
        assert not during.answer.is_hit
        await here.run(holder)
        assert (await here.look(0)).answer.is_hit


# Flights


async def joined_after_a_write(here: World) -> None:
    """A visit that begins after a write on another node finds a flight that read before it."""
    leader = await here.visit(0)
    await here.until(leader, "answer")
    await here.write(1)
    follower = await here.visit(0)
    assert follower.is_following
    await here.run(leader)
    await here.run(follower)


async def joined_after_the_send(here: World) -> None:
    """The store was accepted, but its flight has not landed when somebody writes, and then a visit begins."""
    leader = await here.visit(0)
    await here.until(leader, "hear of the store")
    await here.write(1)
    follower = await here.visit(0)
    await here.run(leader)
    await here.run(follower)


async def test_followers_of_a_flight_that_was_refused_look_up_anew(redis_server: RedisServer) -> None:
    assert not await stale(joined_after_a_write, "redis", redis_server)
    assert await stale(joined_after_a_write, "redis", redis_server, removals.acceptance)


async def test_nobody_joins_a_flight_whose_store_was_sent(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await stale(joined_after_the_send, "redis", redis_server)
    removals.departure(monkeypatch)
    assert await stale(joined_after_the_send, "redis", redis_server)


async def joined_here(here: World) -> None:
    """A visit that begins after a write in its own process finds a flight that read before it."""
    leader = await here.visit(0)
    await here.until(leader, "answer")
    await here.write(0)
    follower = await here.visit(0)
    await here.run(leader)
    await here.run(follower)


@both
async def test_a_visit_after_an_invalidation_here_joins_no_flight_from_before(
    redis_server: RedisServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(kind, redis_server) as here:
        leader = await here.visit(0)
        await here.until(leader, "answer")
        await here.write(0)
        assert (await here.visit(0)).step == "read", "it runs by itself, and waits for nobody"
    assert not await stale(joined_here, kind, redis_server, removals.acceptance), "so the answer need not be refused"
    removals.detachment(monkeypatch)
    assert not await stale(joined_here, kind, redis_server), "and if it joined, that the answer is refused suffices"
    assert await stale(joined_here, kind, redis_server, removals.acceptance)


@both
async def test_those_who_join_in_time_share_one_run(redis_server: RedisServer, kind: str) -> None:
    async with world(kind, redis_server) as here:
        leader = await here.visit(0)
        await here.until(leader, "answer")
        followers = [await here.visit(0) for _ in range(5)]
        assert all(follower.is_following for follower in followers)
        await here.run(leader)
        assert [follower.version for follower in followers] == [0] * 5
        assert {follower.answer.cache for follower in followers} == {"rcache; fwd=miss; collapsed"}
        assert here.caches[0].stats.collapsed == 5


# Losses


async def mark_lost_with_its_guard(here: World) -> None:
    """The mark that would refuse a late store is lost, and the guard made again."""
    visit = await _reader_of_a_purged_row(here)
    await here.lose_guard()
    await here.end_quarantine()
    await here.run(visit)


async def mark_forgotten(here: World) -> None:
    """The mark that would refuse a late store had to make room."""
    visit = await _reader_of_a_purged_row(here)
    for cache in here.caches:
        cache.store.max_marks = 2  # type: ignore[attr-defined]
    for number in range(3):
        await here.caches[0].invalidate(f"other:{number}")
    await here.run(visit)


async def everything_lost(here: World) -> None:
    """The data is gone, and the sequence counts from 1 again: the late store has a higher number than any purge."""
    for number in range(30):
        await here.caches[0].invalidate(f"other:{number}")
    visit = await _reader_of_a_purged_row(here)
    await here.harness.forget_everything()
    await here.look()
    await here.landed()  # what was purged in the last seconds is sent again
    await here.end_quarantine()
    await here.run(visit)


async def _reader_of_a_purged_row(here: World) -> Visit:
    visit = await here.visit(0)
    await here.until(visit, "answer")
    await here.write(0)  # on its own node, so that later visits do not wait for its flight
    return visit


@both
@pytest.mark.parametrize(
    ("story", "removal"),
    [(mark_lost_with_its_guard, removals.born), (mark_forgotten, removals.forgetting)],
    ids=["born", "forgetting"],
)
async def test_what_can_no_longer_be_judged_is_not_used(
    redis_server: RedisServer, kind: str, story: Story, removal: Removal
) -> None:
    assert not await stale(story, kind, redis_server)
    assert await stale(story, kind, redis_server, removal)


async def test_numbers_of_two_epochs_are_never_compared(redis_server: RedisServer) -> None:
    """Embedded, numbers go on from epoch to epoch, so that the guards' birth already tells."""
    assert not await stale(everything_lost, "memory", redis_server)
    assert not await stale(everything_lost, "redis", redis_server)
    assert await stale(everything_lost, "redis", redis_server, removals.epoch)


# Rules that purges of one step, and writers without holds, do not need to be right, but keep


@pytest.mark.parametrize("removal", [None, removals.maximum], ids=["kept", "removed"])
async def test_a_mark_is_only_ever_raised(redis_server: RedisServer, removal: Removal | None) -> None:
    """Somebody set the sequence back, without an epoch: later purges have lower numbers."""
    harness = RedisHarness(redis_server)
    store = await harness.make()
    if removal is not None:
        removal(store)
    book = Question("/book")
    await fill(store, Question("/other"))
    harness.client.hset(store.names.sequence, "n", 50)
    miss = await begin(store, book)
    await purge(store, "book")
    harness.client.hset(store.names.sequence, "n", 5)
    await purge(store, "book")
    harness.client.hset(store.names.sequence, "n", 60)  # else the entry's own start would give it away
    await finish(store, book, miss, b"old", "book")
    assert await body_of(store, book) == (None if removal is None else b"old")
    await harness.close()


@both
@pytest.mark.parametrize("removal", [None, removals.quarantine], ids=["kept", "removed"])
async def test_a_guard_that_was_lost_serves_nothing_for_a_while(
    redis_server: RedisServer, kind: str, removal: Removal | None
) -> None:
    harness = MemoryHarness() if kind == "memory" else RedisHarness(redis_server)
    store = await harness.make()
    if removal is not None:
        removal(store)
    await fill(store, Question("/book"), b"old", "book")
    await harness.lose_guard("book")
    await missing(store, Question("/book"))
    assert ((await missing(store, Question("/book"))).start is None) == (removal is None)
    await harness.close()


def test_a_clause_that_is_no_longer_there_is_not_removed_quietly(redis_server: RedisServer) -> None:
    with pytest.raises(AssertionError, match="say what took its place"):
        removals.cut(RedisStore(redis_server.url), "lookup", ("no such clause", ""))
