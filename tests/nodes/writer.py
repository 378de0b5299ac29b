"""A process that writes the version in a file, and stops for ever at the step it is told: to be killed there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rcache import Cache

STEPS = ("hold", "held", "committed", "purged")


def main(url: str, namespace: str, database: str, wanted: str, kind: str) -> None:
    """Commits version 1 under the tag `row`."""
    cache = Cache(url, namespace=namespace)

    def reach(step: str) -> None:
        if step == wanted:
            print(step, flush=True)
            sys.stdin.readline()

    def commit() -> None:
        reach("held")
        Path(database).write_text("1")
        reach("committed")

    async def write() -> None:
        async with cache.writing("row"):
            commit()
        reach("purged")

    reach("hold")
    if kind == "async":
        asyncio.run(write())
    else:
        with cache.writing_sync("row"):
            commit()
        reach("purged")


if __name__ == "__main__":
    main(*sys.argv[1:])
