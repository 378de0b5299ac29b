"""Makes entries of an errand's answers, and stores them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from random import random
from typing import Any, Final

from rcache.asgi.errand import Errand
from rcache.asgi.plan import UNFOLLOWED, WRITING
from rcache.core.cache_status import forward
from rcache.core.changes import families, without_families
from rcache.core.entry import Entry
from rcache.core.errors import BackendError
from rcache.core.groups import CACHE_GROUPS, export, groups
from rcache.core.headers import RawHeaders, joined, values, without
from rcache.core.negotiation import compressed
from rcache.core.reads import Reads, coarse
from rcache.core.reuse import distrusted
from rcache.core.search import NO_VARY_SEARCH, may_state
from rcache.core.storing import Verdict, may_store, stored_headers
from rcache.core.vary import merge, vary_names
from rcache.current import RequestScope, current_reads
from rcache.engine.reading import WROTE
from rcache.engine.single_flight import Ending, Landed
from rcache.signals import notify, response_stored

MAX_TAGS: Final = 1000
"""Tags of one entry; an answer with more depends on so much that it would hardly ever be a hit."""

MAX_READS: Final = 500
"""Tags of one entry that nobody wrote down; beyond them it depends on whole tables."""

WRITTEN: Final = frozenset((WROTE, "uncommitted"))
"""Reasons of requests that have written, which is no mistake of what they read."""

LONG: Final = 32 * 1024
"""Bytes from which a body is compressed in a thread, while the event loop does other things."""

_LENGTH: Final = frozenset((b"content-length",))

_LASTING: Final = frozenset(
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
        "no-dependencies",
        "targeted",
    )
)
"""Reasons that lie in the URL rather than in one answer, so that the next request need not ask the store."""


class Keeper:
    """What becomes of one errand's answer."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._cache = errand.cache
        self._plan = errand.plan
        self.reads = Reads(current_reads(), is_strict=errand.plan.is_strict)
        self.request = RequestScope(errand.cache, set(), self.reads)
        self._status = 0
        self._received = errand.looked_up  # when the answer's start came, by the store's clock
        # Mounts move the root path on the way in, and leave it there.
        self._place = {"path": errand.scope["path"], "root_path": errand.scope.get("root_path", "")}

    def verdict(self, status: int, headers: RawHeaders) -> Verdict:
        """Whether such an answer may be stored."""
        errand, now = self._errand, self._cache.clock.time()
        self._received, self._status = errand.now, status
        return may_store(
            status,
            headers,
            self._plan.storing,
            personal=errand.personal is not None,
            now=now,
            response_delay=self._received - errand.asked_at,
        )

    def field(self, reason: str | None, *, status: int | None = None, stored: bool = False) -> bytes:
        """What Cache-Status says of an answer that was not stored for that reason."""
        if reason == "credentials":
            return forward("bypass", detail=self._errand.personal)
        reason = self._errand.outside or reason
        return forward(self._errand.reason, status=status, stored=stored, detail=reason)

    @property
    def refusal(self) -> str | None:
        """Why nothing made by this run may be stored, as far as is known by now."""
        if self.request.refusal is not None:
            return self.request.refusal
        return next(iter(self.reads.refused), None)

    def note(self, reason: str, detail: str = "") -> None:
        """Lets those go who wait for this run, and remembers what lies in the URL."""
        errand, personal = self._errand, self._errand.personal
        errand.refusal = reason
        errand.land(Ending.ALONE)
        if reason in self.reads.refused:
            self._plan.tell_once(reason, otherwise=WRITING if reason in WRITTEN else UNFOLLOWED)
        elif reason in _LASTING:
            told = personal if reason == "credentials" and personal else reason
            # An error page says nothing of the URL, and what is stored of it already is not to be passed by.
            if self._status < 500 and errand.former is None and not errand.names:
                self._cache.uncacheable.note(errand.ask.key, personal is not None, told)
            self._plan.tell_once(told)
        elif reason in ("tag", "stale"):
            self._plan.tell_once(reason, detail)

    # What rcache says in its own name

    def client_ttl(self, verdict: Verdict) -> int | None:
        """Seconds of freshness that clients are told; what the answer itself says of that comes first."""
        return None if verdict.is_explicit else self._plan.client_ttl

    def own(self, headers: RawHeaders, client_ttl: int | None) -> list[tuple[bytes, bytes]]:
        """Fields that tell clients and caches outside what the rule says of this answer."""
        own = []
        said = vary_names(headers) or ()
        if unsaid := [name for name in self._plan.own_vary if name.decode() not in said]:
            own.append((b"vary", b", ".join(unsaid)))
        search = self._plan.search
        if search is not None and may_state(self._errand.scope["query_string"]) and not values(headers, NO_VARY_SEARCH):
            own.append((NO_VARY_SEARCH, search))
        if (
            client_ttl is not None and self._plan.is_keyed
        ):  # the key tells whose answer this is; a cache outside would not
            own.append((b"cache-control", b"private"))
        return own

    # Storing

    async def keep(
        self,
        status: int,
        headers: RawHeaders,
        body: bytes,
        own: Sequence[tuple[bytes, bytes]],
        verdict: Verdict,
    ) -> tuple[Entry | None, str | None]:
        """The entry, and why it was not stored: None where it was, and those who waited for it have it."""
        tags, reason = self._tags(headers)
        if reason is None and self._plan.is_auto and len(tags) == 1:  # its URL's own
            reason = ("no-dependencies", "")
        if reason is not None:
            self.note(*reason)
            return None, reason[0]
        coded = await self._coded(status, headers, body) if self._plan.coding is not None else None
        kept = stored_headers(headers, verdict.directives)
        entry = self._entry(status, kept, own, tags, verdict, length=len(body))
        entry.body = body
        if coded is not None:
            entry.body, entry.coding = coded, self._plan.coding
        return entry, await self._store(entry)

    async def freshen(self, headers: RawHeaders, merged: RawHeaders, verdict: Verdict) -> tuple[Entry, str | None]:
        """The former entry with the fields of a 304 (RFC 9111 §4.3.4), and why it was not stored.

        It keeps its tags and gains those of this run: what it was made of then still speaks in it. Where it gains none it
        keeps its start too: it is no younger for having been validated by dates of whole seconds.
        """
        former = self._errand.former
        assert former is not None  # noqa: S101 (whoever calls asked whether it still holds)
        tags, reason = self._tags(headers)
        tags = tuple(dict.fromkeys((*former.tags, *tags)))
        own = self.own(merged, self.client_ttl(verdict))
        if joined(merged, b"etag") is None and former.etag is not None:  # it was computed here
            own.append((b"etag", former.etag))
        kept = stored_headers(merged, verdict.directives)
        entry = self._entry(former.status, kept, own, tags, verdict, length=former.length)
        entry.body, entry.coding = former.body, former.coding
        # A new one may have been purged since; and whoever purged softly asked for nothing more than this validation.
        if len(tags) == len(former.tags) and not former.is_softened:
            entry.start = former.start
        refusal = verdict.reason if reason is None else reason[0]
        if refusal is not None:
            self.note(refusal)
            await self.distrust()
            return entry, refusal
        return entry, await self._store(entry)

    async def distrust(self) -> None:
        """Lets the former answer stand for nobody any more, unless the application says again that it holds.

        What one client with credentials was answered says nothing to the others.
        """
        errand, cache = self._errand, self._cache
        if errand.former is None or errand.personal is not None:
            return
        names = merge(errand.names, errand.ask.names)
        try:
            await cache.store.store(errand.ask, names, distrusted(errand.former, errand.now), errand.budget)
        except BackendError:
            self._plan.tally.outages += 1

    def _tags(self, headers: RawHeaders) -> tuple[tuple[str, ...], tuple[str, str] | None]:
        """All tags of the answer, with their families; or the reason, with its detail, for which there are none."""
        if self.refusal is not None:
            return (), (self.refusal, "")
        try:
            tags = self._plan.tags({**self._errand.scope, **self._place}) | (self.request.tags or set())
            if self._plan.cache_groups:
                tags = tags | set(groups(headers))
            if self.reads.tags:
                tags = tags | coarse(self.reads.tags, MAX_READS)
        except Exception as error:  # callables and validators are the application's own
            return (), ("tag", str(error))
        if len(tags) > MAX_TAGS:
            return (), ("too-many-tags", "")
        return (self._errand.ask.key.url_tag, *sorted(tags), *families(tags)), None

    async def _coded(self, status: int, headers: RawHeaders, body: bytes) -> bytes | None:
        assert self._plan.coding is not None  # noqa: S101 (asked by the caller)
        if len(body) < LONG:
            return compressed(self._plan.coding, status, headers, body)
        return await asyncio.to_thread(compressed, self._plan.coding, status, headers, body)

    def _entry(
        self,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...],
        own: Iterable[tuple[bytes, bytes]],
        tags: tuple[str, ...],
        verdict: Verdict,
        *,
        length: int,
    ) -> Entry:
        own = [*own]
        if status != 204 and values(headers, b"content-length") != [
            b"%d" % length
        ]:  # it came as a stream, or repeats it
            headers = tuple(without(headers, _LENGTH))
            own.append((b"content-length", b"%d" % length))
        if self._plan.cache_groups and (told := export(without_families(tags[1:]))) is not None:
            headers = tuple([pair for pair in headers if pair[0] != CACHE_GROUPS])  # they are among the tags
            own.append((CACHE_GROUPS, told))
        lifetime, plan, errand = verdict.lifetime or 0.0, self._plan, self._errand
        shortened = random() * min(plan.jitter, lifetime / 2) if plan.jitter else 0.0  # noqa: S311 (no secret)
        return Entry(
            start=self._errand.start,
            status=status,
            headers=(*headers, *own),
            body=b"",
            tags=tags,
            stored_at=self._received,
            initial_age=verdict.initial_age,
            lifetime=lifetime - shortened,
            etag=joined((*headers, *own), b"etag"),
            last_modified=joined(headers, b"last-modified"),
            client_ttl=self.client_ttl(verdict),
            is_shared=verdict.is_shared,
            retention=verdict.retention,
            stale_while_revalidate=verdict.stale_while_revalidate,
            stale_if_error=verdict.stale_if_error,
            must_revalidate=verdict.must_revalidate,
            own=len(own),
            length=length,
            early=0.0 if isinstance(plan.early, bool) else (1.0 - plan.early) * (lifetime - shortened),
            cost=errand.now - errand.asked_at if plan.early is True else 0.0,
        )

    async def _store(self, entry: Entry) -> str | None:
        """Why it was not stored; None where it was."""
        cache, errand = self._cache, self._errand
        names = merge(vary_names(entry.application_headers) or (), errand.ask.names)
        if errand.outside is not None:
            errand.land(Landed(entry, names, errand.ask.variant(names), entry.stored_at))
            return errand.outside
        if cache.journal.blocks(entry.tags):
            return self._unstored("purge-pending")
        if errand.flight is not None:
            errand.flight.depart()
        try:
            is_accepted = await cache.store.store(errand.ask, names, entry, errand.budget, self.reads.schemes)
        except BackendError:
            self._plan.tally.outages += 1
            return self._unstored("outage")
        if not is_accepted:
            self._plan.tally.refusals += 1
            errand.refusal = "refused"
            errand.land(Ending.AGAIN)
            return "refused"
        self._plan.tally.stores += 1
        errand.kept = entry
        errand.land(Landed(entry, names, errand.ask.variant(names), entry.stored_at))
        self._tell(entry)
        return None

    def _unstored(self, reason: str) -> str:
        self._errand.refusal = reason
        self._errand.land(Ending.ALONE)
        return reason

    def _tell(self, entry: Entry) -> None:
        if response_stored.receivers:
            details: Mapping[str, Any] = {
                "status": entry.status,
                "tags": without_families(entry.tags[1:]),
                "ttl": entry.ttl(entry.stored_at),
                "size": entry.length,
            }
            notify(response_stored, self._cache, path=self._place["path"], **details)
