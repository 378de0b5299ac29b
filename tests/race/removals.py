"""The rules of the protocol, each taken out of a store or of the engine, to see that it is missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rcache.core.entry import Missing
from rcache.core.keys import shard_of
from rcache.engine.single_flight import Ending, Flight, Flights, Landed
from rcache.stores.memory import _Guard
from rcache.stores.redis import scripts
from rcache.stores.redis.store import RedisStore
from tests.contract.support import Question, budget


def cut(store: RedisStore, name: str, *clauses: tuple[str, str]) -> None:
    """Replaces clauses in a script of a store; they must be there."""
    source = scripts.read(name)
    for old, new in clauses:
        assert old in source, f"{name}.lua has no {old!r} any more: say what took its place"
        source = source.replace(old, new)
    setattr(store, f"{name}_script", scripts.script(source))


def cut_rule(store: RedisStore, *clauses: tuple[str, str]) -> None:
    """Replaces clauses of the one rule wherever an entry is judged."""
    for name in ("lookup", "store"):
        cut(store, name, *clauses)


def start(store: Any) -> None:
    """A fill takes its start when it is stored, not when it looked up."""
    stores, lookup = store.store, store.lookup

    async def late(ask: Any, names: Any, entry: Any, left: Any, *schemes: Any) -> bool:
        found = await lookup(Question("/nothing here"), budget())
        assert isinstance(found, Missing)
        assert found.start is not None
        accepted: bool = await stores(ask, names, replace(entry, start=found.start), left, *schemes)
        return accepted

    store.store = late


def mark(store: Any) -> None:
    """A tag's last purge is not looked at."""
    if isinstance(store, RedisStore):
        cut_rule(store, ("return 'purged'", "return nil"))
    else:
        store._raise_mark = lambda tag, number: None


def born(store: Any) -> None:
    """An entry older than its guard may be used."""
    if isinstance(store, RedisStore):
        cut_rule(store, ("if born > start then", "if false then"))
        return
    is_quarantined = store._is_quarantined

    def unborn(shard: int) -> bool:
        answer: bool = is_quarantined(shard)
        store._guards[shard].born = 0
        return answer

    store._is_quarantined = unborn


def forgetting(store: Any) -> None:
    """A forgotten mark raises nothing."""
    if isinstance(store, RedisStore):
        cut(store, "purge", ("(tonumber(born) or 0) < highest", "false"))
        return
    raise_mark = store._raise_mark

    def forgetful(tag: str, number: int) -> None:
        known = {shard: guard.born for shard, guard in store._guards.items()}
        raise_mark(tag, number)
        for shard, guard in store._guards.items():
            guard.born = known[shard]

    store._raise_mark = forgetful


def epoch(store: Any) -> None:
    """Numbers of two epochs are compared."""
    guards = ("held[1] ~= epoch or", "")
    cut(
        store,
        "lookup",
        guards,
        ("or entry[1] ~= epoch", ""),
        ("if start > tonumber(number) then return answer('former') end", ""),
    )
    cut(
        store,
        "store",
        guards,
        ("if current ~= epoch then", "if false then"),
        ("if start > tonumber(number) then return {'former'} end", ""),
    )


def maximum(store: Any) -> None:
    """A mark is set, not raised."""
    unnoticed = ("then redis.call('HDEL', sequence, 'epoch') end", "then end")
    cut(store, "purge", ("put('ZADD', shard[2], 'GT', mark,", "put('ZADD', shard[2], mark,"), unnoticed)


def quarantine(store: Any) -> None:
    """A guard that was lost is used as soon as it is made again."""
    store.quarantine = 0.0


def hold(store: Any) -> None:
    """What is held may be used and stored."""
    if isinstance(store, RedisStore):
        cut_rule(store, ("if held then", "if false then"))
        return
    objection = store._objection

    def heedless(tag: str, number: int) -> str | None:
        store._guards.get(shard_of(tag, store.shards), _Guard(0)).holds.pop(tag, None)
        answer: str | None = objection(tag, number)
        return answer

    store._objection = heedless


def abandonment(store: Any) -> None:
    """A hold that ran out ends, and nothing is purged for it."""
    if isinstance(store, RedisStore):
        cut_rule(store, ("if #abandoned > 0 then return 'abandoned', abandoned end", ""), ("objection = 'held'", ""))
        return
    objection = store._objection

    def forgetful(tag: str, number: int) -> str | None:
        if objection(tag, number) == "abandoned":
            del store._guards[shard_of(tag, store.shards)].holds[tag]
        answer: str | None = objection(tag, number)
        return answer

    store._objection = forgetful


def keep_hold(store: Any) -> None:
    """A purge ends whatever is held of its tags, also where nobody knows whether the COMMIT landed."""
    if isinstance(store, RedisStore):
        cut(store, "purge", ("return holder == transaction or deadline <= now", "return true"))
        return
    purge_now = store._purge_now

    def purge(tags: Any, transaction: str) -> Any:
        for guard in store._guards.values():
            for tag in tags:
                guard.holds.pop(tag, None)
        return purge_now(tags, transaction)

    store._purge_now = purge


def acceptance(store: Any) -> None:
    """What the store says of an entry is not listened to."""
    stores = store.store

    async def heedless(*arguments: Any) -> bool:
        await stores(*arguments)
        return True

    store.store = heedless


def departure(patch: pytest.MonkeyPatch) -> None:
    """A flight may be joined until it has landed."""
    depart = Flight.depart

    def land(flight: Flight, outcome: Landed | Ending) -> None:
        depart(flight)
        if not flight._future.done():
            flight._future.set_result(outcome)

    patch.setattr(Flight, "depart", lambda flight: None)
    patch.setattr(Flight, "land", land)


def detachment(patch: pytest.MonkeyPatch) -> None:
    """Flights from before an invalidation of this process may be joined after it."""
    patch.setattr(Flights, "detach", lambda flights: None)


Removal = Callable[[Any], None]
