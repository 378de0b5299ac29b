"""The results as plots: SVG with its text as text, so that it stays small and can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

OURS: Final = "#2166ac"
PEERS: Final = "#b8b8b8"
FRAMEWORK: Final = "#e6ab5e"
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",  # equal results draw equal files
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
SERIES: Final = {
    "entries": "hit, by entries stored",
    "tags": "hit, by tags per entry",
    "body": "hit, by body in bytes",
    "purge": "purge, by entries with the tag",
}


def draw(results: dict[str, Any], directory: Path) -> None:
    """One file per section that `results` holds."""
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        if "wire" in results:
            _bars(_wire_bars(results), "requests per second, bare ASGI = 1", directory / "wire.svg")
        if "inprocess" in results:
            _bars(_cpu_bars(results), "CPU per request, Starlette route = 1", directory / "inprocess.svg", "log")
        if "near" in results:
            _near(results["near"], directory / "near.svg")
        if "scale" in results:
            _scale(results["scale"], directory / "scale.svg")


Bar = tuple[str, list[float], str]


def _wire_bars(results: dict[str, Any]) -> list[Bar]:
    lines = [line for line in results["wire"]["rows"] if "ratio" in line]
    return [(line["title"], line["ratio"], _colour(line["name"], line["peer"])) for line in lines]


def _cpu_bars(results: dict[str, Any]) -> list[Bar]:
    frameworks = ("bare ASGI", "Starlette route", "FastAPI route")
    lines = results["inprocess"]["rows"]
    return [(line["title"], line["to_route"], FRAMEWORK if line["title"] in frameworks else OURS) for line in lines]


def _colour(name: str, peer: str | None) -> str:
    if peer:
        return PEERS
    return OURS if name.startswith("rcache") else FRAMEWORK


def _bars(bars: list[Bar], title: str, path: Path, scale: str = "linear") -> None:
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.36 * len(bars)))
    for place, (_, (median, low, high), colour) in enumerate(bars):
        axes.barh(place, median, color=colour, height=0.7)
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        axes.text(max(median, high), place, f"  {median:.2f}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xscale(scale)
    axes.margins(x=0.1)
    axes.set_title(title, loc="left")
    _save(figure, path)


def _near(section: dict[str, Any], path: Path) -> None:
    """Until all other nodes know: the median in colour, the p99 behind it."""
    bars = [
        (f"{title}, beside {mode} nodes" if name == "publish_ms" else f"{title}, {mode}", section[mode][name], colour)
        for mode in ("fast", "strict")
        for title, name, colour in (
            ("PUBLISH", "publish_ms", PEERS),
            ("purge", "visible_ms", OURS),
            ("returned", "returned_ms", OURS),
        )
    ]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.4 * len(bars)))
    for place, (_, (median, p99), colour) in enumerate(bars):
        axes.barh(place, p99, color=colour, height=0.7, alpha=0.3)
        axes.barh(place, median, color=colour, height=0.7)
        axes.text(p99, place, f"  {median:.2f} / {p99:.2f}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title("ms until 8 other nodes know (median / p99)", loc="left")
    _save(figure, path)


def _scale(section: dict[str, Any], path: Path) -> None:
    figure, grid = plt.subplots(2, 2, figsize=(9, 6))
    for axes, (series, title) in zip(grid.flat, SERIES.items(), strict=True):
        for store, label, colour in (("memory", "embedded", OURS), ("redis", "Redis", "#b2182b")):
            _line(axes, section[store][series], label, colour)
        axes.set_xscale("log")
        axes.set_xticks([point["size"] for point in section["memory"][series]])
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.axhline(1, color="#cccccc", linewidth=0.8, zorder=0)
        axes.set_title(f"{title} (first = 1)", loc="left", fontsize=10)
        axes.legend(frameon=False)
    _save(figure, path)


def _line(axes: Axes, points: list[dict[str, Any]], label: str, colour: str) -> None:
    sizes = [point["size"] for point in points]
    medians, lows, highs = zip(*(point["ratio"] for point in points), strict=True)
    axes.fill_between(sizes, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.plot(sizes, medians, marker="o", color=colour, label=label)


def draw_fleet(result: dict[str, Any], directory: Path) -> None:
    """How the log carries more and more nodes."""
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure, (times, work) = plt.subplots(1, 2, figsize=(9, 3.6))
        for mode, colour in (("fast", OURS), ("strict", "#b2182b")):
            nodes = [point["nodes"] for point in result[mode]]
            fit = result["fit"][mode]
            times.plot(
                nodes, [point["last_ms"][0] for point in result[mode]], "o-", color=colour, label=f"{mode}: last node"
            )
            returned = [point["returned_ms"][0] for point in result[mode]]
            times.plot(nodes, returned, "o:", color=colour, label=f"{mode}: returned")
            work.plot(nodes, [point["redis_per_purge_us"] for point in result[mode]], "o", color=colour, label=mode)
            work.plot(nodes, [fit["base_us"] + fit["each_us"] * count for count in nodes], color=colour, linewidth=1)
        times.set_title("a purge by nodes, ms (median)", loc="left", fontsize=10)
        work.set_title("Redis per purge by nodes, us", loc="left", fontsize=10)
        for axes in (times, work):
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False)
        _save(figure, directory / "fleet.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
