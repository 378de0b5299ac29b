"""What writers ask of one server: to hold, to release, to purge. Each is a sequence of steps, so that all keep to one order."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.core.keys import URL_TAG, shard_of
from rcache.core.schemes import Schemes
from rcache.stores.redis import scripts
from rcache.stores.redis.records import by_shard, read_schemes, spell_guards
from rcache.stores.redis.steps import Step, Steps
from rcache.stores.redis.sweeper import SWEEPS_LAST, SWEEPS_WAITING

if TYPE_CHECKING:
    from rcache.stores.redis.shared import SharedStore
    from rcache.stores.redis.store import RedisStore

ATTEMPTS: Final = 3  # a guard that was made again may be lost again
LOG_LENGTH: Final = 20_000  # records
LOG_AGE: Final = 60_000  # milliseconds; nodes that are later than their lease have begun anew long before
LOG_BOUNDS: Final = (b"%d" % LOG_LENGTH, b"%d" % LOG_AGE)
MOST_SOFT: Final = 10_000  # soft purges that a shard remembers
WATCHED: Final = 1.25  # leases for which a node is watched, on the writer's own clock, before it is taken for dead
LONGEST_WAIT: Final = 10.0  # leases: a node that is alive and does not read has begun anew by then
FIRST_PAUSE: Final = 0.0005  # seconds between two looks at the nodes, doubled up to LONGEST_PAUSE
LONGEST_PAUSE: Final = 0.02


def holding(
    store: RedisStore,
    tags: Sequence[str],
    transaction: str,
    lasts: float,
    tables: Sequence[str] = (),
    is_known: bool = False,
) -> Steps[Step, Schemes]:
    """Places or renews holds; in strict mode every live node has read them afterwards. The schemes of the tables."""
    spelled = spell_guards(store.names, tags, store.shards)
    asked = spell_guards(store.names, tables, store.shards)
    arguments = (spelled, transaction.encode(), b"%d" % (lasts * 1000), *LOG_BOUNDS, asked)
    for _ in range(ATTEMPTS):
        reply = yield Step(store.hold_script, _log_of(store), arguments)
        if reply[0] == b"held":
            _, epoch, number, is_strict, told, placed = reply
            store.enter(epoch)
            store.is_strict |= bool(is_strict)
            yield from _settling(store)
            if number and store.is_strict and (placed or not is_known):
                yield from read_by_all(store, epoch, int(number))
            return _read_schemes(store, tables, told)
        yield from repairing(store)
    raise BackendError("the guards are lost again and again: a hold has nowhere to live")


def releasing(store: RedisStore, tags: Sequence[str], transaction: str) -> Steps[Step, None]:
    """Takes holds back."""
    spelled = spell_guards(store.names, tags, store.shards)
    yield Step(store.release_script, _log_of(store), (spelled, transaction.encode(), *LOG_BOUNDS))


def purging(store: RedisStore, tags: Sequence[str], transaction: str, tables: Sequence[str] = ()) -> Steps[Step, Purge]:
    """Raises the marks, and ends the transaction's holds on the tags."""
    *reply, told = yield purge_step(store, tags, transaction, tables)
    return (yield from _landed(store, reply, _read_schemes(store, tables, told)))


def softening(store: RedisStore, tags: Sequence[str]) -> Steps[Step, Purge]:
    """Notes a soft purge."""
    tags = list(dict.fromkeys(tags))
    spelled = spell_guards(store.names, tags, store.shards)
    bounds = (b"%d" % min(store.max_marks, MOST_SOFT), *LOG_BOUNDS)
    reply = yield Step(scripts.SOFTEN, _log_of(store), (spelled, *bounds))
    return (yield from _landed(store, reply, {}))


def flushing(store: RedisStore) -> Steps[Step, Purge]:
    """Purges whatever there is."""
    keys = (*_log_of(store), *store.guards)
    reply = yield Step(store.flush_script, keys, LOG_BOUNDS)
    return (yield from _landed(store, reply, {}))


def repairing(store: RedisStore) -> Steps[Step, list[Any]]:
    """Makes again what is missing of epoch and guards; what `repair.lua` returns."""
    reply: list[Any] = yield repair_step(store)
    return reply


def purge_step(store: RedisStore, tags: Sequence[str], transaction: str = "", tables: Sequence[str] = ()) -> Step:
    """The one step of a purge on one server."""
    tags = list(dict.fromkeys(tags))
    name = secrets.token_hex(8)
    keys: list[bytes] = [*_log_of(store), store.names.sweep.encode()]
    for position, tag in enumerate(listed(tags)):
        keys.append(store.names.registry(shard_of(tag, store.shards), tag).encode())
        keys.append(store.names.swept(name, position).encode())
    spelled = spell_guards(store.names, tags, store.shards)
    bounds = [b"%d" % bound for bound in (store.max_marks, SWEEPS_WAITING, SWEEPS_LAST)]
    asked = spell_guards(store.names, tables, store.shards)
    return Step(store.purge_script, tuple(keys), (spelled, *bounds, transaction.encode(), *LOG_BOUNDS, asked))


def repair_step(store: RedisStore) -> Step:
    """What makes again what is missing of epoch and guards."""
    has_seen = 1 if store.epoch else 0
    arguments = (secrets.token_hex(8).encode(), b"%d" % has_seen, b"%d" % (store.quarantine * 1000), *LOG_BOUNDS)
    return Step(store.repair_script, (*_log_of(store), *store.guards), (*arguments, store.way.reign))


def listed(tags: Sequence[str]) -> list[str]:
    """The tags that have a registry: nobody lists the entries of a URL's implicit tag."""
    return [tag for tag in tags if not tag.startswith(URL_TAG)]


def _log_of(store: RedisStore) -> tuple[bytes, bytes]:
    return store.names.sequence.encode(), store.names.log.encode()


def _read_schemes(store: RedisStore, tables: Sequence[str], told: Sequence[bytes | None]) -> Schemes:
    """What the scripts said of the schemes, in the order in which they were asked."""
    return read_schemes([table for its in by_shard(tables, store.shards).values() for table in its], told)


def _landed(store: RedisStore, reply: list[Any], schemes: Schemes) -> Steps[Step, Purge]:
    number, entries, epoch, logged, is_awaited, is_strict = reply
    store.enter(epoch)
    store.is_strict |= bool(is_strict)
    yield from _settling(store)
    if is_awaited and store.is_strict:
        yield from read_by_all(store, epoch, int(logged or 0))
    return Purge(int(number), int(entries), schemes)


def _settling(store: RedisStore) -> Steps[Step, None]:
    """Until no process can follow a former primary any more, which would not know of this."""
    if unsettled := store.way.unsettled():
        yield unsettled


def read_by_all(store: SharedStore[Any], epoch: bytes, number: int) -> Steps[Step, None]:
    """Until every live node has read the record `number`. The dead are struck out.

    A table that is missing, of another epoch or just made may not know all who still serve. Nobody whom it does not know can
    renew, so all are known once it is 1.25 leases old.
    """
    began = time.monotonic()
    lease = store.near_lease
    watched: dict[bytes, tuple[bytes, float]] = {}
    pause = FIRST_PAUSE
    while True:
        reply = yield Step(store.table_script, (store.names.sequence.encode(), store.names.nodes.encode()), ())
        now = time.monotonic()
        nodes = dict(zip(reply[2::2], [field.split() for field in reply[3::2]], strict=True))
        lease = max([lease, *(int(field[1]) / 1000 for field in nodes.values())])
        knows_all = reply[0] == epoch and int(reply[1]) >= WATCHED * lease * 1000
        late = {
            node: field[2]
            for node, field in nodes.items()
            if field[0] == b"strict" and reply[0] == epoch and int(field[3]) < number
        }
        for node, counter in late.items():
            seen, since = watched.get(node, (b"", 0.0))
            if seen != counter:
                watched[node] = counter, now
            elif now - since >= WATCHED * lease:
                yield Step(store.strike_script, (store.names.nodes.encode(),), (node, counter))
        if not late and (knows_all or now - began >= WATCHED * lease):
            return
        if now - began > LONGEST_WAIT * lease:
            raise BackendError(f"nodes {sorted(late)} renew their leases and do not read the log")
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
