"""The protocol itself, step by step, against the real scripts and real near caches: the coherence model come true.

One URL with one tag, two nodes A and B. Every step is one that `coherence_model.py` knows, under the same name, and is carried
out for real: by a script on Redis, or in the memory of a node whose log is read when the story says so. What the scripts of
one server do at once (take a number, mark, log) is taken apart here, as it is where keys lie on several servers. A reader that
begins after a COMMIT may not be answered from before it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from rcache.core.entry import Found, Missing
from rcache.engine.near_cache import NearCache
from rcache.stores.redis import RedisStore, scripts, writing
from rcache.stores.redis.records import encode_record, spell_guards
from rcache.stores.redis.writing import Step
from tests.contract.redis_harness import RedisHarness
from tests.contract.support import Question, budget, made
from tests.race import removals
from tests.servers import RedisServer
from tests.support import HandClock

ROW = Question("/row")
LOOK = Question("/nothing here")
TAG = "row"
LEASE = 1000.0  # seconds: only a node that is frozen lets it lapse
HOLD = 1000.0
QUARANTINE = 1000.0
RULES = (
    *("start", "mark", "max", "born", "quarantine", "mark_first", "hold", "keep_hold"),
    *("near_mark", "wait", "lapse", "floor", "place_first"),
)

Move = Callable[[], Awaitable[None]]

_APPEND = """#!lua flags=allow-oom
--@include rule
--@include put
--@include log
local epoch = standing(KEYS[1], (history()))
local bounds = {'1000', 60000}
local known = logged_so_far(KEYS[1])
return append(KEYS[1], KEYS[2], epoch, known, ARGV[1], cjson.decode(ARGV[2]), 1, clock(), bounds) or ''
"""
_NUMBER = """#!lua flags=allow-oom
return redis.call('HINCRBY', KEYS[1], 'n', 1)
"""


@dataclass(frozen=True)
class Case:
    """Who takes part, and what may go wrong; as in the model."""

    fills: int = 0
    writers: int = 1
    readers: int = 1
    near: bool = False
    unknown: bool = False
    plain: bool = False
    lose_guard: bool = False
    freeze: bool = False
    resync: bool = False
    one_node: bool = False
    crash: bool = True


@dataclass
class Node:
    """A node: its store, what it keeps near, and its way to the log."""

    name: str
    store: RedisStore
    removed: str
    clock: HandClock = field(default_factory=HandClock)
    counter: int = 0
    is_frozen: bool = False

    def __post_init__(self) -> None:
        self.log = self.store.log()
        self.near = NearCache(1_000_000, self.clock)
        if self.removed == "near_mark":
            self.near._mark = self._drop_alone  # type: ignore[method-assign]

    def _drop_alone(self, tag: str, number: int) -> None:
        for slot in list(self.near._carriers.get(tag, ())):
            self.near._drop(slot)

    def may_keep(self, *arguments: Any) -> bool:
        if self.removed == "floor":
            self.near._floor = 0
        return NearCache._may_keep(self.near, *arguments)

    def join(self) -> None:
        self.near._may_keep = self.may_keep  # type: ignore[method-assign]
        self.counter += 1
        head = self.log.join(self.name, self.counter, LEASE, True)
        assert head is not None
        self.near.join(head, self.clock.boottime(), LEASE)

    def begin_anew(self) -> None:
        self.near.doubt()
        self.join()

    def read(self) -> str | None:
        """Reads one record, and acknowledges it; its kind."""
        records = self.log.read(self.near.tail, 0.0)[:1]
        if not records:
            return None
        if not self.near.apply(records):
            self.begin_anew()
            return records[0].kind
        self.renew()
        return records[0].kind

    def renew(self) -> None:
        self.counter += 1
        sent = self.clock.boottime()
        head = self.log.renew(self.name, self.counter, self.near.tail)
        if head is None or not self.near.renew(head, sent, LEASE):
            self.begin_anew()

    def freeze(self) -> None:
        self.is_frozen = True

    def wake(self) -> None:
        self.is_frozen = False
        if self.removed != "lapse":
            self.clock.advance(LEASE + 1)


class Protocol:
    """Plays one story, or a random one."""

    def __init__(self, harness: RedisHarness, case: Case, removed: str = "") -> None:
        assert removed in ("", *RULES)
        self.harness = harness
        self.case = case
        self.removed = removed
        self.version = 0
        self.floor = 0
        self.story: list[str] = []
        self.stale: list[str] = []
        self.steps: dict[str, tuple[Any, ...]] = {}
        self.is_guard_lost = self.was_frozen = self.was_resynced = False
        self.append_script = scripts.script(scripts.spliced(_APPEND))
        self.number_script = scripts.script(_NUMBER)

    async def open(self) -> None:
        """Both nodes, before anything happened."""
        self.nodes: dict[str, Node] = {}
        for name in "AB":
            store = await (self.harness.second() if self.nodes else self.harness.make(quarantine=QUARANTINE))
            store.is_strict = False
            self._cut(store)
            self.nodes[name] = Node(name, store, self.removed)
        self.store = self.nodes["A"].store
        assert isinstance(await self.store.lookup(LOOK, budget()), Missing)
        if self.case.near:
            for node in self.nodes.values():
                node.join()
        for number in range(self.case.fills):
            self.steps[f"f{number}"] = ("begin",)
        for number in range(self.case.writers):
            self.steps[f"w{number}"] = ("write",) if self.case.plain else ("hold",)
        for number in range(self.case.readers):
            self.steps[f"r{number}"] = ("begin",)

    def _cut(self, store: RedisStore) -> None:
        """Takes the scripts apart, and takes a rule out."""
        removals.cut(store, "hold", ("if #placed > 0 then", "if false then"))
        mark = "put('ZADD', shard[2], 'GT', mark,"
        removals.cut(
            store,
            "purge",
            ("local number = put('HINCRBY', sequence, 'n', 2) - 1", "local number = tonumber(ARGV[#ARGV])"),
            (">= number then redis.call('HDEL', sequence, 'epoch') end", ">= number then end"),
            ("for _, shard in ipairs(shards) do lift(shard, ends, changes, true) end", ""),
            ("local logged = append(", "local logged = (function() end)("),
            (mark, mark.replace("'GT', ", "") if self.removed == "max" else mark),
        )
        removals.cut(
            store,
            "release",
            ("  append(sequence", "  local _ = (function() end)(sequence"),
            ("holder == transaction", "true") if self.removed == "keep_hold" else ("", ""),
        )
        taken = {"mark": removals.mark, "born": removals.born}
        if self.removed in taken:
            taken[self.removed](store)
        if self.removed == "quarantine":
            removals.quarantine(store)

    async def close(self) -> None:
        """Nothing is left open."""
        for node in self.nodes.values():
            node.log.close()
        await self.harness.close()

    # Playing

    async def replay(self, story: str) -> None:
        """Takes the steps of a story, as the model tells it. A step that is already contained in another is left out.

        With all rules in force some steps are not possible: a node keeps nothing, so it serves nothing.
        """
        for label in " ".join(story.split()).split(" | "):
            if label in CONTAINED or (" gets version " in label and " from near " not in label):
                continue
            if " gets version " in label:
                label = f"{label[:2]} near hit"
            if self.removed or label in dict(self.moves()):
                await self.take(label)

    async def take(self, label: str) -> None:
        """Takes one step, which must be possible now."""
        moves = dict(self.moves())
        assert label in moves, f"{label!r} is not possible after {self.story}, but {sorted(moves)}"
        self.story.append(label)
        await moves[label]()

    async def wander(self, chance: random.Random, most: int = 80) -> None:
        """Takes possible steps by chance, until none is left.

        Each actor has a rank, and the first among those who can goes on, until by chance it becomes the last: so some are
        overtaken for long, which evenly drawn steps hardly ever show.
        """
        ranks: dict[str, float] = {}
        for _ in range(most):
            moves = dict(self.moves())
            if not moves or self.stale:
                return
            by_actor: dict[str, list[str]] = {}
            for label in moves:
                by_actor.setdefault(label[:2], []).append(label)
            actor = max(by_actor, key=lambda name: ranks.setdefault(name, chance.random()))
            if chance.random() < 0.25:
                ranks[actor] = min(ranks.values()) - chance.random()
            weights = [0.1 if label.endswith((" DIES", " ROLLS BACK")) else 1.0 for label in by_actor[actor]]
            (label,) = chance.choices(by_actor[actor], weights)
            self.story.append(label)
            await moves[label]()

    # What may happen next, by the names of the model

    def moves(self) -> Iterator[tuple[str, Move]]:
        yield from self._node_moves()
        yield from self._guard_moves()
        for me, step in self.steps.items():
            if me[0] == "f":
                yield from self._fill_moves(me, step)
            elif me[0] == "w":
                yield from self._writer_moves(me, step)
            elif not self.node_of(me).is_frozen:
                yield from self._reader_moves(me, step)

    def node_of(self, me: str) -> Node:
        if me[0] == "r" and self.case.one_node:
            return self.nodes["A"]
        return self.nodes["AB"[int(me[1:]) % 2]]

    def _node_moves(self) -> Iterator[tuple[str, Move]]:
        if not self.case.near:
            return
        a = self.nodes["A"]
        for node in self.nodes.values():
            if not node.is_frozen and (waiting := node.log.read(node.near.tail, 0.0)):
                yield f"{node.name} reads '{waiting[0].kind}'", self._do(node.read)
        if self.case.resync and not self.was_resynced and not a.is_frozen:
            yield "A loses its place, clears, resumes at the end", self._resync
        if self.case.freeze and not self.was_frozen and a.near.find(ROW) is not None:
            yield "A is frozen past its lease", self._freeze
        if a.is_frozen:
            yield "A wakes", self._do(a.wake)
        elif self.was_frozen and not a.near.is_alive:
            yield "A notices that its lease lapsed", self._do(a.renew)

    async def _resync(self) -> None:
        self.was_resynced = True
        self.nodes["A"].begin_anew()

    async def _freeze(self) -> None:
        self.was_frozen = True
        self.nodes["A"].freeze()

    @staticmethod
    def _do(act: Callable[[], object]) -> Move:
        async def move() -> None:
            act()

        return move

    def _guard_moves(self) -> Iterator[tuple[str, Move]]:
        if self.case.lose_guard and not self.is_guard_lost:
            yield "the guard is lost", self._lose_guard
        ended = {"done", "dead", "raise", "log purge"}
        writers = [step[0] for me, step in self.steps.items() if me[0] == "w"]
        if self.is_guard_lost and not self.is_quarantine_over and all(step in ended for step in writers):
            yield "the quarantine ends", self._end_quarantine

    async def _lose_guard(self) -> None:
        self.is_guard_lost, self.is_quarantine_over = True, False
        is_held = self.harness.client.hexists(self.store.names.guard(0), "held")
        await self.harness.lose_guard(TAG)
        for _ in range(2):  # without a quarantine, the second finds that it is over
            await self.store.lookup(LOOK, budget())
        if not is_held:  # time passes until it may end
            await self._end_quarantine()

    async def _end_quarantine(self) -> None:
        self.is_quarantine_over = True
        quarantine = self.harness.client.hget(self.store.names.guard(0), "quarantine")
        if quarantine is not None:
            self.harness.client.hset(self.store.names.guard(0), "quarantine", 1)
        await self.store.lookup(LOOK, budget())

    # Fills

    def _fill_moves(self, me: str, step: tuple[Any, ...]) -> Iterator[tuple[str, Move]]:
        async def begin() -> None:
            found = await self.node_of(me).store.lookup(LOOK, budget())
            assert isinstance(found, Missing)
            self.steps[me] = ("read", found) if found.start is not None else ("done",)

        async def read() -> None:
            self.steps[me] = ("send", step[1], self.version)

        async def send() -> None:
            found = step[1]
            if self.removed == "start":
                found = await self.store.lookup(LOOK, budget())
            self.steps[me] = ("store", found, step[2]) if found.start is not None else ("done",)

        async def store() -> None:
            _, miss, version = step
            entry = made(ROW, miss.start, miss.now, b"%d" % version, TAG, lifetime=3600.0)
            accepted = await self.node_of(me).store.store(ROW, (), entry, budget())
            self.steps[me] = ("kept", Found(entry, miss.now, miss.start)) if accepted else ("done",)

        async def keep() -> None:
            if self.case.near:
                self.node_of(me).near.keep(ROW, step[1])
            self.steps[me] = ("done",)

        async def store_late() -> None:
            """Nothing rests on the check that a store makes, so it is left out."""
            _, miss, version = step
            entry = made(ROW, miss.start, miss.now, b"%d" % version, TAG, lifetime=3600.0)
            spelled = spell_guards(self.store.names, entry.tags, 1)
            record = encode_record(entry, spelled, ROW.key.material, b"")
            fields = (b"epoch", b"start", b"guards", b"key", b"variant", b"stored", b"head", b"body", b"sum")
            place = self.store._places.of(ROW)
            self.harness.client.hset(place.plain, mapping=dict(zip(fields, record, strict=True)))  # type: ignore[arg-type]
            self.steps[me] = ("done",)

        match step[0]:
            case "begin":
                yield f"{me} begins", begin
            case "read":
                yield f"{me} reads version {self.version}", read
            case "send":
                yield f"{me} sends its store", send
            case "store":
                yield f"{me} stored", store
                yield f"{me} refused", store
                if self.case.crash:
                    yield f"{me} stored unchecked, late", store_late
            case "kept":
                yield f"{me} kept near {self.node_of(me).name}", keep
                yield f"{me} not kept near", keep

    # Writers

    async def _script(self, step: Step) -> Any:
        keys_and_arguments = (*step.keys, *step.arguments)
        return self.harness.client.eval(step.script.source, len(step.keys), *keys_and_arguments)  # type: ignore[arg-type]

    async def _append(self, kind: str, *changes: str) -> int:
        keys = (self.store.names.sequence.encode(), self.store.names.log.encode())
        arguments = (kind.encode(), orjson.dumps([[TAG, *changes]]))
        return int(await self._script(Step(self.append_script, keys, arguments)))

    async def _number(self) -> int:
        keys = (self.store.names.sequence.encode(),)
        return int(await self._script(Step(self.number_script, keys, ())))

    async def _raise(self, number: int) -> None:
        step = writing.purge_step(self.store, [TAG])
        await self._script(step._replace(arguments=(*step.arguments, b"%d" % number)))

    async def _place(self, me: str) -> None:
        steps = writing.holding(self.store, [TAG], me, HOLD)
        step = steps.send(None)
        assert isinstance(step, Step)
        assert (await self._script(step))[0] == b"held"

    async def _lift(self, me: str) -> None:
        step = next(writing.releasing(self.store, [TAG], me))
        assert isinstance(step, Step)
        await self._script(step)

    async def _purge_for(self, me: str) -> None:
        """Mark, log, lift: what the purge of a dead writer does at once."""
        await self._raise(await self._number())
        await self._append("purge", me)
        await self._lift(me)

    def _is_read_by_all(self, number: int) -> bool:
        if not self.case.near or self.removed == "wait":
            return True
        for name, told in self.harness.client.hgetall(self.store.names.nodes).items():
            if name in (b"epoch", b"born"):
                continue
            node = self.nodes[name.decode()]
            if not node.is_frozen and int(told.split()[3]) < number:
                return False
        return True

    def _strike_the_frozen(self) -> None:
        for node in self.nodes.values():
            if node.is_frozen and self.case.near and self.removed != "lapse":
                self.harness.client.hdel(self.store.names.nodes, node.name)

    def _writer_moves(self, me: str, step: tuple[Any, ...]) -> Iterator[tuple[str, Move]]:
        def then(*after: Any) -> None:
            self.steps[me] = after

        async def place() -> None:
            await self._place(me)
            then(*(("log hold",) if self.removed != "place_first" else ("wait", step[1])))

        async def log_hold() -> None:
            number = await self._append("hold", me)
            then(*(("wait", number) if self.removed != "place_first" else ("place", number)))

        async def may_commit() -> None:
            self._strike_the_frozen()
            then("commit")

        async def commit() -> None:
            self.version += 1
            if not self.case.plain:
                self.floor = self.version
            then("purge")

        async def roll_back() -> None:
            await self._lift(me)
            await self._append("release", me)
            then("done")

        async def lose_connection() -> None:
            await self._raise(await self._number())
            await self._append("purge")
            if self.removed == "keep_hold":
                await self._lift(me)
            then("unknown")

        async def land() -> None:
            self.version += 1
            self.floor = self.version
            then("dead")

        async def take_number() -> None:
            then("raise", await self._number())

        async def mark() -> None:
            await self._raise(step[1])
            then(*(("log purge",) if self.removed != "mark_first" else self._after(step[1])))
            if self.removed == "mark_first":
                await self._lift(me)

        async def log_purge() -> None:
            number = await self._append("purge", me)
            if self.removed == "mark_first":
                then("mark", number)
            else:
                await self._lift(me)
                then(*self._after(number))

        async def returned() -> None:
            self._strike_the_frozen()
            if self.case.writers == 1:
                self.floor = self.version
            then("done")

        async def run_out() -> None:
            await self._purge_for(me)
            then("done")

        match step[0]:
            case "write":
                yield f"{me} COMMITS by itself", commit
            case "hold" if self.removed == "hold":
                yield f"{me} goes on without a hold", self._then(me, "commit")
            case "hold" if self.removed != "place_first":
                yield f"{me} places its hold", place
            case "hold":
                yield f"{me} logs its hold", log_hold
            case "place":
                yield f"{me} places its hold", place
            case "log hold":
                yield f"{me} logs its hold", log_hold
            case "wait" if self._is_read_by_all(step[1]):
                yield f"{me} may commit", may_commit
            case "commit":
                yield f"{me} COMMITS", commit
                yield f"{me} ROLLS BACK", roll_back
                if self.case.unknown:
                    yield f"{me} loses the connection, purges", lose_connection
            case "unknown":
                yield f"{me}'s COMMIT lands", land
                yield f"{me}'s COMMIT never landed", self._then(me, "dead")
            case "purge" if self.removed == "mark_first":
                yield f"{me} logs its purge", log_purge
            case "purge":
                yield f"{me} takes a number", take_number
            case "raise" | "mark":
                yield f"{me} marks the tag", mark
            case "log purge":
                yield f"{me} logs its purge", log_purge
            case "return" if self._is_read_by_all(step[1]):
                yield f"{me}'s invalidate() returns", returned
            case "dead":
                yield f"{me}'s hold runs out: purged", run_out
        is_anybody_dead = any(other[0] == "dead" for name, other in self.steps.items() if name[0] == "w")
        if self.case.crash and not is_anybody_dead and step[0] not in ("write", "hold", "done", "dead", "unknown"):
            yield f"{me} DIES", self._then(me, "dead")

    def _after(self, number: int) -> tuple[Any, ...]:
        return ("return", number) if self.case.plain else ("done",)

    def _then(self, me: str, step: str) -> Move:
        async def move() -> None:
            self.steps[me] = (step,)

        return move

    # Readers

    def _reader_moves(self, me: str, step: tuple[Any, ...]) -> Iterator[tuple[str, Move]]:
        node = self.node_of(me)

        def served(found: Found, by: str) -> None:
            version = int(found.entry.body)
            if version < step[1]:
                self.stale.append(f"{me} gets version {version} from {by}, floor {step[1]}")

        async def begin() -> None:
            self.steps[me] = ("ask", self.floor)

        async def near_hit() -> None:
            found = node.near.find(ROW)
            assert found is not None
            served(found, f"near {node.name}")
            self.steps[me] = ("done",)

        async def look_up() -> None:
            found = await node.store.lookup(ROW, budget())
            self.steps[me] = ("done",)
            if isinstance(found, Found):
                served(found, "the store")
                if self.case.near:
                    self.steps[me] = ("keep", step[1], found)

        async def keep() -> None:
            node.near.keep(ROW, step[2])
            self.steps[me] = ("done",)

        match step[0]:
            case "begin":
                yield f"{me} begins", begin
            case "ask" if self.case.near and node.near.find(ROW) is not None:
                yield f"{me} near hit", near_hit
            case "ask":
                yield f"{me} looks up", self._then_ask(me, step[1])
            case "get":
                for label in ("gets the entry", "misses"):
                    yield f"{me} {label}", look_up
            case "keep":
                for label in ("keeps", "does not keep"):
                    yield f"{me} {label} it near {node.name}", keep

    def _then_ask(self, me: str, floor: int) -> Move:
        async def move() -> None:
            self.steps[me] = ("get", floor)

        return move


CONTAINED = {
    *(f"r{number} {word}" for number in range(2) for word in ("store hit", "finds it dead")),
    *(f"{name} reads '{kind}'" for name in "AB" for kind in ("number", "born")),
    "the guard is made again",
}
"""Steps of the model that take no step of their own here."""


async def play(server: RedisServer, case: Case, removed: str, tell: Callable[[Protocol], Awaitable[None]]) -> Protocol:
    """What became of a story; `stale` says who was answered from before."""
    protocol = Protocol(RedisHarness(server), case, removed)
    await protocol.open()
    try:
        await tell(protocol)
    finally:
        await protocol.close()
    return protocol
