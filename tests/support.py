"""What tests of the ASGI side share: a clock set by hand, a raw client that sees every message, endpoints that pause."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from rcache import testing

PATIENCE = 30.0
"""Seconds after which what has not come is missing: only a test that fails waits this long."""

EPOCH = 1_800_000_000.0
"""Where a hand clock starts: a moment in January 2027."""


class HandClock(testing.HandClock):
    """Time that passes only when a test says so, from a moment that is the same in each run."""

    def __init__(self, now: float = EPOCH) -> None:
        super().__init__(now)


@dataclass
class Answer:
    """The messages of one response, and what they say."""

    messages: list[Message] = field(default_factory=list)

    @property
    def start(self) -> Message:
        """The start message."""
        starts = [message for message in self.messages if message["type"] == "http.response.start"]
        assert len(starts) == 1, f"{len(starts)} start messages"
        return starts[0]

    @property
    def status(self) -> int:
        """The status code."""
        status: int = self.start["status"]
        return status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Header pairs as they were sent."""
        return [(name, value) for name, value in self.start["headers"]]

    @property
    def chunks(self) -> list[bytes]:
        """The body, message by message."""
        return [message.get("body", b"") for message in self.messages if message["type"] == "http.response.body"]

    @property
    def body(self) -> bytes:
        """The body."""
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def all(self, name: str) -> list[str]:
        """The values of every line of a field."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]

    def get(self, name: str) -> str | None:
        """The field's only value, None where it is absent."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def cache(self) -> str | None:
        """What Cache-Status says."""
        return self.get("cache-status")

    @property
    def is_hit(self) -> bool:
        """Whether it came from the cache."""
        return (self.cache or "").startswith("rcache; hit")

    @property
    def is_stored(self) -> bool:
        """Whether the application answered, and the answer was stored."""
        return (self.cache or "").endswith("; stored")


class Exchange:
    """A request under way, whose messages are there as soon as they are sent."""

    def __init__(self, app: ASGIApp, scope: Scope, body: bytes = b"") -> None:
        self.scope = scope
        self.answer = Answer()
        self._body = body
        self._arrived = asyncio.Condition()
        self._gone = asyncio.Event()
        self._asked = 0
        self.task = asyncio.ensure_future(self._run(app))

    async def _run(self, app: ASGIApp) -> Answer:
        try:
            await app(self.scope, self._receive, self._send)
        finally:
            async with self._arrived:
                self._arrived.notify_all()
        return self.answer

    async def _receive(self) -> Message:
        self._asked += 1
        if self._asked == 1:
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(0)  # a server may let others run here
        async with self._arrived:
            self.answer.messages.append(message)
            self._arrived.notify_all()

    async def arrives(self, count: int) -> list[Message]:
        """The messages, once there are `count` of them (or the application has returned)."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.answer.messages) >= count or self.task.done())
        if self.task.done():
            await self.task
        assert len(self.answer.messages) >= count, f"only {len(self.answer.messages)} messages came"
        return self.answer.messages

    def leave(self) -> None:
        """The client disconnects."""
        self._gone.set()

    async def finish(self) -> Answer:
        """The whole answer."""
        async with asyncio.timeout(PATIENCE):
            return await self.task


Pairs = Iterable[tuple[str, str]] | Mapping[str, str]


class RawClient:
    """Calls an ASGI application as a server does, and keeps every message as it was sent."""

    def __init__(self, app: ASGIApp, **scope: Any) -> None:
        self.app = app
        self.defaults = scope

    def scope(self, target: str, headers: Pairs = (), method: str = "GET", **changes: Any) -> Scope:
        """The connection scope of a request; `target` is a path and query as they come over the wire."""
        path, _, query = target.partition("?")
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        if not any(name == b"host" for name, _ in raw):
            raw.insert(0, (b"host", b"testserver"))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": raw,
            "server": ("testserver", 80),
            "client": ("testclient", 50000),
            "state": {},
            "extensions": {},
            **self.defaults,
            **changes,
        }

    def start(
        self, target: str, headers: Pairs = (), method: str = "GET", body: bytes = b"", **changes: Any
    ) -> Exchange:
        """Sends a request, and does not wait."""
        return Exchange(self.app, self.scope(target, headers, method, **changes), body)

    async def request(self, method: str, target: str, headers: Pairs = (), body: bytes = b"", **changes: Any) -> Answer:
        """Sends a request and returns its whole answer."""
        return await self.start(target, headers, method, body, **changes).finish()

    async def get(self, target: str, headers: Pairs = (), **changes: Any) -> Answer:
        """GET."""
        return await self.request("GET", target, headers, **changes)

    async def head(self, target: str, headers: Pairs = (), **changes: Any) -> Answer:
        """HEAD."""
        return await self.request("HEAD", target, headers, **changes)

    async def lifespan(self) -> Lifespan:
        """Starts the application; `await .shutdown()` ends it."""
        lifespan = Lifespan(self.app)
        await lifespan.startup()
        return lifespan


class Lifespan:
    """The lifespan protocol, step by step."""

    def __init__(self, app: ASGIApp) -> None:
        self.sent: list[Message] = []
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._app = app
        self.task: asyncio.Task[None] | None = None

    async def startup(self) -> Message:
        """What the application answers to start-up."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self.task = asyncio.ensure_future(self._call(scope))
        return await self._order("lifespan.startup")

    async def _call(self, scope: Scope) -> None:
        await self._app(scope, self._orders.get, self._answers.put)

    async def shutdown(self) -> Message:
        """What it answers to shut-down."""
        answer = await self._order("lifespan.shutdown")
        assert self.task is not None
        await self.task
        return answer

    async def _order(self, kind: str) -> Message:
        await self._orders.put({"type": kind})
        answer = await self._answers.get()
        self.sent.append(answer)
        return answer


class Gate:
    """A point inside an endpoint that requests reach, and pass when the test opens it."""

    def __init__(self) -> None:
        self.arrivals = 0
        self._open = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def __call__(self) -> None:
        """To be awaited inside the endpoint."""
        async with self._arrived:
            self.arrivals += 1
            self._arrived.notify_all()
        await self._open.wait()

    async def reached(self, count: int = 1) -> None:
        """Returns once `count` requests have come this far."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: self.arrivals >= count)

    def open(self) -> None:
        """Lets all through, now and later."""
        self._open.set()


async def settle(turns: int = 20) -> None:
    """Lets everything that can run do so: for showing that something does *not* happen."""
    for _ in range(turns):
        await asyncio.sleep(0)


Endpoint = Callable[..., Awaitable[Any]]


def shown(value: object) -> str:
    """A test's name for a value: the same in each process, as addresses and the order of a set are not."""
    if isinstance(value, set):
        return f"set({sorted(value)})"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
