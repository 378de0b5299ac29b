"""Several nodes of an application in one process, which share a store as on Redis, with the network in the test's hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Unpack, overload

from rcache.cache import Cache
from rcache.core.configuration import CacheSettings
from rcache.core.settings import seconds
from rcache.settings import Settings
from rcache.testing.clock import HandClock
from rcache.testing.shared import NearNode, Shared, Way

PATIENCE = 30.0  # seconds for a purge that was made while its node was cut off: it is sent at once


@dataclass(frozen=True)
class Node:
    """One instance of the application, with its own cache."""

    app: Any
    cache: Cache
    way: Way
    near: NearNode | None


class Fleet(Sequence[Node]):
    """The nodes, in order. Records of the log are read at once, unless `delayed`; `clock` is the time of all."""

    def __init__(self, create_app: Callable[[Cache], Any], nodes: int, clock: HandClock, settings: Settings) -> None:
        self.clock = clock
        self._shared = Shared(
            clock,
            near=settings.near,
            near_lease=settings.near_lease,
            max_bytes=settings.max_bytes,
            max_variants=settings.max_variants,
            max_marks=settings.max_marks,
            quarantine=2 * settings.commit_timeout,
        )
        self._nodes = [self._begun(create_app, settings) for _ in range(nodes)]

    def _begun(self, create_app: Callable[[Cache], Any], settings: Settings) -> Node:
        way = Way(self._shared)
        near = None
        if settings.near is not None:
            near = NearNode(
                way,
                max_bytes=settings.near_bytes,
                lease=settings.near_lease,
                is_strict=settings.near == "strict",
                clock=self.clock,
            )
        cache = Cache(near or way, settings=settings, clock=self.clock)
        return Node(create_app(cache), cache, way, near)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | Sequence[Node]:
        return self._nodes[index]

    def __len__(self) -> int:
        return len(self._nodes)

    def advance(self, duration: float | str | timedelta) -> None:
        """Lets a time pass, in which nodes renew their leases, but those that are cut off or behind."""
        self._shared.advance(duration if isinstance(duration, int | float) else seconds(duration, "duration"))

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """In this block nodes read of the log only what `deliver` lets them; afterwards all of it.

        With `near="strict"` nothing is late: a writer waits until they have read.
        """
        self._shared.is_prompt = False
        try:
            yield
        finally:
            self._shared.is_prompt = True
            self.deliver()

    def deliver(self, *nodes: int) -> None:
        """The nodes of these numbers, or all, read the log to its end; not those that are cut off."""
        for near in self._nears(*nodes):
            near.read()

    @contextmanager
    def partition(self, *nodes: int) -> Iterator[None]:
        """In this block the nodes of these numbers reach neither store nor log; afterwards what they purged meanwhile lands."""
        cut = [self._nodes[each] for each in nodes]
        for node in cut:
            node.way.is_cut = True
        try:
            yield
        finally:
            for node in cut:
                node.way.is_cut = False
                assert node.cache.journal.hurry(PATIENCE), "a purge has not landed"  # noqa: S101 (it is one for tests)
            self.deliver()

    def _nears(self, *nodes: int) -> list[NearNode]:
        meant = [self._nodes[each] for each in nodes] if nodes else self._nodes
        return [node.near for node in meant if node.near is not None]

    def close(self) -> None:
        """Closes every node's cache."""
        for node in self._nodes:
            node.cache.close_sync()


@contextmanager
def fleet(
    create_app: Callable[[Cache], Any],
    nodes: int = 2,
    *,
    clock: HandClock | None = None,
    **given: Unpack[CacheSettings],
) -> Iterator[Fleet]:
    """`create_app` is called once for each node, with the cache that its application is to use.

    They share one store as nodes share a Redis. `given`: settings of the caches, of which `near` is `"fast"` where nothing is
    said; what environment and file say does not count.
    """
    settings = Settings(near="fast").but(**given)
    made = Fleet(create_app, nodes, clock or HandClock(), settings)
    try:
        yield made
    finally:
        made.close()
