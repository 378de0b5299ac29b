"""What the contract suite needs of Redis: stores on one namespace, and faults that come true in the real data."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import redis

from rcache.core.keys import digest, shard_of
from rcache.ports import Ask
from rcache.stores.redis import ClusterStore, RedisStore, open_store
from rcache.stores.redis.records import checksum
from tests.clusters import Cluster
from tests.servers import RedisServer

FIELDS = (b"epoch", b"start", b"guards", b"key", b"variant", b"stored", b"head", b"body")


class RedisHarness:
    """Makes stores on a server, and does to their data what time and faults do."""

    has_hand_clock = False

    def __init__(self, server: RedisServer | Cluster, url: str | None = None) -> None:
        """Stores come to the server by `url`, where that is not the server's own: through sentinels."""
        self.server = server
        self.url = url or server.url
        self.client: Any = server.client()
        self.store: RedisStore | ClusterStore
        self._stores: list[RedisStore | ClusterStore] = []
        self._settings: dict[str, Any] = {}

    async def make(self, **settings: Any) -> RedisStore | ClusterStore:
        """A store on a namespace of its own, which the methods below are about from now on."""
        self._settings = {"namespace": f"test-{secrets.token_hex(6)}", **settings}
        self.store = await self.second()
        return self.store

    async def second(self) -> RedisStore | ClusterStore:
        """Another store on the same data: another node."""
        store = open_store(self.url, **self._settings)
        self._stores.append(store)
        return store

    def joined(self) -> None:
        """There is nothing to hear."""

    async def close(self) -> None:
        """Closes every store that was made, and leaves the server as it was."""
        for store in self._stores:
            await store.aclose()
        with contextlib.suppress(redis.ConnectionError):  # the server may be down, and its data with it
            for namespace in {store.names.namespace for store in self._stores}:
                self._forget(namespace)
        self.client.close()

    # What may happen to the data

    async def lose_guard(self, tag: str) -> None:
        """The guard that judges `tag` is gone."""
        self.client.delete(self.store.names.guard(shard_of(tag, self.store.shards)))

    async def new_epoch(self) -> None:
        """The data is that of another server's history: it was restarted, or a replica took over."""
        self.client.hset(self.store.names.sequence, "replid", "0" * 40)

    async def forget_everything(self) -> None:
        """FLUSHALL, as far as this namespace goes."""
        self._forget(self.store.names.namespace)

    def _forget(self, namespace: str) -> None:
        keys = self._keys_of(namespace)
        if keys:
            self.client.unlink(*keys)

    async def advance(self, seconds: float) -> None:
        """As if that time had passed since everything was written."""
        for key in self.all_keys():
            kind = self.client.type(key)
            if kind == b"hash":
                self._age_hash(key, seconds)
            elif kind == b"zset" and not key.endswith(b":marks"):
                for member, score in self.client.zrange(key, 0, -1, withscores=True):
                    self.client.zadd(key, {member: score - 1000 * seconds})
            ends = self.client.pexpiretime(key)
            if ends > 0:
                self.client.pexpireat(key, int(ends - 1000 * seconds))

    def _age_hash(self, key: bytes, seconds: float) -> None:
        quarantine = self.client.hget(key, "quarantine")
        if quarantine is not None:
            self.client.hset(key, "quarantine", b"%d" % (int(quarantine) - 1000 * seconds))
        for field, holds in self.client.hgetall(key).items() if key.endswith(b":guard") else ():
            if field.startswith(b"h:"):
                lines = [line.split() for line in holds.splitlines()]
                aged = b"\n".join(b"%b %d" % (who, int(deadline) - 1000 * seconds) for who, deadline in lines)
                self.client.hset(key, field, aged)
        if self.client.hexists(key, "stored"):
            self.edit(key, lambda record: {b"stored": repr(float(record[b"stored"]) - seconds).encode()})

    async def damage(self, ask: Ask, how: str) -> None:
        """Every entry of the URL is damaged: `flipped`, `truncated`, `foreign`, `version` (another) or `type` (wrong)."""
        for key in self.entries(ask):
            DAMAGES[how](self, key)

    # Looking at the data

    def all_keys(self) -> list[bytes]:
        """Every key of the namespace."""
        return self._keys_of(self.store.names.namespace)

    def _keys_of(self, namespace: str) -> list[bytes]:
        return list(self.client.scan_iter(f"rc:{{{namespace}[}}:]*", count=1000))

    def entries(self, ask: Ask) -> list[bytes]:
        """The keys of the entries of a URL."""
        url = digest(ask.key.material)
        keys = self.client.scan_iter(f"rc:{{{self.store.names.namespace}:{url}}}:*")
        return [key for key in keys if not key.endswith((b":vary", b":variants"))]

    def edit(self, key: bytes, change: Callable[[dict[bytes, bytes]], dict[bytes, bytes]]) -> None:
        """Changes fields of an entry and corrects its checksum, as somebody would who wrote it so."""
        record = self.client.hgetall(key)
        record.update(change(record))
        record[b"sum"] = checksum([record[field] for field in FIELDS])
        self.client.hset(key, mapping=record)


def _flip(harness: RedisHarness, key: bytes) -> None:
    body = harness.client.hget(key, "body") or b""
    harness.client.hset(key, "body", bytes([body[0] ^ 1]) + body[1:] if body else b"x")


def _truncate(harness: RedisHarness, key: bytes) -> None:
    harness.client.hdel(key, "body")


def _replace(harness: RedisHarness, key: bytes) -> None:
    harness.client.delete(key)
    harness.client.hset(key, mapping={"colour": "green"})


def _outdate(harness: RedisHarness, key: bytes) -> None:
    harness.edit(key, lambda record: {b"head": b"\x00" + record[b"head"][1:]})


def _retype(harness: RedisHarness, key: bytes) -> None:
    harness.client.set(key, b"a string")


DAMAGES: dict[str, Callable[[RedisHarness, bytes], None]] = {
    "flipped": _flip,
    "truncated": _truncate,
    "foreign": _replace,
    "version": _outdate,
    "type": _retype,
}
