"""Asserts what a block of a test purged."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from blinker import ANY

from rcache import signals
from rcache.cache import Cache, open_caches
from rcache.core.errors import ConfigurationError
from rcache.core.keys import URL_TAG, Key, canonical_query
from rcache.stores.memory import MemoryStore


class Purges:
    """What was purged so far. `tags` in order, each once; those that stand for a URL are left out."""

    def __init__(self) -> None:
        self.tags: list[str] = []

    def note(self, sender: object, *, tags: Iterable[str], **_: Any) -> None:
        """What the signal `tags_invalidated` calls."""
        self.tags += [tag for tag in dict.fromkeys(tags) if not tag.startswith(URL_TAG) and tag not in self.tags]


@contextmanager
def assert_purged_by(
    *tags: str, urls: Iterable[str] = (), exactly: bool = False, cache: Cache | None = None
) -> Iterator[Purges]:
    """What the block does purges each of `tags`, and what was kept of each of `urls`; `exactly`: and nothing else.

    A URL is a path with its query, whatever the host, or absolute; something of it has to be in the cache when the block
    begins, an embedded one. Purges of every cache of the process count, or of `cache` alone. With neither tags nor URLs,
    `exactly` says that nothing is purged. Raises AssertionError after the block, which tells what was purged instead.
    """
    wanted = [urls] if isinstance(urls, str) else list(urls)
    stores = _stores(open_caches() if cache is None else [cache]) if wanted else []
    before = _kept(stores)
    for url in wanted:
        if not any(_is_meant(url, key) for _, key in before):
            kept = ", ".join(sorted(set(before.values()))) or "nothing"
            raise AssertionError(f"nothing of {url} was kept when the block began, but {kept}: ask for it before")
    purges = Purges()
    with signals.tags_invalidated.connected_to(purges.note, sender=ANY if cache is None else cache):
        yield purges
    after = _kept(stores)
    lost = {key: name for key, name in before.items() if key not in after}
    problems = [*_tags_amiss(tags, purges.tags, exactly), *_urls_amiss(wanted, before, lost, exactly)]
    if problems:
        raise AssertionError("\n".join(problems))


def _stores(caches: Iterable[Cache]) -> list[MemoryStore]:
    found = []
    for cache in caches:
        store = getattr(cache.store, "store_behind", cache.store)
        store = getattr(store, "embedded", store)  # of a fleet
        if isinstance(store, MemoryStore) and store not in found:
            found.append(store)
    if not found:
        raise ConfigurationError(
            "urls= looks into an embedded cache: put rcache.testing.embedded(cache) around the test"
        )
    return found


Kept = dict[tuple[int, Key], str]
"""What is kept, in which of the stores: caches of other applications, or of tests before, may hold the same URLs."""


def _kept(stores: Iterable[MemoryStore]) -> Kept:
    return {(number, key): _target(key) for number, store in enumerate(stores) for key in store.usable()}


def _tags_amiss(wanted: Iterable[str], purged: list[str], exactly: bool) -> Iterator[str]:
    missing = [tag for tag in dict.fromkeys(wanted) if tag not in purged]
    more = [tag for tag in purged if tag not in set(wanted)] if exactly else []
    for tag in missing:
        close = difflib.get_close_matches(tag, purged, 1)
        yield f"{tag!r} was not purged" + (f"; {close[0]!r} was, which is another tag" if close else "")
    if more:
        yield f"purged as well: {more}"
    if missing:
        yield f"purged: {purged}" if purged else "nothing was purged: does the block commit, or call invalidate()?"


def _urls_amiss(wanted: list[str], before: Kept, lost: Kept, exactly: bool) -> Iterator[str]:
    for url in wanted:
        held = {number for number, key in before if _is_meant(url, key)}
        still = {number for number, key in before if (number, key) not in lost and _is_meant(url, key)}
        if held == still:
            yield f"what is kept of {url} was not purged"
    if exactly and wanted:
        more = [name for (_, key), name in lost.items() if not any(_is_meant(url, key) for url in wanted)]
        if more:
            yield f"flushed as well: {', '.join(sorted(set(more)))}"


def _target(key: Key) -> str:
    return (key.path + (b"?" + key.query if key.query else b"")).decode("latin-1")


def _is_meant(url: str, key: Key) -> bool:
    parts = urlsplit(url)
    if parts.scheme and (parts.scheme, parts.netloc.encode()) != (key.scheme, key.host):
        return False
    return (parts.path.encode(), canonical_query(parts.query.encode())) == (key.path, key.query)
