"""The servers that applications run under, each in a thread and on an event loop of its own.

Granian runs embedded, which is its usual worker with its usual way to call an application, in a loop that is ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

import granian.constants
import granian.server.embed
import hypercorn.asyncio
import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers import free_port
from tests.support import PATIENCE

Result = TypeVar("Result")

READY_WITHIN = 30.0  # seconds
PARKED_AFTER = 1.0  # seconds after which a thread that is still there will not move again
GRACE = 2  # seconds that a server is given to end what is under way

SERVERS = {
    "uvicorn-h11": asyncio.new_event_loop,
    "uvicorn-httptools": uvloop.new_event_loop,
    "hypercorn": asyncio.new_event_loop,
    "granian": uvloop.new_event_loop,
}
"""Every server on the loop that it is mostly run on."""

OTHER_LOOPS = {
    "uvicorn-h11": uvloop.new_event_loop,
    "uvicorn-httptools": asyncio.new_event_loop,
    "hypercorn": uvloop.new_event_loop,
    "granian": asyncio.new_event_loop,
}

Running = tuple[Awaitable[None], Callable[[], Any]]
"""What serves until it is stopped, and what stops it, to be called on its loop."""


class Served:
    """`app` under the server of this name, as long as its block lasts; another may take its place between requests."""

    def __init__(self, name: str, app: ASGIApp, loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self.name = name
        self.app = app
        self._new_loop = loop or SERVERS[name]
        self._listener = _listener() if name != "granian" else None
        self.port: int = self._listener.getsockname()[1] if self._listener is not None else free_port()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_started = threading.Event()

    def __enter__(self) -> Self:
        self._others = _foreign_threads()
        self._thread.start()
        self._is_started.wait(READY_WITHIN)
        deadline = time.monotonic() + READY_WITHIN
        while not self._accepts():
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start")
            time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(READY_WITHIN)
        assert not self._thread.is_alive(), f"{self.name} does not end"
        deadline = time.monotonic() + PARKED_AFTER
        while not _foreign_threads() <= self._others and time.monotonic() < deadline:
            time.sleep(0.001)

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What this comes to on the server's own loop, where the applications run."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._serve())
        finally:
            if self._listener is not None:
                self._listener.close()  # nobody waits for a server that has failed

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving, self._stop = self._running()
        self._is_started.set()
        await serving

    def _running(self) -> Running:
        if self._listener is None:
            return _granian(self._call, self.port)
        if self.name == "hypercorn":
            return _hypercorn(self._call, self._listener)
        return _uvicorn(self._call, self._listener, self.name.removeprefix("uvicorn-"))


def _foreign_threads() -> set[int]:
    """The threads of this process that Python does not know of; none where the system does not tell.

    Granian's runtime ends a moment after its last coroutine, and a process that exits within that moment aborts. Where it
    broke an answer off, one of its threads stays for good, which does nothing any more and harms nobody.
    """
    try:
        all_threads = {int(name) for name in os.listdir("/proc/self/task")}
    except FileNotFoundError:
        return set()
    return all_threads - {thread.native_id for thread in threading.enumerate()}


def _listener() -> socket.socket:
    """Connections wait here until the server takes them, so nobody needs to know when it is ready."""
    # asyncio spares its connections Nagle's delay only where the listener names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    return listener


def _uvicorn(app: ASGIApp, listener: socket.socket, http: Any) -> Running:
    config = uvicorn.Config(
        app,
        http=http,
        interface="asgi3",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    return server.serve([listener]), stop


def _hypercorn(app: Any, listener: socket.socket) -> Running:
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = GRACE
    end = asyncio.Event()
    return hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait), end.set


def _granian(app: ASGIApp, port: int) -> Running:
    server = granian.server.embed.Server(
        app, port=port, interface=granian.constants.Interfaces.ASGI, websockets=False, log_enabled=False
    )
    return server.serve(), server.stop
