"""Where lists of URLs come from: files, standard input, and servers that publish sitemaps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.sitemap import MAX_SIZE, Sitemap, SitemapError, read_list

TIMEOUT = 30.0  # seconds without a byte
MOST = 1000  # lists of one index, and of its indexes


class SourceError(RCacheError):
    """A list could not be had; the text says which, and why."""


def urls_of(source: str) -> Iterator[str]:
    """The URLs of a list, and of those that it names: `-` is standard input, anything but an http(s) URL a file.

    An index leads to lists on its own server only, and one in a file to such servers as it names. Raises SourceError, and
    ConfigurationError for a file that is not there.
    """
    waiting, seen = [source], {source}
    while waiting:
        place = waiting.pop(0)
        sitemap = _read(place)
        yield from sitemap.urls
        for other in sitemap.sitemaps:
            if other in seen:
                continue
            if not _is_url(other) or (_is_url(source) and urlsplit(other)[:2] != urlsplit(source)[:2]):
                raise SourceError(f"{place} names {other}, which is on another server")
            if len(seen) > MOST:
                raise SourceError(f"{source} names more than {MOST} lists")
            seen.add(other)
            waiting.append(other)


def _read(place: str) -> Sitemap:
    try:
        return read_list(_octets(place))
    except SitemapError as error:
        raise SourceError(f"{place}: {error}") from error


def _octets(place: str) -> bytes:
    if place == "-":
        return sys.stdin.buffer.read(MAX_SIZE + 1)
    if _is_url(place):
        return _fetched(place)
    try:
        with Path(place).open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror or error}") from error


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _fetched(url: str) -> bytes:
    request = Request(url, headers={"User-Agent": "rcache-warm"})  # noqa: S310 (an http(s) URL, as asked above)
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            octets: bytes = answer.read(MAX_SIZE + 1)
            return octets
    except (URLError, OSError, ValueError) as error:  # HTTPError is a URLError
        raise SourceError(f"{url} cannot be fetched: {error}") from error
