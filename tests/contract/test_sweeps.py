"""Whoever frees what a purge killed can be told what that was stored under; nobody is told of what lives on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rcache.core.keys import Carrier
from tests.contract.conftest import Harness
from tests.contract.support import Question, body_of, fill, in_language, purge

MANY = 300  # more than one slice


async def test_who_sweeps_is_told_what_was_purged_and_by_which_purge(harness: Harness) -> None:
    store = await harness.make()
    told: list[tuple[int, Carrier]] = []

    async def hear(number: int, carriers: Sequence[Carrier]) -> None:
        told.extend((number, carrier) for carrier in carriers)

    store.tell_freed(hear)
    pages = [Question(f"/{number}") for number in range(MANY)]
    for page in pages:
        await fill(store, page, b"old", "book")
    await fill(store, in_language(b"de"), b"alt", "book", names=("accept-language",))
    await fill(store, Question("/other"), b"other", "author")
    number = await purge(store, "book")
    await store.sweep()
    expected = {Carrier(page.key, b"") for page in pages} | {
        Carrier(in_language(b"de").key, in_language(b"de").variant(("accept-language",)))
    }
    assert {carrier for _, carrier in told} == expected
    assert {its for its, _ in told} == {number}
    assert len(told) == len(expected), "nothing is told twice"
    assert await body_of(store, Question("/other")) == b"other"
    assert await store.sweep() == 0
    store.tell_freed(None)


async def test_what_was_filled_again_is_neither_freed_nor_told(harness: Harness) -> None:
    store = await harness.make()
    told: list[Carrier] = []

    async def hear(number: int, carriers: Sequence[Carrier]) -> None:
        told.extend(carriers)

    store.tell_freed(hear, by_others=True)
    for path in ("/again", "/gone"):
        await fill(store, Question(path), b"old", "book")
    await purge(store, "book")
    await fill(store, Question("/again"), b"new", "book")
    await store.sweep()
    assert Carrier(Question("/gone").key, b"") in told
    assert await body_of(store, Question("/again")) == b"new"
    store.tell_freed(None)


async def test_what_carries_a_tag_can_be_listed(harness: Harness) -> None:
    store = await harness.make()
    pages = [Question(f"/{number}") for number in range(MANY)]
    for page in pages:
        await fill(store, page, b"old", "book")
    await fill(store, Question("/other"), b"other", "author")
    slices = [carriers async for carriers in store.carriers("book")]
    assert {carrier for carriers in slices for carrier in carriers} == {Carrier(page.key, b"") for page in pages}
    assert len(slices) > 1
    assert [list(carriers) async for carriers in store.carriers("nobody's")] in ([], [[]])
    assert await body_of(store, pages[0]) == b"old", "looking changes nothing"


async def test_of_two_that_sweep_at_the_same_time_one_does_it_all(harness: Harness) -> None:
    store, other = await harness.make(), await harness.second()
    is_shared = store is not other
    heard = asyncio.Event()
    go_on = asyncio.Event()
    told: list[Carrier] = []

    async def hear(number: int, carriers: Sequence[Carrier]) -> None:
        told.extend(carriers)
        heard.set()
        await go_on.wait()

    store.tell_freed(hear)
    for number in range(MANY):
        await fill(store, Question(f"/{number}"), b"old", "book")
    await purge(store, "book")
    sweep = asyncio.ensure_future(store.sweep())
    await heard.wait()
    if is_shared:
        assert await other.sweep() == 0, "the other is at it"
    go_on.set()
    await sweep
    assert len(told) == MANY
    store.tell_freed(None)
