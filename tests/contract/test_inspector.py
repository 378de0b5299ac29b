"""What tools are shown of a store is what a look-up would make of it, wherever it lies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from rcache.core.views import Counters, EntryRow, Event, State
from rcache.engine.near_store import NearStore
from rcache.engine.telemetry import Standing, Telemetry
from rcache.observing import observed
from rcache.ports import Inspector, Store
from rcache.stores.memory import MemoryStore
from rcache.stores.redis.fleet import RedisFleet
from tests.contract.conftest import Harness
from tests.contract.near_harness import NearHarness
from tests.contract.redis_harness import DAMAGES, RedisHarness
from tests.contract.support import TIMEOUT, Question, fill, in_language, missing, purge
from tests.support import HandClock, settle

BOOK = Question("/book/1")


def looking(store: Store) -> tuple[Inspector, Telemetry]:
    """What looks into the store, and what counts there."""
    telemetry = Telemetry(HandClock(), lambda: Standing(None, None, None, False, 0))
    inspector, reporter = observed(store, telemetry)
    if reporter is not None:
        telemetry.heard = lambda now: None  # it is told when a test says so
    return inspector, telemetry


async def state(inspector: Inspector, url: str = "/book/1") -> State | None:
    """The state of the only entry of a URL; None where there is none."""
    rows = await inspector.entries(url)
    assert len(rows) < 2, rows
    return rows[0].state if rows else None


async def test_an_entry_is_shown_with_all_that_is_known_of_it(harness: Harness) -> None:
    store = await harness.make(shards=4)
    inspector, _ = looking(store)
    await fill(store, BOOK, b"a body", "book:1", "book:*", "author:7", cost=0.5)
    (row,) = await inspector.entries("http://shop.example/book/1")
    assert (row.url, row.identity, row.variant) == ("http://shop.example/book/1", False, ())
    assert (row.state, row.status, row.size, row.cost) == ("fresh", 200, 6, 0.5)
    assert set(row.tags) == {"book:1", "author:7"}, "without its URL's, and families"
    assert 0 <= row.age < 30
    assert 30 < row.ttl <= 60
    assert row.gone_at == pytest.approx(row.stored_at + 60)
    view = await inspector.entry(row.entry)
    assert view is not None
    assert (view.row.url, view.body, view.headers) == (row.url, b"a body", (("content-type", "text/plain"),))
    inspector.close()


async def test_the_state_is_what_a_look_up_would_find(harness: Harness) -> None:
    store = await harness.make(shards=4)
    inspector, _ = looking(store)
    await fill(store, BOOK, b"old", "book:1", retention=100.0, stale_while_revalidate=100.0)
    assert await state(inspector) == "fresh"
    await store.hold(["book:1"], "tx", 600, TIMEOUT)
    assert await state(inspector) == "held"
    assert (await inspector.preview(["book:1"])).tags[0].holders == 1
    await store.release(["book:1"], "tx", TIMEOUT)
    assert await state(inspector) == "fresh"
    await store.soften(["book:1"], TIMEOUT)
    assert await state(inspector) == "softened"
    await purge(store, "book:1")
    assert await state(inspector) in ("purged", None), "None where it was swept by now"


async def test_what_is_past_its_lifetime_is_stale_and_what_is_past_its_retention_is_not_shown(harness: Harness) -> None:
    store = await harness.make()
    inspector, _ = looking(store)
    await fill(store, BOOK, b"old", "book:1", retention=100.0, stale_while_revalidate=100.0)
    await harness.advance(80)
    (row,) = await inspector.entries("/book/1")
    assert row.state == "stale"
    assert row.ttl < 0
    await harness.advance(100)
    assert await state(inspector) is None


async def test_what_was_known_before_a_loss_is_lost(harness: Harness) -> None:
    store = await harness.make(shards=4)
    inspector, _ = looking(store)
    await fill(store, BOOK, b"old", "book:1")
    await harness.lose_guard("book:1")
    assert await state(inspector) == "lost"


async def test_a_hold_that_ran_out_counts_as_the_purge_that_it_will_be(harness: Harness) -> None:
    store = await harness.make()
    inspector, _ = looking(store)
    await fill(store, BOOK, b"old", "book:1")
    await store.hold(["book:1"], "tx", 5, TIMEOUT)
    await harness.advance(10)
    assert await state(inspector) == "purged"
    assert await state(inspector) == "purged", "a look changes nothing"


async def test_who_purged_for_a_dead_writer_says_so(harness: Harness) -> None:
    store = await harness.make()
    heard: list[tuple[list[str], int]] = []
    store.watch_burials(lambda tags, purged: heard.append((list(tags), purged.number)))
    await fill(store, BOOK, b"old", "book:1")
    await store.hold(["book:1"], "tx", 5, TIMEOUT)
    await harness.advance(10)
    await missing(store, BOOK)
    assert [tags for tags, _ in heard] == [["book:1"]]
    assert heard[0][1] > 0


async def test_variants_and_identities_of_a_url_are_shown_and_nobodys_secrets(harness: Harness) -> None:
    store = await harness.make()
    inspector, _ = looking(store)
    for language in (b"de", b"fr"):
        await fill(store, in_language(language), language, "book:1", names=("accept-language",))
    mine = Question(
        "/book/1", identity=b"7:user-42", headers=[(b"authorization", b"Bearer secret")], names=("authorization",)
    )
    await fill(store, mine, b"a private body", "book:1", names=("authorization",))
    await fill(store, Question("/book/2"), b"another", "book:2")
    rows = await inspector.entries("/book/1")
    assert sorted(row.variant for row in rows if not row.identity) == [
        (("accept-language", "de"),),
        (("accept-language", "fr"),),
    ]
    (private,) = [row for row in rows if row.identity]
    assert private.variant[0][0] == "authorization"
    assert "secret" not in repr(private)
    assert "user-42" not in repr(private)
    closed, opened = await inspector.entry(private.entry), await inspector.entry(private.entry, with_private=True)
    assert closed is not None
    assert closed.body is None
    assert opened is not None
    assert opened.body == b"a private body"


async def test_tags_are_found_by_a_part_of_their_name_page_by_page(harness: Harness) -> None:
    store = await harness.make(shards=4)
    inspector, _ = looking(store)
    for number in range(7):
        await fill(store, Question(f"/book/{number}"), b"x", f"book:{number}", "all[1]*", "shelf:ö")
    await purge(store, "gone")
    tags = {}
    cursor: str | None = None
    for _ in range(50):
        page = await inspector.tags("book:", cursor=cursor, count=2)
        tags.update({row.tag: row.entries for row in page.rows})
        cursor = page.cursor
        if cursor is None:
            break
    assert tags == {f"book:{number}": 1 for number in range(7)}
    for odd in ("[1]*", "shelf:ö", "l["):
        (row,) = (await inspector.tags(odd)).rows
        assert row.entries == 7
    assert (await inspector.tags("no such")).rows == ()


async def test_what_carries_a_tag_is_listed_page_by_page_and_a_preview_tells_what_a_purge_reaches(
    harness: Harness,
) -> None:
    store = await harness.make(shards=4)
    inspector, _ = looking(store)
    for number in range(5):
        await fill(store, Question(f"/book/{number}"), b"x", "shelf", f"book:{number}")
    first = await inspector.tagged("shelf", count=3)
    assert first.cursor is not None
    rest = await inspector.tagged("shelf", cursor=first.cursor, count=3)
    assert rest.cursor is None
    assert sorted(row.url[-6:] for row in (*first.rows, *rest.rows)) == [f"book/{number}" for number in range(5)]
    preview = await inspector.preview(["shelf", "book:3", "nothing"])
    assert [(row.tag, row.entries) for row in preview.tags] == [("shelf", 5), ("book:3", 1), ("nothing", 0)]
    assert len(preview.entries) == 5, "each once"
    assert 5 <= preview.count <= 6
    assert {row.state for row in (await inspector.tagged("shelf")).rows} == {"fresh"}, "nothing was purged"
    number = await purge(store, "shelf")
    assert (await inspector.preview(["shelf"])).tags[0].mark == number
    with pytest.raises(ValueError, match="control"):
        await inspector.preview(["a\x1fb"])


async def test_urls_are_searched_and_the_largest_come_first(harness: Harness) -> None:
    store = await harness.make()
    inspector, _ = looking(store)
    for number in range(6):
        await fill(store, Question(f"/shelf/{number}", query="page=1"), b"x" * (number + 1), "shelf")
    found: list[EntryRow] = []
    cursor: str | None = None
    for _ in range(50):
        page = await inspector.search("/shelf/", cursor=cursor, count=2)
        found += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted({row.url for row in found}) == [f"http://shop.example/shelf/{number}?page=1" for number in range(6)]
    assert (await inspector.search("/nowhere/")).rows == ()
    assert [row.size for row in await inspector.largest(3)] == [6, 5, 4]
    (row,) = await inspector.entries("/shelf/3?page=1")
    assert row.size == 4
    assert await inspector.entries("/shelf/3") == [], "another URL"


async def test_what_is_no_name_and_what_is_no_cursor_is_told(harness: Harness) -> None:
    store = await harness.make()
    inspector, _ = looking(store)
    for name in ("", "x", "../../etc", "a" * 22 + ".0", "a" * 22 + ".0:x", "{}"):
        assert await inspector.entry(name) is None
    for cursor in ("x", "-1", "1:2:3", "9" * 40 + ":1"):
        for ask in (inspector.tags, inspector.search):
            with pytest.raises(ValueError, match="cursor"):
                await ask("", cursor=cursor)
        with pytest.raises(ValueError, match="cursor"):
            await inspector.tagged("shelf", cursor=cursor)


async def test_what_is_damaged_is_left_out_and_counted(harness: Harness) -> None:
    if isinstance(harness, NearHarness):
        harness = harness.redis
    if not isinstance(harness, RedisHarness):  # nothing damages an embedded store
        await harness.make()
        return
    for how in DAMAGES:
        store = await harness.make()
        inspector, _ = looking(store)
        await fill(store, BOOK, b"damaged", "shelf")
        await fill(store, Question("/book/2"), b"whole", "shelf")
        (row,) = await inspector.entries("/book/1")
        await harness.damage(BOOK, how)
        assert [row.url[-1] for row in (await inspector.tagged("shelf")).rows] in (["2"], ["1", "2"], ["2", "1"])
        assert await inspector.entry(row.entry) is None
        assert inspector.damaged or how == "foreign", "that one is nobody's entry"
        await inspector.largest()
        await inspector.search("")
        await inspector.tags()


async def test_hits_make_an_entry_popular_for_all_nodes(harness: Harness) -> None:
    store = await harness.make()
    inspector, telemetry = looking(store)
    for number, hits in ((1, 5), (2, 50), (3, 1)):
        question = Question(f"/book/{number}")
        await fill(store, question, b"x", "shelf")
        telemetry.note(question.key, b"", hits)
    private = Question("/mine", identity=b"42")
    await fill(store, private, b"x", "shelf")
    telemetry.note(private.key, b"", 20)
    tell(store, telemetry)
    assert [(item.url[-6:], item.hits) for item in await inspector.popularity.top()] == [
        ("book/2", pytest.approx(50)),
        ("", pytest.approx(20)),
        ("book/1", pytest.approx(5)),
        ("book/3", pytest.approx(1)),
    ]
    assert [(row.url[-4:], row.hits) for row in await inspector.hottest(2)] == [("ok/2", 50), ("mine", 20)]
    await purge(store, "shelf")
    assert len(await inspector.popularity.top()) == 4, "what was purged is still what is asked for"


def tell(store: Store, telemetry: Telemetry) -> None:
    """What a node's reporter does once a second."""
    behind = store.store_behind if isinstance(store, NearStore) else store
    if not isinstance(behind, MemoryStore):
        board = behind.board()  # type: ignore[attr-defined]
        board.report(telemetry.report())
        board.close()


async def test_what_nodes_count_adds_up_and_each_is_shown(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await harness.make()
    inspector, one = looking(store)
    nodes = [one] if isinstance(store, MemoryStore) else [one, looking(store)[1]]
    for telemetry in nodes:
        tally = telemetry.stats.tally("/book/{id}")
        for seconds in (0.004, 0.2):
            tally.end("misses", seconds)
        telemetry.stats.tally("/other").end("passes", 0.001)
        tell(store, telemetry)
    many = len(nodes)
    rows = await inspector.nodes()
    assert {row.node for row in rows} == {telemetry.node for telemetry in nodes}
    assert [row.counters.misses for row in rows] == [2] * many
    assert rows[0].counters.miss_times.counts == one.stats.counters.miss_times.counts
    if isinstance(one.clock, HandClock):
        one.clock.advance(2.0)
    monkeypatch.setattr(RedisFleet, "_time", lambda fleet: time.time() + 2.0)  # that second is over
    samples = [sample for sample in await inspector.history() if sample.counters.lookups]
    total = sum([sample.counters for sample in samples], start=Counters())
    assert (total.misses, total.passes, total.lookups) == (2 * many, many, 3 * many)
    assert total.seconds == pytest.approx(0.204 * many)
    routes = [row for sample in samples for row in sample.routes]
    assert sum(row.counters.misses for row in routes if row.route == "/book/{id}") == 2 * many
    assert sum(row.counters.passes for row in routes if row.route == "/other") == many
    assert {sample.width for sample in samples} <= {1.0, 60.0}


async def test_a_purge_leaves_an_event_that_tells_who_did_it_and_why(harness: Harness) -> None:
    store = await harness.make()
    inspector, telemetry = looking(store)
    follower = inspector.follow()
    first = _next(follower)
    await settle()
    await fill(store, BOOK, b"x", "book:1")
    (row,) = await inspector.entries("/book/1")
    for number, cause in ((10, "commit"), (20, "invalidate")):
        telemetry.happened(
            "purge", ["book:1", "book:*"], entries=1, number=number, cause=cause, changes=["update book:1"]
        )
    telemetry.happened("soft-purge", ["shelf"], entries=0, number=30, cause="cli")
    tell(store, telemetry)
    events = await inspector.events()
    assert [(event.number, event.kind, event.cause) for event in events] == [
        (30, "soft-purge", "cli"),
        (20, "purge", "invalidate"),
        (10, "purge", "commit"),
    ]
    assert events[1].changes == ("update book:1",)
    assert {event.node for event in events} == {telemetry.node}
    assert [event.number for event in await inspector.events(before=20)] == [10]
    assert [event.number for event in await inspector.events(count=1)] == [30]
    view = await inspector.entry(row.entry)
    assert view is not None
    assert view.last_purge is not None
    assert view.last_purge.number == 20
    assert (await inspector.last_purge(["shelf"])) == events[0]
    assert await inspector.last_purge(["nothing"]) is None
    assert (await first).number == 10
    await follower.aclose()  # type: ignore[attr-defined]


def _next(follower: AsyncIterator[Event]) -> asyncio.Future[Event]:
    return asyncio.ensure_future(anext(follower))  # type: ignore[arg-type]
