"""An environment of its own for every peer, as pip resolves it today.

The peers' requirements exclude each other and ours (one wants redis below 5, one Starlette below 1), and a user of a
peer gets exactly what pip gives them. They are made on first use under .bench/ and kept for the next run; delete that
directory to resolve again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from benchmarks.servers import PROJECT, DoesNotRun, last_line

DIRECTORY: Final = PROJECT / ".bench"
INSTALL_DEADLINE: Final = 300  # seconds

_COMMON: Final = ("fastapi[standard]", "uvicorn[standard]", "hiredis")
# Lower bounds keep pip from going back to an old peer where it should go back to an older dependency of the peer.
PEERS: Final = {
    "fastapi-cache2": ("fastapi-cache2[redis]>=0.2.2", *_COMMON),
    "cashews": ("cashews[redis,speedup]>=7.6", *_COMMON),
    "starlette-caches": ("starlette-caches[redis]>=0.4.1", *_COMMON),
}

_REPORTED: Final = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "redis", "hiredis")
_TELL: Final = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def python_of(peer: str | None) -> str:
    """The interpreter of a peer's environment, made where it does not exist; without a peer, this one."""
    if peer is None:
        return sys.executable
    home = DIRECTORY / peer
    python = home / "bin" / "python"
    made = home / "requirements.txt"  # written last
    if not made.exists() or made.read_text().split() != [*PEERS[peer]]:
        _make(peer, home, python)
        made.write_text("\n".join(PEERS[peer]) + "\n")
    return str(python)


def _make(peer: str, home: Path, python: Path) -> None:
    print(f"installing {peer} in an environment of its own", flush=True)
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / ".gitignore").write_text("*\n")
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *PEERS[peer]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        raise DoesNotRun("pip did not finish in time") from None
    if done.returncode:
        raise DoesNotRun(last_line(done.stderr))


def versions(peer: str | None) -> dict[str, str]:
    """Names and versions of what takes part in a row."""
    names = (*_REPORTED, *([peer] if peer else []))
    done = subprocess.run([python_of(peer), "-c", _TELL, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
