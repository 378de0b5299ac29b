"""Makes the transcripts of docs/cli.md anew: what `rcache` shows of two nodes that run.

    python -m scripts.transcripts                     # rewrites docs/cli.md; needs redis-server and curl

Each console below a comment that says `transcript` is typed again on a terminal, line by line, and what it shows takes the place
of what stood there. Ports and the name of the machine are written as the page has them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from examples.server import Server
from tests.servers import RedisServer

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
APPLICATION = "examples.two_nodes.app:app"
COLUMNS = 118
REPORTED = 2.5  # seconds within which every node has written its counters

_BLOCK = re.compile(r"(?<=^<!-- transcript -->\n```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]")


@contextmanager
def fleet() -> Iterator[dict[str, str]]:
    """Two nodes and a Redis: what stands for them on the page, and what does here."""
    with ExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.stop)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        environment: dict[str, str | None] = {
            "RCACHE_URL": redis.url,
            "NODES_DATABASE": str(Path(folder) / "wiki.sqlite3"),
        }
        nodes = [stack.enter_context(Server(APPLICATION, environment=environment)) for _ in range(2)]
        yield {
            "127.0.0.1:6379": f"127.0.0.1:{redis.port}",
            "127.0.0.1:8001": f"127.0.0.1:{nodes[0].port}",
            "127.0.0.1:8002": f"127.0.0.1:{nodes[1].port}",
            "web": socket.gethostname(),
        }


def shown(line: str, environment: Mapping[str, str]) -> str:
    """What a line shows on a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    with subprocess.Popen(
        ["/bin/sh", "-c", line], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=ROOT
    ) as process:
        os.close(slave)
        octets = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    octets += os.read(master, 65536)
                except OSError:  # the last who could write has ended
                    break
        process.wait()
    os.close(master)
    text = _ESCAPE.sub("", octets.decode()).replace("\r", "")
    return "".join(f"{each.rstrip()}\n" for each in text.splitlines())


def typed(block: str, places: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The block with what its lines show now."""
    told = []
    for line in re.findall(r"^\$ .*\n", block, re.MULTILINE):
        command = line.removeprefix("$ ")
        if command.startswith("rcache"):
            time.sleep(REPORTED)
            command = f"{sys.executable} -m rcache.cli{command.removeprefix('rcache')}"
        for there, here in places.items():
            command = command.replace(there, here)
        text = shown(command, environment)
        for there, here in places.items():
            text = _written_as(text, here, there)
        told.append(line + text)
    return "\n".join(told)


def _written_as(text: str, here: str, there: str) -> str:
    """The text with another name for a place; the columns of tables stay where they are."""

    def renamed(found: re.Match[str]) -> str:
        gap = max(2, len(found["gap"]) + len(here) - len(there)) if found["gap"] else 0
        return f"{there}{found['rest']}{' ' * gap}"

    return re.sub(rf"{re.escape(here)}(?P<rest>\S*(?: \S+)*)(?P<gap>  +)?", renamed, text)


def main() -> None:
    """Rewrites the page."""
    with fleet() as places:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RCACHE_")} | {
            "RCACHE_URL": f"redis://{places['127.0.0.1:6379']}",
            "RCACHE_NAMESPACE": "two-nodes",
            "TERM": "xterm-256color",
        }
        page = PAGE.read_text()
        PAGE.write_text(_BLOCK.sub(lambda found: typed(found[0], places, environment), page))


if __name__ == "__main__":
    main()
