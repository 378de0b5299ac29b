"""One node that keeps entries near, as a process: tells when it learned of what, beside a bare subscriber in the same process.

    python -m benchmarks.near_nodes URL NAMESPACE fast|strict LEASE

Prints `joined`; then answers each line on standard input with what it has seen since, as JSON: the moments (of the monotonic
clock) at which each purge, by the number of its record, could be served no more, and at which each PUBLISH, by its number, was
there.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import redis

from rcache import Cache
from rcache.core.log import Record
from rcache.engine.near_store import NearStore

CHANNEL = "benchmark"


def main(url: str, namespace: str, mode: str, lease: str) -> None:
    """Until standard input ends."""
    purged: dict[int, float] = {}
    published: dict[int, float] = {}
    cache = Cache(url, namespace=namespace, near=mode, near_lease=float(lease))  # type: ignore[arg-type]
    assert isinstance(cache.store, NearStore)
    near = cache.store.near
    apply = near.apply

    def noted(records: Sequence[Record]) -> bool:
        done = apply(records)
        now = time.monotonic()
        purged.update((record.number, now) for record in records if record.kind == "purge")
        return done

    near.apply = noted  # type: ignore[method-assign]
    follower = cache.store.follow()
    subscribed = threading.Event()
    threading.Thread(target=_subscribe, args=(url, published, subscribed), daemon=True).start()
    if not (follower.joined.wait(20) and subscribed.wait(20)):
        raise RuntimeError("the node did not join")
    print("joined", flush=True)
    while sys.stdin.readline():
        print(json.dumps([purged, published]), flush=True)
        purged.clear()
        published.clear()
    cache.close_sync()


def _subscribe(url: str, published: dict[int, float], subscribed: threading.Event) -> None:
    """The least that a Python process can do to hear of something: a blocking read, and nothing done with it."""
    place = urlsplit(url)
    connection = redis.Connection(host=place.hostname or "", port=place.port or 6379, protocol=2, socket_timeout=None)
    connection.connect()  # type: ignore[no-untyped-call]
    connection.send_command("SUBSCRIBE", CHANNEL)  # type: ignore[no-untyped-call]
    connection.read_response()
    subscribed.set()
    while True:
        message = connection.read_response()
        published[int(message[2])] = time.monotonic()


if __name__ == "__main__":
    main(*sys.argv[1:])
