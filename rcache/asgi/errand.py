"""What is known of a run of the application before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Scope

from rcache.asgi.inquiry import Inquiry
from rcache.asgi.plan import Plan
from rcache.asgi.strict import Watch
from rcache.cache import Cache
from rcache.core.entry import Entry, Start
from rcache.core.headers import RawHeaders, joined, without
from rcache.core.lease import Word
from rcache.core.policy import Options
from rcache.core.request_directives import NO_ADVICE, RequestDirectives
from rcache.core.reuse import may_stand_in
from rcache.core.validation import conditions, unconditional
from rcache.engine.single_flight import Ending, Flight, Landed
from rcache.engine.watching import tagged
from rcache.ports import Budget, Facts, Lease

SEEN: Final = "rcache"
"""In the scope of a request that a CacheMiddleware further out already handles."""

SELECTING: Final = frozenset((b"if-none-match", b"if-modified-since", b"range"))
"""Fields that ask for less than the whole answer."""

_RANGES = frozenset((b"range", b"if-range"))


class Seen:
    """In the scope of a request that a CacheMiddleware handles, for those further in."""

    __slots__ = ("is_inner_keyed", "options")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.is_inner_keyed = False  # a rule further in tells answers apart in a way that our key does not


@dataclass(slots=True)
class Errand:
    """One run of the application whose answer may be stored under `start`, the sequence of the look-up before it.

    `former` is the stored entry that the one rule allowed then: the answer to make anew, or to fall back on.
    """

    cache: Cache
    plan: Plan
    ask: Inquiry
    scope: Scope
    fields: Mapping[bytes, bytes]
    start: Start
    looked_up: float  # by the store's clock
    reason: str  # why the application is asked, in the words of RFC 9211 §2.2
    seen: Seen
    budget: Budget
    names: tuple[str, ...] = ()  # what is known to select among the URL's variants
    watch: Watch | None = None  # where strict mode is on
    personal: str | None = None  # why the request is somebody's own in a way that the key does not tell
    wishes: RequestDirectives = NO_ADVICE
    flight: Flight | None = None
    lease: Lease | None = None
    former: Entry | None = None
    outside: str | None = (
        None  # why nothing can be stored at all, whatever the answer: those who wait share it all the same
    )
    kept: Entry | None = None  # what was stored
    refusal: str | None = None  # why nothing was
    is_covered: bool = False  # the former answer was sent: the application failed, or was late
    is_refresh: bool = False  # nobody waits for it: the whole is to be made anew, whatever part was asked for
    began: float = field(init=False)  # by this process' clock
    asked_at: float = field(init=False)  # by the store's clock: when the application was last called
    ending: Landed | Ending = field(default=Ending.ALONE, init=False)  # what became of it, as far as is known

    def __post_init__(self) -> None:
        self.began, self.asked_at = self.cache.clock.monotonic(), self.looked_up

    @property
    def now(self) -> float:
        """The store's clock: nodes need not agree on the time."""
        return self.looked_up + self.cache.clock.monotonic() - self.began

    def stand_in(self) -> Entry | None:
        """What may answer in place of an application that failed."""
        former = self.former
        return former if former is not None and may_stand_in(former, self.now, self.wishes) else None

    @property
    def asks_for_all(self) -> bool:
        """Whether the client wants the whole answer, whatever it holds already."""
        return SELECTING.isdisjoint(self.fields)

    def conditions(self) -> list[tuple[bytes, bytes]]:
        """What asks the application whether the former answer still holds; none where it sent no validator."""
        if self.former is None or self.scope["method"] != "GET":
            return []
        return conditions(joined(self.former.application_headers, b"etag"), self.former.last_modified)

    def asked(self, added: RawHeaders) -> RawHeaders:
        """The request's fields as the application gets them: with the conditions `added` in place of the client's own.

        Those are evaluated when the answer is there. A request for a part is the application's to answer, unless the whole
        is only to be validated.
        """
        headers = self.ask.headers
        if not added and not self.is_refresh and (b"range" in self.fields or self.asks_for_all):
            return headers
        return [*without(unconditional(headers), _RANGES), *added]

    def facts(self, _: object = None) -> Facts:
        """What came of it, for who watches: "stored", or why nothing was."""
        if self.kept is None:
            verdict = self.refusal or ("covered" if self.is_covered else "none")
            return {"verdict": verdict, "reason": self.reason, "covered": self.is_covered}
        kept = self.kept
        return {"verdict": "stored", "reason": self.reason, "size": kept.length, **tagged(kept.tags[1:])}

    def land(self, outcome: Landed | Ending) -> None:
        """Lets those go on who wait for this run, here and in other nodes."""
        # Who waits may have been let go before anybody knew more.
        if outcome is not Ending.ALONE and self.ending is Ending.ALONE:
            self.ending = outcome
        if self.flight is not None:
            self.flight.land(outcome)
        if self.lease is not None:
            self.lease.settle(_WORDS.get(outcome, Word.ALONE) if isinstance(outcome, Ending) else Word.STORED)


_WORDS: Final = {Ending.AGAIN: Word.AGAIN}
