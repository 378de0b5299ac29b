"""Plays random writes against kept results, and judges each by computing it anew."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, StaticPool, create_engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from rcache import Cache
from rcache.core.changes import Change, families
from rcache.core.reads import Reads
from rcache.core.schemes import Effect
from rcache.current import gathering
from rcache.integrations.sqlalchemy import Tracking, track
from tests.integrations.sqlalchemy.harness import enforce_foreign_keys
from tests.integrations.sqlalchemy.soundness import composed as _composed  # noqa: F401 (adds its shapes)
from tests.integrations.sqlalchemy.soundness import models
from tests.integrations.sqlalchemy.soundness.queries import SHAPES, Question, Shape
from tests.integrations.sqlalchemy.soundness.writes import KINDS


@dataclass(slots=True)
class Kept:
    """A result, with what it depends on."""

    shape: Shape
    question: Question
    value: Any
    reads: Reads
    tags: frozenset[str]
    tables: frozenset[str]
    named: frozenset[str]


@dataclass(slots=True)
class Answer:
    """A value, what rcache says that it depends on, and the words of the SQL that was sent for it."""

    value: Any
    reads: Reads
    words: frozenset[str]


@dataclass(slots=True)
class Tally:
    """What came of it; `tables`: what tags of whole tables alone would have flushed."""

    writes: int = 0
    refused: int = 0
    needed: int = 0
    flushed: int = 0
    tables: int = 0
    needed_expressible: int = 0
    flushed_expressible: int = 0
    tables_expressible: int = 0
    stale: list[str] = field(default_factory=list)
    by_shape: Counter[str] = field(default_factory=Counter)
    flushed_by_shape: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        for name in ("writes", "refused", "needed", "flushed", "tables"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("needed_expressible", "flushed_expressible", "tables_expressible"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.stale += other.stale
        self.by_shape += other.by_shape
        self.flushed_by_shape += other.flushed_by_shape
        self.by_kind += other.by_kind

    @property
    def over(self) -> float:
        return self.flushed / max(self.needed, 1)

    @property
    def over_expressible(self) -> float:
        return self.flushed_expressible / max(self.needed_expressible, 1)


class World:
    """One database, one tracked engine, results that are kept."""

    def __init__(self, url: str, seed: int) -> None:
        options: dict[str, Any] = {"poolclass": StaticPool} if url == "sqlite://" else {}
        # Some of the queries are products of everything with everything, and meant to be.
        self.engine: Engine = create_engine(url, enable_from_linting=False, **options)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", enforce_foreign_keys)
        else:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE COLLATION IF NOT EXISTS folding"
                    " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
                )
        models.Base.metadata.drop_all(self.engine)
        models.Base.metadata.create_all(self.engine)
        self.rng = random.Random(seed)
        with Session(self.engine) as session:
            models.fill(session, self.rng)
        self.cache = Cache("memory://")
        self.tracking: Tracking = track(self.engine, models.Base.metadata, cache=self.cache)
        self.effects: list[Effect] = []
        followed = self.tracking._followed
        self._effect = followed.effect
        followed.effect = self._note  # type: ignore[method-assign]
        self.kept: list[Kept] = []
        self._sent: list[str] = []
        event.listen(self.engine, "before_cursor_execute", self._on_statement)
        self._contents = self._look()

    def _on_statement(self, connection: Any, cursor: Any, sql: str, *_: Any) -> None:
        self._sent.append(sql)

    def _look(self) -> dict[str, int]:
        """A number for what each table holds, which nobody at rcache has had a hand in."""
        raw = self.engine.raw_connection()
        try:
            cursor = raw.cursor()
            found = {}
            for name in models.Base.metadata.tables:
                cursor.execute(f"SELECT * FROM {name}")
                found[name] = hash(frozenset(map(repr, cursor.fetchall())))
            cursor.close()
            raw.rollback()
            return found
        finally:
            raw.close()

    def _note(self, cache: Cache, changes: Sequence[Change]) -> Effect:
        effect = self._effect(cache, changes)
        self.effects.append(effect)
        return effect

    def close(self) -> None:
        self.tracking.untrack()
        self.engine.dispose()
        asyncio.run(self.cache.close())

    def keep(self, shape: Shape) -> None:
        """Asks a new question of that shape."""
        question = shape.make(self.rng)
        self.kept.append(_kept(shape, question, self.ask(question)))

    def ask(self, question: Question) -> Answer:
        reads = Reads()
        self._sent.clear()
        token = gathering.set(reads)
        try:
            with Session(self.engine) as session:
                value = question(session)
                return Answer(value, reads, frozenset(re.findall(r"\w+", " ".join(self._sent))))
        finally:
            gathering.reset(token)

    def flushed_tags(self, kept: Sequence[Kept]) -> frozenset[str]:
        """What the COMMITs purge, with every scheme in use."""
        schemes = {scheme for each in kept for scheme in each.reads.schemes}
        tags: set[str] = set()
        for effect in self.effects:
            known = {name: frozenset(each for each in schemes if each.table == name) for name in effect.tables}
            tags |= {*effect.tags, *effect.made_by(known)}
        return frozenset(tags)

    def play(self, writes: int, kinds: Sequence[str], tally: Tally | None = None) -> Tally:
        """So many writes, each followed by a judgement."""
        tally = tally or Tally()
        for _ in range(writes):
            name = self.rng.choice(kinds)
            self.effects.clear()
            try:
                KINDS[name](self.engine, self.rng)
            except IntegrityError:
                tally.refused += 1
                self.effects.clear()
            tally.writes += 1
            self._judge(name, tally)
        return tally

    def _judge(self, write: str, tally: Tally) -> None:
        tags = self.flushed_tags(self.kept)
        changed = {tag for effect in self.effects for tag in effect.tags}
        before, self._contents = self._contents, self._look()
        touched = {name for name, held in self._contents.items() if before[name] != held}
        for index, each in enumerate(self.kept):
            is_flushed = not tags.isdisjoint(each.tags)
            # Where no table that it names holds anything else, the answer is the same.
            answer = self.ask(each.question) if is_flushed or not touched.isdisjoint(each.named) else None
            is_needed = answer is not None and answer.value != each.value
            is_expressible, by_table = each.shape.is_expressible, not changed.isdisjoint(each.tables)
            tally.needed += is_needed
            tally.flushed += is_flushed
            tally.tables += by_table
            if is_expressible:
                tally.needed_expressible += is_needed
                tally.flushed_expressible += is_flushed
                tally.tables_expressible += by_table
            if is_needed:
                tally.by_shape[each.shape.name] += 1
                tally.by_kind[write] += 1
                if not is_flushed:
                    told = f"{each.shape.name} after {write}: {each.value!r} is {answer and answer.value!r}"
                    tally.stale.append(f"{told}; {sorted(each.tags)}")
            if answer is not None and (is_flushed or is_needed):
                tally.flushed_by_shape[each.shape.name] += is_flushed
                self.kept[index] = _kept(each.shape, each.question, answer)


def _kept(shape: Shape, question: Question, answer: Answer) -> Kept:
    tags = frozenset(answer.reads.tags) | frozenset(families(answer.reads.tags))
    tables = frozenset(tag.partition("?")[0].partition(":")[0] for tag in answer.reads.tags)
    return Kept(shape, question, answer.value, answer.reads, tags, tables, answer.words)


def run(
    url: str, seed: int, writes: int, shapes: Iterable[str] = SHAPES, kinds: Iterable[str] = KINDS, each: int = 1
) -> Tally:
    """A world of its own, with so many questions of each shape."""
    world = World(url, seed)
    try:
        for name in shapes:
            if world.engine.dialect.name in SHAPES[name].dialects:
                for _ in range(each):
                    world.keep(SHAPES[name])
        return world.play(writes, list(kinds))
    finally:
        world.close()
