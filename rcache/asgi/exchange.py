"""One request that is not the plainest hit: who asks, what the store says, whose run of the application answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import random
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcache.asgi.audit import is_drawn, start_audit
from rcache.asgi.bodies import Reread, read_body
from rcache.asgi.errand import SEEN, Errand, Seen
from rcache.asgi.fill import Fill, never, to_nobody
from rcache.asgi.forward import Forward
from rcache.asgi.head import Head
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import REFRESHING, Plan
from rcache.asgi.replay import replay
from rcache.asgi.strict import Watch
from rcache.asgi.timed import Timed
from rcache.cache import Cache
from rcache.core import cache_status
from rcache.core.coding import is_available
from rcache.core.entry import NOWHERE, Entry, Found, Missing
from rcache.core.errors import BackendError
from rcache.core.keys import Carrier, with_body
from rcache.core.lease import Word
from rcache.core.request_directives import NO_ADVICE, RequestDirectives, request_directives
from rcache.core.reuse import Use, may_stand_in, reuse, without_demands
from rcache.current import RequestScope
from rcache.engine.single_flight import Ending, Flight, Landed
from rcache.engine.stats import Outcome
from rcache.engine.watching import looked_up
from rcache.ports import Budget, Lease, What

MOST_FOLLOWS: Final = 2
"""Flights that a request follows before it runs by itself: one whose Vary was not known yet, and one of its own variant.

Without a bound, purges from elsewhere during each run would let those who wait run one after the other.
"""


class Sought(NamedTuple):
    """What a look-up says to a request that it does not answer."""

    found: Found | Missing
    former: Entry | None  # what is stored, and is to be made anew
    reason: str  # why the application is asked, in the words of RFC 9211 §2.2
    at: float  # by this process' clock


class Waiting(NamedTuple):
    """A request that waits for another node, with those that follow it here."""

    flight: Flight
    reason: str


class Exchange:
    """Answers one request under `plan`. `fields` are its headers, the last of repeated ones."""

    __slots__ = (
        "_app",
        "_budget",
        "_cache",
        "_fields",
        "_hit",
        "_method",
        "_outcome",
        "_passing",
        "_personal",
        "_plan",
        "_read",
        "_receive",
        "_scope",
        "_send",
        "_wait",
        "_watch",
        "_wishes",
    )

    def __init__(
        self,
        app: ASGIApp,
        passing: RequestScope,
        plan: Plan,
        scope: Scope,
        fields: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._cache: Cache = passing.cache
        self._passing = passing
        self._plan = plan
        self._scope = scope
        self._fields = fields
        self._receive = receive
        self._send = send
        self._personal: str | None = None
        self._outcome: Outcome = "passes"  # until something comes of it
        self._hit: tuple[Inquiry, Found] | None = None
        self._wishes = NO_ADVICE
        self._wait = self._cache.wait if plan.wait is None else plan.wait
        self._watch = Watch() if plan.is_strict else None
        self._method: str = scope["method"]
        self._read: Sequence[Message] = _NOTHING_TO_READ
        self._budget = Budget(self._cache.allowance)
        if not self._cache.is_open:
            self._cache.open()

    @property
    def _route(self) -> str:
        return self._plan.tally.route

    async def answer(self) -> None:
        """Answers it, and counts it once, whatever its end."""
        clock, tally = self._cache.clock, self._plan.tally
        began = clock.monotonic()
        try:
            # What a hit waits in is kept shallow: each coroutine between it and the loop costs it.
            ask = await self._inquiry()
            if ask is not None and (sought := await self._seek(ask)) is not None:
                await self._make(ask, sought)
        finally:
            ended = clock.monotonic()
            seconds = ended - began
            if self._hit is None:
                tally.end(self._outcome, seconds)
            else:
                tally.left -= 1
                if tally.left <= 0:
                    ask, found = self._hit
                    tally.look(ask.key, ask.variant(found.names), found.entry.length, seconds, ended)

    async def _inquiry(self) -> Inquiry | None:
        """What is to be looked up; None where the request was answered: its key does not tell it from others'."""
        plan, scope, fields = self._plan, self._scope, self._fields
        if plan.refusal is not None:
            await self._bypass(plan.refusal)
            return None
        identity: bytes | None = None
        is_told = False
        if plan.is_keyed:
            try:
                asked = scope if self._watch is None else self._watch.identifying(scope)
                identity, is_told = await plan.identity(asked)
            except HTTPException as error:
                await self._refuse(error)
                return None
            if identity is None:
                await self._bypass("key")
                return None
            if self._watch is not None:
                self._watch.is_told = is_told
        if self._method in plan.options.methods:
            body = await self._body()
            if body is None:
                await self._bypass("body")
                return None
            identity = with_body(identity, self._method, scope["headers"], body)
        elif fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
            # An application may read it, and then its sender would choose what everybody else gets.
            await self._bypass("body")
            return None
        if not fields.keys().isdisjoint(REFRESHING):
            if b"if-match" in fields or b"if-unmodified-since" in fields:
                # Only the origin knows the current state of what they speak of (RFC 9111 §4.3.2).
                await self._pass("request", "precondition")
                return None
            self._personal = None if is_told else plan.personal(scope["headers"], fields)
            self._wishes = self._heeded()
        ask = Inquiry(scope, fields, plan.names, plan.query, self._cache.key_host, identity)
        if ask.is_too_long:
            await self._bypass("target")
            return None
        reason = self._cache.uncacheable.reason(ask.key, self._personal is not None)
        if reason is not None:
            await self._bypass(reason)
            return None
        return ask

    async def pass_guarded(self, seen: Seen) -> None:
        """Lets a request through that a CacheMiddleware further out handles, once its guard here has let it pass."""
        if self._plan.options != seen.options:  # else the very same rule has been asked already
            seen.is_inner_keyed = True
            try:
                await self._plan.identity(self._scope)
            except HTTPException as error:
                await self._refuse(error)
                return
        await self._app(self._scope, self._receive, self._send)

    def _heeded(self) -> RequestDirectives:
        """What the client asks of caches, as far as this rule lets it."""
        if b"cache-control" not in self._fields and b"pragma" not in self._fields:
            return NO_ADVICE
        wishes = request_directives(self._scope["headers"])
        return wishes if self._plan.client_may_refresh else without_demands(wishes)

    async def _body(self) -> bytes | None:
        """The request's whole body, which the application then reads again; None where it is too long, or breaks off."""
        body, self._read = await read_body(self._receive, self._plan.options.max_request_body)
        self._receive = Reread(self._read, self._receive)
        return body

    async def _make(self, ask: Inquiry, sought: Sought | None) -> None:
        """Answers from another request's flight, or from the application, what the store did not."""
        follows = self._follows
        while sought is not None:
            if not follows or sought.reason == "request":
                await self._fill(ask, sought)
                return
            flight, is_mine = self._cache.flights.join_or_lead(ask.key, ask.variant(sought.found.names))
            if is_mine:
                await self._lead(ask, sought, flight, follows)
                return
            ending = await self._follow(ask, sought, flight)
            if ending is None:
                return
            if ending is Ending.FAILED and await self._cover(sought, "stale-if-error"):
                return
            if ending is Ending.LATE and await self._cover(sought, "timeout"):
                return
            follows = follows - 1 if ending is Ending.AGAIN else 0
            sought = await self._seek(ask)

    @property
    def _follows(self) -> int:
        """How many runs of others this request waits for before it runs by itself."""
        return MOST_FOLLOWS if self._method != "HEAD" and self._personal is None and self._wait > 0 else 0

    async def _seek(self, ask: Inquiry, waiting: Waiting | None = None) -> Sought | None:
        """What the store says, where the application is to be asked; None where the request was answered.

        `waiting`: for an answer that another node made meanwhile.
        """
        try:
            trip, observer = self._cache.store.lookup(ask, self._budget), self._cache.observer
            found = await (trip if observer is None else observer.watch("lookup", self._route, trip, looked_up))
        except BackendError:
            self._plan.tally.outages += 1
            self._plan.tell_once("outage")
            await self._answer_outside(ask, "bypass", "outage")
            return None
        if isinstance(found, Found) and not is_available(found.entry.coding):
            found = Missing(found.start, found.now, "coding", found.names)
        elif isinstance(found, Found) and self._personal is not None and not found.entry.is_shared:
            # It answers nobody with credentials, but says nothing of an answer that may be stored for everybody.
            found = Missing(found.start, found.now, "credentials", found.names)
        former, reason = None, "miss"
        if isinstance(found, Found):
            if (forbidden := self._cache.forbids(found.entry.tags)) is not None:
                await self._bypass(forbidden)
                return None
            luck = 1.0 - random() if found.entry.cost else 1.0  # noqa: S311 (no secret)
            use, reason = reuse(found.entry, found.now, self._wishes, luck)
            if use is not Use.VALIDATE:
                await self._serve(ask, found, use, waiting)
                return None
            former = found.entry
        if self._wishes.only_if_cached:
            await self._time_out()
            return None
        if self._wishes.no_store:
            await self._pass("request", "no-store")
            return None
        self._outcome = "misses"
        sought = Sought(found, former, reason, self._cache.clock.monotonic())
        if found.start is None:
            await self._answer_outside(ask, "miss", found.reason)
            return None
        if self._method == "HEAD":
            await self._head(ask, sought)
            return None
        return sought

    # Of all nodes one runs

    async def _lead(self, ask: Inquiry, sought: Sought | None, flight: Flight, follows: int) -> None:
        """Answers from this process' own run, or from that of another node. Those who follow the flight are let go."""
        clock = self._cache.clock
        until = clock.monotonic() + self._wait
        try:
            while sought is not None:
                lease = await self._leased(ask, sought.found.names)
                if lease is None or lease.is_mine or not follows:
                    break
                word = await lease.word(self._patience(sought, until - clock.monotonic()))
                if word is None and await self._cover(sought, "timeout"):
                    flight.land(Ending.LATE)
                    return
                if word is None or word is Word.ALONE:
                    lease = None
                    break
                follows -= word is Word.AGAIN
                # What is found now answers those who have joined by now, and nobody who comes later.
                flight.depart()
                self._budget = Budget(self._cache.allowance)
                sought = await self._seek(ask, Waiting(flight, sought.reason))
        except BaseException:
            flight.land(Ending.AGAIN)
            raise
        if sought is None:
            flight.land(Ending.AGAIN)
        else:  # whose run lands it, if need be after this request was answered
            await self._fill(ask, sought, flight, lease)

    async def _leased(self, ask: Inquiry, names: tuple[str, ...]) -> Lease | None:
        """The lease on an answer; None where there are no other nodes, or nothing can be heard of them."""
        try:
            return await self._cache.store.lease(ask, names, self._budget)
        except BackendError:
            self._plan.tally.outages += 1
            return None

    def _patience(self, sought: Sought, left: float) -> float:
        """Seconds that this request waits for another's run: for its own no longer, where something may answer in its stead."""
        timeout = self._plan.timeout
        if (
            timeout is not None
            and sought.former is not None
            and may_stand_in(sought.former, sought.found.now, self._wishes)
        ):
            left = min(left, timeout)
        return max(0.0, left)

    # From the store

    async def _serve(self, ask: Inquiry, found: Found, use: Use, waiting: Waiting | None) -> None:
        field = None
        if waiting is None:
            if found.entry.ttl(found.now) > 0:
                self._hit = ask, found
            else:
                self._outcome = "stale"
        else:
            self._plan.tally.collapsed += 1
            field = cache_status.forward(waiting.reason, collapsed=True)
            if use is Use.HIT:
                waiting.flight.land(Landed(found.entry, found.names, ask.variant(found.names), found.now))
        if use is Use.REFRESH and not self._wishes.no_store:  # the answer to that would be stored
            self._refresh(ask, found)
        elif use is Use.HIT and self._plan.audit is not None and is_drawn(self._plan.audit):
            self._audit(ask, found)
        await replay(self._cache, found.entry, found.now, self._scope, self._fields, self._send, field)

    def _audit(self, ask: Inquiry, found: Found) -> None:
        """Lets the application answer as well, in the background, where that is safe and nobody's secret."""
        plan = self._plan
        is_private = plan.is_keyed or self._personal is not None
        assert plan.audit is not None  # noqa: S101 (asked by the caller)
        if found.entry.ttl(found.now) > 0 and self._method != "POST" and (plan.audit.private or not is_private):
            start_audit(self._app, plan, self._cache, ask, self._scope, found.entry, found.now, self._read)

    async def _follow(self, ask: Inquiry, sought: Sought, flight: Flight) -> Ending | None:
        """Answers from another request's run where that may be shared with this one (None); else what to do instead."""
        landed = await flight.follow(self._patience(sought, self._wait))
        if isinstance(landed, Ending):
            return landed
        if ask.variant(landed.names) != landed.variant or self._cache.forbids(landed.entry.tags):
            return Ending.AGAIN
        field = cache_status.forward(sought.reason, collapsed=True)
        return None if await self._is_shared(ask, landed, field) else Ending.ALONE

    async def _cover(self, sought: Sought, detail: str) -> bool:
        """Whether the stale answer was sent that this request found, after the run it waited for had failed, or was late."""
        former, now = sought.former, sought.found.now + self._cache.clock.monotonic() - sought.at
        if former is None or self._cache.journal.blocks(former.tags) or not may_stand_in(former, now, self._wishes):
            return False
        self._outcome = "stale"
        field = cache_status.forward("stale", collapsed=True, detail=detail)
        await replay(self._cache, former, now, self._scope, self._fields, self._send, field)
        return True

    async def _time_out(self) -> None:
        """The client takes only what is stored (RFC 9111 §5.2.1.7)."""
        self._outcome = "passes"
        headers = [(b"content-length", b"0"), (b"cache-status", cache_status.refused("only-if-cached"))]
        await self._send({"type": "http.response.start", "status": 504, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    # While nothing can be stored

    async def _answer_outside(self, ask: Inquiry, forwarded: str, detail: str) -> None:
        """Answers with a run of the application that began after this request, and is shared with those that wait for it, too."""
        follows = 0 if self._wishes.no_store or self._heeded().only_if_cached else self._follows
        if not follows and forwarded == "miss":
            await self._forward(cache_status.forward(forwarded, detail=detail))
            return
        if not follows:
            await self._pass(forwarded, detail)
            return
        turns = self._cache.turns
        while follows:
            flight, is_mine = turns.join_or_lead(ask.key, ask.variant(ask.names))
            if is_mine:
                try:
                    await turns.begin(flight, self._wait)
                    await self._run_outside(ask, forwarded, detail, flight)
                finally:
                    turns.end(flight)
                return
            landed = await flight.follow(self._wait)
            if isinstance(landed, Ending):
                follows = follows - 1 if landed is Ending.AGAIN else 0
            elif await self._is_shared(ask, landed, cache_status.forward(forwarded, collapsed=True, detail=detail)):
                return
            else:
                follows = 0
        await self._run_outside(ask, forwarded, detail)

    async def _is_shared(self, ask: Inquiry, landed: Landed, field: bytes) -> bool:
        """Whether another request's answer was sent to this one: not where it is another variant, or to be validated by each."""
        entry = landed.entry
        if ask.variant(landed.names) != landed.variant or reuse(entry, landed.at, self._wishes).use is Use.VALIDATE:
            return False
        self._outcome = "misses"
        self._plan.tally.collapsed += 1
        await replay(self._cache, entry, landed.at, self._scope, self._fields, self._send, field)
        return True

    async def _run_outside(self, ask: Inquiry, forwarded: str, detail: str, flight: Flight | None = None) -> None:
        self._outcome = "misses" if forwarded == "miss" else "passes"
        clock = self._cache.clock
        sought = Sought(Missing(NOWHERE, clock.time(), detail, ask.names), None, forwarded, clock.monotonic())
        errand = self._errand(ask, sought, self._scope, flight, outside=detail)
        await self._run(errand, self._receive, self._send)

    # From the application

    def _errand(
        self,
        ask: Inquiry,
        sought: Sought,
        scope: Scope,
        flight: Flight | None = None,
        lease: Lease | None = None,
        *,
        outside: str | None = None,
        is_refresh: bool = False,
    ) -> Errand:
        found = sought.found
        assert found.start is not None  # noqa: S101 (without a start nothing is filled)
        return Errand(
            cache=self._cache,
            plan=self._plan,
            ask=ask,
            scope=scope,
            fields=self._fields,
            start=found.start,
            looked_up=found.now,
            reason=sought.reason,
            seen=Seen(self._plan.options),
            budget=self._budget,
            names=found.names,
            watch=self._watch,
            personal=self._personal,
            wishes=self._wishes,
            flight=flight,
            lease=lease,
            former=sought.former,
            outside=outside,
            is_refresh=is_refresh,
        )

    async def _fill(
        self, ask: Inquiry, sought: Sought, flight: Flight | None = None, lease: Lease | None = None
    ) -> None:
        errand = self._errand(ask, sought, self._scope, flight, lease)
        try:
            await self._run(errand, self._receive, self._send)
        finally:
            if errand.is_covered:
                self._outcome = "stale"

    async def _run(self, errand: Errand, receive: Receive, send: Send) -> None:
        errand.scope[SEEN] = errand.seen
        try:
            run = (Timed if self._plan.is_timed else Fill)(errand).run(self._app, receive, send)
            observer = self._cache.observer
            what: What = "refresh" if errand.is_refresh else "fill"
            await (run if observer is None else observer.watch(what, self._route, run, errand.facts))
        finally:  # whoever calls again with this scope makes a new request
            errand.scope.pop(SEEN, None)

    def _refresh(self, ask: Inquiry, found: Found) -> None:
        """Lets the application make a new answer in the background, unless a run for it is under way already."""

        async def refresh() -> None:
            warming, carrier = self._cache.warming, Carrier(ask.key, ask.variant(found.names))
            if self._plan.refresh == "worker" and await warming.is_handed_over(carrier, found.entry.stored_at):
                return
            flight, is_mine = self._cache.flights.join_or_lead(ask.key, ask.variant(found.names))
            if not is_mine:
                return
            self._budget = Budget(self._cache.allowance)
            try:
                lease = await self._leased(ask, found.names)
                if lease is not None and not lease.is_mine:
                    await lease.word(self._wait)  # until then nobody here needs to ask again
                    flight.land(Ending.AGAIN)
                    return
            except BaseException:
                flight.land(Ending.AGAIN)
                raise
            sought = Sought(found, found.entry, "stale", began)
            errand = self._errand(ask, sought, scope, flight, lease, is_refresh=True)
            await self._run(errand, Reread(self._read, never), to_nobody)

        began = self._cache.clock.monotonic()
        # The request is answered and gone by then, so it gets a scope of its own. An answer to HEAD would have no body.
        method = "GET" if self._method == "HEAD" else self._method
        scope = {**self._scope, "method": method, "state": dict(self._scope.get("state") or {})}
        self._cache.refreshes.start((ask.key, ask.variant(found.names)), refresh)

    async def _head(self, ask: Inquiry, sought: Sought) -> None:
        errand = self._errand(ask, sought, self._scope)
        self._scope[SEEN] = errand.seen
        try:
            run, observer = Head(errand, self._send).run(self._app, self._receive), self._cache.observer
            await (run if observer is None else observer.watch("fill", self._route, run, errand.facts))
        finally:
            if errand.is_covered:
                self._outcome = "stale"
            self._scope.pop(SEEN, None)

    async def _bypass(self, reason: str) -> None:
        self._plan.tell_once(reason)
        await self._pass("bypass", reason)

    async def _pass(self, forwarded: str, detail: str) -> None:
        if self._heeded().only_if_cached:
            await self._time_out()
            return
        self._outcome = "passes"
        await self._forward(cache_status.forward(forwarded, detail=detail))

    async def _forward(self, field: bytes) -> None:
        self._scope[SEEN] = Seen(self._plan.options)
        try:
            await Forward(self._send, field, self._plan.hidden).run(
                self._app, self._passing, self._scope, self._receive
            )
        finally:
            self._scope.pop(SEEN, None)

    async def _refuse(self, error: HTTPException) -> None:
        """A guard's HTTPException, answered as if the endpoint had raised it."""

        async def raises(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        plan = self._plan
        handlers = {key: handler for key, handler in plan.handlers.items() if key not in (500, Exception)}
        app = ExceptionMiddleware(raises, handlers=handlers)
        forward = Forward(self._send, cache_status.forward("bypass", detail="guard"), plan.hidden)
        await forward.run(app, self._passing, plan.seen(self._scope), self._receive)


_NOTHING_TO_READ: Final[Sequence[Message]] = ({"type": "http.request", "body": b"", "more_body": False},)
