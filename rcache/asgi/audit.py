"""One hit in many is audited: the application answers it as well, in the background, and the two answers are compared.

What differs is no finding where anything has purged, held or replaced the entry by then: it was right when it was served, or is
about to be. A writer may purge only after its COMMIT, and a replica may lag behind; so what differs is looked at a second time a
moment later. And what the application answers in two ways when it is asked twice tells nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import random
from typing import Final

from starlette.types import ASGIApp, Message, Scope

from rcache import logs
from rcache.asgi.bodies import Reread
from rcache.asgi.errand import SEEN, Seen
from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.replay import replay
from rcache.cache import Cache
from rcache.core.audit import (
    EXCUSED,
    FAILED,
    MOST_DIFFERENCES,
    SAME,
    STALE,
    UNSTEADY,
    Answer,
    Audit,
    Difference,
    Outcome,
    differences,
    is_telling,
)
from rcache.core.changes import without_families
from rcache.core.coding import decode
from rcache.core.entry import Entry, Found
from rcache.core.errors import BackendError
from rcache.core.findings import MOST_TOLD, Finding, Query, unnamed
from rcache.core.headers import values, without
from rcache.core.reads import Reads
from rcache.core.storing import may_store, stored_headers
from rcache.core.tags import listed
from rcache.core.validation import unconditional
from rcache.current import RequestScope, gathering, request_scope
from rcache.engine.reading import WROTE
from rcache.ports import Budget, Facts
from rcache.signals import audit_difference, audited, notify

LONGEST: Final = 30.0
"""Seconds that an audited application may take for its answer, where its rule has no `hard_timeout`."""

LONG: Final = 32 * 1024
"""Bytes from which bodies are compared in a thread, while the event loop does other things."""

_RANGES: Final = frozenset((b"range", b"if-range"))
_SENT_BY_SERVER: Final = ("http.response.pathsend", "http.response.zerocopysend")
_NOTHING_TO_READ: Final[Sequence[Message]] = ({"type": "http.request", "body": b"", "more_body": False},)


def is_drawn(audit: Audit) -> bool:
    """Whether this hit is one of those that are audited."""
    return random() < audit.rate  # noqa: S311 (no secret)


def auditing(app: ASGIApp, plan: Plan) -> Callable[..., Awaitable[None]]:
    """`replay` of the plainest hits, under a plan that audits: one more draw for each."""
    assert plan.audit is not None  # noqa: S101 (asked by the caller)
    audit = plan.audit

    def replay_and_audit(
        cache: Cache,
        entry: Entry,
        now: float,
        scope: Scope,
        fields: dict[bytes, bytes],
        send: Callable[..., Awaitable[None]],
    ) -> Awaitable[None]:
        if is_drawn(audit):
            ask = Inquiry(scope, fields, plan.names, plan.query, cache.key_host)
            start_audit(app, plan, cache, ask, scope, entry, now)
        return replay(cache, entry, now, scope, fields, send)

    return replay_and_audit


def start_audit(
    app: ASGIApp,
    plan: Plan,
    cache: Cache,
    ask: Inquiry,
    scope: Scope,
    entry: Entry,
    now: float,
    read: Sequence[Message] = _NOTHING_TO_READ,
) -> None:
    """Begins an audit of `entry`, which answers `ask` at `now`, unless its key is being audited or too much is.

    `read` is the request's body.
    """
    if plan.audit is not None:  # which may have ended since
        run = _Run(app, plan, cache, ask, scope, entry, now, read)
        cache.audits.start((ask.key,), run)


class _Run:
    """One audit."""

    def __init__(
        self,
        app: ASGIApp,
        plan: Plan,
        cache: Cache,
        ask: Inquiry,
        scope: Scope,
        entry: Entry,
        now: float,
        read: Sequence[Message],
    ) -> None:
        assert plan.audit is not None  # noqa: S101 (asked by the caller)
        self._app = app
        self._plan = plan
        self._audit = plan.audit
        self._cache = cache
        self._ask = ask
        self._entry = entry
        self._now = now
        self._read = read
        # The request is answered and gone by then, so it gets a scope of its own.
        extensions = scope.get("extensions") or {}
        self._scope = {
            **scope,
            "method": "GET" if scope["method"] == "HEAD" else scope["method"],
            "headers": without(unconditional(scope["headers"]), _RANGES),
            "state": dict(scope.get("state") or {}),
            "extensions": {name: extensions[name] for name in extensions if name not in _SENT_BY_SERVER},
        }
        query = scope["query_string"].decode("latin-1")
        self._url = scope["path"] + (f"?{query}" if query else "")

    async def __call__(self) -> None:
        cache, tally, observer = self._cache, self._plan.tally, self._cache.observer
        route, run = tally.route, self._outcome()
        try:
            outcome = await (run if observer is None else observer.watch("audit", route, run, _facts))
        except Exception:
            outcome = FAILED
            logs.AUDIT_FAILED.tell(url=self._url, exc_info=True)
        tally.audited[outcome] += 1
        if audited.receivers:
            notify(audited, cache, url=self._url, route=route, outcome=outcome)

    async def _outcome(self) -> Outcome:
        served = self._served()
        made, _ = await self._made()
        if made is None or not is_telling(made.status):
            return FAILED
        if not await self._differences(served, made):
            return SAME
        if not await self._stands():
            return EXCUSED
        await asyncio.sleep(self._audit.settled_after)
        again, reads = await self._made()
        if again is None or not is_telling(again.status):
            return FAILED
        found = await self._differences(served, again)
        if not found or not await self._stands():
            return EXCUSED
        noise = {each.where for each in await self._differences(made, again)}
        steady = tuple(each for each in found if each.where not in noise)
        if not steady:
            places = ", ".join(sorted(noise)[:MOST_TOLD])
            self._cache.audits.tell_once(logs.AUDIT_UNSTEADY, self._plan.label, places=places)
            return UNSTEADY
        self._report(served, again, steady, reads)
        return STALE

    def _served(self) -> Answer:
        entry = self._entry
        body = entry.body if entry.coding is None else decode(entry.coding, entry.body, entry.length)
        return Answer(entry.status, tuple(entry.application_headers), body)

    async def _stands(self) -> bool:
        """Whether a look-up that nobody's near cache answers still gives the very entry that was served.

        A purge may be on its way before the look-up and landed after it, or set out meanwhile.
        """
        cache, entry = self._cache, self._entry
        if cache.forbids(entry.tags):
            return False
        store = getattr(cache.store, "store_behind", cache.store)
        try:
            found = await store.lookup(self._ask, Budget(cache.allowance))
        except BackendError:
            return False
        return isinstance(found, Found) and found.entry == entry and not cache.forbids(entry.tags)

    async def _differences(self, one: Answer, other: Answer) -> tuple[Difference, ...]:
        most = self._cache.max_body
        if one.body == other.body or max(len(one.body), len(other.body)) < LONG:
            return differences(one, other, self._audit, most)
        return await asyncio.to_thread(differences, one, other, self._audit, most)

    # The application

    async def _made(self) -> tuple[Answer | None, Reads]:
        """What the application answers now, None where that is not whole, and what it reads for it."""
        reads = Reads()
        reads.queries = []
        token, gathered = request_scope.set(RequestScope(self._cache, set(), reads)), gathering.set(reads)
        collector = _Collector(self._cache.max_body)
        try:
            async with asyncio.timeout(self._plan.hard_timeout or LONGEST) as collector.limit:
                scope = {**self._scope, "state": dict(self._scope["state"]), SEEN: Seen(self._plan.options)}
                await self._app(scope, Reread(self._read, _never), collector.send)
        except _TooLong:
            pass
        finally:
            gathering.reset(gathered)
            request_scope.reset(token)
        if WROTE in reads.refused:
            self._stop()
            return None, reads
        return self._as_stored(collector), reads

    def _as_stored(self, collector: _Collector) -> Answer | None:
        if not collector.is_whole:
            return None
        plan = self._plan
        headers = without(collector.headers, plan.hidden) if plan.hidden else collector.headers
        now = self._cache.clock.time()
        verdict = may_store(
            collector.status, collector.headers, plan.storing, personal=False, now=now, response_delay=0.0
        )
        return Answer(collector.status, stored_headers(headers, verdict.directives), b"".join(collector.chunks))

    def _stop(self) -> None:
        """What changes something when it is asked is not asked any more than it must."""
        self._plan.audit = None
        self._plan.replay = replay
        self._cache.audits.tell_once(logs.AUDIT_WRITES, self._plan.label)

    # The report

    def _report(self, served: Answer, made: Answer, found: tuple[Difference, ...], reads: Reads) -> None:
        entry, refused = self._entry, tuple(each for each in reads.refused if each != WROTE)
        finding = Finding(
            url=self._url,
            route=self._plan.tally.route,
            age=entry.age(self._now),
            ttl=entry.ttl(self._now),
            stored_at=entry.stored_at,
            tags=without_families(entry.tags[1:]),
            unnamed=unnamed(reads.tags, entry.tags),
            unfollowed=refused,
            queries=tuple(Query(text, tuple(sorted(told.tags))) for text, told in reads.queries or ()),
            differences=found[:MOST_DIFFERENCES],
            served=served,
            made=made,
        )
        logs.STALE_SERVED.tell(
            finding=finding.explain(),
            url=finding.url,
            route=finding.route,
            age=finding.age,
            tags=listed(finding.tags),
            differences=", ".join(each.where for each in finding.differences),
        )
        if audit_difference.receivers:
            notify(audit_difference, self._cache, finding=finding)


def _facts(outcome: Outcome) -> Facts:
    return {"verdict": outcome}


class _TooLong(Exception):  # noqa: N818 (it ends a run that tells nothing any more, and is nobody's mistake)
    """The body is longer than any that is stored."""


class _Collector:
    """Takes an answer that goes to nobody."""

    def __init__(self, most: int) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.limit: asyncio.Timeout | None = None
        self._most = most
        self._length = 0
        self._is_ended = False

    async def send(self, message: Message) -> None:
        """Takes one message."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        elif kind == "http.response.body" and not self._is_ended:
            chunk = bytes(message.get("body", b""))
            self.chunks.append(chunk)
            self._length += len(chunk)
            if self._length > self._most:
                raise _TooLong
            if not message.get("more_body", False):
                self._is_ended = True
                if self.limit is not None:  # what it does after its answer takes as long as it takes
                    self.limit.reschedule(None)

    @property
    def is_whole(self) -> bool:
        """Whether all came that was promised."""
        promised = values(self.headers, b"content-length")
        return self._is_ended and (self.status == 204 or not promised or promised[-1] == b"%d" % self._length)


async def _never() -> Message:
    """A client that neither sends nor leaves."""
    await asyncio.Event().wait()
    raise AssertionError
