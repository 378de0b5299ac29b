"""The long form: `python -m tests.integrations.sqlalchemy.soundness [--needed 50000] [--seed 1]`.

Plays world after world, three of four on SQLite and one on PostgreSQL, until that many flushes were needed, and keeps what came of
it in `benchmarks/soundness.json` and `soundness.md`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy

from tests.integrations.sqlalchemy.soundness.play import Tally, run
from tests.integrations.sqlalchemy.soundness.queries import SHAPES
from tests.integrations.sqlalchemy.soundness.writes import KINDS
from tests.postgres import PostgresServer

HERE = Path(__file__).resolve().parents[4] / "benchmarks"
WRITES = 400
"""In one world."""


def main() -> int:
    """Whether nothing was stale."""
    asked = argparse.ArgumentParser(prog="python -m tests.integrations.sqlalchemy.soundness", description=__doc__)
    asked.add_argument("--needed", type=int, default=50_000, help="flushes that must have been needed")
    asked.add_argument("--seed", type=int, default=1, help="of the first world")
    asked.add_argument("--output", type=Path, default=HERE, help="directory for the result")
    given = asked.parse_args()
    logging.disable(logging.WARNING)
    total = {"sqlite": Tally(), "postgresql": Tally()}
    server = PostgresServer()
    seed, began = given.seed, time.monotonic()
    try:
        while sum(each.needed for each in total.values()) < given.needed:
            dialect = "postgresql" if seed % 4 == 0 else "sqlite"
            url = "sqlite://" if dialect == "sqlite" else server.url("psycopg", server.create_database(f"world{seed}"))
            total[dialect].add(run(url, seed, WRITES, each=2))
            seed += 1
            _keep(given.output, total, seed - given.seed, time.monotonic() - began)
    finally:
        server.stop()
    return 1 if any(each.stale for each in total.values()) else 0


def _keep(directory: Path, total: dict[str, Tally], worlds: int, seconds: float) -> None:
    both = Tally()
    for each in total.values():
        both.add(each)
    result: dict[str, Any] = {
        "versions": {"sqlalchemy": sqlalchemy.__version__, "python": sys.version.split()[0]},
        "shapes": len(SHAPES),
        "kinds": len(KINDS),
        "worlds": worlds,
        "minutes": round(seconds / 60, 1),
        **{name: _figures(each) for name, each in {**total, "both": both}.items()},
        "stale": both.stale[:50],
        "needed_by_shape": dict(both.by_shape.most_common()),
        "flushed_by_shape": dict(both.flushed_by_shape.most_common()),
        "needed_by_kind": dict(both.by_kind.most_common()),
    }
    (directory / "soundness.json").write_text(json.dumps(result, indent=2) + "\n")
    (directory / "soundness.md").write_text(_told(result))


def _figures(tally: Tally) -> dict[str, Any]:
    needed, expressible = max(tally.needed, 1), max(tally.needed_expressible, 1)
    return {
        "writes": tally.writes,
        "refused_by_the_database": tally.refused,
        "needed": tally.needed,
        "stale": len(tally.stale),
        "over": round(tally.flushed / needed, 2),
        "over_expressible": round(tally.flushed_expressible / expressible, 2),
        "over_of_tables": round(tally.tables / needed, 2),
        "over_of_tables_expressible": round(tally.tables_expressible / expressible, 2),
    }


ABOUT = """# Whether dependencies are found

{shapes} shapes of queries, {kinds} kinds of writes, {worlds} worlds; SQLAlchemy {sqlalchemy}, Python {python}. After each write
every kept result was computed anew. *Needed*: it differed. *Stale*: it differed and would not have been flushed. *Over*: flushed
for each that was needed, and beside it what tags of whole tables would have flushed in the same run.

| | writes | needed | stale | over, expressible | over, all | tables, expressible | tables, all |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def _told(result: dict[str, Any]) -> str:
    lines = [ABOUT.format(**result, **result["versions"])]
    for name in ("sqlite", "postgresql", "both"):
        each = result[name]
        lines.append(
            f"| {name} | {each['writes']} | {each['needed']} | {each['stale']} | x{each['over_expressible']} | x{each['over']}"
            f" | x{each['over_of_tables_expressible']} | x{each['over_of_tables']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
