"""The section of the results that tells who waits for the application."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from benchmarks.aims import Aim, table

TITLES: Final = {
    "plain": "plain hits",
    "revalidate": "`stale_while_revalidate=10`",
    "early": "`early=True`",
    "fraction": "`early=0.8`",
    "neither": "neither: who comes too late waits",
}
REFRESHED: Final = ("revalidate", "early", "fraction")


def aims(results: dict[str, Any]) -> Iterator[Aim]:
    """What one run, and answers made anew before they are missed, set out to reach."""
    crowd = "1,000 requests for a cold key over 4 processes: one run, two where the one that runs is killed, two for two variants"
    late = "all of them answered within the run, 50 ms, and the time of as many plain hits"
    steady = "p99 of a hot key that expires, at 500 requests per second: at most twice that of plain hits"
    section = results.get("waiting")
    if section is None:
        yield from (Aim(crowd, "-", None), Aim(late, "-", None), Aim(steady, "-", None))
        return
    crowds = section["crowds"]
    runs, killed, variants = max(crowds["runs"]), crowds["killed_runs"], max(crowds["variant_runs"])
    yield Aim(crowd, f"{runs}, {killed}, {variants}", runs == 1 and killed <= 2 and variants == 2)
    over = _over(section)
    yield Aim(late, f"{over:.0f} ms beyond the run and the hits", over <= 50)
    worst = max(median(section["steady"][way]["p99_to_plain"]) for way in REFRESHED)
    yield Aim(steady, f"{worst:.2f} times", worst <= 2)


def _over(section: dict[str, Any]) -> float:
    """Milliseconds that the last of a crowd waits beyond the run and as many plain hits, the median of the rounds."""
    cold, crowds = section["settings"]["cold_s"], section["crowds"]
    return 1000 * median(
        waited - cold - hits for waited, hits in zip(crowds["waited_s"], crowds["hits_s"], strict=True)
    )


def section(results: dict[str, Any]) -> Iterator[str]:
    """As Markdown."""
    if "waiting" not in results:
        return
    told = results["waiting"]
    settings, crowds, steady = told["settings"], told["crowds"], told["steady"]
    yield from ("## Who waits for the application", "")
    hits, waited = 1000 * median(crowds["hits_s"]), 1000 * median(crowds["waited_s"])
    yield (
        f"{settings['crowd']:,} requests at once over {settings['processes']} processes on {settings['cores']} cores, for a key "
        f"that nobody holds and that takes {1000 * settings['cold_s']:.0f} ms to make: the last is answered after {waited:.0f} ms, "
        f"where as many plain hits take {hits:.0f} ms. {max(crowds['runs'])} run; {crowds['killed_runs']} where the process that "
        f"runs is killed; {max(crowds['variant_runs'])} for two variants."
    )
    yield ""
    yield (
        f"A hot key on Redis that is fresh for {settings['lifetime_s']:g} s and takes {1000 * settings['hot_s']:.0f} ms to make, "
        f"at {settings['rate']} requests per second. The last column is the median over "
        f"{len(steady['plain']['p99_to_plain'])} rounds, the others are of all requests together."
    )
    yield ""
    rows = [
        (
            title,
            *[f"{steady[way][column]:.1f}" for column in ("p50_ms", "p99_ms", "most_ms")],
            f"{median(steady[way]['p99_to_plain']):.2f}",
        )
        for way, title in TITLES.items()
    ]
    yield from table(("milliseconds", "median", "p99", "most", "p99 to that of plain hits"), *rows)
