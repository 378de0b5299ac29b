"""What the acting floors promise each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

from rcache.core.entry import AtHand, Entry, Found, Missing, Purge
from rcache.core.jobs import Job, Lane, QueueView
from rcache.core.keys import Carrier, Key
from rcache.core.lease import Word
from rcache.core.log import Head, Record
from rcache.core.reports import Report
from rcache.core.schemes import Scheme, Schemes
from rcache.core.views import EntryRow, EntryView, Event, Hot, NodeRow, Preview, Rows, Sample, TagRow


class Ask(Protocol):
    """A request, as far as a store needs to know it."""

    @property
    def key(self) -> Key:
        """The URL, and the identity where the rule has one."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names that always select a variant: the rule's `vary`, and `cookie:NAME` for each cookie that counts."""
        ...

    def variant(self, names: tuple[str, ...]) -> bytes:
        """The variant's material: what this request holds for `names`, normalised; empty where there are no names."""
        ...


class Budget:
    """The seconds that all trips of one request may still take together."""

    __slots__ = ("left",)

    def __init__(self, left: float) -> None:
        self.left = left

    def spend(self, seconds: float) -> None:
        """Fewer seconds are left for the trips that follow."""
        self.left -= seconds


class Lease(Protocol):
    """Who makes one answer, of all nodes. No promise rests on it: it spares work."""

    @property
    def is_mine(self) -> bool:
        """Whether this process makes it; else another node does, at this moment."""
        ...

    async def word(self, timeout: float) -> Word | None:
        """What the node that makes it says when it has ended, told by a message; None where that takes `timeout` seconds.

        A node that dies says AGAIN, a moment later.
        """
        ...

    def settle(self, word: Word) -> None:
        """It was made, or will not be: those who wait are told, in the background. Later calls change nothing."""
        ...


Told: TypeAlias = Callable[[int, Sequence[Carrier]], Awaitable[None]]
"""Hears of entries, and of the number of the purge that killed them."""


class Store(Protocol):
    """Keeps entries and obeys the one rule: coherence is decided when an entry is *read*.

    An entry may be used only if, for each of its tags, the guard exists and was born at or before the entry's start, the
    tag's mark is not above its start, and nobody holds the tag. A hold that ran out is purged by whoever sees it. Where one of its
    tags was purged softly since its start, it is found stale.

    `tables` of a hold or a purge are tags of tables, among its tags: it tells the schemes that were registered for each when it
    held or purged the table's tag. A table is missing there whose guard may have forgotten some.

    Every method but `at_hand` raises BackendError when the store cannot be reached within its time.
    """

    @property
    def is_down(self) -> bool:
        """The breaker is open: calls fail at once."""
        ...

    def at_hand(self, key: Key) -> AtHand | None:
        """What `lookup` would find fresh for a URL without variants, where it takes no trip and nothing is to be judged anew.

        None says nothing: look it up.
        """
        ...

    async def lookup(self, ask: Ask, budget: Budget) -> Found | Missing:
        """The entry that `ask` selects if it may be used, else the start of a fill."""
        ...

    async def lease(self, ask: Ask, names: tuple[str, ...], budget: Budget) -> Lease | None:
        """Elects the node that makes what a look-up of `ask` missed under `names`; None where there are no other nodes."""
        ...

    async def store(
        self,
        ask: Ask,
        names: tuple[str, ...],
        entry: Entry,
        budget: Budget,
        schemes: Collection[Scheme] = (),
    ) -> bool:
        """Whether the entry was accepted, under the variant that `names` (and those remembered for the URL) select.

        `schemes`: those that made tags of the entry's, which carries the family `book:*` of each of their tables. They are
        registered, also where the entry is refused; where a table has no room for another, the entry is given the table's own tag.
        """
        ...

    async def hold(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """Nothing that carries one of `tags` is used or stored until `transaction` is over, or `lasts` seconds have passed.

        Done again it renews, and places anew what was lost. With strict near caches every live node knows once it returns; of
        what stands it `is_known` where an earlier call for these very tags has returned.
        """
        ...

    def hold_sync(
        self,
        tags: Sequence[str],
        transaction: str,
        lasts: float,
        timeout: float,
        tables: Sequence[str] = (),
        is_known: bool = False,
    ) -> Schemes:
        """`hold`, from any thread, with no event loop."""
        ...

    async def release(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """What the transaction held is good again: it changed nothing. Never once its COMMIT was sent."""
        ...

    def release_sync(self, tags: Sequence[str], transaction: str, timeout: float) -> None:
        """`release`, from any thread, with no event loop."""
        ...

    async def purge(
        self, tags: Sequence[str], timeout: float, transaction: str = "", tables: Sequence[str] = ()
    ) -> Purge:
        """No entry that carries one of `tags`, and was started before, is used by anybody after this returned.

        The transaction's holds on the tags end with it.
        """
        ...

    def purge_sync(
        self,
        tags: Sequence[str],
        timeout: float,
        transaction: str = "",
        tables: Sequence[str] = (),
        *,
        probe: bool = False,
    ) -> Purge:
        """`purge`, from any thread, with no event loop. A probe goes out even while the breaker is open."""
        ...

    async def soften(self, tags: Sequence[str], timeout: float) -> Purge:
        """What carries one of `tags`, and was started before, is stale for everybody who looks it up after this returned.

        It may still be used where a stale entry may; a purge before or after is none the weaker. Nothing is handed to the sweeper.
        """
        ...

    def soften_sync(self, tags: Sequence[str], timeout: float) -> Purge:
        """`soften`, from any thread, with no event loop."""
        ...

    def flush_sync(self, timeout: float, *, probe: bool = False) -> Purge:
        """No entry at all that was started before is used by anybody after this returned."""
        ...

    def watch_epoch(self, changed: Callable[[], None]) -> None:
        """`changed` is called, in whatever thread notices it, when what this process knew of the store may be lost."""
        ...

    def watch_burials(self, buried: Callable[[Sequence[str], Purge], None]) -> None:
        """`buried` is called, in whatever thread, when this process has purged tags for a writer whose hold ran out."""
        ...

    async def aclose(self) -> None:
        """Lets go of everything that belongs to the running loop, and of what belongs to none."""
        ...

    def close(self) -> None:
        """`aclose` where no loop runs."""
        ...


class Sweeps(Protocol):
    """A store that frees the bytes of what purges killed, and tells what it was. Nothing rests on it: others are as good."""

    def tell_freed(self, told: Told | None, *, by_others: bool = False) -> None:
        """`told` hears of the entries whose bytes are freed here, slice by slice; None: nobody does, which costs nothing.

        `by_others`: purges do not begin to free any by themselves; whoever says so sees to that.
        """
        ...

    async def sweep(self) -> int:
        """Frees the bytes of what purges killed, unless somebody else does at this moment; how many entries that were.

        Purges begin it by themselves. What it leaves undone is left to the next, or to the entries' own end.
        """
        ...

    def carriers(self, tag: str) -> AsyncIterator[Sequence[Carrier]]:
        """The entries that carry `tag`, slice by slice; one that comes or goes meanwhile may be missing."""
        ...


class Log(Protocol):
    """A node's way to the log: blocking, for the one thread that follows it. All but `close` raise BackendError."""

    def join(self, node: str, counter: int, lease: float, is_strict: bool) -> Head | None:
        """The node begins to read at the head; strict writers wait for it from now on, where it says so.

        None where there is no log to follow: the next look-up makes an epoch.
        """
        ...

    def renew(self, node: str, counter: int, tail: int) -> Head | None:
        """Renews the node's lease and tells how far it has read; None where it lapsed, or was taken for dead."""
        ...

    def read(self, after: int, wait: float) -> list[Record]:
        """The records after that number, waited for at most `wait` seconds."""
        ...

    def leave(self, node: str) -> None:
        """Nobody waits for the node any more. It has let go of its entries before."""
        ...

    def close(self) -> None:
        """Lets go of the connection, from whatever thread: a call that waits there raises."""
        ...


T = TypeVar("T")

What = Literal["lookup", "fill", "refresh", "purge", "audit"]

Facts = Mapping[str, str | int | float | tuple[str, ...]]
"""What came of it: `verdict`, in one word, and more by name."""


class Observer(Protocol):
    """Watches what a cache does, off the way of its plainest hits: for traces.

    What it watches is carried out once, within its call, and ends as it would end by itself. `facts` says what came of it;
    where it raises there are none. A refresh and an audit run in tasks of their own, begun within the request that they follow.
    """

    @property
    def wants_plain_hits(self) -> bool:
        """Whether the plainest hits are to take the longer way, so that their look-ups are watched as well."""
        ...

    async def watch(self, what: What, route: str, doing: Awaitable[T], facts: Callable[[T], Facts]) -> T:
        """What `doing` gives. `route` is empty where it is of none."""
        ...

    def watch_sync(self, what: What, route: str, doing: Callable[[], T], facts: Callable[[T], Facts]) -> T:
        """Likewise without an event loop."""
        ...


class Board(Protocol):
    """Where nodes leave what they counted: blocking, for the one thread that reports. All but `close` raise BackendError."""

    def report(self, report: Report) -> None:
        """All who look see it, for a while."""
        ...

    def depart(self, node: str) -> None:
        """The node has ended: it is not shown any more."""
        ...

    def close(self) -> None:
        """Lets go of the connection."""
        ...


class Popularity(Protocol):
    """What is asked for often, by what hits say in all nodes: a sample of the last minutes, and no promise.

    Raises BackendError where the store cannot be reached.
    """

    async def top(self, count: int = 50) -> list[Hot]:
        """The hottest, hottest first: also what has been purged since."""
        ...


class Fleet(Protocol):
    """What nodes have counted and done, of one process or of all."""

    @property
    def popularity(self) -> Popularity:
        """What is asked for often."""
        ...

    async def nodes(self) -> list[NodeRow]:
        """The processes that have written their counters within the last seconds; embedded, this one alone."""
        ...

    async def history(self, seconds: float = 3600.0) -> list[Sample]:
        """What all nodes counted, oldest first: each second of the last two minutes, each minute before that.

        It begins with the first that is known, at most `seconds` ago. Seconds in which nothing was counted are told too.
        """
        ...

    async def events(self, *, before: int | None = None, count: int = 100) -> list[Event]:
        """What happened last, newest first; `before` a number, where that is given."""
        ...

    def follow(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        ...


class Inspector(Fleet, Protocol):
    """Looks into a cache for people and tools: never on the way of a request, and no promise rests on what it says.

    Bounded in time and answers whatever the size of the cache; changes nothing. All raise BackendError where the store cannot be
    reached. What is damaged is left out, and counted.
    """

    @property
    def is_embedded(self) -> bool:
        """The cache lies in this process: nobody sees it from another one."""
        ...

    @property
    def damaged(self) -> int:
        """Entries that were left out, since this was made."""
        ...

    async def entries(self, url: str) -> list[EntryRow]:
        """What is stored of one URL: its variants and identities. `url` may be a path: then whatever the host.

        Identities, and hosts of a path, are searched for, within the time that a look may take.
        """
        ...

    async def entry(self, entry: str, *, with_private: bool = False) -> EntryView | None:
        """One in full; None where it is gone."""
        ...

    async def hottest(self, count: int = 50) -> list[EntryRow]:
        """Those with most hits in the last window."""
        ...

    async def largest(self, count: int = 50) -> list[EntryRow]:
        """Those with the longest bodies, of as many as can be looked at in that time: of a large cache a sample."""
        ...

    async def tags(self, text: str = "", *, cursor: str | None = None, count: int = 100) -> Rows[TagRow]:
        """Tags that contain `text`."""
        ...

    async def tagged(self, tag: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """The entries that carry a tag."""
        ...

    async def search(self, text: str, *, cursor: str | None = None, count: int = 100) -> Rows[EntryRow]:
        """Entries whose URL contains `text`."""
        ...

    async def preview(self, tags: Sequence[str]) -> Preview:
        """What a purge of `tags` would reach. Raises ValueError for an illegal tag."""
        ...

    def close(self) -> None:
        """Lets go of connections. They open again when they are used."""
        ...

    async def last_purge(self, tags: Sequence[str]) -> Event | None:
        """The last purge, soft purge or flush that reached what carries one of `tags`, as far as events go back."""
        ...


class Queue(Protocol):
    """Jobs that any process adds and some process runs: each once, and again where whoever ran it died.

    A job whose process was killed begins anew within half a minute, so that each is to be written to be run twice. All but
    `serve` raise BackendError where the queue cannot be reached.
    """

    async def add(self, job: Job) -> bool:
        """Whether it will run. False: one of its key waits or runs, or has ended less than `apart` seconds ago.

        Raises ConfigurationError for a job that is too long.
        """
        ...

    async def view(self) -> QueueView:
        """What waits, what ran and what failed. Bounded in size, whatever the length of the queue."""
        ...

    async def workers(self) -> int:
        """How many processes of the role serve it. Where there are none, the web processes do."""
        ...

    async def pause(self, lane: Lane | None = None) -> None:
        """Nothing more begins in the lane (None: in either), in any process, until `resume`; what runs goes on. Adding does too."""
        ...

    async def resume(self, lane: Lane | None = None) -> None:
        """What `pause` has stopped goes on."""
        ...

    async def serve(
        self,
        run: Callable[[Job], Awaitable[Job | None]],
        told: asyncio.Event,
        *,
        lanes: Collection[Lane],
        concurrency: int,
        is_worker: bool,
    ) -> None:
        """Runs jobs, `concurrency` per lane at most, until `told` to end, and returns once those under way have ended.

        The job that `run` returns, if it does, is added once the key of the one that ran is free: whoever finds that things
        have changed while it ran, when adding was refused, returns its job again. What it raises is an attempt that failed;
        UnknownJobError says that nobody knows the function. While the queue cannot be reached it waits for it.

        `is_worker`: counts as a process of the role in every view.
        """
        ...

    async def aclose(self) -> None:
        """Lets go of everything that belongs to the running loop."""
        ...
