"""Plays a page that tells a story in a terminal: files, servers, and what curl printed.

    python -m tests.docs.tutorial docs/tutorial.md     # with a redis-server of its own; writes down what was printed

A block of Python with a title is a file. `uvicorn` starts the application in it, in place of what listened on that port before,
and what stands below a `curl` is what it printed. Other commands are for the reader's machine.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx

from examples.server import Server
from tests.docs.blocks import ROOT
from tests.servers import RedisServer

_BLOCK = re.compile(r'^```(?:python title="(?P<title>[^"]+)"|console)\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE)
_PASSES = [(r"^date: .*$", "date:"), (r"^age: \d+$", "age:"), (r"\bttl=3[56]\d\d\b", "ttl=")]


def masked(text: str) -> str:
    """Without what differs from one second to the next."""
    for pattern, word in _PASSES:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


class Terminal:
    """A reader's folder and terminals. The ports of the page are names for those that the servers got."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.servers: dict[str, Server] = {}
        self.running = ExitStack()

    def play(self, page: str) -> str:
        """The page, with what was printed in place of what it says was printed."""
        with self.running:
            return _BLOCK.sub(self._block, page)

    def _block(self, found: re.Match[str]) -> str:
        if found["title"]:
            (self.folder / found["title"]).write_text(found["text"])
            return found[0]
        lines = []
        for line in found["text"].splitlines():
            if line.startswith("$ "):
                lines += [line, *self._typed(line[2:])]
        return "\n".join(["```console", *lines, "```"])

    def _typed(self, line: str) -> list[str]:
        words = shlex.split(line)
        # A busy machine is no outage of Redis: the allowance is what tests have.
        environment: dict[str, str | None] = {"PYTHONPATH": str(ROOT), "RCACHE_URL": None, "RCACHE_DEADLINE": "30"}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = value.replace("redis://127.0.0.1:6379", self.redis_url)
        if words[0] == "uvicorn":
            self._start(words[1], words[words.index("--port") + 1], environment)
        return self._curl(words) if words[0] == "curl" else []

    def _start(self, application: str, port: str, environment: dict[str, str | None]) -> None:
        if port in self.servers:
            self.servers[port].__exit__()
        server = Server(application, environment=environment, folder=self.folder)
        self.servers[port] = server
        self.running.enter_context(server)

    def _curl(self, words: list[str]) -> list[str]:
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        (url,) = [word for word in words if word.startswith("http://")]
        port = url.split(":")[2].split("/")[0]
        answer = httpx.request(method, url.replace(f":{port}/", f":{self.servers[port].port}/", 1))
        head = [f"{name.decode()}: {value.decode()}" for name, value in answer.headers.raw]
        printed = answer.text.splitlines()
        if "-i" in words:
            printed = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}", *head, "", *printed]
        if "grep" in words:
            printed = [line for line in printed if re.search(words[-1], line, re.IGNORECASE)]
        return printed


def main(pages: list[str]) -> None:
    """Writes into each page what was printed."""
    server = RedisServer()
    try:
        for page in map(Path, pages):
            with tempfile.TemporaryDirectory() as folder:
                page.write_text(Terminal(Path(folder), server.url).play(page.read_text()))
    finally:
        server.stop()


if __name__ == "__main__":
    os.environ.pop("RCACHE_URL", None)
    main(sys.argv[1:])
