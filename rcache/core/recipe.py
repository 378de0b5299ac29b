"""How to ask for one stored answer again, told from its own key: the URL, and the header fields that select the variant.

What belongs to one user, or to one request's body, has no recipe: nobody else may ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from rcache.core.headers import OWS
from rcache.core.keys import Key, digest, prefixed, unprefixed
from rcache.core.vary import COOKIE

Fields = tuple[tuple[bytes, bytes], ...]

PRIVATE: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
"""Fields whose values are somebody's own."""

MAX_URL: Final = 8192  # bytes

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_SAFE: Final = "/%!$&'()*+,;=:@-._~"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A request that anybody may make. `path` is as it goes over the wire; `host` is empty where it does not count."""

    scheme: str
    host: bytes
    path: bytes
    query: bytes = b""
    headers: Fields = ()

    @property
    def url(self) -> str:
        """For people."""
        query = b"?" + self.query if self.query else b""
        return f"{self.scheme}://{(self.host + self.path + query).decode('latin-1')}"

    @property
    def id(self) -> str:
        """The same for every spelling of it in every process, and for no other."""
        fields = [part for pair in self.headers for part in pair]
        return digest(prefixed([self.scheme.encode(), self.host, self.path, self.query, *fields]))

    @property
    def plain(self) -> list[Any]:
        """As plain data, for a job."""
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        texts = [part.decode("latin-1") for part in (self.host, self.path, self.query)]
        return [self.scheme, *texts, fields]


def recipe_of(key: Key, variant: bytes) -> Recipe | None:
    """How to ask for what is stored under `key` and the material of a variant; None where that is nobody else's business.

    Its path came rewritten where it holds a NUL: what the client asked for is not known then.
    """
    if key.identity is not None or b"\x00" in key.path:
        return None
    try:
        told = unprefixed(variant)
    except ValueError:
        return None
    headers = []
    for name, value in zip(told[::2], told[1::2], strict=False):
        if name is None or value is None:
            continue
        if name.startswith(COOKIE.encode()) or name in PRIVATE:
            return None
        headers.append((name, value))
    return Recipe(key.scheme, key.host, key.path, key.query, tuple(headers))


def recipe_for(url: str, headers: Iterable[tuple[str, str]] = (), *, base: str | None = None) -> Recipe:
    """The recipe of a URL, absolute or a path below `base`. Raises ValueError, which says what is wrong with it."""
    if not isinstance(url, str):
        raise ValueError(f"{url!r:.200} is no URL")
    if url.startswith("/") and not url.startswith("//"):
        if base is None:
            raise ValueError(f"{url!r:.200} is a path: say what stands before it, as in https://shop.example")
        url = base.rstrip("/") + url
    try:
        split = urlsplit(url)
        host = split.netloc.encode("idna" if not split.netloc.isascii() else "ascii").lower()
    except ValueError as error:  # UnicodeError is one
        raise ValueError(f"{url!r:.200} is no URL: {error}") from error
    if split.scheme not in ("http", "https") or not host or b"@" in host:
        raise ValueError(f"{url!r:.200} is neither a path nor an http(s) URL")
    path = quote(split.path or "/", safe=_SAFE).encode()
    query = quote(split.query, safe=_SAFE + "?").encode()
    if len(path) + len(query) > MAX_URL:
        raise ValueError(f"{url!r:.60}... is longer than {MAX_URL} bytes")
    if b"\x00" in unquote_to_bytes(path):
        raise ValueError(f"{url!r:.200} holds a NUL")
    return Recipe(split.scheme, host, path, query, tuple([_field(*pair) for pair in _pairs(headers)]))


def recipe_from(plain: Sequence[Any]) -> Recipe:
    """The recipe of which `Recipe.plain` was made. Raises ValueError."""
    try:
        scheme, host, path, query, fields = plain
        octets = (host.encode("latin-1"), path.encode("latin-1"), query.encode("latin-1"))
        headers = tuple([_field(name, value) for name, value in fields])
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError("no recipe") from error
    if scheme not in ("http", "https") or not octets[1].startswith(b"/"):
        raise ValueError("no recipe")
    return Recipe(scheme, *octets, headers)


def _pairs(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    try:
        return [(name, value) for name, value in headers]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{headers!r:.200} are no header fields: write [(name, value), ...]") from error


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        field = name.encode("ascii").lower(), value.encode("latin-1").strip(OWS)
    except (AttributeError, UnicodeError) as error:
        raise ValueError(f"{name!r:.60} and {value!r:.60} are no header field") from error
    if not _NAME.fullmatch(field[0]) or not _VALUE.fullmatch(field[1]):
        raise ValueError(f"{name!r:.60} and {value!r:.60} are no header field")
    if field[0] in PRIVATE:
        raise ValueError(f"{name}: what belongs to one client is not rendered")
    return field
