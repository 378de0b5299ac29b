"""The short form of the proof, and what it is worth."""

from __future__ import annotations

import pytest

from tests.integrations.sqlalchemy.soundness.mutants import MUTANTS, Mutant
from tests.integrations.sqlalchemy.soundness.play import World, run
from tests.integrations.sqlalchemy.soundness.queries import SHAPES
from tests.integrations.sqlalchemy.soundness.writes import KINDS
from tests.postgres import PostgresServer


def test_there_are_enough_shapes_kinds_and_mutants():
    assert len(SHAPES) >= 60
    assert len(KINDS) >= 20
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("seed", [1, 2])
def test_no_result_is_stale_on_sqlite(seed: int):
    tally = run("sqlite://", seed, writes=40)
    assert tally.stale == []
    assert tally.needed > 50
    assert tally.over_expressible <= 1.8
    assert tally.over <= 2.6


def test_no_result_is_stale_on_postgresql(postgres_server: PostgresServer):
    tally = run(postgres_server.url("psycopg", postgres_server.create_database("soundness")), 3, writes=40)
    assert tally.stale == []
    assert tally.needed > 50


def test_no_result_of_composed_queries_is_stale():
    tally = run("sqlite://", 21, 20, ["anything", "any_objects"], each=40)
    assert tally.stale == []
    assert tally.needed > 20


def test_no_shape_is_refused():
    world = World("sqlite://", 5)
    try:
        for shape in SHAPES.values():
            world.keep(shape)
        assert {each.shape.name: list(each.reads.refused) for each in world.kept if each.reads.refused} == {}
    finally:
        world.close()


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_noticed(mutant: Mutant):
    """With the rule in place the same play is clean: what is noticed is the rule."""
    shapes = [name for name in mutant.shapes if "sqlite" in SHAPES[name].dialects]
    with mutant.breaks():
        assert find_stale(shapes, mutant)
    assert run("sqlite://", SEED, 12, shapes, mutant.writes, each=6).stale == []


SEED = 7
MOST_SEEDS = 4


def find_stale(shapes: list[str], mutant: Mutant) -> list[str]:
    """What the broken rule makes stale, with the first seeds that show it."""
    for seed in range(SEED, SEED + MOST_SEEDS):
        stale = run("sqlite://", seed, 12, shapes, mutant.writes, each=6).stale
        if stale:
            return stale
    return []
