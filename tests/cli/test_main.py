"""The frame of the commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rcache.cli import main

WITHOUT_SQLALCHEMY = """
import sys
sys.modules["sqlalchemy"] = None
from rcache.cli import main
raise SystemExit(main(["pg", "install", "--tables", "book"]))
"""


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "pg" in capsys.readouterr().out


def test_what_cannot_work_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RCACHE_URL", "RCACHE_DSN"):
        monkeypatch.delenv(name, raising=False)
    drain = ["pg", "drain", "--once"]
    for arguments, reason in (
        (["pg", "install", "--tables", "a.b.c"], "no list of tables"),
        (["pg", "install", "--tables", "a", "--apply"], "which database"),
        (["pg", "install", "--metadata", "nowhere:metadata"], "leads nowhere"),
        (["pg", "install", "--metadata", "rcache"], "leads nowhere"),
        (["pg", "install", "--metadata", "rcache:nothing"], "leads nowhere"),
        (["pg", "install", "--metadata", "rcache:Cache"], "not a MetaData"),
        (drain, "which cache"),
        ([*drain, "--url", "redis://localhost"], "which database"),
        ([*drain, "--cache", "rcache:Cache"], "not a Cache"),
        ([*drain, "--tag-name", "book"], "TABLE=NAME"),
        ([*drain, "--poll", "soon"], "--poll"),
    ):
        assert main(arguments) == 2, arguments
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("rcache: ")
        assert reason in told.err
        assert told.err.count("\n") == 1


def test_what_is_not_installed_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_SQLALCHEMY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install 'rcache[postgresql]'" in done.stderr
