"""A scheme is registered, and what it made is stored, while somebody writes who may not know it: nobody is answered from before.

Each rule is taken out once, to see that its story then ends in a stale answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.clusters import Cluster
from tests.race import library as removals
from tests.race.library import Library, Removal, library
from tests.race.test_schedules import lean
from tests.servers import RedisServer

Story = Callable[[Library], Awaitable[None]]
STEPS = (
    "send the hold",
    "hear of the hold",
    "commit",
    "leave the transaction",
    "send the purge",
    "hear of the purge",
    "end",
)


@pytest.fixture(params=["memory", "redis", "cluster"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, kind: str) -> RedisServer | Cluster:
    made: RedisServer | Cluster = request.getfixturevalue("cluster" if kind == "cluster" else "redis_server")
    return made


async def stale(story: Story, kind: str, server: RedisServer | Cluster, removal: Removal | None = None) -> list[str]:
    """Who is answered from before."""
    async with library(kind, server, removal) as here:
        await story(here)
        return await here.wind_up()


def last(here: Library) -> int:
    """The node that knows least."""
    return len(here.caches) - 1


async def registered_while_held(here: Library) -> None:
    """A writer was told of no scheme, and is about to commit."""
    writer = await here.writer(last(here))
    await here.until(writer, "commit")
    await here.read()
    await here.until(writer, "leave the transaction")
    await here.read()


async def registered_by_somebody_else_after_the_write(here: Library) -> None:
    """Two readers, of whom one began before a write of which the other began after."""
    early = await here.reader(0, 0)
    await here.until(early, "send the store")
    await here.run(await here.teller(last(here)))
    await here.read(last(here), 1)
    await here.run(early)
    await here.read()


async def registered_after_the_write(here: Library) -> None:
    """The scheme is new to everybody when its reader comes to store."""
    early = await here.reader()
    await here.until(early, "send the store")
    await here.run(await here.teller(last(here)))
    await here.run(early)
    await here.read()


async def known_to_the_store_alone(here: Library) -> None:
    """A writer has never heard of the scheme, and has not yet come to purge."""
    await here.read()
    writer = await here.writer(last(here))
    await here.until(writer, "leave the transaction")
    await here.read()


async def told_afterwards(here: Library) -> None:
    """Nobody held anything."""
    await here.read()
    await here.run(await here.teller(last(here)))
    await here.read()


async def held_once_more(here: Library) -> None:
    """The hold ran out and was purged, and the scheme is registered before its writer places it again."""
    writer = await here.writer(last(here))
    await here.until(writer, "commit")
    await here.let_holds_run_out()
    for _ in range(3):
        await here.read()
    await here.until(writer, "leave the transaction")
    await here.read()


TOLD = [
    (registered_while_held, removals.held),
    (registered_by_somebody_else_after_the_write, removals.since),
    (registered_after_the_write, removals.last_purge),
    (known_to_the_store_alone, removals.learning_from_the_hold),
    (told_afterwards, removals.learning_from_the_purge),
    (held_once_more, removals.learning_from_the_hold),
]


@pytest.mark.parametrize(("story", "removal"), TOLD, ids=[f"{story.__name__}" for story, _ in TOLD])
async def test_a_story_ends_well_and_badly_without_its_rule(
    kind: str, server: RedisServer | Cluster, story: Story, removal: Removal
) -> None:
    assert not await stale(story, kind, server)
    assert await stale(story, kind, server, removal)


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_wherever_a_writer_is_when_a_scheme_is_registered(kind: str, server: RedisServer | Cluster) -> None:
    """A reader looks up when the writer is at one step, and stores when it is at the same or another."""
    for begins in range(len(STEPS)):
        for ends in range(begins, len(STEPS)):
            async with library(kind, server) as here:
                writer = await here.writer(last(here))
                for position, step in enumerate(STEPS):
                    await (here.until(writer, step) if step != "end" else here.run(writer))
                    if position == begins:
                        reader = await here.reader()
                    if position == ends:
                        await here.run(reader)
                    await here.read(last(here))
                assert not await here.wind_up(), (STEPS[begins], STEPS[ends])


# In any order, with losses


async def carry_out(here: Library, choices: list[int]) -> list[str]:
    """Takes a move for each number, then winds up; the stale answers."""
    for choice in choices:
        nodes = range(len(here.caches))
        can: list[Callable[[], Awaitable[object]]] = [
            lambda actor=actor: here.go(actor)  # type: ignore[misc]
            for actor in here.actors
            if actor.step is not None
        ]
        if len(here.readers) < 6:
            can += [lambda n=node, p=page: here.reader(n, p) for node in nodes for page in (0, 1)]  # type: ignore[misc]
        if len(here.actors) - len(here.readers) < 3:
            can += [lambda n=node: here.writer(n) for node in nodes]  # type: ignore[misc]
            can += [lambda n=node: here.teller(n) for node in nodes]  # type: ignore[misc]
        if "the guard is lost" not in here.story:
            can.append(here.lose_guard)
        if here.story.count("time passes") < 2:
            can.append(here.let_holds_run_out)
        if not can:
            break
        await can[choice % len(can)]()
    return await here.wind_up()


def is_never_stale(kind: str, server: RedisServer | Cluster, examples: int) -> None:
    @settings(lean, max_examples=examples)
    @given(st.lists(st.integers(0, 59), min_size=5, max_size=50))
    def check(choices: list[int]) -> None:
        async def run() -> tuple[list[str], list[str]]:
            async with library(kind, server) as here:
                return await carry_out(here, choices), here.story

        answers, story = asyncio.run(run())
        note("\n".join(story))
        assert not answers

    check()


def test_nobody_is_answered_from_before_in_any_order(kind: str, server: RedisServer | Cluster) -> None:
    is_never_stale(kind, server, 150 if kind == "memory" else 40)


@pytest.mark.long
def test_nobody_is_answered_from_before_in_very_many_orders(kind: str, server: RedisServer | Cluster) -> None:
    is_never_stale(kind, server, 5000)


# Near caches follow the log, and hear of no guard


async def forgotten_while_kept_near(here: Library) -> None:
    """What a node keeps near outlives the guard that its scheme was registered in."""
    for _ in range(2):
        await here.read(0)
    await here.lose_guard()
    await here.run(await here.teller(1))
    await here.read(0)


async def forgotten_for_good(here: Library) -> None:
    """The same, but the guard is made again and born before anybody writes."""
    for _ in range(2):
        await here.read(0)
    await here.lose_guard()
    await here.pass_by(1)
    await here.let_holds_run_out()
    await here.pass_by(1)
    await here.run(await here.writer(1))
    await here.read(0)


NEAR = [(forgotten_while_kept_near, removals.doubt), (forgotten_for_good, removals.birth)]


@pytest.mark.parametrize(("story", "removal"), NEAR, ids=[f"{story.__name__}" for story, _ in NEAR])
@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_what_is_kept_near_outlives_no_scheme(
    kind: str, server: RedisServer | Cluster, story: Story, removal: Removal
) -> None:
    for removed in (None, removal):
        async with library(kind, server, removed, near=True) as here:
            await story(here)
            assert bool(await here.wind_up()) is (removed is not None)
