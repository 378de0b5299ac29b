"""Finds the primary through sentinels, and leaves it when they name another.

A former primary may live on for a while after a failover, and answer whoever is still connected to it. So what the sentinels
said is relied on for a lease only, and a majority of them counts: two nodes follow two primaries for that long at most, and
`unsettled` tells how long a purge must wait for. It may even be named again, with what it held before another one ruled: so
each connection begins by telling the server which reign it is (`enter.lua`). Sentinels that are gone can appoint nobody, and are
no reason to give up a primary that answers; those that are silent may have, and are.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import redis
from redis import asyncio as aredis
from redis import exceptions as driver

from rcache import logs
from rcache.stores.redis.address import Address
from rcache.stores.redis.failures import DRIVER_ERRORS
from rcache.stores.redis.scripts import ENTER, pack
from rcache.stores.redis.urls import Watched

LEASE: Final = 1.0  # seconds
ASK_TIMEOUT: Final = 0.4  # seconds; a sentinel that is stopped accepts connections, and then says nothing


class Spot(NamedTuple):
    """Whom the sentinels name, and the number that they raise at each failover."""

    host: str
    port: int
    reign: int


def _now() -> float:
    """Seconds by a clock that goes on while the machine is suspended, where there is one: leases run out meanwhile."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)


class Poll:
    """What the sentinels said, as far as they have."""

    def __init__(self, sentinels: int) -> None:
        self._sentinels = sentinels
        self._votes: Counter[Spot] = Counter()
        self._gone = 0
        self._is_unknown = False
        self._reasons: list[str] = []

    def count(self, answer: Spot) -> None:
        """One of them named the primary."""
        self._votes[answer] += 1

    def fail(self, sentinel: Address, error: BaseException) -> None:
        """One of them did not."""
        self._is_unknown = self._is_unknown or "No such master" in str(error)
        self._gone += _is_refused(error)
        self._reasons.append(f"{sentinel.place}: {error}")

    @property
    def is_decided(self) -> bool:
        """Whether those who have yet to answer can change nothing."""
        return any(2 * votes > self._sentinels for votes in self._votes.values())

    @property
    def winner(self) -> Spot | None:
        """Whom most of them named; None where nobody was named, or two equally often."""
        ranking = self._votes.most_common(2)
        if not ranking or (len(ranking) == 2 and ranking[0][1] == ranking[1][1]):
            return None
        return ranking[0][0]

    def confirms(self, spot: Spot | None) -> bool:
        """Whether no other primary can rule by the word of a majority: those whose host refuses the connection are gone."""
        return 2 * (self._votes[spot] + self._gone) > self._sentinels if spot else False

    def failure(self, service: str) -> driver.ConnectionError:
        """Why there is no winner."""
        if len(self._votes) > 1:
            return driver.ConnectionError(f"the sentinels disagree on the primary of {service!r}: {dict(self._votes)}")
        if self._is_unknown:
            return driver.ConnectionError(
                f"the sentinels know no service {service!r}: write the name that `sentinel monitor` gives it after their hosts"
            )
        if self._votes:
            return driver.ConnectionError(
                f"too few sentinels answer: {'; '.join(self._reasons) or 'within their time'}"
            )
        return driver.ConnectionError(f"no sentinel answers: {'; '.join(self._reasons) or 'within their time'}")


class Sentinels:
    """The way to the primary of a service. Shared by all loops and threads of a store."""

    def __init__(self, place: Watched, sequence: bytes) -> None:
        self.generation = 0
        self._place = place
        self._sequence = sequence
        self._primary: Address | None = None
        self._spot: Spot | None = None
        self._sure_until = 0.0
        self._settled_at = 0.0

    @property
    def is_sure(self) -> bool:
        """Whether what the sentinels said last still holds."""
        return _now() < self._sure_until

    @property
    def is_aging(self) -> bool:
        """Whether it is time to ask them again, so that nobody has to wait for their answer."""
        return _now() > self._sure_until - LEASE / 2

    @property
    def reign(self) -> bytes:
        """The number that the sentinels raise at each failover."""
        return b"%d" % (0 if self._spot is None else self._spot.reign)

    def unsettled(self) -> float:
        """Seconds for which other processes may still follow a former primary."""
        return max(0.0, self._settled_at - _now())

    def doubt(self) -> None:
        """The server said that it is a replica: the next connections are made anew."""
        self._sure_until = 0.0
        self.generation += 1

    def greeting(self) -> bytes | None:
        """The command that each connection begins with: nothing counts there that was written in an earlier reign."""
        return pack((b"EVAL", ENTER.source, b"1", self._sequence, self.reign))

    def greeted(self, milliseconds: int) -> None:
        """A reign that has been known for longer than a lease is settled."""
        self._settled_at = _now() + LEASE - milliseconds / 1000

    # In an event loop

    async def connection(self) -> aredis.Connection:
        """A connection to whom the sentinels name now, not yet open."""
        primary = await self._find()
        return await primary.connection()

    async def confirm(self) -> None:
        """Asks the sentinels, and begins another generation where they name another server."""
        await self._find()

    async def _find(self) -> Address:
        began = _now()
        poll = Poll(len(self._place.sentinels))
        asked = [asyncio.ensure_future(self._ask(sentinel, poll)) for sentinel in self._place.sentinels]
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                for answered in asyncio.as_completed(asked):
                    await answered
                    if poll.is_decided:
                        break
        except TimeoutError:
            pass
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return self._conclude(poll, began)

    async def _ask(self, sentinel: Address, poll: Poll) -> None:
        connection = await sentinel.connection()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("SENTINEL", "MASTER", self._place.service)
            poll.count(_spot(await connection.read_response(disable_decoding=True)))
        except DRIVER_ERRORS as error:
            poll.fail(sentinel, error)
        finally:
            await connection.disconnect(nowait=True)

    # In threads

    def sync_connection(self, timeout: float) -> redis.Connection:
        """`connection`, without an event loop."""
        return self._find_sync(timeout).sync_connection(timeout)

    def confirm_sync(self, timeout: float) -> None:
        """`confirm`, without an event loop: one sentinel after another."""
        self._find_sync(timeout)

    def _find_sync(self, timeout: float) -> Address:
        began = _now()
        poll = Poll(len(self._place.sentinels))
        for sentinel in self._place.sentinels:
            self._ask_sync(sentinel, poll, min(ASK_TIMEOUT, timeout))
            if poll.is_decided:
                break
        return self._conclude(poll, began)

    def _ask_sync(self, sentinel: Address, poll: Poll, timeout: float) -> None:
        connection = sentinel.sync_connection(timeout)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            connection.send_command("SENTINEL", "MASTER", self._place.service)  # type: ignore[no-untyped-call]
            poll.count(_spot(connection.read_response(disable_decoding=True)))
        except DRIVER_ERRORS as error:
            poll.fail(sentinel, error)
        finally:
            connection.disconnect()  # type: ignore[no-untyped-call]

    # What follows from the answers

    def _conclude(self, poll: Poll, began: float) -> Address:
        """The lease begins before they were asked: an answer may be as old as the question."""
        winner, known = poll.winner, self._primary
        if winner is None and known is not None and poll.confirms(self._spot):
            self._sure_until = began + LEASE
            logs.SENTINELS_SILENT.tell(error=str(poll.failure(self._place.service)))
            return known
        # One sentinel suffices to begin, and to be led elsewhere; to stay where others may have left takes a majority.
        if winner is None or (winner == self._spot and not poll.confirms(winner)):
            raise poll.failure(self._place.service)
        if known is None or winner != self._spot:
            logs.PRIMARY_NAMED.tell(host=winner.host, port=winner.port, service=self._place.service)
            known = self._primary = self._place.server.at(winner.host, winner.port)
            self._spot = winner
            self._settled_at = _now() + LEASE
            self.generation += 1
        self._sure_until = began + LEASE
        return known


def _is_refused(error: BaseException | None) -> bool:
    """Whether a host answered that nobody listens there."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _spot(reply: Sequence[bytes]) -> Spot:
    """The fields that count of what SENTINEL MASTER answers."""
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return Spot(fields[b"ip"].decode(), int(fields[b"port"]), int(fields[b"config-epoch"]))
