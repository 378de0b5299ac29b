"""Visits, writers and losses take their steps in random orders; nobody is answered from before an invalidation.

That this would find something is shown with the rules taken out, one at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.race import removals
from tests.race.removals import Removal
from tests.race.world import World, world
from tests.servers import RedisServer

VISITS = 5
WRITERS = 2
both = pytest.mark.parametrize("kind", ["memory", "redis"])
every = pytest.mark.parametrize("kind", ["memory", "redis", "near"])

Move = Callable[[], Awaitable[object]]


def moves(here: World, *, with_losses: bool, with_holders: bool = True) -> list[Move]:
    """What may happen next."""
    can: list[Move] = [lambda actor=actor: here.go(actor) for actor in here.actors if actor.step is not None]
    nodes = range(len(here.caches))
    if len(here.visits) < VISITS:
        can += [lambda node=node: here.visit(node) for node in nodes]
    if len(here.actors) - len(here.visits) < WRITERS:
        can += [lambda node=node: here.writer(node) for node in nodes]
        if with_holders:
            kinds = [(node, fails) for node in nodes for fails in (False, True)]
            can += [lambda node=node, fails=fails: here.holder(node, fails=fails) for node, fails in kinds]
    if with_losses and "the guard is lost" not in here.story:
        can.append(lambda: lose(here))
    return can


async def lose(here: World) -> None:
    """The guard is lost, made again, and its quarantine ends."""
    here.story.append("the guard is lost")
    await here.harness.lose_guard("row")
    await here.visit(0)
    await here.harness.advance(21)
    await here.visit(0)


async def carry_out(
    here: World, choices: list[int], *, with_losses: bool = False, with_holders: bool = True
) -> list[str]:
    """Takes a move for each number, then winds up; the stale answers in words."""
    for choice in choices:
        can = moves(here, with_losses=with_losses, with_holders=with_holders)
        if not can:
            break
        await can[choice % len(can)]()
    return [f"{visit.name} got {visit.version}, floor {visit.floor}" for visit in await here.wind_up()]


def play(
    kind: str,
    server: RedisServer,
    choices: list[int],
    removal: Removal | None = None,
    *,
    with_losses: bool = False,
    with_holders: bool = True,
    with_leases: bool = False,
) -> tuple[list[str], list[str]]:
    """The stale answers, and the story that led to them."""

    async def run() -> tuple[list[str], list[str]]:
        async with world(kind, server, removal, with_leases=with_leases) as here:
            stale = await carry_out(here, choices, with_losses=with_losses, with_holders=with_holders)
            return stale, here.story

    return asyncio.run(run())


schedules = st.lists(st.integers(0, 59), min_size=5, max_size=40)
lean = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def is_never_stale(kind: str, server: RedisServer, examples: int, *, with_losses: bool) -> None:
    @settings(lean, max_examples=examples)
    @given(schedules, st.booleans())
    def check(choices: list[int], with_leases: bool) -> None:
        stale, story = play(kind, server, choices, with_losses=with_losses, with_leases=with_leases)
        note("\n".join(story))
        assert not stale

    check()


@every
@pytest.mark.parametrize("with_losses", [False, True], ids=["all guards", "a lost guard"])
def test_nobody_is_answered_from_before_in_any_order(redis_server: RedisServer, kind: str, with_losses: bool) -> None:
    is_never_stale(kind, redis_server, 20 if kind == "near" else 60, with_losses=with_losses)


@pytest.mark.long
@every
@pytest.mark.parametrize("with_losses", [False, True], ids=["all guards", "a lost guard"])
def test_nobody_is_answered_from_before_in_very_many_orders(
    redis_server: RedisServer, kind: str, with_losses: bool
) -> None:
    is_never_stale(kind, redis_server, 5000, with_losses=with_losses)


def is_found(
    kind: str,
    server: RedisServer,
    removal: Removal | None = None,
    *,
    with_losses: bool = False,
    with_holders: bool = True,
) -> bool:
    """Whether one of a few hundred random orders gives a stale answer."""
    chance = random.Random(2)
    orders = ([chance.randrange(60) for _ in range(40)] for _ in range(400))
    options = {"with_losses": with_losses, "with_holders": with_holders}
    return any(play(kind, server, choices, removal, **options)[0] for choices in orders)


@both
@pytest.mark.parametrize("removal", [removals.start, removals.mark, removals.hold], ids=["start", "mark", "hold"])
def test_random_orders_find_a_stale_answer_without(redis_server: RedisServer, kind: str, removal: Removal) -> None:
    assert is_found(kind, redis_server, removal)


@both
def test_random_orders_find_a_stale_answer_where_old_entries_outlive_their_guard(
    redis_server: RedisServer, kind: str
) -> None:
    assert is_found(kind, redis_server, removals.born, with_losses=True)


def test_random_orders_find_a_stale_answer_where_refusals_are_not_heard(redis_server: RedisServer) -> None:
    assert is_found("redis", redis_server, removals.acceptance)


def test_random_orders_find_a_stale_answer_where_flights_are_joined_too_late(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals.departure(monkeypatch)
    assert is_found("redis", redis_server, with_holders=False)
