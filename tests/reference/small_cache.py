"""A cache of a few lines, to see that model and judge can be satisfied, and with a fault, that they notice it.

It keeps everything in a list, asks the origin whenever anything is unusual, and decides by its own simple rules.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.reference.control import asked_of_caches, control, has, is_unqualified, must_not_be_stale, named, withheld
from tests.reference.fields import Pairs, delta_seconds, entity_tag, lines
from tests.reference.freshness import current_age, lifetime
from tests.reference.history import Allowed, Exchange, Request, Response, Settings
from tests.reference.play import OriginError
from tests.reference.states import invalidated
from tests.reference.storing import ERRORS, Stored, as_stored, is_personal, may_be_stored
from tests.reference.validation import has_certain_key, not_modified, updated, validation
from tests.support import HandClock


class SmallCache:
    """An ASGI middleware. Each rule is a method, so that a test can take it out."""

    def __init__(self, app: ASGIApp, clock: HandClock, settings: Settings) -> None:
        self.app = app
        self.clock = clock
        self.settings = settings
        self.entries: list[Stored] = []

    # The rules

    def selects(self, entry: Stored, request: Request) -> bool:
        """The variant is the request's."""
        return has_certain_key(entry, request)

    def age(self, entry: Stored) -> float:
        """The current age."""
        return current_age(entry, self.clock.time(), self.settings)

    def lasts(self, entry: Stored) -> float:
        """The freshness lifetime."""
        return lifetime(entry, self.settings).least

    def needs_validation(self, entry: Stored) -> bool:
        """The response says no-cache."""
        return is_unqualified(control(entry.headers, self.settings), "no-cache")

    def may_be_stale(self, entry: Stored) -> bool:
        """No directive forbids it."""
        return not must_not_be_stale(control(entry.headers, self.settings))

    def is_for(self, entry: Stored, request: Request) -> bool:
        """The response may be shared, or the request is nobody's."""
        found = control(entry.headers, self.settings)
        return is_personal(request, self.settings) is None or has(found, "public", "s-maxage", "must-revalidate")

    def may_store(self, exchange: Exchange) -> bool:
        """Stored is what may be."""
        return exchange.request.method == "GET" and isinstance(may_be_stored(exchange, self.settings), Allowed)

    def suits(self, entry: Stored, request: Request) -> bool:
        """The request directives have nothing against it."""
        asked = asked_of_caches(request)
        if not self.settings.client_may_refresh:
            return True
        if has(asked, "no-cache"):
            return False
        age, lasts = self.age(entry), self.lasts(entry)
        is_young = all(age <= (delta_seconds(d.argument) or 0) for d in named(asked, "max-age"))
        return is_young and all(lasts >= age + (delta_seconds(d.argument) or 0) for d in named(asked, "min-fresh"))

    def is_current(self, entry: Stored, request: Request) -> bool:
        """It answers without the origin: it is fresh, or stale for no longer than it allows."""
        if entry.is_invalid or self.needs_validation(entry) or not self.suits(entry, request):
            return False
        staleness = self.age(entry) - self.lasts(entry)
        return staleness < 0 or self.is_within(entry, "stale-while-revalidate", staleness, request)

    def is_within(self, entry: Stored, name: str, staleness: float, request: Request) -> bool:
        """It may be stale for that long; whoever asks for something particular is not given it."""
        is_asked = has(asked_of_caches(request), "max-age", "min-fresh", "no-cache", "only-if-cached")
        given = [delta_seconds(d.argument) or 0 for d in named(control(entry.headers, self.settings), name)]
        return not is_asked and self.may_be_stale(entry) and len(given) == 1 and given[0] > staleness

    def stands_in(self, entry: Stored, request: Request, *, has_raised: bool) -> bool:
        """It answers in place of an error."""
        staleness = self.age(entry) - self.lasts(entry)
        if entry.is_invalid or self.needs_validation(entry) or staleness < 0:
            return False
        if has(control(entry.headers, self.settings), "stale-if-error"):
            return self.is_within(entry, "stale-if-error", staleness, request)
        allowed = self.settings.stale_on_error if has_raised else 0
        is_asked = has(asked_of_caches(request), "max-age", "min-fresh", "no-cache")
        return staleness < allowed and self.may_be_stale(entry) and not is_asked

    def is_known(self, request: Request, entry: Stored) -> bool:
        """The client has it already."""
        return not_modified(request, entry) == {True}

    def is_gone(self, entry: Stored, exchange: Exchange) -> bool:
        """An unsafe request, or a HEAD that tells of something else, has passed."""
        is_head = exchange.request.method == "HEAD" and exchange.request.uri == entry.uri
        return entry.uri in invalidated(exchange) or (is_head and exchange.response is not None)

    def freshened(self, entry: Stored, exchange: Exchange) -> Stored:
        """A 304 has come."""
        return updated(entry, exchange, self.settings)

    def wants_only_stored(self, request: Request) -> bool:
        """The client says only-if-cached."""
        return has(asked_of_caches(request), "only-if-cached")

    # The work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Pairs = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        query = scope["query_string"].decode()
        request = Request(scope["method"], scope["path"] + (f"?{query}" if query else ""), headers)
        entry = self._found(request) if request.method in ("GET", "HEAD") else None
        if entry is not None and self.is_current(entry, request):
            await self._replay(entry, request, send, "hit")
        elif request.method in ("GET", "HEAD") and self.wants_only_stored(request):
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await self._forward(request, entry, scope, send)

    def _found(self, request: Request) -> Stored | None:
        found = [entry for entry in self.entries if entry.uri == request.uri and self.selects(entry, request)]
        return found[-1] if found and self.is_for(found[-1], request) else None

    async def _forward(self, request: Request, entry: Stored | None, scope: Scope, send: Send) -> None:
        conditions = _conditions(entry)
        messages: list[Message] = []
        time = self.clock.time()
        try:
            await self.app(_with(scope, conditions), _nothing, _into(messages))
        except OriginError:
            if entry is not None and not messages and self.stands_in(entry, request, has_raised=True):
                await self._replay(entry, request, send, "fwd=stale")
                return
            await _pass(messages, send)
            raise
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in messages[0]["headers"])
        response = Response(messages[0]["status"], headers)
        exchange = Exchange(request, time, response, self.clock.time(), conditions)
        if entry is not None and response.status == 304 and validation(entry, exchange, is_only=True) != "named":
            await self._forward(request, None, scope, send)  # it speaks of another response
            return
        await self._conclude(exchange, entry, messages, send)

    async def _conclude(self, exchange: Exchange, entry: Stored | None, messages: list[Message], send: Send) -> None:
        request, response = exchange.request, exchange.response
        assert response is not None
        if entry is not None and response.status in ERRORS and self.stands_in(entry, request, has_raised=False):
            await self._replay(entry, request, send, "fwd=stale")
            return
        self.entries = [other for other in self.entries if not self.is_gone(other, exchange)]
        if entry is not None and response.status == 304:
            fresh = self.freshened(entry, exchange)
            found = control(fresh.headers, self.settings)
            kept = [] if has(found, "no-store", "private") else [fresh]
            self.entries = [other for other in self.entries if other is not entry] + kept
            await self._replay(fresh, request, send, "fwd=stale")
            return
        if self.may_store(exchange):
            self.entries.append(as_stored(exchange, self.settings))
        await _pass(messages, send)

    async def _replay(self, entry: Stored, request: Request, send: Send, how: str) -> None:
        gone = {"age", "content-length", *withheld(entry.headers, self.settings)}
        headers = [(name, value) for name, value in entry.headers if name.lower() not in gone]
        headers += [("age", str(int(self.age(entry)))), ("cache-status", f"small; {how}")]
        status = 304 if self.is_known(request, entry) else entry.status
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body"})


def _conditions(entry: Stored | None) -> Pairs:
    """The stored response's validators; the client's conditions are evaluated here."""
    if entry is None:
        return ()
    tag, modified = entity_tag(entry.headers), lines(entry.headers, "last-modified")
    return ((("if-none-match", tag),) if tag else ()) + ((("if-modified-since", modified[0]),) if modified else ())


def _with(scope: Scope, conditions: Pairs) -> Scope:
    kept = [pair for pair in scope["headers"] if pair[0] not in (b"if-none-match", b"if-modified-since")]
    return {
        **scope,
        "headers": kept + [(name.encode("latin-1"), value.encode("latin-1")) for name, value in conditions],
    }


def _into(messages: list[Message]) -> Send:
    async def send(message: Message) -> None:
        messages.append(message)

    return send


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _pass(messages: list[Message], send: Send) -> None:
    for message in messages:
        await send(message)
