"""The stories that the coherence model tells, and orders drawn at random, against the real scripts and real near caches.

Each story ends in a stale answer where its rule is missing, and in none where all rules hold.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.race.model_stories import STORIES
from tests.race.protocol import RULES, Case, Protocol, play
from tests.servers import RedisServer

CASES = {
    "store": Case(fills=2),
    "store, two writers": Case(fills=1, writers=2, crash=False),
    "unknown COMMIT": Case(fills=1, unknown=True),
    "lost guard": Case(fills=2, lose_guard=True, crash=False),
    "lost guard, dead writer": Case(fills=1, lose_guard=True),
    "invalidate()": Case(fills=2, near=True, plain=True, crash=False),
    "invalidate(), one node": Case(fills=1, readers=2, near=True, plain=True, one_node=True, crash=False),
    "near": Case(fills=2, near=True),
    "near, one node": Case(fills=1, readers=2, near=True, one_node=True),
    "near, two readers": Case(fills=1, readers=2, near=True, crash=False),
    "near, frozen node": Case(fills=1, near=True, freeze=True, readers=2, crash=False),
    "near, lost place": Case(fills=1, readers=2, near=True, resync=True, crash=False),
}
"""Those of the model; flights are `test_stories.py`'s."""


def test_every_rule_of_the_model_has_its_story() -> None:
    assert set(STORIES) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
async def test_a_story_of_the_model_ends_well_with_all_rules_and_badly_without_its_own(
    redis_server: RedisServer, rule: str
) -> None:
    case, story = STORIES[rule]
    kept = await play(redis_server, CASES[case], "", lambda protocol: protocol.replay(story))
    assert not kept.stale
    removed = await play(redis_server, CASES[case], rule, lambda protocol: protocol.replay(story))
    assert removed.stale, removed.story


async def wander(server: RedisServer, case: str, seed: int, removed: str = "") -> Protocol:
    crowded = replace(CASES[case], fills=3, readers=4)
    return await play(server, crowded, removed, lambda protocol: protocol.wander(random.Random(seed)))


@pytest.mark.parametrize("case", CASES)
async def test_nobody_is_answered_from_before_in_random_orders(redis_server: RedisServer, case: str) -> None:
    for seed in range(40):
        protocol = await wander(redis_server, case, seed)
        assert not protocol.stale, (seed, protocol.story)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
async def test_nobody_is_answered_from_before_in_very_many_random_orders(redis_server: RedisServer, case: str) -> None:
    for seed in range(1000, 4000):
        protocol = await wander(redis_server, case, seed)
        assert not protocol.stale, (seed, protocol.story)


FOUND_BY = {
    "start": ("store", 140),
    "mark": ("store", 60),
    "born": ("lost guard", 0),
    "hold": ("store", 0),
    "near_mark": ("invalidate()", 200),
    "wait": ("invalidate()", 50),
    "lapse": ("near, frozen node", 150),
    "floor": ("near, lost place", 380),
}
"""Rules without which a few hundred random orders suffice, and from which seed on a few tens."""


@pytest.mark.parametrize("rule", FOUND_BY)
async def test_random_orders_find_a_stale_answer_without(redis_server: RedisServer, rule: str) -> None:
    case, first = FOUND_BY[rule]
    for seed in range(first, first + 400):
        if (await wander(redis_server, case, seed, rule)).stale:
            return
    pytest.fail(f"400 random orders do not miss {rule}")
