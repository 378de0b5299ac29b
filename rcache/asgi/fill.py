"""The application answers, its messages pass through as they come, and a copy is kept up to a limit.

The start message waits for the body only where a Content-Length promises a short one: then the ETag, and whether the answer
was stored, can still be said in it. Everything else is sent on at once, so that no stream is delayed or held in memory. The
entry is in the store before the last body message leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.entry import Entry, Missing
from rcache.core.errors import BackendError
from rcache.core.headers import joined, values
from rcache.core.policy import Options
from rcache.core.storing import StoringRules, may_store, needs_validation, stored_headers
from rcache.core.validation import not_modified, not_modified_headers, strong_etag
from rcache.core.vary import merge, vary_names
from rcache.current import RequestScope, request_scope
from rcache.engine.single_flight import Ending, Flight, Landed
from rcache.ports import Budget
from rcache.signals import notify, response_stored

MAX_TAGS = 1000
"""Tags of one entry; an answer with more depends on so much that it would hardly ever be a hit."""

PATIENCE = 0.05
"""Seconds that those who wait for this flight are held by an answer of unknown length, until its first chunk tells more."""

_LASTING = frozenset(
    (
        "set-cookie",
        "private",
        "no-store",
        "no-cache",
        "vary",
        "stream",
        "too-large",
        "no-freshness",
        "credentials",
        "too-many-tags",
        "inner-key",
    )
)
"""Reasons that lie in the URL rather than in one answer, so that the next request need not ask the store."""

_HARMLESS = frozenset(("http.response.debug", "http.response.early_hint", "http.response.push"))
_SENT_BY_SERVER = ("http.response.pathsend", "http.response.zerocopysend")


class Seen:
    """In the scope of a request that a CacheMiddleware handles, for those further in."""

    __slots__ = ("is_inner_keyed", "options")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.is_inner_keyed = False  # a rule further in tells answers apart in a way that our key does not


class Fill:
    """One run of the application whose answer may be stored."""

    def __init__(
        self,
        cache: Cache,
        plan: Plan,
        ask: Inquiry,
        missing: Missing,
        *,
        personal: str | None,
        budget: Budget,
        flight: Flight | None,
        seen: Seen,
    ) -> None:
        self._cache = cache
        self._plan = plan
        self._ask = ask
        self._missing = missing
        self._personal = personal
        self._budget = budget
        self._flight = flight
        self._seen = seen
        self._looked_up = cache.clock.monotonic()
        self._request = RequestScope(cache, set())
        self._held: Message | None = None
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._status = 0
        self._chunks: list[bytes] = []
        self._length = 0
        self._is_collecting = False
        self._is_answered = False
        self._has_left = False

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls the application. Whatever happens, those who wait for this flight are let go."""
        self._scope, self._receive, self._send = scope, receive, send
        # Mounts move the root path on the way in, and leave it there.
        self._place = {"path": scope["path"], "root_path": scope.get("root_path", "")}
        extensions: dict[str, Any] | None = scope.get("extensions")
        if extensions:
            # A file that the server sends by itself never comes past here, so the application is not to ask for that.
            scope["extensions"] = {name: extensions[name] for name in extensions if name not in _SENT_BY_SERVER}
        token = request_scope.set(self._request)
        ending = Ending.ALONE
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            ending = Ending.AGAIN
            raise
        finally:
            request_scope.reset(token)
            self._land(ending)

    def _land(self, outcome: Landed | Ending) -> None:
        if self._flight is not None:
            self._flight.land(outcome)

    async def receive(self) -> Message:
        """Notices a client that leaves midway."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._has_left = True
        return message

    async def send(self, message: Message) -> None:
        """Passes a message of the application on to the client."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._on_start(message)
        elif kind == "http.response.body" and self._is_collecting:
            await self._on_body(message)
        elif not self._is_answered:  # else a 304 stands where the application still sends its body's end
            if self._is_collecting and kind not in _HARMLESS:
                await self._give_up("stream")
            await self._send(message)

    # The start

    async def _on_start(self, message: Message) -> None:
        self._status = message["status"]
        self._headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        self._started = message
        verdict = may_store(
            self._status,
            self._headers,
            StoringRules(ttl=self._plan.ttl, statuses=self._plan.statuses),
            personal=self._personal is not None,
            now=self._cache.clock.time(),
        )
        self._verdict = verdict
        self._promised = 0 if self._status == 204 else _content_length(self._headers)
        reason = verdict.reason
        if verdict.lifetime is not None and verdict.lifetime <= verdict.initial_age:
            reason = "no-cache" if needs_validation(verdict.directives) else "stale"
        if reason is None and self._seen.is_inner_keyed:
            reason = "inner-key"
        if reason is None and message.get("trailers"):
            reason = "trailers"
        if reason is None and self._promised is not None and self._promised > self._cache.max_body:
            reason = "too-large"
        if reason is not None:
            self._note(reason)
            await self._send_start(self._field(reason))
            return
        self._is_collecting = True
        self._client_ttl = None if verdict.is_explicit else self._plan.client_ttl
        if self._promised is not None:
            self._held = message
        else:
            if self._flight is not None:  # nobody knows when this begins or ends, so nobody waits for it long
                asyncio.get_running_loop().call_later(PATIENCE, self._land, Ending.ALONE)
            await self._send_start(self._field(None), own=self._export())

    def _field(self, reason: str | None, *, stored: bool = False) -> bytes:
        if reason == "credentials":
            return cache_status.forward("bypass", detail=self._personal)
        fwd = "stale" if self._missing.reason == "expired" else "miss"
        return cache_status.forward(fwd, stored=stored, detail=reason)

    def _export(self) -> list[tuple[bytes, bytes]]:
        """Fields of our own that tell clients and caches outside what the rule says of this answer."""
        own = []
        said = vary_names(self._headers) or ()
        if unsaid := [name for name in self._plan.own_vary if name.decode() not in said]:
            own.append((b"vary", b", ".join(unsaid)))
        if self._client_ttl is not None:
            if self._plan.is_keyed:  # the key tells whose answer this is; a cache outside would not
                own.append((b"cache-control", b"private"))
            own.append((b"cache-control", b"max-age=%d" % self._client_ttl))
        return own

    async def _send_start(self, field: bytes, own: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._held = None
        headers = [*self._headers, *own, (b"cache-status", field)]
        await self._send({**self._started, "headers": headers})

    async def _give_up(self, reason: str) -> None:
        """Nothing will be stored; what was held goes out, and from here on messages just pass."""
        self._is_collecting = False
        self._chunks.clear()
        self._note(reason)
        if self._held is not None:
            await self._send_start(self._field(reason))

    def _note(self, reason: str, detail: str = "") -> None:
        self._land(Ending.ALONE)
        if reason in _LASTING:
            told = self._personal if reason == "credentials" and self._personal else reason
            self._cache.uncacheable.note(self._ask.key, self._personal is not None, told)
            self._plan.tell_once(told)
        elif reason in ("tag", "stale"):
            self._plan.tell_once(reason, detail)

    # The body

    async def _on_body(self, message: Message) -> None:
        chunk = bytes(message.get("body", b""))  # a copy of what the application may change later
        self._length += len(chunk)
        if self._length > self._cache.max_body:
            await self._give_up("too-large")
            await self._send(message)
            return
        self._chunks.append(chunk)
        # Middleware like Starlette's BaseHTTPMiddleware sends the end of a body in a message of its own.
        if self._length == self._promised or not message.get("more_body", False):
            await self._finish(message)
            return
        if self._promised is None:  # nobody knows when this ends, so nobody waits for it
            self._land(Ending.ALONE)
        if self._held is not None:
            await self._send_start(self._field(None), own=self._export())
        await self._send(message)

    async def _finish(self, message: Message) -> None:
        self._is_collecting = False
        body = b"".join(self._chunks)
        etag = joined(self._headers, b"etag")
        own = self._export()
        if etag is None:
            etag = strong_etag(body, self._headers)
            own.append((b"etag", etag))
        reason = await self._store(body, etag, own)
        if self._held is None:
            await self._send(message)
        elif self._is_unmodified(etag):
            headers = [
                *not_modified_headers([*self._headers, *own]),
                (b"cache-status", self._field(reason, stored=reason is None)),
            ]
            await self._send({"type": "http.response.start", "status": 304, "headers": headers})
            await self._send({"type": "http.response.body", "body": b""})
            self._is_answered = True
        else:
            await self._send_start(self._field(reason, stored=reason is None), own)
            await self._send({**message, "body": body})

    def _is_unmodified(self, etag: bytes) -> bool:
        """Whether the client holds this very answer, though the application did not look (RFC 9110 §13.2.2)."""
        modified = joined(self._headers, b"last-modified")
        return self._status < 300 and not_modified(self._ask.headers, etag, modified, self._cache.clock.time())

    # The store

    async def _store(self, body: bytes, etag: bytes, own: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Why the answer was not stored; None where it was, and followers have it."""
        cache = self._cache
        if self._has_left:
            return self._unstored("disconnect")
        if self._promised is not None and self._promised != len(body):
            return self._unstored("incomplete")
        try:
            tags = self._plan.tags({**self._scope, **self._place}) | (self._request.tags or set())
        except Exception as error:  # callables and validators are the application's own
            return self._unstored("tag", str(error))
        if len(tags) > MAX_TAGS:
            return self._unstored("too-many-tags")
        entry = self._entry(body, etag, own, (self._ask.key.url_tag, *sorted(tags)))
        if cache.journal.blocks(entry.tags):
            return self._unstored("purge-pending")
        names = merge(vary_names(self._headers) or (), self._ask.names)
        if self._flight is not None:
            self._flight.depart()
        try:
            is_accepted = await cache.store.store(self._ask, names, entry, self._budget)
        except BackendError:
            cache.stats.outages += 1
            return self._unstored("outage")
        if not is_accepted:
            cache.stats.refusals += 1
            self._land(Ending.AGAIN)
            return "refused"
        cache.stats.stores += 1
        self._land(Landed(entry, names, self._ask.variant(names)))
        if response_stored.receivers:
            details = {
                "status": entry.status,
                "tags": entry.tags[1:],
                "ttl": entry.ttl(entry.stored_at),
                "size": len(body),
            }
            notify(response_stored, cache, path=self._place["path"], **details)
        return None

    def _unstored(self, reason: str, detail: str = "") -> str:
        self._note(reason, detail)
        self._land(Ending.ALONE)
        return reason

    def _entry(self, body: bytes, etag: bytes, own: Sequence[tuple[bytes, bytes]], tags: tuple[str, ...]) -> Entry:
        start, lifetime = self._missing.start, self._verdict.lifetime
        assert start is not None  # noqa: S101 (a fill without a start is never begun)
        assert lifetime is not None  # noqa: S101 (a verdict without a reason has one)
        kept = [pair for pair in own if not pair[1].startswith(b"max-age=")]  # said anew with each answer's age
        return Entry(
            start=start,
            status=self._status,
            headers=(*stored_headers(self._headers, self._verdict.directives), *kept),
            body=body,
            tags=tags,
            # The store's clock at the look-up, and what has passed since: nodes need not agree on the time.
            stored_at=self._missing.now + self._cache.clock.monotonic() - self._looked_up,
            initial_age=self._verdict.initial_age,
            lifetime=lifetime,
            etag=etag,
            last_modified=joined(self._headers, b"last-modified"),
            client_ttl=self._client_ttl,
            is_shared=self._verdict.is_shared,
        )


def _content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The length that the response promises; None where it promises none that can be read."""
    said = values(headers, b"content-length")
    return int(said[0]) if len(said) == 1 and said[0].isdigit() and len(said[0]) < 19 else None
