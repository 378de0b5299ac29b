"""A request, as a store needs to know it: its key, and what it holds for the names that select a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from starlette.types import Scope

from rcache.core import cookies
from rcache.core.headers import values
from rcache.core.keys import Key, canonical_query
from rcache.core.vary import variant_material

MAX_TARGET = 64 * 1024
"""Bytes of path and query beyond which a request is not worth a key."""

_new = tuple.__new__


def plain_key(scope: Scope, fields: Mapping[bytes, bytes], key_host: bool) -> Key:
    """The key of a request without repeated fields, whose whole query counts, and of nobody in particular.

    The same as `Inquiry` gives, or one that nothing is stored under: where parameters must be sorted, or the path is not
    plain or was rewritten on its way, the longer way finds the entry.
    """
    path = scope["path"].encode("utf-8", "surrogatepass")
    if path != scope.get("raw_path"):
        return _NOWHERE
    host = b""
    if key_host:
        if b"host" not in fields:
            return _NOWHERE
        host = fields[b"host"].lower()
    key: Key = _new(Key, (scope.get("scheme") or "http", host, path, scope["query_string"], None))
    return key


_NOWHERE = Key("", b"", b"", b"")  # no request is without a scheme


class Inquiry:
    """One request's question to the store."""

    __slots__ = ("headers", "is_too_long", "key", "names")

    def __init__(
        self,
        scope: Scope,
        fields: Mapping[bytes, bytes],
        names: tuple[str, ...],
        query_names: frozenset[bytes] | None,
        key_host: bool,
        identity: bytes | None = None,
    ) -> None:
        """`fields` are the request's headers with the last of repeated ones, `query_names` the parameters that count."""
        headers = scope["headers"]
        path = scope.get("raw_path")
        if path != scope["path"].encode("utf-8", "surrogatepass"):
            path = _told_apart(path, scope["path"])
        query = scope["query_string"]
        self.is_too_long = len(path) + len(query) > MAX_TARGET
        if query and not self.is_too_long:
            query = canonical_query(query, query_names)
        host = b""
        if key_host:
            # Where anything is repeated, an application may read another Host than the last.
            host = fields[b"host"].lower() if b"host" in fields and len(fields) == len(headers) else _host(scope)
        # The class's own constructor would cost more than all the rest of this.
        self.key: Key = _new(Key, (scope.get("scheme") or "http", host, path, query, identity))
        self.names = names
        self.headers: Sequence[tuple[bytes, bytes]] = headers

    def variant(self, names: tuple[str, ...]) -> bytes:
        """What this request holds for `names`, normalised; empty where there are no names."""
        return variant_material(names, self.headers, self._cookie) if names else b""

    def _cookie(self, name: str) -> bytes | None:
        return cookies.value(values(self.headers, b"cookie"), name.encode())


def _told_apart(raw_path: bytes | None, path: str) -> bytes:
    """The path as it came, and the one that the application sees where something on the way rewrote it.

    No path holds a raw NUL, so the two cannot be mistaken for one.
    """
    if not raw_path:
        return quote(path, safe="/", errors="surrogatepass").encode()
    if unquote(raw_path.decode("latin-1")) == path:
        return raw_path
    return raw_path + b"\x00" + path.encode("utf-8", "surrogatepass")


def _host(scope: Scope) -> bytes:
    hosts = values(scope["headers"], b"host")
    if hosts:
        return b",".join(hosts).lower()
    server = scope.get("server") or ("", None)
    return f"{server[0]}:{server[1]}".encode()
