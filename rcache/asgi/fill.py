"""The application answers, its messages pass through to the client as they come, and a copy is kept up to a limit.

The start message waits for the body only where a Content-Length promises a short one: then the ETag, and whether the answer
was stored, can still be said in it. Everything else is sent on at once, so that no stream is delayed or held in memory. The
entry is in the store before the last body message leaves.

Where a former answer is to be validated, a 304 brings it back to life, and an application that fails may be covered by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache import logs
from rcache.asgi.errand import Errand
from rcache.asgi.keeper import WRITTEN, Keeper
from rcache.asgi.replay import replay, represented, selected
from rcache.core.entry import Entry
from rcache.core.groups import CACHE_GROUPS
from rcache.core.headers import OWS, joined, values, without
from rcache.core.negotiation import is_worth_coding, plain_headers
from rcache.core.reads import unfollowed
from rcache.core.reuse import ERRORS, replaces
from rcache.core.validation import freshened, not_modified, not_modified_headers, selects, strong_etag
from rcache.current import request_scope
from rcache.engine.reading import gathering
from rcache.engine.single_flight import Ending

PATIENCE = 0.05
"""Seconds that those who wait for this flight are held by an answer of unknown length, until its first chunk tells more."""

_HARMLESS = frozenset(("http.response.debug", "http.response.early_hint", "http.response.push"))
_SENT_BY_SERVER = ("http.response.pathsend", "http.response.zerocopysend")
_REPLACED = frozenset((CACHE_GROUPS, b"content-length"))  # ours says what the application's own did as well


class Fill:
    """One run of the application whose answer may be stored."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._cache = errand.cache
        self._plan = errand.plan
        self._keeper = Keeper(errand)
        self._conditions: Sequence[tuple[bytes, bytes]] = ()
        self._held: Message | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._chunks: list[bytes] = []
        self._length = 0
        self._is_collecting = False
        self.has_sent = False  # something of an answer has left for the client
        self._is_answered = False  # by us: what the application still sends goes nowhere
        self._is_covered = False  # the application failed, and a former answer was sent
        self._is_silent = False  # nobody waits for what the application still sends
        self._is_unconfirmed = False  # a 304 spoke of something else
        self._has_left = False
        self._has_body = False  # the request's own, which is not in the key
        self._read: Message | None = None  # the request's body, which a second run reads again
        self._unread: Message | None = None

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Calls the application. Whatever happens, those who wait for this flight are let go."""
        self._receive, self._pass_on = receive, send
        scope = self._errand.scope
        extensions: dict[str, Any] | None = scope.get("extensions")
        if extensions:
            # A file that the server sends by itself never comes past here, so the application is not to ask for that.
            scope["extensions"] = {name: extensions[name] for name in extensions if name not in _SENT_BY_SERVER}
        asked = scope["headers"]
        token = request_scope.set(self._keeper.request)
        gathered = gathering.set(self._keeper.reads) if self._plan.is_auto else None
        ending = Ending.ALONE
        try:
            self._conditions = self._errand.conditions()
            await self._call(app, scope)
            if self._is_unconfirmed:
                self._is_unconfirmed = False
                self._conditions = ()
                self._unread = self._read
                await self._call(app, scope)
            if not self.has_sent:  # it left without an answer
                await self._cover(None)
        except asyncio.CancelledError:
            ending = Ending.AGAIN
            raise
        except Exception:
            if not self._is_covered and (self.has_sent or not await self._cover(None)):
                raise
            logs.COVERED.tell(exc_info=True, route=self._plan.label)
        finally:
            scope["headers"] = asked
            request_scope.reset(token)
            if gathered is not None:
                gathering.reset(gathered)
            self._errand.land(ending)

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        scope["headers"] = self._errand.asked(self._conditions)
        self._errand.asked_at = self._errand.now
        watch = self._errand.watch
        if watch is None:
            await app(scope, self.receive, self.send)
            return
        watched = watch.watching(scope)
        try:
            await app(watched, self.receive, self.send)
        finally:
            scope.update(watched)  # what routers leave there is for whoever stands further out

    def _check(self, refusal: str | None) -> None:
        """Raises StrictError where the answer about to be stored shows what its key does not tell, or cannot be followed."""
        watch = self._errand.watch
        if watch is None:
            return
        if refusal is not None and refusal not in WRITTEN:
            raise unfollowed(refusal)
        watch.check(self._plan, self._headers, is_shared=self._verdict.is_shared)

    async def receive(self) -> Message:
        """Notices a client that leaves midway."""
        message, self._unread = self._unread, None
        if message is None:
            message = await self._receive()
            if self._is_silent and message["type"] == "http.disconnect":  # it was answered, and may well leave
                message = await never()
        if message["type"] == "http.disconnect":
            self._has_left = True
        else:
            self._read = message
            if self._errand.scope["method"] == "GET" and message.get("body"):
                self._has_body = True  # HTTP/2 needs no field to announce one
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] not in _HARMLESS:  # a hint is no answer yet
            self.has_sent = True
        await self._pass_on(message)

    async def send(self, message: Message) -> None:
        """Passes a message of the application on to the client."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._on_start(message)
        elif kind == "http.response.body" and self._is_collecting:
            await self._on_body(message)
        elif not (self._is_answered or self._is_unconfirmed):
            if self._is_collecting and kind not in _HARMLESS:
                await self._give_up("stream")
            await self._send(message)

    # The start

    async def _on_start(self, message: Message) -> None:
        self._status = status = message["status"]
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        if status == 304 and self._conditions:
            await self._on_not_modified(headers)
            return
        if status in ERRORS and await self._cover(status):
            return
        self._verdict = verdict = self._keeper.verdict(status, headers)
        self._headers = without(headers, self._plan.hidden) if self._plan.hidden else headers
        self._started = message
        self._promised = 0 if status == 204 else _content_length(headers)
        reason = verdict.reason
        if reason is None and (reason := self._keeper.refusal) is not None:
            self._check(reason)
        if reason is None and self._promised is not None and self._promised < 0:
            reason = "incomplete"  # as far as anybody can tell
        if reason is None and self._errand.seen.is_inner_keyed:
            reason = "inner-key"
        if reason is None and message.get("trailers"):
            reason = "trailers"
        if reason is None and self._promised is not None and self._promised > self._cache.max_body:
            reason = "too-large"
        if reason is not None:
            await self._refuse(reason)
            await self._send_start(reason)
            return
        self._check(None)
        self._is_collecting = True
        self._own = self._keeper.own(headers, self._keeper.client_ttl(verdict))
        if self._promised is not None:
            self._held = message
        else:
            if self._errand.flight is not None:  # nobody knows when this begins or ends, so nobody waits for it long
                asyncio.get_running_loop().call_later(PATIENCE, self._errand.land, Ending.ALONE)
            await self._send_start(None)

    async def _send_start(self, reason: str | None) -> None:
        """The start without the body, which passes as it comes; or a 304, where the answer's own validators tell already."""
        self._held = None
        headers = [*self._headers] if reason is not None else [*self._headers, *self._own, *self._freshness()]
        if self._plan.coding is not None and is_worth_coding(self._status, headers, self._cache.max_body):
            headers = plain_headers(headers)
        headers.append((b"cache-status", self._keeper.field(reason)))
        if self._is_unmodified(joined(self._headers, b"etag")):
            self._is_answered = True
            await self._send_empty(304, not_modified_headers(headers))
        else:
            await self._send({**self._started, "headers": headers})

    def _freshness(self) -> list[tuple[bytes, bytes]]:
        """What clients are told of it; said anew with each answer's age, so that it is not stored."""
        client_ttl = self._keeper.client_ttl(self._verdict)
        return [] if client_ttl is None else [(b"cache-control", b"max-age=%d" % client_ttl)]

    def _is_unmodified(self, etag: bytes | None) -> bool:
        """Whether the client holds this very answer, though the application was not asked (RFC 9110 §13.2.2)."""
        if self._errand.asks_for_all or not 200 <= self._status < 300 or self._errand.scope["method"] == "POST":
            return False
        now = self._cache.clock.time()
        return not_modified(self._errand.ask.headers, etag, joined(self._headers, b"last-modified"), now)

    async def _send_empty(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    async def _refuse(self, reason: str) -> None:
        """It is not stored, and a former answer that it takes the place of is not served stale in its stead."""
        self._keeper.note(reason)
        if replaces(self._status):
            await self._keeper.distrust()

    async def _give_up(self, reason: str) -> None:
        """Nothing will be stored; what was held goes out, and from here on messages just pass."""
        self._is_collecting = False
        self._chunks.clear()
        await self._refuse(reason)
        if self._held is not None:
            await self._send_start(reason)

    # The body

    async def _on_body(self, message: Message) -> None:
        chunk = bytes(message.get("body", b""))  # a copy of what the application may change later
        self._length += len(chunk)
        if self._length > self._cache.max_body:
            await self._give_up("too-large")
            await self._pass(message)
            return
        self._chunks.append(chunk)
        # Middleware like Starlette's BaseHTTPMiddleware sends the end of a body in a message of its own.
        if self._length == self._promised or not message.get("more_body", False):
            await self._finish(message)
            return
        if self._promised is None:  # nobody knows when this ends, so nobody waits for it
            self._errand.land(Ending.ALONE)
        if self._held is not None:
            await self._send_start(None)
        await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if not self._is_answered:
            await self._send(message)

    async def _finish(self, message: Message) -> None:
        self._is_collecting = False
        body = b"".join(self._chunks)
        own = self._own
        if joined(self._headers, b"etag") is None:
            own = [*own, (b"etag", strong_etag(body, self._headers))]
        entry, reason = None, self._flaw(body)
        if reason is None:
            self._check(self._keeper.refusal)
            entry, reason = await self._keeper.keep(self._status, self._headers, body, own, self._verdict)
            if entry is None and replaces(self._status):
                await self._keeper.distrust()
        else:
            self._keeper.note(reason)
        if self._held is None:
            await self._pass(message)
            return
        headers, etag = [*self._headers, *own], None
        if entry is not None:
            own = [*entry.headers[len(entry.application_headers) :]]
            replaced = _REPLACED.intersection([name for name, _ in own])
            sent = without(self._headers, replaced) if replaced else self._headers
            headers = [*sent, *own]
            headers, body, etag = represented(headers, entry, self._errand.ask.headers)
        headers += self._freshness()
        headers.append((b"cache-status", self._keeper.field(reason, stored=reason is None)))
        await self._deliver(message, headers, body, etag, entry)

    def _flaw(self, body: bytes) -> str | None:
        """Why this body is not to be stored."""
        if self._has_left:
            return "disconnect"
        if self._has_body:  # the application may have read it, and its sender would choose what everybody else gets
            return "body"
        return "incomplete" if self._promised is not None and self._promised != len(body) else None

    async def _deliver(
        self, message: Message, headers: list[tuple[bytes, bytes]], body: bytes, etag: bytes | None, entry: Entry | None
    ) -> None:
        """What the client asked for of an answer that was held until it was whole."""
        status, shown = self._status, body
        if entry is not None and not self._errand.asks_for_all:
            scope = {**self._errand.scope, "headers": self._errand.ask.headers}
            status, headers, shown = selected(self._cache, scope, entry, status, headers, body, etag, self._errand.now)
        if status != self._status:  # else the application's own end of the body may follow
            self._is_answered = True
            message = {"type": "http.response.body"}
        await self._send({**self._started, "status": status, "headers": headers})
        await self._send({**message, "body": shown})

    # A former answer

    async def cover_late(self) -> bool:
        """Whether the former answer was sent for an application that takes too long; whatever it still sends goes nowhere."""
        errand, entry = self._errand, self._errand.stand_in()
        if self.has_sent or entry is None or errand.watch is not None:  # strict mode hides no failure
            return False
        self._is_covered = errand.is_covered = True
        send = self._pass_on
        self.fall_silent()
        scope = {**errand.scope, "headers": errand.ask.headers}
        await replay(self._cache, entry, errand.now, scope, errand.fields, send, self._keeper.field("timeout"))
        return True

    def fall_silent(self) -> None:
        """The client is answered by somebody else: it sees nothing of this run any more."""
        self.has_sent = self._is_silent = True
        self._pass_on = to_nobody
        self._receive = never

    async def _on_not_modified(self, headers: list[tuple[bytes, bytes]]) -> None:
        """The former answer still holds, and is sent with the fields that came for it; or the 304 speaks of another."""
        former = self._errand.former
        assert former is not None  # noqa: S101 (conditions are made of one)
        etag, now = joined(former.application_headers, b"etag"), self._cache.clock.time()
        if not selects(headers, etag, former.last_modified, now, asked_alone=True):
            self._is_unconfirmed = True
            return
        merged = freshened(former.application_headers, headers)
        aged = [*merged, *[(b"age", value) for value in values(headers, b"age")]]
        entry, reason = await self._keeper.freshen(headers, merged, self._keeper.verdict(former.status, aged))
        await self._replay(entry, self._keeper.field(reason, status=304, stored=reason is None))

    async def _cover(self, status: int | None) -> bool:
        """Whether the former answer was sent for an application that answered an error (its status), or nothing."""
        entry = self._errand.stand_in()
        if entry is None or self._errand.watch is not None:  # strict mode hides no failure
            return False
        self._is_covered = self._errand.is_covered = True
        self._errand.land(Ending.FAILED)
        await self._replay(entry, self._keeper.field("stale-if-error", status=status))
        return True

    async def _replay(self, entry: Entry, status_field: bytes) -> None:
        self._is_answered = True
        errand = self._errand
        scope = {**errand.scope, "headers": errand.ask.headers}
        await replay(self._cache, entry, errand.now, scope, errand.fields, self._send, status_field)


async def never() -> Message:
    """A client that neither sends nor leaves."""
    await asyncio.Event().wait()
    raise AssertionError


async def to_nobody(message: Message) -> None:
    """Who was answered stale does not see the new answer."""


def _content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The length that the response promises; None where it promises none, and negative where that cannot be read.

    One that is repeated counts once (RFC 9110 §8.6).
    """
    said = {member.strip(OWS) for line in values(headers, b"content-length") for member in line.split(b",")}
    if not said:
        return None
    length = said.pop()
    return int(length) if not said and length.isdigit() and len(length) < 19 else -1
