"""A HEAD that the application answers tells whether the stored answer to GET still holds (RFC 9111 §4.3.4, §4.3.5)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Send

from rcache import logs
from rcache.asgi.errand import Errand
from rcache.asgi.keeper import Keeper
from rcache.asgi.replay import replay
from rcache.core.entry import Entry
from rcache.core.headers import RawHeaders, joined, values, without
from rcache.core.reuse import ERRORS
from rcache.core.validation import conditions, freshened, head_agrees, selects
from rcache.current import request_scope
from rcache.engine.reading import gathering


class Head:
    """One such request. Its answer passes as it is; what it says of the stored one is done before it leaves.

    An application that fails may be covered by the stored one, as where it fails to answer a GET.
    """

    def __init__(self, errand: Errand, send: Send) -> None:
        self._errand = errand
        self._keeper = Keeper(errand)
        self._send = send
        self._has_begun = False  # the application's answer
        self._is_covered = False  # the application failed, and the stored answer was sent

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Calls the application."""
        token = request_scope.set(self._keeper.request)
        gathered = gathering.set(self._keeper.reads) if self._errand.plan.is_auto else None
        try:
            await app(self._errand.scope, receive, self.send)
            if not self._has_begun:  # it left without an answer
                await self._cover(None)
        except Exception:
            if not self._is_covered and (self._has_begun or not await self._cover(None)):
                raise
            logs.COVERED.tell(exc_info=True, route=self._errand.plan.label)
        finally:
            request_scope.reset(token)
            if gathered is not None:
                gathering.reset(gathered)

    async def send(self, message: Message) -> None:
        """Passes a message on; the start says why the application was asked."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            status = message["status"]
            if status in ERRORS and await self._cover(status):
                return
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            field = self._keeper.field(None, stored=await self._compare(status, headers))
            headers = without(headers, self._errand.plan.hidden)
            message = {**message, "headers": [*headers, (b"cache-status", field)]}
        if not self._is_covered:
            await self._send(message)

    async def _cover(self, status: int | None) -> bool:
        """Whether the stored answer was sent for an application that answered an error (its status), or nothing."""
        errand, entry = self._errand, self._errand.stand_in()
        if entry is None:
            return False
        self._is_covered = errand.is_covered = True
        field = self._keeper.field("stale-if-error", status=status)
        await replay(errand.cache, entry, errand.now, errand.scope, errand.fields, self._send, field)
        return True

    async def _compare(self, status: int, headers: RawHeaders) -> bool:
        """Whether the stored answer was freshened. One that is contradicted counts as stale, and is validated first."""
        former = self._errand.former
        holds = None if former is None else self._holds(former, status, headers)
        if former is None or holds is None:
            return False
        if not holds:
            await self._keeper.distrust()
            return False
        merged = freshened(former.application_headers, headers)
        aged = [*merged, *[(b"age", value) for value in values(headers, b"age")]]
        _, reason = await self._keeper.freshen(headers, merged, self._keeper.verdict(former.status, aged))
        return reason is None

    def _holds(self, former: Entry, status: int, headers: RawHeaders) -> bool | None:
        """Whether GET would still be answered by `former`, as far as this answer tells: None where it does not."""
        etag, modified = joined(former.application_headers, b"etag"), former.last_modified
        now = self._errand.cache.clock.time()
        if status == 304:
            # The conditions were the client's, who may hold another answer: this one has to be named.
            is_named = conditions(joined(headers, b"etag"), joined(headers, b"last-modified"))
            return True if is_named and selects(headers, etag, modified, now) else None
        if status != 200:
            return None
        if former.status != 200:
            return False
        return head_agrees(headers, etag=etag, last_modified=modified, length=former.length, now=now)
