"""The section on near caches, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.aims import Aim, at_least, at_most, spread, table

TIMES = 3.0  # of a bare PUBLISH's p99: what a purge may take until it is known on all other nodes


def aims(results: dict[str, Any], cpu: dict[str, Any]) -> Iterator[Aim]:
    """What near caches set out to reach. `cpu`: the lines in process, by title."""
    lines = {line["name"]: line for line in results.get("near", {}).get("wire", [])}
    for place, name in (("", ""), ("_around", ", around the app")):
        ratio = lines.get(f"rcache_near{place}", {}).get("ratio")
        yield at_least(f"near hit over the wire{name}: at least 0.85 of bare", ratio, 0.85)
        yield at_most(
            f"near hit in process{name}: at most 0.4 of a Starlette route", cpu, f"near hit{name}", "to_route", 0.4
        )
    aim = f"a purge is known on 8 other nodes: at most {TIMES:g} times the p99 of a bare PUBLISH"
    if "near" not in results:
        yield Aim(aim, "-", None)
        return
    fast = results["near"]["fast"]
    times = fast["visible_ms"][1] / fast["publish_ms"][1]
    yield Aim(aim, f"{times:.1f} times", times <= TIMES)


def section(results: dict[str, Any]) -> Iterator[str]:
    """What was measured."""
    if "near" not in results:
        return
    near, settings = results["near"], results["near"]["settings"]
    yield from ("## Near caches", "")
    yield f"The load average was {settings['load']:g} on {settings['cores']} cores before it began. Over the wire, as above:"
    yield ""
    rows = [
        (line["title"], spread(line["ratio"]), spread(line["cpu"]) if "cpu" in line else "-") for line in near["wire"]
    ]
    yield from table(("row", "requests per second, bare = 1", "CPU, bare = 1"), *rows)
    rows = [(f"{line['processes']}", f"{line['hits_per_second']:,}") for line in near["processes"]]
    yield from table(("processes", "near hits per second"), *rows)
    yield f"Milliseconds from the call until all of {settings['nodes']} other nodes, each a process, knew."
    yield f"{settings['purges']} of each kind, in turns. The PUBLISH is heard by a blocking read in the same processes, and does"
    yield "nothing there."
    yield ""
    rows = []
    for mode in ("fast", "strict"):
        told = near[mode]
        for title, name in ((f"bare PUBLISH, beside {mode}", "publish_ms"), (f"purge, {mode}", "visible_ms")):
            rows.append((title, f"{told[name][0]:.2f}", f"{told[name][1]:.2f}"))
        rows.append(
            (f"`invalidate` returned, {mode}", f"{told['returned_ms'][0]:.2f}", f"{told['returned_ms'][1]:.2f}")
        )
    yield from table(("", "median", "p99"), *rows)
    rows = [
        (f"{mode}", f"{near[mode]['purges_per_second']:,}", f"{near[mode]['publishes_per_second']:,}")
        for mode in ("fast", "strict")
    ]
    title = f"{settings['nodes']} nodes follow, {settings['at_once']} at once"
    yield from table((title, "purges per second", "PUBLISHes per second"), *rows)
    yield from ("What following the log costs a node that serves nothing; whether it has read them all in the end.", "")
    rows = [
        (
            f"{line['rate']:,}",
            f"{100 * line['cpu']:.1f} %",
            "yes" if line["read"] == line["sent"] else f"{line['read']:,}",
        )
        for line in near["reader"]
    ]
    yield from table(("purges per second", "of a core", "all read"), *rows)
    rows = [(f"{line['body']:,}", f"{line['per_entry'] - line['body']:,}") for line in near["memory"]]
    yield from table(("bytes of a body", "bytes kept per entry beside it"), *rows)
    yield from ("![until 8 other nodes know](plots/near.svg)", "")
