"""Starts the application on two nodes with one Redis, and shows what each of them answers.

    docker run --rm -p 127.0.0.1:6379:6379 redis     # or any Redis that you have
    python -m examples.two_nodes.run                 # RCACHE_URL, where it is not redis://127.0.0.1:6379

By hand: the same two commands in two terminals, with the ports 8001 and 8002:

    RCACHE_URL=redis://127.0.0.1:6379 NODES_DATABASE=/tmp/wiki.sqlite3 uvicorn examples.two_nodes.app:app --port 8001

With NODES_PASSWORD=... as well, http://127.0.0.1:8001/_rcache shows the cache of both to the user "operator".
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import httpx

from examples.server import Server, ServerError

APPLICATION = "examples.two_nodes.app:app"
PAGE = "/pages/tea"


class StoryError(Exception):
    """The nodes answered otherwise than they should."""


def read(name: str, node: httpx.Client, text: str, word: str) -> None:
    """GET the page, which must have `text` and come as `word` says: hit or miss."""
    response = node.get(PAGE)
    status = response.headers.get("Cache-Status", "")
    print(f"GET on {name}   {response.json().get('text', response.text):12} {status}", flush=True)
    if response.json() != {"text": text} or ("; hit" in status) != (word == "hit"):
        raise StoryError(f"{name} should answer with {text!r}, as a {word}")


def write(name: str, node: httpx.Client, text: str) -> None:
    """PUT the page."""
    node.put(PAGE, json={"text": text}).raise_for_status()
    print(f"PUT on {name}   {text}", flush=True)


def tell(a: httpx.Client, b: httpx.Client) -> None:
    """What one node stored the other serves; what one node changed neither serves any more."""
    write("A", a, "Green.")
    read("A", a, "Green.", "miss")
    read("B", b, "Green.", "hit")
    write("B", b, "Black.")
    read("A", a, "Black.", "miss")
    read("B", b, "Black.", "hit")


def main() -> int:
    """Zero if both nodes did as they should."""
    url = os.environ.get("RCACHE_URL") or "redis://127.0.0.1:6379"
    with tempfile.TemporaryDirectory(prefix="rcache-two-nodes-") as directory:
        environment: dict[str, str | None] = {
            "RCACHE_URL": url,
            "NODES_DATABASE": str(Path(directory) / "wiki.sqlite3"),
        }
        try:
            with (
                Server(APPLICATION, environment=environment) as first,
                Server(APPLICATION, environment=environment) as second,
                httpx.Client(base_url=f"http://127.0.0.1:{first.port}") as a,
                httpx.Client(base_url=f"http://127.0.0.1:{second.port}") as b,
            ):
                tell(a, b)
        except (StoryError, ServerError, httpx.HTTPError) as error:
            print(f"{error}\nIs there a Redis at {url}?", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
