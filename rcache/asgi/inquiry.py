"""A request, as a store needs to know it: its key, and what it holds for the names that select a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from starlette.types import Scope

from rcache.core import cookies
from rcache.core.headers import values
from rcache.core.keys import Key, canonical_query
from rcache.core.vary import variant_material

MAX_TARGET = 64 * 1024
"""Bytes of path and query beyond which a request is not worth a key."""

_SCHEMES = {"http": b"http", "https": b"https"}


class Inquiry:
    """One request's question to the store."""

    __slots__ = ("headers", "key", "names")

    def __init__(self, key: Key, names: tuple[str, ...], headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.key = key
        self.names = names
        self.headers = headers

    def variant(self, names: tuple[str, ...]) -> bytes:
        """What this request holds for `names`, normalised; empty where there are no names."""
        return variant_material(names, self.headers, self._cookie) if names else b""

    def _cookie(self, name: str) -> bytes | None:
        return cookies.value(values(self.headers, b"cookie"), name.encode())


def key_of(
    scope: Scope,
    fields: Mapping[bytes, bytes],
    *,
    key_host: bool,
    query_names: frozenset[bytes] | None,
    identity: bytes | None,
) -> Key | None:
    """The key of a request; None where its target is too long. `fields` are its headers, the last of repeated ones."""
    path = scope.get("raw_path") or quote(scope["path"], safe="/").encode()
    query = scope["query_string"]
    if len(path) + len(query) > MAX_TARGET:
        return None
    scheme = scope["scheme"]
    return Key(
        _SCHEMES.get(scheme) or scheme.encode(),
        _host(scope, fields) if key_host else b"",
        path,
        canonical_query(query, query_names) if query else b"",
        identity,
    )


def _host(scope: Scope, fields: Mapping[bytes, bytes]) -> bytes:
    host = fields.get(b"host")
    if host is None:
        server = scope.get("server") or ("", None)
        return f"{server[0]}:{server[1]}".encode()
    if len(fields) != len(
        scope["headers"]
    ):  # something is repeated: an application may read another Host than the last
        host = b",".join(values(scope["headers"], b"host"))
    return host.lower()
