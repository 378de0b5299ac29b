"""What most tests speak to: rcache between a server and a proxy, with a clock set by hand and an origin of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from starlette.types import ASGIApp

from rcache import Cache, CacheMiddleware, Rule
from tests.http.client import Answer, Connection, fetch
from tests.http.origin import Origin
from tests.http.proxy import Proxy
from tests.http.servers import Served
from tests.http.wire import Given, Text
from tests.support import HandClock

Test = TypeVar("Test", bound=Callable[..., Any])


def on_one_server(test: Test) -> Test:
    """Marks a test of what is decided before anything goes over the wire: one server and one way to send bodies will do."""
    one_way = pytest.mark.parametrize("site", ["single"], indirect=True)
    alone: Test = pytest.mark.parametrize("server", ["uvicorn-httptools"], indirect=True)(one_way(test))
    return alone


class Site:
    """`client -> served -> CacheMiddleware -> proxy -> origin`. Until `wrap` says otherwise, explicit freshness alone is stored."""

    def __init__(self, served: Served, origin: Origin, *, streamed: bool) -> None:
        self.served = served
        self.origin = origin
        self.proxy = Proxy(origin.port, streamed=streamed)
        self.clock = HandClock()
        self.cache = Cache("memory://", clock=self.clock)
        self.wrap(rules=[Rule("/{path:path}")])

    def wrap(self, app: ASGIApp | None = None, **settings: Any) -> None:
        """Puts a middleware with these settings around the proxy (or `app`), in place of the one before."""
        self.served.app = CacheMiddleware(app or self.proxy, cache=self.cache, **settings)

    @property
    def is_streamed(self) -> bool:
        """Whether the body of an answer comes in many messages."""
        return self.proxy.streamed

    @property
    def entries(self) -> int:
        """How many answers are stored."""
        return len(self.cache.store)  # type: ignore[arg-type]

    async def refreshed(self) -> None:
        """Returns once nothing is made anew in the background any more."""
        await self.served.run(self.cache.refreshes.wait())

    def connect(self) -> Connection:
        """A connection to the server, for more than one request or for less."""
        return Connection(self.served.port)

    async def request(self, method: str, target: str, headers: Given = (), body: Text = b"") -> Answer:
        """One request on a connection of its own."""
        return await fetch(self.served.port, method, target, headers, body)

    async def get(self, target: str, headers: Given = ()) -> Answer:
        """GET."""
        return await self.request("GET", target, headers)

    async def head(self, target: str, headers: Given = ()) -> Answer:
        """HEAD."""
        return await self.request("HEAD", target, headers)
