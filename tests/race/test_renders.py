"""Renders by a worker, requests, purges and soft purges take their steps in every order; nobody is answered from before a purge.

A worker is a node like any other, whose runs nobody waits for. That this would find something is shown with rules taken out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from rcache.asgi.renderer import Renderer
from rcache.asgi.rendition import ALWAYS, Rendition
from rcache.core.recipe import recipe_for
from tests.race import removals
from tests.race.removals import Removal
from tests.race.test_schedules import lean
from tests.race.world import TAG, Actor, World, world
from tests.servers import RedisServer

PAGE = recipe_for("http://testserver/")
VISITS, RENDERS, OTHERS = 3, 3, 3
both = pytest.mark.parametrize("kind", ["memory", "redis"])
every = pytest.mark.parametrize("kind", ["memory", "redis", "near"])

Move = Callable[[], Awaitable[object]]


class Worker(Actor):
    """A render, which stops at every step."""


class Softener(Actor):
    """A soft purge."""


async def render(here: World, node: int = 0, *, anew: bool = True) -> Worker:
    """A worker on that node begins to make the page, fresh or not."""
    renderer = Renderer(here.clients[node].app)
    worker = Worker(f"worker {len(here.actors)} on {node}")
    return await here._enter(worker, renderer.render(PAGE, than=ALWAYS if anew else 0.0))


async def soften(here: World, node: int = 0) -> None:
    softener = Softener(f"softener {len(here.actors)} on {node}")
    await here._enter(softener, here.caches[node].invalidate(TAG, soft=True))


def moves(here: World) -> list[Move]:
    """What may happen next."""
    can: list[Move] = [lambda actor=actor: here.go(actor) for actor in here.actors if actor.step is not None]
    nodes = range(len(here.caches))
    workers = [actor for actor in here.actors if isinstance(actor, Worker)]
    if len(here.visits) < VISITS:
        can += [lambda node=node: here.visit(node) for node in nodes]
    if len(workers) < RENDERS:
        can += [lambda node=node, anew=anew: render(here, node, anew=anew) for node in nodes for anew in (False, True)]
    if len(here.actors) - len(here.visits) - len(workers) < OTHERS:
        can += [lambda node=node: here.writer(node) for node in nodes]
        can += [lambda node=node: here.holder(node) for node in nodes]
        can += [lambda node=node: soften(here, node) for node in nodes]
    return can


def play(
    kind: str, server: RedisServer, choices: list[int], removal: Removal | None = None
) -> tuple[list[str], list[str]]:
    """The stale answers, and the story that led to them."""

    async def run() -> tuple[list[str], list[str]]:
        async with world(kind, server, removal) as here:
            for cache in here.caches:
                cache.wait = 0  # nobody waits for whom the test lets wait
            for choice in choices:
                can = moves(here)
                if not can:
                    break
                await can[choice % len(can)]()
            stale = [f"{visit.name} got {visit.version}, floor {visit.floor}" for visit in await here.wind_up()]
            return stale, here.story

    return asyncio.run(run())


def is_never_stale(kind: str, server: RedisServer, examples: int) -> None:
    @settings(lean, max_examples=examples)
    @given(st.lists(st.integers(0, 59), min_size=5, max_size=40))
    def check(choices: list[int]) -> None:
        stale, story = play(kind, server, choices)
        note("\n".join(story))
        assert not stale

    check()


@every
def test_renders_bring_back_nothing_from_before_in_any_order(redis_server: RedisServer, kind: str) -> None:
    is_never_stale(kind, redis_server, {"memory": 40, "redis": 20, "near": 6}[kind])


@pytest.mark.long
@every
def test_renders_bring_back_nothing_from_before_in_very_many_orders(redis_server: RedisServer, kind: str) -> None:
    is_never_stale(kind, redis_server, 5000)


@both
@pytest.mark.parametrize("removal", [removals.start, removals.mark], ids=["start", "mark"])
def test_random_orders_find_what_a_render_brings_back_without(
    redis_server: RedisServer, kind: str, removal: Removal
) -> None:
    chance = random.Random(3)
    orders = ([chance.randrange(60) for _ in range(40)] for _ in range(400))
    assert any(play(kind, redis_server, choices, removal)[0] for choices in orders)


# Stories


@both
async def test_a_render_that_has_read_before_a_write_stores_nothing_and_reads_again(
    redis_server: RedisServer, kind: str
) -> None:
    async with world(kind, redis_server) as here:
        worker = await render(here, 0)
        await here.until(worker, "answer")
        await here.write(len(here.caches) - 1)
        await here.run(worker)
        assert worker.task.result().outcome == "stored"
        for node in range(len(here.caches)):
            visit = await here.look(node)
            assert (visit.version, visit.answer.is_hit) == (1, True)
        assert not await here.wind_up()


async def overtaken(here: World) -> bool:
    """A purge lands when a render has stored, and has not ended yet: whether the page is warm in the end."""
    worker = await render(here, 0)
    await here.until(worker, "hear of the store")
    await here.write(len(here.caches) - 1)
    await here.run(worker)
    visit = await here.look(0)
    assert not visit.is_stale
    return visit.answer.is_hit


@both
async def test_a_render_looks_again_whether_a_purge_has_come_since(
    redis_server: RedisServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job for that purge was dropped, as one of its key was running: without this look nobody would make the page."""
    async with world(kind, redis_server) as here:
        assert await overtaken(here)

    async def blind(*_: object) -> bool:
        return False

    monkeypatch.setattr(Rendition, "_is_overtaken", blind)
    async with world(kind, redis_server) as here:
        assert not await overtaken(here)


async def test_what_a_worker_makes_requests_of_other_nodes_wait_for_and_do_not_make(redis_server: RedisServer) -> None:
    async with world("redis", redis_server) as here:
        worker = await render(here, 0)
        await here.until(worker, "answer")
        visit = asyncio.ensure_future(here.clients[-1].get("/"))
        other = asyncio.ensure_future(Renderer(here.clients[-1].app).render(PAGE))
        await here.run(worker)
        assert (await visit).body == b"0"
        assert (await other).outcome == "fresh", "somebody else has made it"
        assert sum(cache.stats.stores for cache in here.caches) == 1
