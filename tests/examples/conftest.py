from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from examples.shop.app import create_app

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RCACHE_URL", raising=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The shop, freshly filled; its cache closes with it."""
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite3"))
    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def serve_example() -> Iterator[Callable[[str], TestClient]]:
    """Runs an example's file anew, so that no test meets what another wrote; its cache closes with the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(TestClient(runpy.run_path(str(ROOT / "examples" / name))["app"]))


@pytest.fixture
def run_module() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m` in a process of its own, with these variables besides."""

    def run(module: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module]
        environment = os.environ | variables
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    return run
