"""Remembers where a URL's entries lie, so that a hit needs one trip and few digests."""

from __future__ import annotations

from typing import NamedTuple

from rcache.core.keys import Key, RedisNames, digest
from rcache.core.vary import merge
from rcache.ports import Ask

REMEMBERED = 4096  # URLs
SPOTS = 8  # variants of one URL
LONGEST = 1024  # bytes of a URL (and identity) that is remembered: clients choose them, and may choose long ones


class Spot(NamedTuple):
    """Where the entry of one variant lies, and the command that asks for it."""

    key: bytes
    variant: bytes
    command: bytes


class Place:
    """A URL (and identity) in Redis, and the names that are known to select among its variants."""

    __slots__ = ("material", "names", "plain", "spots", "url", "variants", "vary")

    def __init__(self, spelling: RedisNames, key: Key) -> None:
        self.material = key.material
        self.url = digest(self.material)
        self.vary = spelling.vary(self.url).encode()
        self.variants = spelling.variants(self.url).encode()
        self.plain = spelling.entry(self.url, "0").encode()
        self.names: tuple[str, ...] = ()
        self.spots: dict[tuple[tuple[str, ...], bytes], Spot] = {}

    def considered(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """`names` and those that are remembered, sorted."""
        if not names or names == self.names:
            return self.names
        return merge(self.names, names)


class Places:
    """The places of URLs in use, bounded in number and length. A place that was forgotten costs a trip, never a wrong answer."""

    def __init__(self, spelling: RedisNames) -> None:
        self._spelling = spelling
        self._places: dict[Key, Place] = {}

    def of(self, ask: Ask) -> Place:
        """The place of the URL that `ask` is for."""
        key = ask.key
        place = self._places.get(key)
        if place is None:
            place = Place(self._spelling, key)
            if len(place.material) <= LONGEST:
                if len(self._places) >= REMEMBERED:
                    # All at once: other threads may be here too, and taking the oldest would need a lock.
                    self._places.clear()
                self._places[key] = place
        return place

    def entry(self, place: Place, variant: bytes) -> bytes:
        """The key of the entry for that variant's material."""
        return self._spelling.entry(place.url, digest(variant)).encode() if variant else place.plain

    def lease(self, place: Place, variant: bytes) -> bytes:
        """The key of the lease for that variant's material."""
        return self._spelling.lease(place.url, digest(variant) if variant else "0").encode()


def joined(names: tuple[str, ...]) -> bytes:
    """The names as the scripts take them: one a line, in order."""
    return "\n".join(names).encode()


def split(names: bytes) -> tuple[str, ...]:
    """The names as the scripts give them."""
    return tuple(names.decode().split("\n"))
