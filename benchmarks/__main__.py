"""`python -m benchmarks [PART|all] [--full] [--seconds S]`: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import commits, earlier, inprocess, near, outage, plots, reads, report, scale, waiting, wire

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
PARTS = ("wire", "inprocess", "near", "earlier", "waiting", "outage", "scale", "commits", "reads")


def main() -> None:
    """Measures the parts asked for, keeps the others' last results, and writes table and plots anew."""
    asked = _arguments()
    directory: Path = asked.output
    directory.mkdir(parents=True, exist_ok=True)
    stored = directory / "results.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    for part in PARTS if asked.part == "all" else (asked.part,):
        results[part] = _measure(part, asked.seconds, asked.full)
    results["versions"] = report.versions()
    stored.write_text(json.dumps(results, indent=2) + "\n")
    text = report.render(results)
    (directory / "results.md").write_text(text)
    plots.draw(results, directory / "plots")
    if directory == HERE and "wire" in results:
        _tell_readme(report.summary(results))
    print(text)


def _tell_readme(summary: str) -> None:
    """Puts the figures of this run where the README compares."""
    begin, end = "<!-- benchmark:begin -->\n", "<!-- benchmark:end -->"
    before, _, rest = README.read_text().partition(begin)
    README.write_text(f"{before}{begin}{summary}\n{end}{rest.partition(end)[2]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", default="all", choices=(*PARTS, "all"))
    parser.add_argument("--full", action="store_true", help="more rounds, and up to a million entries (minutes, 5 GB)")
    parser.add_argument("--seconds", type=float, default=2, help="of wrk per row and round, whole seconds")
    parser.add_argument("--output", type=Path, default=HERE, help="directory for results and plots")
    return parser.parse_args()


def _measure(part: str, seconds: float, is_full: bool) -> dict[str, Any]:
    if part == "wire":
        return wire.measure(seconds, rounds=15 if is_full else 7)
    if part == "inprocess":
        return inprocess.measure(rounds=200 if is_full else 60)
    if part == "near":
        return near.measure(seconds, rounds=15 if is_full else 7)
    if part == "earlier":
        return earlier.measure(rounds=200 if is_full else 60)
    if part == "waiting":
        return waiting.measure(rounds=15 if is_full else 7)
    if part == "outage":
        return outage.measure()
    if part == "commits":
        return commits.measure(rounds=100 if is_full else 30)
    if part == "reads":
        return reads.measure(rounds=200 if is_full else 60)
    return scale.measure(rounds=100 if is_full else 30, is_full=is_full)


if __name__ == "__main__":
    main()
