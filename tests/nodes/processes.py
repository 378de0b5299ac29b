"""uvicorn processes, and a client lean enough to ask ten thousand questions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
READY_WITHIN = 60.0


@dataclass
class Reply:
    """One answer of a node."""

    status: int
    cache: str
    body: bytes

    @property
    def data(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Node:
    """One uvicorn process with one worker."""

    def __init__(self, application: str, **environment: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "uvicorn", application, "--port", str(self.port), "--log-level", "warning"]
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the node did not start: {' '.join(command)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    def request(self, method: str, path: str) -> Reply:
        """One request on a connection of its own."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        request.add_header("Host", "books")  # nodes behind one name, so that they share keys
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Reply(response.status, response.headers.get("cache-status", ""), response.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers.get("cache-status", ""), error.read())

    def get(self, path: str) -> Reply:
        """GET."""
        return self.request("GET", path)

    def put(self, path: str) -> Reply:
        """PUT."""
        return self.request("PUT", path)

    async def get_all(self, paths: Iterable[str], connections: int = 16, *, language: str = "en") -> list[Reply]:
        """GET each of `paths`, over a few connections that are kept alive; replies in the order of the paths."""
        todo = list(enumerate(paths))
        replies: dict[int, Reply] = {}
        shares: Sequence[list[tuple[int, str]]] = [todo[offset::connections] for offset in range(connections)]
        await asyncio.gather(*(self._get_share(share, replies, language) for share in shares))
        return [replies[position] for position in range(len(todo))]

    async def _get_share(self, share: list[tuple[int, str]], replies: dict[int, Reply], language: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for position, path in share:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: books\r\nAccept-Language: {language}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
            replies[position] = Reply(int(head[0].split()[1]), fields.get("cache-status", ""), body)
        writer.close()
        await writer.wait_closed()

    def pause(self) -> None:
        """Stops it with SIGSTOP: it holds what it has, and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the process in order."""
        self._process.terminate()
        self._process.wait(30)
