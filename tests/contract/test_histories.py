"""Random histories: the embedded store and real Redis are told the same, must say the same, and neither may say what is old.

What is old is decided without either of them. Each tag has a version, raised by a "commit"; a fill reads the versions of its
tags, and they are its body. Once an invalidation has returned, no lookup may give a version from before it; and where a
writer held the tags, from its commit on.

Three things are kept out, because the stores may differ in them without harm: after a fault or when time has passed both are
asked for something absent, so that a loss is noticed, and a quarantine ended, at the same moment; the names that a URL's
answers vary by are the same in each answer, since the embedded store forgets them with the last variant; and a hold that ran
out is ended by whoever sees it, say at a dead entry that one store still has: the other ends it, and refuses, at the next fill.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from rcache.core.changes import Change
from rcache.core.entry import Entry, Found, Missing
from rcache.core.schemes import Effect, Scheme
from rcache.ports import Store
from tests.contract.conftest import make_harness
from tests.contract.memory_harness import MemoryHarness
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import TIMEOUT, Question, budget, made
from tests.race import removals
from tests.race.removals import Removal
from tests.servers import RedisServer

QUARANTINE = 200.0
HOLD = 200.0
STEP = 400.0  # seconds that pass at a time: lifetimes and quarantines end well within, so a slow test changes nothing
MAX_MARKS = 4

ROWS = Scheme("rows", ("kind",))
"""A way to ask for rows, which a writer of `/rows` learns of by holding or purging their table."""

TAGS_OF = {
    "/rows": (cast("str", ROWS.tag({"kind": 1})), "rows:*", "rows?*"),
    "/book/0": ("book:0",),
    "/book/1": ("book:1", "author:1"),
    "/shelf": ("book:0", "book:1", "shelf"),
    "/theme": ("theme", "shelf"),
}
EFFECT = Effect(["rows"], {"rows": [Change("rows", (1,), "insert", None, {"kind": 1})]})
TAGS = sorted({tag for tags in TAGS_OF.values() for tag in tags})
SCHEMES_OF = {"/rows": (ROWS,)}
NAMES_OF = {"/theme": ("accept-language", "x-theme"), "/book/1": ("accept-language",)}

asks = st.builds(
    lambda path, language, theme: Question(path, headers=[(b"accept-language", language), (b"x-theme", theme)]),
    st.sampled_from(sorted(TAGS_OF)),
    st.sampled_from([b"en", b"de"]),
    st.sampled_from([b"dark", b"light"]),
)
tag_sets = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True)
nodes = st.integers(0, 1)
happenings = st.sampled_from(
    [
        ("write",),
        ("many writes",),
        ("write", "many writes"),
        ("loss", "time"),
        ("write", "loss", "time"),
        ("restart", "time"),
        ("write", "flush", "time"),
        ("time",),
    ]
)


@dataclass(frozen=True)
class Filling:
    """A fill between its look-up and its store."""

    ask: Question
    misses: tuple[Missing, ...]
    body: bytes
    lifetime: float
    passed: float  # what had passed of the time when it looked up


@dataclass
class Writing:
    """A transaction that holds its tags."""

    tags: list[str]
    transaction: str
    passed: float  # what had passed of the time when it was last renewed
    is_committed: bool = False


class Party:
    """One kind of store: its nodes, and whether time that passes moves its clock or its data."""

    def __init__(self, harness: MemoryHarness | RedisHarness) -> None:
        self.harness = harness
        self.nodes: list[Store] = []

    async def open(self, **options: Any) -> None:
        self.nodes = [await self.harness.make(**options), await self.harness.second()]

    def since(self, passed: float) -> float:
        """What is to be taken from a time noted before `passed` seconds went by."""
        return passed if isinstance(self.harness, RedisHarness) else 0.0


class Histories(RuleBasedStateMachine):
    """Drives both stores, and knows what is old."""

    def __init__(self, other: Callable[[], RedisHarness], shards: int, removal: Removal | None = None) -> None:
        super().__init__()
        self.removal = removal
        self.runner = asyncio.Runner()
        self.parties = [Party(MemoryHarness()), Party(other())]
        self.shards = shards
        self.passed = 0.0
        self.count = itertools.count()
        self.versions = dict.fromkeys([*TAGS, *TAGS_OF], 0)  # a URL has a version too, for purges of the URL
        self.floors = dict(self.versions)
        self.soft_floors = dict(self.versions)  # from before them nothing is fresh
        self.held: dict[tuple[str, str], float] = {}  # tag and transaction: what had passed when it was last placed

    fillings = Bundle("fillings")
    writings = Bundle("writings")

    @initialize()
    def open(self) -> None:
        options = {"shards": self.shards, "quarantine": QUARANTINE, "max_marks": MAX_MARKS}
        for party in self.parties:
            self.runner.run(party.open(**options))
        if self.removal is not None:
            self.removal(self.parties[0].nodes[0])
        self._look_around()

    def teardown(self) -> None:
        for party in self.parties:
            self.runner.run(party.harness.close())
        self.runner.close()

    # What may happen

    @rule(target=fillings, ask=asks, node=nodes, length=st.integers(0, 3))
    def look_up(self, ask: Question, node: int, length: int) -> Any:
        misses = self._look_up(ask, node)
        if misses is None or any(miss.start is None for miss in misses):
            return multiple()
        lifetime = 100.0 + STEP * length + 3.0 * (next(self.count) % 90)
        return Filling(ask, misses, self._read(ask), lifetime, self.passed)

    @rule(filling=consumes(fillings), node=nodes)
    def store(self, filling: Any, node: int) -> None:
        self._store(filling, node)

    @rule(filling=fillings, node=nodes)
    def store_and_keep_a_copy_for_later(self, filling: Any, node: int) -> None:
        self._store(filling, node)

    @rule(ask=asks, node=nodes, length=st.integers(0, 3))
    def fill(self, ask: Question, node: int, length: int) -> None:
        self._store(self.look_up(ask, node, length), node)
        self._look_up(ask, 1 - node)

    @rule(ask=asks, node=nodes, length=st.integers(2, 3), events=happenings)
    def fill_while_things_happen(self, ask: Question, node: int, length: int, events: tuple[str, ...]) -> None:
        filling = self.look_up(ask, node, length)
        for event in events:
            self._happen(event, TAGS_OF[ask.key.path.decode()][:1])
        self._store(filling, node)

    def _happen(self, event: str, tags: tuple[str, ...]) -> None:
        if event == "write":
            self.write(list(tags), 1)
        elif event == "many writes":
            for number in range(MAX_MARKS + 1):
                self._all(lambda party, tag=f"other:{number}": party.nodes[0].purge([tag], TIMEOUT))
        elif event == "time":
            self.let_time_pass(1)
        elif event == "loss":
            self.lose_a_guard(tags[0], None)
        else:
            self.begin_an_epoch(None, event == "flush")

    @rule(tags=tag_sets)
    def commit(self, tags: list[str]) -> None:
        for tag in tags:
            self.versions[tag] += 1

    @rule(tags=tag_sets, node=nodes)
    def invalidate(self, tags: list[str], node: int) -> None:
        purges = self._all(lambda party: party.nodes[node].purge(tags, TIMEOUT))
        assert all(purge.number > 0 for purge in purges)
        self.floors |= {tag: self.versions[tag] for tag in tags}
        self._end(self._ran_out(tags))

    @rule(tags=tag_sets, node=nodes)
    def write_and_purge_softly(self, tags: list[str], node: int) -> None:
        self.commit(tags)
        self._all(lambda party: party.nodes[node].soften(tags, TIMEOUT))
        self.soft_floors |= {tag: self.versions[tag] for tag in tags}

    @rule(tags=tag_sets, node=nodes)
    def write(self, tags: list[str], node: int) -> None:
        self.commit(tags)
        self.invalidate(tags, node)

    # A writer that holds its tags; it may die at any step, which is to be never told of again

    @rule(target=writings, tags=tag_sets, node=nodes)
    def hold(self, tags: list[str], node: int) -> Any:
        return self._hold(Writing(tags, f"t{next(self.count)}", self.passed), node)

    def _hold(self, writing: Writing, node: int) -> Writing:
        self._all(lambda party: party.nodes[node].hold(writing.tags, writing.transaction, HOLD, TIMEOUT))
        writing.passed = self.passed
        self.held |= dict.fromkeys([(tag, writing.transaction) for tag in writing.tags], self.passed)
        return writing

    @rule(writing=writings, node=nodes)
    def commit_what_is_held(self, writing: Any, node: int) -> None:
        if writing.passed != self.passed:  # not with less than half of it left
            self._hold(writing, node)
        self.commit(writing.tags)
        self.floors |= {tag: self.versions[tag] for tag in writing.tags}
        writing.is_committed = True

    @rule(writing=consumes(writings), node=nodes)
    def end_what_is_held(self, writing: Any, node: int) -> None:
        tags, transaction = writing.tags, writing.transaction
        self._end([(tag, transaction) for tag in tags])
        if writing.is_committed:
            self._all(lambda party: party.nodes[node].purge(tags, TIMEOUT, transaction))
        else:
            self._all(lambda party: party.nodes[node].release(tags, transaction, TIMEOUT))

    @rule(ask=asks, node=nodes, dies=st.booleans(), is_late=st.booleans())
    def write_during_a_fill(self, ask: Question, node: int, dies: bool, is_late: bool) -> None:
        tags = list(TAGS_OF[ask.key.path.decode()][:1])
        filling = self.look_up(ask, node, 3)
        writing = self._hold(Writing(tags, f"t{next(self.count)}", self.passed), node)
        self._store(filling, node)
        self.commit_what_is_held(writing, node)
        self._look_up(ask, 1 - node)
        if not dies:
            self.end_what_is_held(writing, 1 - node)
        if is_late:
            self.let_time_pass(1)
            self._look_up(ask, 1 - node)
        self._store(filling, node)

    # A writer of rows, who knows no scheme beforehand

    @rule(node=nodes)
    def write_rows(self, node: int) -> None:
        self.versions["/rows"] += 1
        self._all(lambda party: self._purge_rows(party.nodes[node], ""))
        self.floors["/rows"] = self.versions["/rows"]

    @rule(node=nodes, is_old=st.booleans(), dies=st.booleans())
    def hold_rows_during_a_fill(self, node: int, is_old: bool, dies: bool) -> None:
        rows, transaction = Question("/rows"), f"t{next(self.count)}"
        filling = self.look_up(rows, node, 3)
        if not is_old:
            self._store(filling, node)
        self._all(lambda party: self._hold_rows(party.nodes[1 - node], transaction))
        self._store(filling, node)
        self._store(self.look_up(rows, node, 3), node)
        self.versions["/rows"] += 1
        self.floors["/rows"] = self.versions["/rows"]
        self._look_up(rows, node)
        if not dies:
            self._all(lambda party: self._purge_rows(party.nodes[1 - node], transaction))
        self._look_up(rows, node)
        self._store(filling, node)

    async def _hold_rows(self, store: Store, transaction: str) -> None:
        told = await store.hold(["rows"], transaction, HOLD, TIMEOUT, ["rows"])
        await store.hold(["rows", *EFFECT.made_by(told)], transaction, HOLD, TIMEOUT, ["rows"])

    async def _purge_rows(self, store: Store, transaction: str) -> None:
        purge = await store.purge(["rows"], TIMEOUT, transaction, ["rows"])
        if more := EFFECT.made_by(purge.schemes):
            await store.purge(list(more), TIMEOUT, transaction)

    @rule(ask=asks, node=nodes)
    def purge_the_url(self, ask: Question, node: int) -> None:
        path = ask.key.path.decode()
        self.versions[path] += 1
        self._all(lambda party: party.nodes[node].purge([ask.key.url_tag], TIMEOUT))
        self.floors[path] = self.versions[path]

    @rule(steps=st.integers(1, 2))
    def let_time_pass(self, steps: int) -> None:
        self._all(lambda party: party.harness.advance(STEP * steps))
        self.passed += STEP * steps
        self._look_around()

    @rule(tag=st.sampled_from(TAGS), tags=st.none() | tag_sets)
    def lose_a_guard(self, tag: str, tags: list[str] | None) -> None:
        self._all(lambda party: party.harness.lose_guard(tag))
        if tags is not None:
            self.write(tags, 0)
        self._look_around()

    @rule(tags=st.none() | tag_sets, forgets=st.booleans())
    def begin_an_epoch(self, tags: list[str] | None, forgets: bool) -> None:
        self._all(
            lambda party: party.harness.forget_everything() if forgets else party.harness.new_epoch(),
        )
        if tags is not None:
            self.write(tags, 1)
        self._look_around()

    @invariant()
    def everybody_says_the_same_and_nothing_old(self) -> None:
        if self.parties[0].nodes:
            self._look_up(Question("/shelf"), 0)

    # How it is checked

    def _look_up(self, ask: Question, node: int) -> tuple[Missing, ...] | None:
        """The misses of both, or None where both have a hit, that is the same and not old."""
        given = self._all(lambda party: party.nodes[node].lookup(ask, budget()))
        for found in given:
            if isinstance(found, Found):
                self._check(ask, found.entry)
        one, other = given
        assert type(one) is type(other), given
        if isinstance(one, Found):
            assert (one.entry.body, one.entry.is_softened) == (other.entry.body, other.entry.is_softened)
            return None
        if self.shards == 1:
            assert (one.start is None) == (other.start is None), given
        return tuple(given)

    def _read(self, ask: Question) -> bytes:
        """What an application answers: the versions of everything it read, and what of the request it looked at."""
        path = ask.key.path.decode()
        versions = {name: self.versions[name] for name in (*TAGS_OF[path], path)}
        looked_at = {name: value.decode() for name, value in self._selecting(ask)}
        return orjson.dumps({"versions": versions, "looked at": looked_at, "serial": next(self.count)})

    def _check(self, ask: Question, entry: Entry) -> None:
        answer = orjson.loads(entry.body)
        for name, version in answer["versions"].items():
            assert version >= self.floors[name], f"{name} is at {self.floors[name]}, answered from {version}"
            assert version >= self.soft_floors[name] or entry.is_softened, f"{name} is at {self.floors[name]}, softly"
        assert answer["looked at"] == {name: value.decode() for name, value in self._selecting(ask)}

    def _selecting(self, ask: Question) -> list[tuple[str, bytes]]:
        names = NAMES_OF.get(ask.key.path.decode(), ())
        return [(name.decode(), value) for name, value in ask.headers if name.decode() in names]

    def _store(self, filling: Any, node: int) -> None:
        if not isinstance(filling, Filling):
            return
        path = filling.ask.key.path.decode()

        def sent(party: Party, miss: Missing) -> Awaitable[bool]:
            assert miss.start is not None
            at = miss.now - party.since(self.passed - filling.passed)
            entry = made(filling.ask, miss.start, at, filling.body, *TAGS_OF[path], lifetime=filling.lifetime)
            names, schemes = NAMES_OF.get(path, ()), SCHEMES_OF.get(path, ())
            return party.nodes[node].store(filling.ask, names, entry, budget(), schemes)

        accepted = [
            self.runner.run(_awaited(sent(party, miss)))
            for party, miss in zip(self.parties, filling.misses, strict=True)
        ]
        if accepted[0] != accepted[1]:
            ran_out = self._ran_out(TAGS_OF[path])
            assert ran_out, f"memory, redis: {accepted}"
            self._end(ran_out)  # by the store that refused; the other had
            self._all(lambda party: party.nodes[node].purge([filling.ask.key.url_tag], TIMEOUT))
        self._look_up(filling.ask, 1 - node)

    def _ran_out(self, tags: Sequence[str]) -> list[tuple[str, str]]:
        return [hold for hold, passed in self.held.items() if hold[0] in tags and passed < self.passed]

    def _end(self, holds: list[tuple[str, str]]) -> None:
        for hold in holds:
            self.held.pop(hold, None)

    def _look_around(self) -> None:
        for node in (0, 1):
            self._look_up(Question("/nothing here"), node)

    def _all(self, call: Callable[[Party], Awaitable[Any]]) -> list[Any]:
        return [self.runner.run(_awaited(call(party))) for party in self.parties]


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def tell(
    other: Callable[[], RedisHarness],
    shards: int,
    *,
    examples: int,
    steps: int,
    removal: Removal | None = None,
    phases: Sequence[Phase] = tuple(Phase),
) -> None:
    """Runs that many histories; `removal` takes a rule out of the embedded store."""
    options = settings(
        phases=phases,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Histories(other, shards, removal), settings=options)


@pytest.fixture(params=["redis", "sentinel", "cluster"])
def other(request: pytest.FixtureRequest) -> Callable[[], RedisHarness]:
    """Makes the harness of the store that is compared with the embedded one."""
    return lambda: cast("RedisHarness", make_harness(request, request.param))


@pytest.mark.parametrize("shards", [1, 3])
def test_both_stores_say_the_same_whatever_happens_and_never_what_is_old(
    other: Callable[[], RedisHarness], shards: int
) -> None:
    tell(other, shards, examples=25, steps=30)


@pytest.mark.parametrize(
    "removal",
    [removals.mark, removals.born, removals.forgetting, removals.hold, removals.abandonment, removals.quarantine],
    ids=["mark", "born", "forgetting", "hold", "abandonment", "quarantine"],
)
def test_a_store_without_one_of_the_rules_is_found_out(redis_server: RedisServer, removal: Removal) -> None:
    with pytest.raises(AssertionError):
        tell(lambda: RedisHarness(redis_server), 1, examples=200, steps=30, removal=removal, phases=[Phase.generate])


@pytest.mark.long
@pytest.mark.parametrize("shards", [1, 3])
def test_both_stores_say_the_same_in_long_histories(other: Callable[[], RedisHarness], shards: int) -> None:
    tell(other, shards, examples=1000, steps=80)
