"""The key of a request, and the only place that spells Redis key names.

A key is built so that no two different requests can share one: every part is preceded by its length, so no delimiter
inside a part can be mistaken for one between parts. The memory store uses the parts as they stand; Redis key names
carry a digest of them, and the entry repeats the material so that not even a digest's collision is served.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b, sha256
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes
from zlib import crc32

from rcache.core.headers import RawHeaders, joined

DIGEST: Final = 22  # characters

URL_TAG = "\x1f"
"""First character of the implicit tag of a URL; users' tags cannot hold a control character."""


def prefixed(parts: tuple[bytes | None, ...] | list[bytes | None]) -> bytes:
    """One byte string from which the parts could be told apart again: absent, empty and joined parts all differ."""
    return b"".join([b"-" if part is None else b"%d:%b" % (len(part), part) for part in parts])


def unprefixed(joined: bytes) -> list[bytes | None]:
    """The parts of which `prefixed` made that. Raises ValueError where it is no such string."""
    parts: list[bytes | None] = []
    position = 0
    while position < len(joined):
        if joined[position : position + 1] == b"-":
            parts.append(None)
            position += 1
            continue
        colon = joined.index(b":", position)
        end = colon + 1 + _number(joined[position:colon])
        if end > len(joined):
            raise ValueError("a part is shorter than it says")
        parts.append(joined[colon + 1 : end])
        position = end
    return parts


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 9:
        raise ValueError(f"{digits[:20]!r} is no length")
    return int(digits)


def digest(material: bytes) -> str:
    """128 bits of BLAKE2b as 22 URL-safe characters: equal in every process, unlike Python's own `hash`."""
    return urlsafe_b64encode(blake2b(material, digest_size=16).digest())[:-2].decode()


class Key(NamedTuple):
    """What one URL (and identity, where a rule has one) is stored under.

    `path` is as it came over the wire, `query` as `canonical_query` gives it. In this process the parts themselves are the
    key: nothing needs to be joined or hashed to compare them.
    """

    scheme: str
    host: bytes
    path: bytes
    query: bytes
    identity: bytes | None = None

    @property
    def url(self) -> bytes:
        """The URL's own material: the same for every identity."""
        name, host, path, query, _ = self
        scheme = name.encode()
        return b"%d:%d:%d:%b%b%b%b" % (len(scheme), len(host), len(path), scheme, host, path, query)

    @property
    def material(self) -> bytes:
        """All parts as one byte string that no other key has."""
        if self.identity is None:
            return self.url
        # The letter keeps these apart from the keys without identity, which begin with a digit.
        return b"i%d:%b%b" % (len(self.identity), self.identity, self.url)

    @classmethod
    def read(cls, material: bytes) -> Key:
        """The key of which that is the material. Raises ValueError where it is of none."""
        identity: bytes | None = None
        if material[:1] == b"i":
            length, _, rest = material[1:].partition(b":")
            end = _number(length)
            identity, material = rest[:end], rest[end:]
        *lengths, rest = material.split(b":", 3)
        if len(lengths) != 3:
            raise ValueError("no material of a key")
        ends = [_number(length) for length in lengths]
        scheme, host, path = ends[0], ends[0] + ends[1], sum(ends)
        if path > len(rest):
            raise ValueError("a part is shorter than it says")
        return cls(rest[:scheme].decode(), rest[scheme:host], rest[host:path], rest[path:], identity)

    @property
    def shown(self) -> str:
        """The URL as people write it, without the host where that is no part of the key."""
        path = self.path.partition(b"\x00")[0]  # behind it: what something on the way made of it
        target = (path + (b"?" + self.query if self.query else b"")).decode("utf-8", "backslashreplace")
        return f"{self.scheme}://{self.host.decode('utf-8', 'backslashreplace')}{target}" if self.host else target

    @property
    def url_tag(self) -> str:
        """The implicit tag of the URL, with all its variants and identities: purging it reaches them all."""
        return URL_TAG + digest(self.url)


class Carrier(NamedTuple):
    """What an entry that carries a tag is stored under: its key, and the material of its variant."""

    key: Key
    variant: bytes


def canonical_query(query: bytes, names: frozenset[bytes] | None = None) -> bytes:
    """The query with its parameters in order of name; repeated names keep the order of their values.

    Sorted by the *decoded* name, since `a=1&%61=2` and `%61=2&a=1` give an application different lists. The parts keep
    the spelling they came in. `names` (UTF-8) keeps only the parameters that count.
    """
    if not query or (names is None and b"&" not in query):
        return query
    parts = [(_sort_name(part), part) for part in query.split(b"&")]
    if names is not None:
        counted = names if all(map(bytes.isascii, names)) else names | {_NOT_ASCII}
        parts = [pair for pair in parts if pair[0] in counted]
    parts.sort(key=_first)
    return b"&".join([part for _, part in parts])


_NOT_ASCII: Final = b"\xff"


def _sort_name(part: bytes) -> bytes:
    """The decoded name of a parameter.

    All names beyond ASCII count as one, so that their order is kept: frameworks disagree on how to decode them, and
    Starlette takes `%ff=1&%fe=2`, as well as a raw `é` in Latin-1 and `%C3%A9`, for one name with two values.
    """
    name = part.partition(b"=")[0]
    if b"%" in name or b"+" in name:
        name = unquote_to_bytes(name.replace(b"+", b" "))
    return name if name.isascii() else _NOT_ASCII


def _first(pair: tuple[bytes, bytes]) -> bytes:
    return pair[0]


def with_body(identity: bytes | None, method: str, headers: RawHeaders, body: bytes) -> bytes:
    """The identity of a request whose method and content are part of what it asks for (RFC 10008 §2.7).

    The fields that say what the content means count as well. More parts than any other identity has keep them apart.
    """
    meaning = [joined(headers, name) for name in (b"content-type", b"content-encoding")]
    return prefixed([identity, method.encode(), *meaning, sha256(body).digest()])


def shard_of(tag: str, shards: int) -> int:
    """The shard whose guard judges `tag`; equal in every process.

    A table's family `book:*` is judged where `book` is, so that what carries it dies with the schemes that are registered there.
    """
    return crc32(tag.removesuffix(":*").encode()) % shards if shards > 1 else 0


class RedisNames:
    """Spells every key in Redis. The braces make all keys of one URL, and of one shard, share a Cluster slot."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.sequence = f"rc:{{{namespace}}}:seq"
        self.log = f"rc:{{{namespace}}}:log"
        self.nodes = f"rc:{{{namespace}}}:nodes"
        self.sweep = f"rc:{{{namespace}}}:sweep"
        self.sweeping = f"rc:{{{namespace}}}:sweeping"
        self.news = f"rc:{{{namespace}}}:news"
        self.fleet = f"rc:{{{namespace}}}:fleet"
        self.events = f"rc:{{{namespace}}}:events"
        self.queue = f"rc:{{{namespace}}}"  # what the queue's library puts before its own names, after streaq:
        self.workers = f"rc:{{{namespace}}}:queue:workers"
        self.paused = f"rc:{{{namespace}}}:queue:paused"
        self.counts = f"rc:{{{namespace}}}:queue:counts"
        self.runs = f"rc:{{{namespace}}}:queue:runs"
        self.failures = f"rc:{{{namespace}}}:queue:failures"

    def apart(self, job: str) -> str:
        """A job of this key has ended, and others are kept apart from it; `job` is a digest."""
        return f"rc:{{{self.namespace}}}:queue:apart:{job}"

    def node(self, node: str) -> str:
        """What a node counted, as it told last."""
        return f"rc:{{{self.namespace}}}:node:{node}"

    def second(self, at: int) -> str:
        """What all nodes counted in that second."""
        return f"rc:{{{self.namespace}}}:second:{at}"

    def minute(self, at: int) -> str:
        """What all nodes counted in the minute that began at that second."""
        return f"rc:{{{self.namespace}}}:minute:{at}"

    def popular(self, at: int) -> str:
        """What was hit in the window that began at that second."""
        return f"rc:{{{self.namespace}}}:popular:{at}"

    def read_entry(self, key: bytes) -> tuple[str, str] | None:
        """URL and variant of an entry's key, as `entry` takes them; None where it is the key of something else."""
        inner = self._inner(key)
        if inner is None or len(inner[0]) != DIGEST or len(inner[1]) not in (1, DIGEST) or ":" in inner[0] + inner[1]:
            return None
        return inner

    def read_registry(self, key: bytes) -> str | None:
        """The tag of a registry's key; None where it is the key of something else."""
        inner = self._inner(key)
        return inner[1][4:] if inner is not None and inner[0].isdigit() and inner[1].startswith("tag:") else None

    def _inner(self, key: bytes) -> tuple[str, str] | None:
        text = key.decode("utf-8", "replace")
        begin = f"rc:{{{self.namespace}:"
        inner, closed, rest = text[len(begin) :].partition("}:")
        return (inner, rest) if text.startswith(begin) and closed else None

    def vary(self, url: str) -> str:
        """The names that select among the variants of a URL; `url` is a digest."""
        return f"rc:{{{self.namespace}:{url}}}:vary"

    def variants(self, url: str) -> str:
        """The variants stored for a URL, by the end of their storage."""
        return f"rc:{{{self.namespace}:{url}}}:variants"

    def entry(self, url: str, variant: str) -> str:
        """One stored response; `variant` is a digest of names and values, or `0` where nothing selects."""
        return f"rc:{{{self.namespace}:{url}}}:{variant}"

    def lease(self, url: str, variant: str) -> str:
        """Who makes the response of a variant."""
        return f"rc:{{{self.namespace}:{url}}}:lease:{variant}"

    def guard(self, shard: int) -> str:
        """Epoch, `born` and holds of a shard of tags."""
        return f"rc:{{{self.namespace}:{shard}}}:guard"

    def marks(self, shard: int) -> str:
        """The last purge of each tag in a shard."""
        return f"rc:{{{self.namespace}:{shard}}}:marks"

    def registry(self, shard: int, tag: str) -> str:
        """Which entries carry a tag."""
        return f"rc:{{{self.namespace}:{shard}}}:tag:{tag}"

    def sweep_in(self, shard: int) -> str:
        """The registries of a shard that are to be swept, where each shard may lie on a server of its own."""
        return f"rc:{{{self.namespace}:{shard}}}:sweep"

    def sweeping_in(self, shard: int) -> str:
        """Who sweeps the shard's, at this moment."""
        return f"rc:{{{self.namespace}:{shard}}}:sweeping"

    def swept_in(self, shard: int, purge: str, position: int) -> str:
        """`swept`, in the shard that the registry lies in."""
        return f"rc:{{{self.namespace}:{shard}}}:swept:{purge}:{position}"

    def swept(self, purge: str, position: int) -> str:
        """The name under which a purge hands a registry to the sweeper; `purge` is a random id."""
        return f"rc:{{{self.namespace}}}:swept:{purge}:{position}"
