"""The results as tables in plain words, with nothing in them that names a machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from typing import Any, Final

from benchmarks import near_report, waiting_report
from benchmarks.aims import Aim, at_least, at_most, spread, table
from benchmarks.environments import versions as installed
from benchmarks.servers import require

STORES: Final = {"memory": "embedded", "redis": "Redis"}
SERIES: Final = {"entries": "entries stored", "tags": "tags per entry", "body": "body in bytes"}


def versions() -> dict[str, str]:
    """What took part, and on how many cores."""
    redis = subprocess.run([require("redis-server", "redis-server"), "--version"], capture_output=True, text=True)
    server = next((word[2:] for word in redis.stdout.split() if word.startswith("v=")), "unknown")
    return {
        "python": platform.python_version(),
        "redis-server": server,
        **installed(None),
        "cores": str(os.cpu_count()),
    }


def render(results: dict[str, Any]) -> str:
    """All sections that `results` holds, as Markdown."""
    found = [f"{name} {version}" for name, version in results["versions"].items() if name != "cores"]
    lines = ["# Results", "", f"Measured with {', '.join(found)}, on {results['versions']['cores']} cores.", ""]
    lines += ["Each number is the median; what follows in brackets holds the middle half of the rounds.", ""]
    lines += [
        *_aims(results),
        *_wire(results),
        *_inprocess(results),
        *near_report.section(results),
        *_earlier(results),
        *waiting_report.section(results),
        *_outage(results),
        *_commits(results),
        *_reads(results),
        *_scale(results),
    ]
    return "\n".join(lines) + "\n"


def _aims(results: dict[str, Any]) -> list[str]:
    words = {True: "met", False: "not met", None: "not measured"}
    rows = [(aim.aim, aim.measured, words[aim.is_met]) for aim in aims(results)]
    return ["## Aims", "", *table(("aim", "measured", ""), *rows)]


def aims(results: dict[str, Any]) -> Iterator[Aim]:
    """What rcache set out to reach, beside what it reached."""
    wire = {line["name"]: line for line in results.get("wire", {}).get("rows", [])}
    cpu = {line["title"]: line for line in results.get("inprocess", {}).get("rows", [])}
    hit, on_redis = wire.get("rcache_memory", {}).get("ratio"), wire.get("rcache_redis", {}).get("ratio")
    for place, name in (("", ""), ("_around", ", around the app")):
        ratio = wire.get(f"rcache_memory{place}", {}).get("ratio")
        yield at_least(f"embedded hit over the wire{name}: at least 0.85 of bare", ratio, 0.85)
        aim = f"embedded hit in process{name}: at most 0.4 of a Starlette route"
        yield at_most(aim, cpu, f"embedded hit{name}", "to_route", 0.4)
        ratio = wire.get(f"rcache_redis{place}", {}).get("ratio")
        yield at_least(f"Redis hit over the wire{name}: at least 0.45 of bare", ratio, 0.45)
    yield at_most("a route without a rule: at most 2 us over bare", cpu, "rcache pass", "excess", 2.0)
    yield from near_report.aims(results, cpu)
    yield from waiting_report.aims(results)
    then = {line["title"]: line for line in results.get("earlier", {}).get("rows", [])}
    for title in ("embedded hit", "embedded hit, around the app", "Redis hit"):
        yield _no_dearer(f"{title} in process: no dearer than before", then.get(title))
    yield _within_allowance(results.get("outage"))
    for store, own in (("memory", hit), ("redis", on_redis)):
        yield _ahead(store, own, [line for line in wire.values() if line["store"] == store and line["peer"]])
    yield from _found(results.get("reads"))
    for store, name in STORES.items():
        yield _constant(name, results.get("scale", {}).get(store, {}).get("purge"))


def _no_dearer(aim: str, line: dict[str, Any] | None) -> Aim:
    """Met where the middle half of the rounds reaches down to 1: more than that, noise does not tell."""
    if line is None:
        return Aim(aim, "-", None)
    return Aim(aim, f"{spread(line['to_then'])} times", line["to_then"][1] <= 1)


def _ahead(store: str, own: list[float] | None, peers: list[dict[str, Any]]) -> Aim:
    aim = f"ahead of every peer over the wire, {STORES[store]}"
    measured = [(peer["ratio"][0], peer["title"]) for peer in peers if "ratio" in peer]
    if own is None or not measured:
        return Aim(aim, "-", None)
    best, title = max(measured)
    return Aim(aim, f"{own[0] / best:.1f} times the next, {title}", own[0] > best)


def _constant(name: str, line: list[dict[str, Any]] | None) -> Aim:
    aim = f"purge of a tag in constant time, {name}"
    if not line:
        return Aim(aim, "-", None)
    last = line[-1]
    measured = f"{last['size']:,} entries take {last['ratio'][0]:.1f} times as long as one"
    return Aim(aim, measured, last["ratio"][0] <= 2)


def _found(section: dict[str, Any] | None) -> Iterator[Aim]:
    aims = (
        "idle hooks on queries: within noise",
        "a miss of 50 rows with a joinedload, dependencies found: at most 1.15",
    )
    if section is None:
        yield from [Aim(aim, "-", None) for aim in aims]
        return
    idle, ratio = section["rows"][0]["ratios"]["idle"], section["miss"]["ratio"]
    yield Aim(aims[0], f"{spread(idle)} times", idle[1] <= 1)
    yield Aim(aims[1], f"{spread(ratio)} times", ratio[0] <= 1.15)


def _within_allowance(section: dict[str, Any] | None) -> Aim:
    aim = "a GET while Redis is gone: at most 50 ms on top of the application's own time"
    if section is None:
        return Aim(aim, "-", None)
    worst = max(line["worst_ms"] for line in section["rows"] if line["name"] != "Redis well")
    return Aim(aim, f"{worst:.1f} ms at worst", worst <= section["settings"]["allowance_ms"])


def _wire(results: dict[str, Any]) -> Iterator[str]:
    if "wire" not in results:
        return
    section, settings = results["wire"], results["wire"]["settings"]
    yield from ("## Over the wire", "")
    yield f"One uvicorn process (uvloop, httptools), {settings['connections']} connections, wrk,"
    yield f"{settings['body_bytes']:,} bytes of JSON, {settings['rounds']} rounds of {settings['seconds']:g} s."
    yield from ("CPU is that of the server process per request.", "")
    rows = [_wire_row(line) for line in section["rows"]]
    yield from table(("row", "requests per second, bare = 1", "CPU, bare = 1", "p99 in ms"), *rows)
    bare = section["rows"][0]["requests_per_second"]
    yield from (f"Bare answered {bare:,} requests per second. The peers, as pip resolves them:", "")
    told = {line["peer"]: line["versions"] for line in section["rows"] if "versions" in line}
    yield from table(
        ("peer", "version", "FastAPI", "Starlette", "redis-py"),
        *[(peer, own[peer], own["fastapi"], own["starlette"], own["redis"]) for peer, own in told.items()],
    )
    yield from ("![requests per second](plots/wire.svg)", "")


def _wire_row(line: dict[str, Any]) -> tuple[str, ...]:
    if "failure" in line:
        return line["title"], f"does not run: {line['failure']}", "", ""
    title = f"{line['title']} ({line['note']})" if "note" in line else line["title"]
    cpu = spread(line["cpu"]) if "cpu" in line else "-"
    return title, spread(line["ratio"]), cpu, f"{line['p99_ms']:.1f}"


def summary(results: dict[str, Any]) -> str:
    """What the README says of speed: the rates over the wire, best first, and where to find the rest."""
    lines = [line for line in results["wire"]["rows"] if "ratio" in line]
    lines.sort(key=lambda line: line["ratio"][0], reverse=True)
    rows = [(line["title"], f"{line['ratio'][0]:.2f}", f"{line['p99_ms']:.1f}") for line in lines]
    said = [
        "Requests per second over the wire, relative to a bare ASGI application that sends the same bytes; one uvicorn process, 32",
        "connections, in one run of `make bench`. All rows, what they run and what else was measured stand in",
        "[benchmarks](benchmarks/results.md).",
        "",
        *table(("40 items as JSON", "bare = 1", "p99 in ms"), *rows),
        "A hit on Redis asks Redis each time; the body of a URL that is asked for again and again does not travel again.",
        "",
        "![requests per second](benchmarks/plots/wire.svg)",
    ]
    return "\n".join(said)


def _inprocess(results: dict[str, Any]) -> Iterator[str]:
    if "inprocess" not in results:
        return
    section = results["inprocess"]
    yield from ("## CPU per request in process", "")
    yield "No server and no socket but the one to Redis: the application is called with a constant scope, 32 at a time."
    yield "The passes' excess is over the same application without rcache."
    yield ""
    rows = []
    for line in section["rows"]:
        extra = spread(line["excess"]) if "excess" in line else ""
        rows.append((line["title"], spread(line["to_route"]), spread(line["to_bare"], 1), extra))
    yield from table(("row", "Starlette route = 1", "bare = 1", "excess in us"), *rows)
    yield from ("![CPU per request](plots/inprocess.svg)", "")


def _earlier(results: dict[str, Any]) -> Iterator[str]:
    if "earlier" not in results:
        return
    section = results["earlier"]
    yield from ("## Beside an earlier version", "")
    yield f"CPU per request in process, over that of revision {section['settings']['revision']} in the same run."
    yield ""
    rows = [(line["title"], f"{line['microseconds']:.1f}", spread(line["to_then"])) for line in section["rows"]]
    yield from table(("row", "us", "earlier = 1"), *rows)


def _outage(results: dict[str, Any]) -> Iterator[str]:
    if "outage" not in results:
        return
    section = results["outage"]
    yield from ("## Redis gone", "")
    yield f"Milliseconds on top of the application's own answer, {section['settings']['requests']} requests one after the other."
    yield ""
    rows = [
        (line["name"], f"{line['median_ms']:.2f}", f"{line['p99_ms']:.1f}", f"{line['worst_ms']:.1f}")
        for line in section["rows"]
    ]
    yield from table(("state", "median", "p99", "worst"), *rows)


def _commits(results: dict[str, Any]) -> Iterator[str]:
    if "commits" not in results:
        return
    section = results["commits"]
    tracked = section["settings"]["engines"][1:]
    yield from ("", "## A COMMIT that flushes", "")
    yield "Time of a transaction on PostgreSQL relative to the same one on an untracked engine; + statements sent besides."
    yield ""
    rows = [
        (
            line["name"],
            f"{line['rows']:,}",
            f"{line['untracked_ms']:.2f}",
            *[f"{spread(line['ratios'][engine])} (+{line['besides'][engine]})" for engine in tracked],
        )
        for line in section["rows"]
    ]
    yield from table(("transaction", "rows", "untracked, ms", *tracked), *rows)


def _reads(results: dict[str, Any]) -> Iterator[str]:
    if "reads" not in results:
        return
    section = results["reads"]
    yield from ("## Finding dependencies", "")
    yield "The client's CPU for a question to PostgreSQL, relative to the same one with the hooks that follow reads taken off."
    yield ""
    rows = [
        (line["name"], f"{line['unseen_us']:.0f}", *[spread(line["ratios"][each]) for each in ("idle", "gathering")])
        for line in section["rows"]
    ]
    yield from table(("question", "unseen, us", "idle", "gathering"), *rows)
    miss = section["miss"]
    told = f"{spread(miss['ratio'])} times the {miss['tags_us']:.0f} us that it takes with `tags=`"
    yield f"A miss of that list with `auto=True`: {told}."
    yield ""


def _scale(results: dict[str, Any]) -> Iterator[str]:
    if "scale" not in results:
        return
    section = results["scale"]
    yield from ("## Scale", "", "CPU of a hit in process, each series relative to its first line.", "")
    for series, title in SERIES.items():
        rows = [_scale_row(*pair) for pair in zip(section["memory"][series], section["redis"][series], strict=True)]
        yield from table((title, "embedded hit", "Redis hit"), *rows)
    yield from ("Time until `invalidate` returned, for one tag, relative to a tag with one entry.", "")
    pairs = zip(section["memory"]["purge"], section["redis"]["purge"], strict=True)
    yield from table(("entries with the tag", "embedded", "Redis"), *[_scale_row(*pair) for pair in pairs])
    yield from ("![scale](plots/scale.svg)", "")


def _scale_row(memory: dict[str, Any], redis: dict[str, Any]) -> tuple[str, ...]:
    cells = []
    for line in (memory, redis):
        reached = line.get("reached_application")
        cells.append(spread(line["ratio"]) + (f", {reached} reached the application" if reached else ""))
    return f"{memory['size']:,}", *cells
