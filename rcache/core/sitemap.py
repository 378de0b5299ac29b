"""Lists of URLs as sites publish them: sitemaps and their indexes (sitemaps.org), packed or not, and plain text, one a line.

Nothing is expanded: a document type declaration is refused before anything of it is read, so that there are no entities of its own,
neither ones that grow nor ones that lead to files and other servers. What it would take a library for is one handler here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final
from xml.parsers.expat import ExpatError, ParserCreate

from rcache.core.errors import RCacheError

MAX_SIZE: Final = 50 * 1024 * 1024
"""Bytes of one list, unpacked: what sitemaps.org allows."""

MAX_URLS: Final = 50_000
"""URLs of one sitemap: likewise."""

MAX_LINE: Final = 8192

_GZIP: Final = b"\x1f\x8b"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class SitemapError(RCacheError):
    """What was given is no list of URLs, or is not to be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Sitemap:
    """The URLs of a list, and the lists that it names instead."""

    urls: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()


def read_list(data: bytes) -> Sitemap:
    """A sitemap, an index of sitemaps, or a plain text, packed by gzip or not. Raises SitemapError."""
    data = _unpacked(data)
    if len(data) > MAX_SIZE:
        raise SitemapError(f"a list is longer than {MAX_SIZE // 1024 // 1024} MiB")
    begin = data[:100]
    is_xml = begin.lstrip(b"".join(_MARKS) + b" \t\r\n\x00").startswith(b"<")
    return _Reader().read(data) if is_xml else _lines(data)


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, MAX_SIZE + 1)
    except zlib.error as error:
        raise SitemapError(f"a packed list is damaged: {error}") from error
    if not unpacker.eof and len(unpacked) <= MAX_SIZE:
        raise SitemapError("a packed list is cut off")
    return unpacked


def _lines(data: bytes) -> Sitemap:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SitemapError("a list is neither XML nor text in UTF-8") from error
    urls = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if len(line) > MAX_LINE or not line.startswith(("/", "http://", "https://")):
            raise SitemapError(f"line {number} is neither a path nor an http(s) URL: {line[:80]!r}")
        urls.append(line)
    return Sitemap(tuple(urls))


class _Reader:
    """Reads one document."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._found: dict[str, list[str]] = {"url": [], "sitemap": []}

    def read(self, data: bytes) -> Sitemap:
        parser = ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.EntityDeclHandler = _refuse
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._read_text
        try:
            parser.Parse(data, True)
        except ExpatError as error:
            raise SitemapError(f"a sitemap is not well-formed: {error}") from error
        except (LookupError, ValueError) as error:  # an encoding that nobody knows
            raise SitemapError(f"a sitemap cannot be read: {error}") from error
        return Sitemap(tuple(self._found["url"]), tuple(self._found["sitemap"]))

    def _begin(self, name: str, attributes: object) -> None:
        name = name.rpartition(" ")[2]
        if not self._path and name not in ("urlset", "sitemapindex"):
            raise SitemapError(f"a <{name}> is no sitemap: it begins with <urlset> or <sitemapindex>")
        self._path.append(name)
        self._text.clear()

    def _read_text(self, text: str) -> None:
        if self._path[-1] == "loc":
            self._text.append(text)

    def _end(self, name: str) -> None:
        if len(self._path) == 3 and self._path[-1] == "loc" and self._path[1] in self._found:
            found = self._found[self._path[1]]
            found.append("".join(self._text).strip())
            if len(found) > MAX_URLS:
                raise SitemapError(f"a sitemap holds more than {MAX_URLS:,} URLs: make several, and an index")
        self._path.pop()


def _refuse(*_: object) -> None:
    raise SitemapError("a sitemap with a document type declaration is not read: entities in it may stand for anything")
