"""The frame of the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rcache
from rcache.cli import main
from rcache.cli.options import Where

WITHOUT_SQLALCHEMY = """
import sys
sys.modules["sqlalchemy"] = None
from rcache.cli import main
raise SystemExit(main(["pg", "install", "--tables", "book"]))
"""


WITHOUT_TYPER = WITHOUT_SQLALCHEMY.replace('"sqlalchemy"', '"typer"')


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in (([], 2), (["--help"], 0), (["-h"], 0)):
        assert main(arguments) == code
        shown = capsys.readouterr().out
        assert "COMMAND" in shown
        assert "pg" in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rcache {rcache.__version__}\n"


def test_what_cannot_work_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RCACHE_URL", "RCACHE_DSN"):
        monkeypatch.delenv(name, raising=False)
    drain = ["pg", "drain", "--once"]
    for arguments, reason in (
        (["pgg"], "No such command 'pgg'"),
        (["--nothing"], "No such option: --nothing"),
        ([*drain, "--near", "far"], "'far' is not one of 'fast', 'strict'"),
        ([*drain, "--url", "memory://"], "visible only in its own process"),
        ([*drain, "--url", "redis://:hidden@host/x"], "no number of a database"),
        (["pg", "install"], "which tables"),
        (["pg", "install", "--tables", "a", "--metadata", "b:c"], "one of them"),
        (["pg", "install", "--max-rows", "many", "--tables", "a"], "--max-rows"),
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
        assert "hidden" not in told.err


def test_what_is_not_installed_is_named() -> None:
    for without, extra in ((WITHOUT_SQLALCHEMY, "postgresql"), (WITHOUT_TYPER, "cli")):
        done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert done.stderr.startswith("rcache: ")
        assert done.stderr.endswith(f"pip install 'rcache[{extra}]'\n")


def test_a_module_that_fails_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_shop.py").write_text("import os\nos.environ['SHOP_DATABASE']\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["pg", "drain", "--once", "--cache", "broken_shop:cache"]) == 2
    assert capsys.readouterr().err == "rcache: 'broken_shop:cache' cannot be imported: KeyError: 'SHOP_DATABASE'\n"


def test_a_defect_is_a_line_unless_its_traceback_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Where) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Where, "open", broken)
    assert main(["pg", "drain", "--once"]) == 1
    assert capsys.readouterr().err.startswith("rcache: ZeroDivisionError: by zero (")
    with pytest.raises(ZeroDivisionError):
        main(["--traceback", "pg", "drain", "--once"])


def test_interrupted_it_says_so_by_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Where) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Where, "open", interrupted)
    assert main(["pg", "drain", "--once"]) == 130
