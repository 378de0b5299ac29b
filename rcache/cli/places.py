"""URLs as people write them on a command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from rcache.core.errors import ConfigurationError
from rcache.core.inspection import Wanted
from rcache.core.views import EntryRow

_HELP = "write a path, /books/1?page=2, or a whole URL, https://shop.example/books/1"


class Target(NamedTuple):
    """The parts of a URL; of a path scheme and host are empty."""

    text: str
    scheme: str
    host: str
    path: str
    query: str


def target(text: str) -> Target:
    """A path, or a whole http or https URL. Raises ConfigurationError with the remedy."""
    if not text.isprintable() or " " in text:
        raise ConfigurationError(f"{text!a} holds what no URL can hold: write it as %20 and the like")
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2].lower()
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no URL ({error}): {_HELP}") from error
    if text.startswith("/") and not text.startswith("//"):
        return Target(text.partition("#")[0], "", "", parts.path, parts.query)
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{text!r} is no URL of a page: {_HELP}")
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query else ""
    return Target(f"{parts.scheme}://{host}{path}{query}", parts.scheme, host, path, parts.query)


def url_tags(asked: Target, rows: Iterable[EntryRow]) -> list[str]:
    """The implicit tags of a URL's entries: of what is stored, and of the URL as it stands."""
    urls = (asked.text, *(row.url for row in rows))
    return list(dict.fromkeys(key.url_tag for url in urls for key in Wanted(url).keys))
