"""Plays a history through a cache: acts go in, what the origin was asked and what clients were told comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from tests.reference.fields import Pairs, combined, date_field, entity_tag, entity_tags, spelled_date, weakly_equal
from tests.reference.history import Exchange, Request, Response, Settings
from tests.support import Answer, HandClock, RawClient, settle

SERIAL = "x-serial"
"""The field by which a response with content is known again: its place in the history."""

UPDATE = "x-update"
"""The place in the history of the last answer that had a say in the fields: 304 and HEAD set it too."""


@dataclass(frozen=True)
class At:
    """A date field's value, as seconds from the moment it is sent or (`is_fixed`) from the start of the history."""

    seconds: int
    form: str = "imf"
    is_fixed: bool = False


@dataclass(frozen=True)
class Echo:
    """The entity tag that the client was last told for this target, if any."""


Values = tuple[tuple[str, str | At | Echo], ...]


@dataclass(frozen=True)
class Script:
    """What the origin answers if it is asked."""

    status: int = 200
    headers: Values = ()
    ending: Literal["whole", "raises", "breaks"] = "whole"
    """`raises` before it answers, `breaks` in the midst of its body."""
    takes: int = 0
    """Seconds until it answers."""
    padding: int = 0
    """Bytes by which its body is longer."""
    heeds_conditions: bool = True


@dataclass(frozen=True)
class Ask:
    """A client's request, and what the origin would say to it."""

    method: str
    uri: str
    headers: Values
    script: Script


@dataclass(frozen=True)
class Wait:
    """The clock steps forward."""

    seconds: float


Act = Ask | Wait


class OriginError(Exception):
    """The application raises."""


@dataclass(frozen=True)
class Observation:
    """A request, and what came of it."""

    request: Request
    time: float
    answer: Answer | None
    """None where the application's exception came through."""
    began: int
    """Where in the history the exchanges begin that were made for it, and where they end."""
    ended: int
    tags: dict[int, list[str]]
    """The entity tags with which responses had been seen, by place in the history."""


@dataclass
class Played:
    """All that happened."""

    settings: Settings
    history: list[Exchange] = field(default_factory=list)
    forwarded: list[Pairs] = field(default_factory=list)
    """The fields of the requests as they reached the origin, one for each exchange."""
    observations: list[Observation] = field(default_factory=list)


class Origin:
    """The application behind the cache: it answers as its script says, and keeps the history."""

    def __init__(self, clock: HandClock, played: Played) -> None:
        self.clock = clock
        self.start = clock.time()
        self.played = played
        self.script = Script()
        self.request = Request("GET", "/")

    def resolved(self, values: Values, tags: dict[str, str] | None = None, uri: str = "") -> Pairs:
        """Header values as they are sent now."""
        found = []
        for name, value in values:
            if isinstance(value, At):
                base = self.start if value.is_fixed else self.clock.time()
                value = spelled_date(base + value.seconds, value.form)
            elif isinstance(value, Echo):
                if tags is None or uri not in tags:
                    continue
                value = tags[uri]
            found.append((name, value))
        return tuple(found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        script, history = self.script, self.played.history
        asked: Pairs = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        request = Request(scope["method"], self.request.uri, self.request.headers)
        conditions = tuple(pair for pair in asked if pair[0] in ("if-none-match", "if-modified-since"))
        request_time = self.clock.time()
        self.clock.advance(script.takes)
        response = self._response(script, request.method, conditions, len(history))
        history.append(Exchange(request, request_time, response, self.clock.time(), conditions))
        self.played.forwarded.append(asked)
        if response is None:
            raise OriginError
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        body = b"." * (4 + script.padding) if _has_content(request.method, response.status) else b""
        if not response.is_complete:
            await send({"type": "http.response.body", "body": body[:2], "more_body": True})
            raise OriginError
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _response(self, script: Script, method: str, conditions: Pairs, place: int) -> Response | None:
        if script.ending == "raises":
            return None
        headers = (*self.resolved(script.headers), (UPDATE, str(place)))
        is_conditional = method in ("GET", "HEAD") and script.status == 200 and script.heeds_conditions
        if is_conditional and self._is_unmodified(headers, conditions):
            return Response(304, headers)
        headers += ((SERIAL, str(place)),) if method != "HEAD" else ()
        if script.status != 204:
            headers += (("content-length", str(4 + script.padding)),)
        is_complete = script.ending == "whole" or not _has_content(method, script.status)
        return Response(script.status, headers, is_complete)

    def _is_unmodified(self, headers: Pairs, conditions: Pairs) -> bool:
        listed, mine = combined(conditions, "if-none-match"), entity_tag(headers)
        if listed is not None:
            is_any = listed.strip() == "*"
            return is_any or (mine is not None and any(weakly_equal(mine, tag) for tag in entity_tags(listed)))
        now = self.clock.time()
        since, modified = date_field(conditions, "if-modified-since", now), date_field(headers, "last-modified", now)
        return since is not None and modified is not None and modified <= since


def _has_content(method: str, status: int) -> bool:
    return method != "HEAD" and status not in (204, 304)


Subject = Callable[[ASGIApp, HandClock, Settings], ASGIApp]
"""Puts a cache in front of an application."""


def play(acts: list[Act], subject: Subject, settings: Settings) -> Played:
    """What happens when the acts are carried out one after the other."""
    return asyncio.run(_play(acts, subject, settings))


async def _play(acts: list[Act], subject: Subject, settings: Settings) -> Played:
    clock, played = HandClock(), Played(settings)
    origin = Origin(clock, played)
    client = RawClient(subject(origin, clock, settings))
    last_tags: dict[str, str] = {}
    seen: dict[int, list[str]] = {}
    for act in acts:
        if isinstance(act, Wait):
            clock.advance(act.seconds)
            continue
        request = Request(act.method, act.uri, origin.resolved(act.headers, last_tags, act.uri))
        origin.script, origin.request = act.script, request
        began, time = len(played.history), clock.time()
        answer = await _ask(client, request)
        await settle()
        tags = dict(seen)
        played.observations.append(Observation(request, time, answer, began, len(played.history), tags))
        _remember(answer, request, last_tags, seen)
    return played


async def _ask(client: RawClient, request: Request) -> Answer | None:
    try:
        return await client.request(request.method, request.uri, request.headers)
    except OriginError:
        return None


def _remember(answer: Answer | None, request: Request, last_tags: dict[str, str], seen: dict[int, list[str]]) -> None:
    if answer is None:
        return
    tags = answer.all("etag")
    if tags:
        last_tags[request.uri] = tags[0]
    if answer.all(SERIAL):
        seen[int(answer.all(SERIAL)[0])] = tags
