"""Is what would be released whole, and does it work where nothing but it is?

    python -m scripts.release_check                                  # in an empty environment, from a package index
    python -m scripts.release_check python3.11 python3.12            # in one for each of these interpreters
    python -m scripts.release_check --light                          # in a folder, beside what is installed here: no network

Builds the sdist, and the wheel from it; looks into both; checks what they say of themselves; installs the wheel, and runs the
README's first application as a server until it has seen a hit, and a purge. Then the extras: all together, and each by itself on
the last of the interpreters.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import httpx

from examples.server import ROOT, Server

EXTRAS = {
    "cli": "rcache.cli.commands",
    "compress": "brotli",
    "dashboard": "rcache.dashboard",
    "fast": "hiredis",
    "otel": "rcache.integrations.opentelemetry",
    "postgresql": "rcache.integrations.postgresql, psycopg",
    "prometheus": "rcache.integrations.prometheus",
    "sqlalchemy": "rcache.integrations.sqlalchemy",
    "targeted": "http_sf",
    "worker": "rcache.queues.redis, cronsim",
}
"""What can be imported where an extra is installed and nothing else is."""

AROUND = {".ci/run", ".gitignore"}
"""What the repository has and an sdist need not."""


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """What a command printed; it ends the check where it fails."""
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def missing(sdist: Path, wheel: Path, tracked: set[str]) -> list[str]:
    """Files of the repository that are not where they belong: all in the sdist, the package's in the wheel."""
    with tarfile.open(sdist) as packed:
        in_sdist = {name.partition("/")[2] for name in packed.getnames()}
    with zipfile.ZipFile(wheel) as packed:
        in_wheel = set(packed.namelist())
    package = {name for name in tracked if name.startswith("rcache/")}
    lost = [f"not in the sdist: {name}" for name in sorted(tracked - in_sdist - AROUND)]
    return lost + [f"not in the wheel: {name}" for name in sorted(package - in_wheel)]


def tracked() -> set[str]:
    """The files of the repository."""
    return set(run("git", "ls-files").split("\n")) - {""}


def extras() -> dict[str, str]:
    """Those of EXTRAS that the project offers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {name: modules for name, modules in EXTRAS.items() if name in project["optional-dependencies"]}


def first_application() -> str:
    """The first block of Python of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def serve(python: Path, folder: Path, path: str | None = None) -> None:
    """Runs the application with an interpreter, in a folder that holds nothing else, and asks it for a miss, a hit and a purge."""
    (folder / "app.py").write_text(first_application())
    environment = {"PYTHONPATH": path, "RCACHE_URL": None}
    with Server("app:app", environment=environment, folder=folder, python=str(python)) as server:
        url = f"http://127.0.0.1:{server.port}/users/1"
        told = [httpx.get(url).headers["cache-status"] for _ in range(2)]
        httpx.put(url, params={"name": "Ada King"}).raise_for_status()
        after = httpx.get(url)
    told.append(after.headers["cache-status"])
    wanted = ["rcache; fwd=miss; stored", r"rcache; hit; ttl=(300|2\d\d)", "rcache; fwd=miss; stored"]
    is_right = all(re.fullmatch(pattern, each) for pattern, each in zip(wanted, told, strict=True))
    if not is_right or after.json() != {"name": "Ada King"}:
        raise SystemExit(f"failed: the first application answered {told}, and {after.text} at last")


def installed(python: Path, home: Path, path: str | None = None) -> str:
    """The version that an interpreter imports, after making sure that it is the one that lies below `home`."""
    code = "import rcache, sys; print(rcache.__version__, rcache.__file__)"
    environment = ["env", f"PYTHONPATH={path or ''}"]
    version, _, place = run(*environment, python, "-c", code, folder=home).strip().partition(" ")
    if not Path(place).is_relative_to(home):
        raise SystemExit(f"failed: {place} was imported, not the wheel")
    return version


def light(wheel: Path, folder: Path) -> str:
    """Installs into a folder, with what this environment has for the rest."""
    target = folder / "installed"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    run(*pip, "--target", target, wheel)
    place = folder / "light"
    place.mkdir()
    serve(Path(sys.executable), place, str(target))
    return installed(Path(sys.executable), target, str(target))


def environment(interpreter: str, folder: Path, *packages: str | Path) -> Path:
    """The interpreter of a new environment that has these packages, and whatever they need."""
    home = Path(tempfile.mkdtemp(dir=folder))
    run(interpreter, "-m", "venv", home)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    run(python, "-m", "pip", "check")
    return python


def whole(wheel: Path, interpreter: str, folder: Path) -> str:
    """Installs into an empty environment, with what the first application needs beside it."""
    python = environment(interpreter, folder, wheel, "fastapi", "uvicorn")
    home = python.parents[1]
    place = home / "work"
    place.mkdir()
    serve(python, place)
    return installed(python, home)


def main(arguments: list[str]) -> None:
    """Ends with a word for each environment that it worked in, or with what failed."""
    with tempfile.TemporaryDirectory(prefix="rcache-release-") as temporary:
        folder = Path(temporary)
        sdist, wheel = build(folder / "dist")
        if lost := missing(sdist, wheel, tracked()):
            raise SystemExit("failed: " + "\n".join(lost))
        print(f"{sdist.name} and {wheel.name} are whole")
        if arguments == ["--light"]:
            print(f"rcache {light(wheel, folder)} works from a folder")
        else:
            for interpreter in arguments or [sys.executable]:
                version = whole(wheel, interpreter, folder)
                print(f"rcache {version} works in an empty environment of {interpreter}", flush=True)
                python = environment(interpreter, folder, f"{wheel}[all]")
                run(python, "-c", f"import {', '.join(extras().values())}", folder=folder)
                print("so do all of its extras together", flush=True)
            for extra, modules in extras().items():
                python = environment(interpreter, folder, f"{wheel}[{extra}]")
                run(python, "-c", f"import {modules}", folder=folder)
            print(f"and there each by itself: {', '.join(extras())}")


if __name__ == "__main__":
    main(sys.argv[1:])
