"""`python -m tests.integrations.sqlalchemy [kills|crossing]`: the long forms of two proofs, kept in `transactions.md`.

Fails where an answer was stale, or where the same run with its guard taken away finds none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integrations.sqlalchemy.crossing import LEVELS, cross
from tests.integrations.sqlalchemy.kills import kill, scene
from tests.postgres import PostgresServer
from tests.servers import RedisServer

PARTS = ("kills", "crossing")
SEEN = 900.0  # seconds, mostly much less, within which sessions' memories leave something stale


def main() -> None:
    """Runs the parts that are asked for, and writes the report of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.integrations.sqlalchemy", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], help=" or ".join(PARTS))
    parser.add_argument("--times", type=int, default=200, help="writers that are killed")
    parser.add_argument("--seconds", type=float, default=600, help="of transactions that cross")
    parser.add_argument("--output", type=Path, default=Path("benchmarks"))
    asked = parser.parse_args()
    kept = asked.output / "transactions.json"
    told: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    postgres, redis = PostgresServer(), RedisServer()
    try:
        if "kills" in (asked.parts or PARTS):
            told["kills"] = _kills(postgres, redis, asked.times)
        if "crossing" in (asked.parts or PARTS):
            told["crossing"] = asyncio.run(_crossing(postgres, redis, asked.seconds))
    finally:
        postgres.stop()
        redis.stop()
    kept.write_text(json.dumps(told, indent=1) + "\n")
    report = "\n".join(render(told)) + "\n"
    (asked.output / "transactions.md").write_text(report)
    print(report)
    runs = [run for part in told.values() for run in part["runs"]]
    if any(bool(run["stale"]) is run["is_guarded"] for run in runs):
        raise SystemExit(1)


def _load() -> dict[str, Any]:
    return {"load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}


def _kills(postgres: PostgresServer, redis: RedisServer, times: int) -> dict[str, Any]:
    print(f"kills: {times} writers, and as many that do not hold", flush=True)
    with scene(postgres, "killed", redis.url, "killed") as place:
        runs = [
            {"is_guarded": with_hold, **kill(place, first, times, with_hold=with_hold)}
            for first, with_hold in ((0, True), (times, False))
        ]
    return {"runs": runs, **_load()}


async def _crossing(postgres: PostgresServer, redis: RedisServer, seconds: float) -> dict[str, Any]:
    runs = []
    for level in LEVELS:
        print(f"crossing: {level}, {seconds / 2:.0f} s", flush=True)
        told = await cross(postgres, redis.url, level=level, seconds=seconds / 2)
        runs.append({"is_guarded": True, "images": "strict", **told})
    print("crossing: sessions' memories", flush=True)
    told = await cross(postgres, redis.url, level=LEVELS[0], seconds=SEEN, images="memory")
    runs.append({"is_guarded": False, "images": "memory", **told})
    return {"runs": runs, **_load()}


def render(told: dict[str, Any]) -> Iterator[str]:
    """The report."""
    yield from ("# Transactions that are tracked", "", "What runs stands in `tests/integrations/sqlalchemy`.")
    if "kills" in told:
        part = told["kills"]
        yield from ("", "## Writers that are killed", "")
        yield "kill -9 of a process that commits again and again (psycopg and asyncpg by turns), each on a row of its own and at a"
        yield "random moment; three nodes on one Redis are asked all the while, two of them with strict near caches. An answer is"
        yield "stale if it is older than what PostgreSQL had committed before the question."
        yield f"Load average {part['load']} on {part['cores']} cores."
        yield from ("", "| | kills | answers | hits | stale |", "| --- | ---: | ---: | ---: | ---: |")
        for run in part["runs"]:
            name = "held before COMMIT" if run["with_hold"] else "the same without the hold"
            yield f"| {name} | {run['kills']} | {run['answers']:,} | {run['hits']:,} | {run['stale']} |"
    if "crossing" in told:
        part = told["crossing"]
        yield from ("", "## Transactions that cross", "")
        yield "Four sessions on PostgreSQL write at random (objects, Core, bulk, cascades, savepoints, rollbacks), with copies that"
        yield "grow old, while two nodes answer from pages over the same tables. An answer is stale if it is not what the database"
        yield "shows, in a snapshot that was the same before the question and after the answer. Flushed: pages that were stored"
        yield f"anew; needed: those whose content had changed. Load average {part['load']} on {part['cores']} cores."
        yield ""
        yield "| level | images | seconds | commits | answers | hits | stale | flushed | needed | ratio |"
        yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for run in part["runs"]:
            counts = (f"{run[what]:,}" for what in ("commits", "answers", "hits"))
            stale = (
                f"{len(run['stale'])}"
                if run["is_guarded"]
                else "found, where it ended"
                if run["stale"]
                else "none found"
            )
            flushes = (f"{run['flushed']:,}", f"{run['needed']:,}", f"{run['flushed'] / max(1, run['needed']):.2f}")
            cells = (run["level"], run["images"], f"{run['seconds']:.0f}", *counts, stale, *flushes)
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
