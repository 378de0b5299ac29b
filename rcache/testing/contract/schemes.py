"""Ways to ask a table for rows are registered with the first entry that needs them, and no writer misses one."""

from __future__ import annotations

import pytest

from rcache.core import schemes as core
from rcache.core.changes import families
from rcache.core.entry import Missing
from rcache.core.keys import shard_of
from rcache.core.schemes import Scheme
from rcache.ports import Store
from rcache.testing.contract.harness import Harness
from rcache.testing.contract.questions import TIMEOUT, Question, begin, body_of, budget, made, missing, purge

BY_AUTHOR = Scheme("book", ("author_id",), frozenset({"author_id", "title"}))
BY_YEAR = Scheme("book", ("year",))
LINES = Scheme("line", ("order_id",))
LIST = Question("/authors/1")  # whose implicit tag lies in another shard than its table
OTHER = Question("/authors/2")
LASTS = 20.0
SHARDS = 16


def tag_of(scheme: Scheme, value: object = 1) -> str:
    tag = scheme.tag(dict.fromkeys(scheme.columns, value))
    assert tag is not None
    return tag


async def keep(
    store: Store, ask: Question, miss: Missing, body: bytes, *schemes: Scheme, tags: tuple[str, ...] = ()
) -> bool:
    """Stores what was asked for in these ways; whether it was accepted."""
    assert miss.start is not None
    all_tags = (*[tag_of(each) for each in schemes], *tags)
    entry = made(ask, miss.start, miss.now, body, *all_tags, *families(all_tags))
    return await store.store(ask, (), entry, budget(), schemes)


async def told(store: Store, table: str = "book") -> set[Scheme] | None:
    """What a writer is told of the table's schemes."""
    schemes = await store.hold([table], "curious", LASTS, TIMEOUT, [table])
    await store.release([table], "curious", TIMEOUT)
    return set(schemes[table]) if table in schemes else None


async def test_whoever_holds_or_purges_a_table_is_told_its_schemes(harness: Harness) -> None:
    store, other = await harness.make(shards=SHARDS), await harness.second()
    assert await keep(store, LIST, await begin(store, LIST), b"x", BY_AUTHOR, BY_YEAR, LINES)
    assert await keep(other, OTHER, await begin(other, OTHER), b"y", BY_AUTHOR)
    tables = ["line", "book", "user"]
    known = {"book": {BY_AUTHOR, BY_YEAR}, "line": {LINES}, "user": set()}
    assert await other.hold([*tables, "book:1"], "t1", LASTS, TIMEOUT, tables) == known
    assert (await store.purge([*tables, "book:1"], TIMEOUT, "t1", tables)).schemes == known
    assert store.hold_sync(tables, "t2", LASTS, TIMEOUT, tables) == known
    assert store.purge_sync(tables, TIMEOUT, "t2", tables).schemes == known
    assert await body_of(store, LIST) == b"x"
    await purge(other, tag_of(BY_AUTHOR))
    assert await body_of(store, LIST) is None
    assert await body_of(other, OTHER) is None


async def test_no_scheme_is_registered_while_somebody_holds_the_table(harness: Harness) -> None:
    """Its holder has not heard of it, and will commit."""
    store = await harness.make(shards=SHARDS)
    assert await keep(store, OTHER, await begin(store, OTHER), b"x", BY_AUTHOR)
    miss = await begin(store, LIST)
    assert await store.hold(["book"], "t1", LASTS, TIMEOUT, ["book"]) == {"book": {BY_AUTHOR}}
    assert not await keep(store, LIST, miss, b"old", BY_YEAR)
    assert not await keep(store, LIST, await begin(store, LIST), b"old", BY_YEAR)
    assert await keep(store, LIST, miss, b"x", BY_AUTHOR), "its holder knows this one"
    assert await told(store) == {BY_AUTHOR}
    await store.release(["book"], "t1", TIMEOUT)
    assert await keep(store, LIST, miss, b"x", BY_YEAR)
    assert await told(store) == {BY_AUTHOR, BY_YEAR}


async def test_what_was_begun_before_a_write_is_refused_where_its_writer_did_not_know_the_scheme(
    harness: Harness,
) -> None:
    store, other = await harness.make(shards=SHARDS), await harness.second()
    early = await begin(store, LIST)
    await purge(store, "book")
    assert not await keep(store, LIST, early, b"old", BY_AUTHOR)
    assert await told(store) == {BY_AUTHOR}, "registered all the same: a table may be written all the time"
    assert await keep(other, OTHER, await begin(other, OTHER), b"new", BY_AUTHOR)
    assert not await keep(store, LIST, early, b"old", BY_AUTHOR), "somebody else has registered it, as late as before"
    assert await keep(store, LIST, await begin(store, LIST), b"new", BY_AUTHOR)


async def test_writes_before_a_scheme_was_registered_refuse_nothing_that_begins_later(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS)
    await purge(store, "book")
    miss = await begin(store, LIST)
    assert await keep(store, LIST, miss, b"x", BY_AUTHOR)
    await purge(store, "book")
    assert await body_of(store, LIST) == b"x", "a write that changed nothing of it"
    assert await keep(store, LIST, miss, b"x", BY_AUTHOR), "its writers know the scheme by now"


async def test_what_a_dead_writer_held_of_a_table_is_purged_for_it(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS)
    miss = await begin(store, LIST)
    await store.hold(["book"], "dead", 0.001, TIMEOUT)
    await harness.advance(1.0)
    assert not await keep(store, LIST, miss, b"old", BY_AUTHOR)
    assert not await keep(store, LIST, miss, b"old", BY_AUTHOR), "begun before the dead may have committed"
    assert await keep(store, LIST, await begin(store, LIST), b"new", BY_AUTHOR)


async def test_schemes_die_with_their_guard_and_what_they_made_dies_with_them(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS, quarantine=100.0)
    assert await keep(store, LIST, await begin(store, LIST), b"x", BY_AUTHOR)
    await harness.lose_guard("book")
    assert (await store.purge(["book"], TIMEOUT, "", ["book"])).schemes == {}, "nobody knows"
    assert await body_of(store, LIST) is None
    assert await told(store) is None, "in quarantine nobody knows either"
    await harness.advance(101.0)
    await missing(store, OTHER)
    assert await told(store) == set()
    assert await body_of(store, LIST) is None
    assert await keep(store, LIST, await begin(store, LIST), b"y", BY_AUTHOR)
    assert await body_of(store, LIST) == b"y"


async def test_no_scheme_is_registered_in_quarantine(harness: Harness) -> None:
    """Whoever held the table before may not have renewed that yet."""
    store = await harness.make(shards=SHARDS, quarantine=100.0)
    early = await begin(store, LIST)
    await harness.lose_guard("book")
    await missing(store, OTHER)
    assert not await keep(store, LIST, early, b"old", BY_AUTHOR)
    await harness.advance(101.0)
    await missing(store, OTHER)
    assert await told(store) == set()


async def test_another_epoch_knows_no_schemes(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS, quarantine=100.0)
    early = await begin(store, LIST)
    assert await keep(store, LIST, early, b"x", BY_AUTHOR)
    await harness.new_epoch()
    assert await told(store) is None
    assert not await keep(store, OTHER, early, b"old", BY_YEAR)
    await missing(store, LIST)
    await harness.advance(101.0)
    await missing(store, LIST)
    assert await told(store) == set()
    assert not await keep(store, OTHER, early, b"old", BY_YEAR)


async def test_what_a_crowded_table_has_no_room_for_depends_on_the_whole_table(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memory", "redis.store", "redis.cluster.store"):
        monkeypatch.setattr(f"rcache.stores.{module}.MAX_SCHEMES", 2)
    store = await harness.make(shards=SHARDS)
    third = Scheme("book", ("price",))
    assert await keep(store, LIST, await begin(store, LIST), b"x", BY_AUTHOR, BY_YEAR)
    miss = await begin(store, OTHER)
    assert await keep(store, OTHER, miss, b"y", BY_AUTHOR, third, LINES)
    assert await told(store) == {BY_AUTHOR, BY_YEAR}
    assert await told(store, "line") == {LINES}
    assert await body_of(store, OTHER) == b"y"
    await purge(store, "book")
    assert await body_of(store, OTHER) is None
    assert await body_of(store, LIST) == b"x"
    assert not await keep(store, OTHER, miss, b"y", third)
    assert core.MAX_SCHEMES >= 100


async def test_a_flush_forgets_no_scheme(harness: Harness) -> None:
    store = await harness.make(shards=SHARDS)
    assert await keep(store, LIST, await begin(store, LIST), b"x", BY_AUTHOR)
    store.flush_sync(TIMEOUT)
    assert await body_of(store, LIST) is None
    assert await told(store) == {BY_AUTHOR}


async def test_a_mark_that_was_forgotten_is_still_the_since_of_what_is_registered_after_it(harness: Harness) -> None:
    store = await harness.make(max_marks=2)
    early = await begin(store, LIST)
    await purge(store, "book")
    for number in range(5):
        await purge(store, f"other:{number}")
    assert not await keep(store, LIST, early, b"old", BY_AUTHOR)
    assert await keep(store, OTHER, await begin(store, OTHER), b"new", BY_AUTHOR)
    assert not await keep(store, LIST, early, b"old", BY_AUTHOR)


def test_a_family_is_judged_where_its_table_is() -> None:
    assert all(shard_of(f"{table}:*", 16) == shard_of(table, 16) for table in map(str, range(50)))
