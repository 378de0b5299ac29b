"""What tools are shown of an entry: its row, and what nobody but its owner is to see."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from rcache.core.changes import without_families
from rcache.core.coding import decode, is_available
from rcache.core.entry import Entry
from rcache.core.keys import DIGEST, URL_TAG, Key, canonical_query, digest, unprefixed
from rcache.core.vary import COOKIE
from rcache.core.views import EntryRow, EntryView, Event, State

_NAME: Final = re.compile(rf"([\w-]{{{DIGEST}}})\.(0|[\w-]{{{DIGEST}}})", re.ASCII)

SECRET: Final = ("authorization", "cookie")
"""Fields whose values are shown as a digest."""


def entry_name(material: bytes, variant: bytes) -> str:
    """What tools call the entry of a key's material and a variant's: the digests of which a store makes its keys."""
    return f"{digest(material)}.{digest(variant) if variant else '0'}"


def read_name(entry: str) -> tuple[str, str] | None:
    """URL and variant of an entry's name, as `RedisNames.entry` takes them; None where it is no such name."""
    found = _NAME.fullmatch(entry)
    return (found[1], found[2]) if found else None


def entry_row(key: Key, variant: bytes, entry: Entry, now: float, state: State, size: int, hits: float = 0) -> EntryRow:
    """What is shown of an entry with a body of `size` bytes."""
    return EntryRow(
        entry=entry_name(key.material, variant),
        url=key.shown,
        identity=key.identity is not None,
        variant=variant_shown(variant),
        state=state,
        status=entry.status,
        age=entry.age(now),
        ttl=entry.ttl(now),
        stored_at=entry.stored_at,
        gone_at=entry.gone_at,
        size=size,
        tags=without_families([tag for tag in entry.tags if not tag.startswith(URL_TAG)]),
        start=entry.start.number,
        hits=round(hits),
        cost=entry.cost,
    )


def entry_view(row: EntryRow, entry: Entry, *, with_private: bool, last_purge: Event | None) -> EntryView:
    """What is shown of an entry in full: its body without the coding that it is kept in, as its headers speak of it."""
    headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in entry.headers])
    body = entry.body if with_private or not row.identity else None
    if body is not None and entry.coding is not None and is_available(entry.coding):
        body = decode(entry.coding, body, entry.length)
    return EntryView(row, headers, body, last_purge)


def usable_state(entry: Entry, now: float) -> State:
    """The state of an entry that the one rule allows."""
    if entry.is_softened:
        return "softened"
    return "fresh" if entry.ttl(now) > 0 else "stale"


def variant_shown(variant: bytes) -> tuple[tuple[str, str], ...]:
    """The names and values of a variant's material; a value that may be a secret is shown as a digest. Raises ValueError."""
    parts = unprefixed(variant)
    pairs = []
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        shown = (name or b"").decode("utf-8", "backslashreplace")
        is_secret = shown.startswith(COOKIE) or shown in SECRET
        text = "" if value is None else value.decode("utf-8", "backslashreplace")
        pairs.append((shown, f"#{digest(value)[:8]}" if is_secret and value else text))
    return tuple(pairs)


class Wanted:
    """A URL that somebody asks about, or a path: then whatever the host."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.scheme, self.host = parts.scheme, parts.netloc.lower()
        query = canonical_query(parts.query.encode())
        self.path, self.query = parts.path.encode() or b"/", query

    @property
    def keys(self) -> list[Key]:
        """Where it lies for sure, as far as that can be told: of nobody in particular."""
        hosts = [b""] if not self.host else [self.host.encode(), b""]
        schemes = [self.scheme] if self.scheme else ["http", "https"]
        return [Key(scheme, host, self.path, self.query) for scheme in schemes for host in hosts]

    def matches(self, key: Key) -> bool:
        """Whether the key is one of it."""
        path = key.path.partition(b"\x00")[0]
        is_host = not self.host or not key.host or (key.host == self.host.encode() and key.scheme == self.scheme)
        return is_host and path == self.path and key.query == self.query
