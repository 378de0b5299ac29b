from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def run_script(tmp_path):
    """Runs a script of `scripts/` in a copy of the project's root, where only the most basic programs are found."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "dirname", "id"):
        (programs / name).symlink_to(shutil.which(name))

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(programs), **variables}
        command = [tmp_path / "scripts" / arguments[0], *arguments[1:]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_an_old_python_is_refused_with_what_to_do(run_script, tmp_path):
    write_program(tmp_path / "bin" / "python3", '[ "$1" = --version ] && echo "Python 3.9.1" && exit 0; exit 1')

    done = run_script("environment", "demo")

    assert done.returncode == 1
    assert "3.11 or newer, and `python3` is Python 3.9.1" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_python_is_named(run_script):
    done = run_script("environment", "demo", PYTHON="python9")

    assert (done.returncode, "`python9` is not found" in done.stderr) == (1, True)


def test_a_program_that_is_there_needs_nothing(run_script):
    done = run_script("require", "cat", "coreutils", "coreutils")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_program_is_named_where_it_may_not_be_installed(run_script):
    done = run_script("require", "some-server", "some-server-package", "server")

    assert done.returncode == 1
    assert "apt-get install some-server-package" in done.stderr
    assert "brew install server" in done.stderr


def test_a_missing_program_is_installed_where_that_is_allowed(run_script, tmp_path):
    programs = tmp_path / "bin"
    for name in ("mktemp", "rm", "chmod"):
        (programs / name).symlink_to(shutil.which(name))
    write_program(programs / "id", "echo 0")
    installed = programs / "some-server"
    write_program(programs / "apt-get", f'[ "$1" = install ] && : >{installed} && chmod +x {installed}')

    done = run_script("require", "some-server", "some-server-package", "server")

    assert (done.returncode, done.stderr) == (0, "Installing some-server-package\n")
    assert os.access(installed, os.X_OK)
