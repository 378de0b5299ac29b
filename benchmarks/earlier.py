"""The same requests through this version and through an earlier one, in turns: what a change costs, or gains.

Each version runs in a process of its own with the same harness, and gives a sample when it is asked for one. The two take
turns, so that a busy machine slows both, and each ratio is formed within its round.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import inprocess
from benchmarks.servers import redis_server
from benchmarks.spread import Spread

REVISION: Final = "5a25e20"
"""The version to compare with: the last before anybody could look into a cache, and before nodes waited for each other."""

ROOT: Final = Path(__file__).resolve().parent.parent


class Version:
    """A process that runs one version."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sample(self) -> dict[str, float]:
        """CPU seconds per request, by row."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("sample\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def _version(library: Path, url: str) -> Iterator[Version]:
    """This tree's harness with the rcache that lies in `library`."""
    command = [sys.executable, "-P", "-m", "benchmarks.earlier", url]
    environment = {**os.environ, "PYTHONPATH": f"{library}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Version(process)
        assert process.stdin is not None
        process.stdin.close()


def _unpacked(directory: str) -> Path:
    command = ["git", "-C", str(ROOT), "archive", REVISION, "rcache"]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(
            f"revision {REVISION} is not here: this part runs in a clone with its history ({archive.stderr!r})"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(directory, filter="data")
    return Path(directory)


def measure(rounds: int) -> dict[str, Any]:
    """The section of the results: this version over the earlier one."""
    print(f"beside {REVISION}: {rounds} rounds", flush=True)
    with ExitStack() as stack:
        server = stack.enter_context(redis_server()).removesuffix("/0")
        library = _unpacked(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-earlier-")))
        # Each in a database of its own: they spell keys alike, and would damage each other's entries.
        places = {"now": (ROOT, f"{server}/0"), "then": (library, f"{server}/1")}
        versions = {name: stack.enter_context(_version(*place)) for name, place in places.items()}
        for version in versions.values():
            version.sample()  # the first one fills, calibrates and warms up
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
        for _ in range(rounds):
            for name in random.sample(list(versions), 2):
                samples[name].append(versions[name].sample())
    rows = []
    for title in samples["now"][0]:
        ratios = [now[title] / then[title] for now, then in zip(samples["now"], samples["then"], strict=True)]
        microseconds = Spread.of([one[title] for one in samples["now"]]).median * 1e6
        rows.append({"title": title, "microseconds": round(microseconds, 2), "to_then": Spread.of(ratios).rounded(3)})
    return {"settings": {"rounds": rounds, "revision": REVISION}, "rows": rows}


async def _serve(url: str) -> None:
    """Gives a sample of every row for each line that comes in."""
    subjects, caches = inprocess.cached_subjects(url)
    for subject in subjects:
        await inprocess.verify(subject)
        await inprocess.calibrate(subject)
    for _ in sys.stdin:
        sample = {subject.title: await inprocess.sample(subject, subject.turns) for subject in subjects}
        print(json.dumps(sample), flush=True)
    for cache in caches:
        await cache.close()


if __name__ == "__main__":
    if sys.flags.safe_path:  # a version under measurement
        uvloop.run(_serve(sys.argv[1]))
    else:
        print(json.dumps(measure(60), indent=2))
