"""`python -m benchmarks.jobs`: what the queue does when workers die, and how long what somebody waits for has to wait.

Two `rcache worker` processes on one Redis: a schedule of one second for 20 seconds; the last that fired is killed, three times; a
job in flight is killed with its process; one key is added a thousand times; Redis restarts, with and without its data; and jobs
of the high lane are added while 3,000 jobs of the low lane wait. Writes jobs.json and jobs.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from rcache.core.jobs import Job
from tests.queues.fleet import Fleet
from tests.servers import RedisServer

HERE: Final = Path(__file__).resolve().parent
SECONDS: Final = 20
KILLS: Final = 3
LOW: Final = 3000
LOW_TAKES: Final = 0.02  # seconds: each waits for something, as a mail server
HIGH: Final = 150
PAUSE: Final = 0.01  # seconds between two jobs of the high lane


async def measure() -> dict[str, Any]:
    """All of it, in about two minutes."""
    result: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "nice": os.nice(0)}
    for name, part in (
        ("schedule", _schedule),
        ("flight", _flight),
        ("key", _key),
        ("restart", _restart),
        ("lanes", _lanes),
    ):
        print(f"jobs: {name}", flush=True)
        server = RedisServer()
        fleet = Fleet(server, **({"TEST_TICKS": "1"} if name == "schedule" else {}))
        try:
            await fleet.start(2)
            result[name] = await part(fleet)
        finally:
            await fleet.close()
            server.stop()
    return result


async def _schedule(fleet: Fleet) -> dict[str, Any]:
    before = len(await fleet.lines("tick", 1))
    first = int(time.time())
    await asyncio.sleep(first + SECONDS + 0.9 - time.time())
    seconds = [second for second in await fleet.ticks() if first < second <= first + SECONDS]
    fires = (await fleet.lines("tick"))[before:]
    late = [line.at % 1 for line in fires]
    without = []
    for _ in range(KILLS):
        last = (await fleet.lines("tick"))[-1]
        fleet.kill(last.pid)
        await asyncio.sleep(4)
        times = [line.at for line in await fleet.lines("tick") if line.at >= last.at]
        without.append(max(later - fire for fire, later in pairwise(times)))
        await fleet.start()
    return {
        "seconds": SECONDS,
        "fires": len(fires),
        "doubled": len(fires) - len(seconds),
        "missed": SECONDS - len(seconds),
        "late_ms": _quantiles(late),
        "seconds_without_a_fire_after_kill": [round(each, 2) for each in without],
    }


async def _flight(fleet: Fleet) -> dict[str, Any]:
    await fleet.queue.add(Job("gated", (1,)))
    (begun,) = await fleet.lines("began", 1)
    killed = time.time()
    fleet.kill(begun.pid)
    _, again = await fleet.lines("began", 2)
    return {"seconds_until_it_began_anew": round(again.at - killed, 1)}


async def _key(fleet: Fleet) -> dict[str, Any]:
    added = await asyncio.gather(*(fleet.queue.add(Job("gated", (1,), key="one")) for _ in range(1000)))
    fleet.open_gate()
    await fleet.lines("ended", 1)
    await fleet.queue.add(Job("note", (1,)))
    await fleet.lines("note", 1)
    return {"added": len(added), "accepted": sum(added), "runs": len(await fleet.lines("began"))}


async def _restart(fleet: Fleet) -> dict[str, Any]:
    result = {}
    for name, keep_data in (("with_data", True), ("without_data", False)):
        fleet.server.restart(keep_data=keep_data)
        up = time.time()
        await fleet.queue.add(Job("note", (1,)))
        line = (await fleet.lines("note", 1))[-1]
        result[f"seconds_until_a_job_ran_{name}"] = round(line.at - up, 2)
    return result


async def _lanes(fleet: Fleet) -> dict[str, Any]:
    alone = await _high(fleet)
    await fleet.queue.pause("low")
    for start in range(0, LOW, 100):
        await asyncio.gather(*(fleet.queue.add(Job("sleep", (LOW_TAKES,))) for _ in range(start, start + 100)))
    await fleet.queue.resume("low")
    began = time.time()
    behind = await _high(fleet)
    left = (await fleet.queue.view()).lanes[1].waiting
    await fleet.until(lambda view: view.counts["done"] == LOW + 2 * HIGH)
    return {
        "low": LOW,
        "low_takes_ms": 1000 * LOW_TAKES,
        "high": HIGH,
        "low_left_after_the_last_high": left,
        "alone_ms": alone,
        "behind_ms": behind,
        "low_per_second": round(LOW / (time.time() - began)),
    }


async def _high(fleet: Fleet) -> dict[str, float]:
    before = len(await fleet.lines("late"))
    for _ in range(HIGH):
        await fleet.queue.add(Job("late", (time.time(),), priority="high"))
        await asyncio.sleep(PAUSE)
    lines = await fleet.lines("late", before + HIGH)
    return _quantiles([float(line.value) for line in lines[before:]])


def _quantiles(seconds: list[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
    found = {"p50": hundredths[49], "p99": hundredths[98], "max": max(seconds)}
    return {name: round(1000 * each, 1) for name, each in found.items()}


def render(result: dict[str, Any]) -> str:
    """As Markdown."""
    schedule, lanes, restart = result["schedule"], result["lanes"], result["restart"]

    left = f"{lanes['low_left_after_the_last_high']:,}"

    def milliseconds(found: dict[str, float]) -> str:
        return f"p50 {found['p50']} ms, p99 {found['p99']} ms, at most {found['max']} ms"

    rows = (
        (
            f"a schedule of one second, {schedule['seconds']} s",
            f"{schedule['fires']} fires, {schedule['doubled']} doubled, {schedule['missed']} missed; each late by "
            + milliseconds(schedule["late_ms"]),
        ),
        (
            "kill -9 of the last that fired, three times",
            "longest time without a fire: "
            + ", ".join(f"{each} s" for each in schedule["seconds_without_a_fire_after_kill"]),
        ),
        ("kill -9 of a process with a job", f"it began anew {result['flight']['seconds_until_it_began_anew']} s later"),
        (
            f"one key added {result['key']['added']:,} times",
            f"accepted {result['key']['accepted']}, ran {result['key']['runs']}",
        ),
        (
            "Redis restarts with its data",
            f"a job ran {restart['seconds_until_a_job_ran_with_data']} s after it was back",
        ),
        ("Redis restarts without", f"a job ran {restart['seconds_until_a_job_ran_without_data']} s after it was back"),
        ("a job of the high lane begins, nothing else to do", milliseconds(lanes["alone_ms"])),
        (
            f"the same behind {lanes['low']:,} low jobs of {lanes['low_takes_ms']:g} ms, {left} left at the end",
            milliseconds(lanes["behind_ms"]),
        ),
        ("low jobs meanwhile", f"{lanes['low_per_second']} per second"),
    )
    table = "\n".join(f"| {what} | {found} |" for what, found in rows)
    return (
        "# Jobs: what dies, and who waits\n\n"
        f"Two `rcache worker` processes and one Redis on {result['cores']} processors (load {result['load']} before, priority"
        f" {-result['nice']:+d}), by `python -m benchmarks.jobs`.\n\n"
        f"| | |\n| --- | --- |\n{table}\n"
    )


def main() -> None:
    """Measures, prints and keeps."""
    result = asyncio.run(measure())
    (HERE / "jobs.json").write_text(json.dumps(result, indent=2) + "\n")
    text = render(result)
    (HERE / "jobs.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
