"""What all nodes have counted and done, as they left it in Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from redis import exceptions as driver

from rcache.core.errors import BackendError
from rcache.core.history import Counted, moments, series
from rcache.core.keys import RedisNames
from rcache.core.reports import EVENTS, MOST_LISTED, WINDOW, concerns, decode_event, decode_node, read_popular, unflat
from rcache.core.views import Event, Hot, NodeRow, Sample
from rcache.stores.redis.board import ROW_LASTS, window_of
from rcache.stores.redis.failures import translated
from rcache.stores.redis.line import Command
from rcache.stores.redis.reach import Question, Reach

PAUSE: Final = 0.5  # seconds between two looks for what has happened
PAGE: Final = 500  # events that are read at a time

T = TypeVar("T")


class RedisFleet:
    """`rcache.ports.Fleet` of all who share a namespace, and `Popularity`.

    One look at a time, in a thread: so a look costs requests nothing, whatever is found.
    """

    def __init__(self, reach: Reach, names: RedisNames) -> None:
        self._reach = reach
        self._names = names
        self._lock = threading.Lock()

    def forget_parent(self) -> None:
        """In a forked child: connections are the parent's, and the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self._reach.forget_parent()

    def close(self) -> None:
        """Lets go of the connections. They open again when they are used."""
        self._reach.close()

    async def _looking(self, look: Callable[[], T]) -> T:
        def one_at_a_time() -> T:
            with self._lock:
                return look()

        return await asyncio.to_thread(one_at_a_time)

    def _ask(self, *commands: Command) -> list[Any]:
        """The replies to commands about the namespace's own keys; None for what is of a wrong type."""
        key = self._names.sequence.encode()
        return [usable(reply) for reply in self._reach.ask([Question(key, command) for command in commands])]

    def _time(self) -> float:
        seconds, microseconds = self._ask(("TIME",))[0]
        return int(seconds) + int(microseconds) / 1e6

    # Nodes and what they counted

    async def nodes(self) -> list[NodeRow]:
        """The processes that have written their counters within the last seconds."""
        return await self._looking(self._nodes)

    def _nodes(self) -> list[NodeRow]:
        now = self._time()
        since = int(1000 * (now - ROW_LASTS))
        listed = self._ask(("ZRANGE", self._names.fleet, since, "+inf", "BYSCORE", "WITHSCORES"))[0] or []
        told = [(name.decode("utf-8", "replace"), float(at) / 1000) for name, at in _pairs(listed)]
        rows = []
        texts = self._ask(*[("GET", self._names.node(node)) for node, _ in told]) if told else []
        for (_, seen), text in zip(told, texts, strict=True):
            row = decode_node(text, seen=seen) if text is not None else None
            if row is not None:
                left = None if row.lease is None else row.lease - max(0.0, now - seen)
                rows.append(replace(row, lease=left))
        return sorted(rows, key=lambda row: (row.host, row.pid, row.node))

    async def history(self, seconds: float = 3600.0) -> list[Sample]:
        """What all nodes counted, oldest first: each second of the last two minutes, each minute before that."""
        return await self._looking(lambda: self._history(seconds))

    def _history(self, span: float) -> list[Sample]:
        now = self._time()
        by_minute, by_second = moments(now, span)
        minutes = self._counted(by_minute, self._names.minute)
        return series(minutes, self._counted(by_second, self._names.second), now, span)

    def _counted(self, moments: Iterable[int], name: Callable[[int], str]) -> dict[int, Counted]:
        asked = list(moments)
        replies = self._ask(*[("HGETALL", name(at)) for at in asked]) if asked else []
        return {at: _read_counted(reply) for at, reply in zip(asked, replies, strict=True) if reply}

    # What is popular

    @property
    def popularity(self) -> RedisFleet:
        """What is asked for often."""
        return self

    async def top(self, count: int = 50) -> list[Hot]:
        """The hottest, hottest first: what the former window counts fades out while this one grows."""
        return await self._looking(lambda: self._top(count))

    def _top(self, count: int) -> list[Hot]:
        now = self._time()
        window = window_of(now)
        keys = [self._names.popular(at) for at in (window, window - WINDOW)]
        present, former = self._ask(*[("ZRANGE", key, 0, 2 * count, "REV", "WITHSCORES") for key in keys])
        hits: dict[bytes, float] = {member: float(score) for member, score in _pairs(present or [])}
        left = 1.0 - (now - window) / WINDOW
        for member, score in _pairs(former or []):
            hits[member] = hits.get(member, 0.0) + left * float(score)
        ranked = sorted(hits.items(), key=lambda item: -item[1])[:count]
        return [Hot(*read_popular(member.decode("utf-8", "replace")), score) for member, score in ranked if score > 0]

    # What has happened

    async def events(self, *, before: int | None = None, count: int = 100) -> list[Event]:
        """What happened last, newest first."""
        return await self._looking(lambda: self._events(lambda event: before is None or event.number < before, count))

    async def last_purge(self, tags: Sequence[str]) -> Event | None:
        """The last purge, soft purge or flush that reached what carries one of `tags`, as far as events go back."""
        found = await self._looking(lambda: self._events(lambda event: concerns(event, tags), 1))
        return found[0] if found else None

    def _events(self, is_wanted: Callable[[Event], bool], count: int) -> list[Event]:
        found: list[Event] = []
        end: bytes = b"+"
        for _ in range(0, 2 * EVENTS, PAGE):
            records = self._ask(("XREVRANGE", self._names.events, end, "-", "COUNT", PAGE))[0] or []
            found += [event for event in map(_read_event, records) if event is not None and is_wanted(event)]
            if len(found) >= count or len(records) < PAGE:
                break
            end = b"(" + records[-1][0]
        return found[:count]

    async def follow(self) -> AsyncIterator[Event]:
        """What happens from now on; holds and releases too, as the log has them: it does not tell who placed them."""
        place = await self._looking(self._heads)
        while True:
            told, place = await self._looking(partial(self._after, place))
            for event in told:
                yield event
            if not told:
                await asyncio.sleep(PAUSE)

    def _heads(self) -> _Place:
        streams = (self._names.events, self._names.log)
        newest = self._ask(*[("XREVRANGE", stream, "+", "-", "COUNT", 1) for stream in streams])
        return _Place(*[records[0][0] if records else b"0-0" for records in newest])

    def _after(self, place: _Place) -> tuple[list[Event], _Place]:
        """What has come after that place, and the next one."""
        events, log = [
            reply[0][1] if reply else []
            for reply in self._ask(
                ("XREAD", "COUNT", PAGE, "STREAMS", self._names.events, place.events),
                ("XREAD", "COUNT", PAGE, "STREAMS", self._names.log, place.log),
            )
        ]
        now = self._time() if log else 0.0
        told = [_read_hold(record, now) for record in log] + [_read_event(record) for record in events]
        place = _Place(events[-1][0] if events else place.events, log[-1][0] if log else place.log)
        if not log and _number(place.log) > _number(self._heads().log):  # it began anew
            place = place._replace(log=b"0-0")
        return [event for event in told if event is not None], place


class _Place(NamedTuple):
    """What was read last of each stream."""

    events: bytes
    log: bytes


def usable(reply: Any) -> Any:
    """A reply; None for what is of a wrong type. Raises BackendError for what nobody may ask."""
    if not isinstance(reply, driver.RedisError):
        return reply
    failure = translated(reply)
    if str(reply).startswith("WRONGTYPE"):
        return None
    raise failure if isinstance(failure, BackendError) else BackendError(str(reply))


def _pairs(reply: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(reply[::2], reply[1::2], strict=True))


def _read_counted(reply: Sequence[bytes]) -> Counted:
    told = {}
    for name, number in _pairs(reply):
        if number.isdigit():
            told[name.decode("utf-8", "replace")] = int(number)
    return unflat(told)


def _read_event(record: Sequence[Any]) -> Event | None:
    try:
        fields = dict(_pairs(record[1]))
        return decode_event(fields[b"event"], at=int(fields[b"at"]) / 1000)
    except (KeyError, ValueError, TypeError):
        return None


def _read_hold(record: Sequence[Any], now: float) -> Event | None:
    """What the log tells of a hold or its release; None for purges, of which their events tell more."""
    try:
        fields = dict(_pairs(record[1]))
        kind: Any = fields[b"kind"].decode()
        if kind not in ("hold", "release"):
            return None
        tags = [str(change[0]) for change in orjson.loads(fields[b"changes"])]
        return Event(_number(record[0]), now, kind, tuple(tags[:MOST_LISTED]), len(tags), 0, "", "")
    except (LookupError, ValueError, TypeError, UnicodeError):
        return None


def _number(identifier: bytes) -> int:
    return int(identifier.partition(b"-")[0])
