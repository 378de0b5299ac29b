"""One run of the application for requests of this process that ask for the same cold key.

Coherence does not rest on who joins whom. A follower is given a flight's answer only if it joined before the flight's store was
sent and that store was accepted: then no purge that its request could have begun after lies between. In every other case it
looks up anew, or runs alone.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from rcache.core.entry import Entry
from rcache.core.keys import Key


class Ending(Enum):
    """What followers do when a flight ends without an answer they may share."""

    AGAIN = auto()  # look up anew: the store was refused, or the leader is gone
    FAILED = auto()  # answer with what you found stale, if you may: the application has just failed
    ALONE = auto()  # run by yourself: what the application answers here is not for sharing
    LATE = auto()  # it goes on, and you have waited for long enough: as FAILED


class Landed:
    """An entry that was stored, or found stored, at a moment of the store's clock, and the names that select it."""

    __slots__ = ("at", "entry", "names", "variant")

    def __init__(self, entry: Entry, names: tuple[str, ...], variant: bytes, at: float) -> None:
        self.entry = entry
        self.names = names
        self.variant = variant
        self.at = at


class Flight:
    """One run of the application under way."""

    __slots__ = ("_board", "_future", "generation", "key")

    def __init__(self, board: Flights, key: tuple[object, ...], generation: object) -> None:
        self._board = board
        self._future: asyncio.Future[Landed | Ending] = asyncio.get_running_loop().create_future()
        self.key = key
        self.generation = generation

    def depart(self) -> None:
        """Nobody joins from here on: the store is about to be sent, or asked for what another node has stored."""
        if self._board.under_way.get(self.key) is self:
            del self._board.under_way[self.key]

    def land(self, outcome: Landed | Ending) -> None:
        """Lets the followers go on, each with the outcome. Later calls change nothing."""
        self.depart()
        if not self._future.done():
            self._future.set_result(outcome)

    async def follow(self, patience: float) -> Landed | Ending:
        """The outcome, waited for at most `patience` seconds."""
        done, _ = await asyncio.wait({self._future}, timeout=patience)
        return self._future.result() if done else Ending.LATE


class Flights:
    """The flights of one cache in this process. A flight is joined only on the event loop that it runs on."""

    def __init__(self) -> None:
        self.under_way: dict[tuple[object, ...], Flight] = {}
        self.generation = object()

    def detach(self) -> None:
        """Requests that begin from here on join no flight that began before: something was invalidated."""
        self.generation = object()  # not a count: two threads that add one at a time may add one in all

    def join_or_lead(self, url: Key, variant: bytes) -> tuple[Flight, bool]:
        """The flight for this key, and whether the caller leads it."""
        key = (asyncio.get_running_loop(), url, variant)
        flight = self.under_way.get(key)
        if flight is not None and flight.generation is self.generation:
            return flight, False
        flight = self.under_way[key] = Flight(self, key, self.generation)
        return flight, True


class Turns(Flights):
    """Flights while nothing can be stored, and nobody can tell what other nodes have purged: one after the other for a key.

    A request is then given the answer of a run that began after it and of no other, so that no purge lies between, wherever it
    was made: whoever comes while one is under way shares the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[tuple[object, ...], Flight] = {}

    async def begin(self, flight: Flight, patience: float) -> None:
        """Returns when the run before it has ended, or was waited for `patience` seconds. Nobody joins it from here on."""
        before = self._begun.get(flight.key)
        if before is None:
            # Who comes in the same turn of the loop joins, as a crowd does that has waited for Redis in vain.
            await asyncio.sleep(0)
        else:
            await before.follow(patience)
        flight.depart()
        self._begun[flight.key] = flight

    def end(self, flight: Flight) -> None:
        """The run is over, or was never begun: the next may begin."""
        flight.land(Ending.AGAIN)
        if self._begun.get(flight.key) is flight:
            del self._begun[flight.key]
