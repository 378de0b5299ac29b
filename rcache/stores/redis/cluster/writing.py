"""What writers ask of a Cluster. What is one script on one server is here a round of trips after the other, in an order by
which no step may miss what the one before it set down.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from rcache.core.entry import Purge
from rcache.core.errors import BackendError
from rcache.core.schemes import Schemes
from rcache.stores.redis import scripts
from rcache.stores.redis.records import by_shard, read_schemes
from rcache.stores.redis.steps import Step, Steps
from rcache.stores.redis.sweeper import SWEEPS_LAST, SWEEPS_WAITING
from rcache.stores.redis.writing import ATTEMPTS, LOG_BOUNDS, MOST_SOFT, listed, read_by_all

if TYPE_CHECKING:
    from rcache.stores.redis.cluster.store import ClusterStore


class Round(NamedTuple):
    """Steps that are taken at once. The optional ones may fail, and then have None for a reply."""

    steps: tuple[Step, ...]
    optional: tuple[Step, ...] = ()


Moves = Step | Round
_SWEEP_BOUNDS: Final = (b"%d" % SWEEPS_WAITING, b"%d" % SWEEPS_LAST)


class Repaired(NamedTuple):
    """What has become of epoch and guards."""

    epoch: bytes
    number: bytes
    is_quarantined: bool
    now: float


def holding(
    store: ClusterStore,
    tags: Sequence[str],
    transaction: str,
    lasts: float,
    tables: Sequence[str] = (),
    is_known: bool = False,
) -> Steps[Moves, Schemes]:
    """Places holds in the guards, then logs them; in strict mode every live node has read them afterwards. The tables' schemes.

    Those that stand and are not known are logged too: they may have been placed by a call that came no further.
    """
    changes = [[tag, transaction] for tag in tags]
    for _ in range(ATTEMPTS):
        epoch = (yield store.sequence_step)[0]
        if epoch:
            store.enter(epoch)
            arguments = (epoch, transaction.encode(), b"%d" % (lasts * 1000))
            replies = yield Round(_in_shards(store, store.place_script, tags, arguments, tables))
            if all(reply[0] == b"held" for reply in replies):
                schemes = _read_schemes(store, tags, tables, [reply[1] for reply in replies])
                if is_known and not any(reply[2] for reply in replies):
                    return schemes
                logged, is_strict = yield _record(store, epoch, "hold", changes, is_awaited=True)
                store.is_strict |= bool(is_strict)
                if logged:
                    if store.is_strict:
                        yield from read_by_all(store, epoch, int(logged))
                    return schemes
        yield from repairing(store)
    raise BackendError("the guards are lost again and again: a hold has nowhere to live")


def releasing(store: ClusterStore, tags: Sequence[str], transaction: str) -> Steps[Moves, None]:
    """Takes holds back, then logs that."""
    replies = yield Round(_in_shards(store, store.lift_script, tags, (transaction.encode(), b"[]")))
    released = [change for reply in replies for change in orjson.loads(reply)]
    if released:
        epoch = (yield store.sequence_step)[0]
        yield _record(store, epoch, "release", released, is_awaited=False)


def purging(
    store: ClusterStore, tags: Sequence[str], transaction: str, tables: Sequence[str] = ()
) -> Steps[Moves, Purge]:
    """Takes a number, raises the marks to it, then logs that, and then ends the transaction's holds on the tags."""
    tags = list(dict.fromkeys(tags))
    number, epoch = yield Step(store.number_script, (store.names.sequence.encode(),), ())
    arguments = (epoch, number, b"%d" % store.max_marks, transaction.encode())
    marks = _in_shards(store, store.mark_script, tags, arguments, tables)
    handed = _hand_over(store, tags, epoch, number)
    replies = yield Round(marks, handed)
    marked, entries = replies[: len(marks)], replies[len(marks) :]
    changes = [change for _, told, _ in marked for change in orjson.loads(told)]
    schemes = _read_schemes(store, tags, tables, [told for _, _, told in marked])
    is_awaited = any(transaction not in change[1:] for change in changes)
    highest = max([int(mark) for mark, _, _ in marked], default=0)
    logged, is_strict = yield _record(store, epoch, "purge", changes, is_awaited=is_awaited, highest=highest)
    store.enter(epoch if logged else b"")
    store.is_strict |= bool(is_strict)
    ended = [change for change in changes if len(change) > 1]
    if ended:
        held = [change[0] for change in ended]
        yield Round(_in_shards(store, store.lift_script, held, (transaction.encode(), orjson.dumps(ended))))
    if is_awaited and store.is_strict:
        yield from read_by_all(store, epoch if logged else b"", int(logged or 0))
    return Purge(int(number), sum(held or 0 for held in entries), schemes)


def softening(store: ClusterStore, tags: Sequence[str]) -> Steps[Moves, Purge]:
    """Takes a number, notes the soft purge under it, then logs that."""
    tags = list(dict.fromkeys(tags))
    number, epoch = yield Step(store.number_script, (store.names.sequence.encode(),), ())
    arguments = (epoch, number, b"%d" % min(store.max_marks, MOST_SOFT))
    yield Round(_in_shards(store, scripts.SOFTEN_SHARD, tags, arguments))
    logged, is_strict = yield _record(store, epoch, "purge", [[tag] for tag in tags], is_awaited=True)
    store.is_strict |= bool(is_strict)
    if store.is_strict:
        yield from read_by_all(store, epoch if logged else b"", int(logged or 0))
    return Purge(int(number), 0)


def flushing(store: ClusterStore) -> Steps[Moves, Purge]:
    """Lets every guard be born anew, then logs that."""
    number, epoch = yield Step(store.number_script, (store.names.sequence.encode(),), ())
    yield Round(tuple(Step(store.outdate_script, keys, (epoch, number)) for keys in store.guards))
    logged, is_strict = yield _record(store, epoch, "flush", [], is_awaited=True)
    store.is_strict |= bool(is_strict)
    if store.is_strict:
        yield from read_by_all(store, epoch if logged else b"", int(logged or 0))
    return Purge(int(number), 0)


def repairing(store: ClusterStore) -> Steps[Moves, Repaired]:
    """Makes again what is missing of epoch and guards.

    A guard is made first, and born at a number that is taken afterwards. In between it serves nothing, and purges and holds are
    already set down in it. Before it is born nodes let go of what they keep of before: it may be made by schemes that are
    forgotten, and then no writer will purge it.
    """
    epoch, number, is_fresh, seconds, microseconds = yield _reckon(store)
    now = int(seconds) + int(microseconds) / 1e6
    milliseconds = b"%d" % (store.quarantine * 1000)
    tended = yield Round(
        tuple(Step(store.tend_script, keys, (epoch, _fresh_id(), milliseconds)) for keys in store.guards)
    )
    unborn = [
        (keys, reply[1])
        for keys, reply in zip(store.guards, tended, strict=True)
        if reply[0] == b"over" or (reply[0] == b"quarantine" and is_fresh and reply[2])
    ]
    is_quarantined = len(unborn) < sum(reply[0] != b"sound" for reply in tended)
    if unborn:
        current, number, *_ = yield _reckon(store)
        if current != epoch:
            return Repaired(current, number, True, now)
        if not is_fresh:
            yield _record(store, epoch, "flush", [], is_awaited=False)
        may_cut = b"1" if is_fresh else b"0"
        born = yield Round(
            tuple(Step(store.bear_script, keys, (epoch, seen, number, may_cut)) for keys, seen in unborn)
        )
        is_quarantined = is_quarantined or not all(born)
    return Repaired(epoch, number, is_quarantined, now)


def _in_shards(
    store: ClusterStore,
    script: scripts.Script,
    tags: Sequence[str],
    arguments: tuple[bytes, ...],
    tables: Sequence[str] | None = None,
) -> tuple[Step, ...]:
    """The script for each shard of the tags; with `tables` it is asked for the schemes of those that lie there."""
    asked = by_shard(tables or (), store.shards)
    return tuple(
        Step(
            script,
            store.guards[shard],
            (
                *arguments,
                *([] if tables is None else [orjson.dumps(asked.get(shard, []))]),
                *[tag.encode() for tag in its],
            ),
        )
        for shard, its in by_shard(tags, store.shards).items()
    )


def _read_schemes(
    store: ClusterStore, tags: Sequence[str], tables: Sequence[str], told: Sequence[Sequence[bytes | None]]
) -> Schemes:
    """What the shards of the tags said of the tables' schemes, each in the order in which it was asked."""
    asked = by_shard(tables, store.shards)
    schemes: dict[str, Any] = {}
    for shard, fields in zip(by_shard(tags, store.shards), told, strict=True):
        schemes |= read_schemes(asked.get(shard, []), fields)
    return schemes


def _hand_over(store: ClusterStore, tags: Sequence[str], epoch: bytes, number: bytes) -> tuple[Step, ...]:
    purge, names = _fresh_id().decode(), store.names
    steps = []
    for shard, its in by_shard(listed(tags), store.shards).items():
        keys = [names.sweep_in(shard).encode()]
        for position, tag in enumerate(its):
            keys += [names.registry(shard, tag).encode(), names.swept_in(shard, purge, position).encode()]
        steps.append(Step(store.hand_over_script, tuple(keys), (epoch, number, *_SWEEP_BOUNDS)))
    return tuple(steps)


def _record(
    store: ClusterStore, epoch: bytes, kind: str, changes: list[Any], *, is_awaited: bool, highest: int = 0
) -> Step:
    keys = (store.names.sequence.encode(), store.names.log.encode())
    told = (epoch, kind.encode(), orjson.dumps(changes), b"%d" % is_awaited, b"%d" % highest)
    return Step(store.record_script, keys, (*told, *LOG_BOUNDS))


def _reckon(store: ClusterStore) -> Step:
    keys = (store.names.sequence.encode(), store.names.log.encode())
    return Step(store.reckon_script, keys, (_fresh_id(), b"%d" % bool(store.epoch)))


def _fresh_id() -> bytes:
    return secrets.token_hex(8).encode()
