"""On a terminal: colours, widths, keys; and what is different where there is none."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest

from rcache.cli import main
from rcache.core.views import TagRow
from tests.cli.support import Told, row, told
from tests.support import PATIENCE

__all__ = ["told"]  # a fixture

GREEN = "\x1b[32m"
END = "that was all"


class Terminal:
    """A terminal whose keys a test presses."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.shown = ""
        self.presses: Callable[[str], str] = lambda _: ""
        self._heard: Callable[[], object] = lambda: None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                octets = os.read(self.master, 4096)
            except OSError:
                return
            if not octets:
                return
            self.shown += octets.decode(errors="replace")
            if keys := self.presses(self.shown):
                self.presses = lambda _: ""
                os.write(self.master, keys.encode())
            self._heard()

    def run(self, *arguments: str) -> str:
        """What one command that succeeds shows here."""
        begins = len(self.shown)
        kept = sys.stdout, sys.stdin
        with os.fdopen(os.dup(self.slave), "w") as out, os.fdopen(os.dup(self.slave)) as keys:
            sys.stdout, sys.stdin = out, keys
            try:
                assert main(arguments) == 0
                out.write(END)
                out.flush()
            finally:
                sys.stdout, sys.stdin = kept
        assert self._is_told(begins).wait(PATIENCE), self.shown
        return self.shown[begins:].removesuffix(END)

    def _is_told(self, begins: int) -> threading.Event:
        told = threading.Event()
        self._heard = lambda: self.shown[begins:].endswith(END) and told.set()
        self._heard()
        return told

    def close(self) -> None:
        """The window is shut."""
        os.close(self.slave)
        self._reader.join(PATIENCE)
        os.close(self.master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal of 60 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    made = Terminal()
    yield made
    made.close()


def without_colours(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_a_terminal_is_shown_colours_unless_it_wants_none(
    told: Told, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.rows = [row("e1"), row("e2")]
    assert GREEN in terminal.run("show", "/pages/tea")
    monkeypatch.setenv("NO_COLOR", "1")
    assert GREEN not in terminal.run("show", "/pages/tea")


def test_nothing_is_cut_on_a_narrow_terminal(told: Told, terminal: Terminal) -> None:
    """It is folded."""
    told.tag_rows = [TagRow("x" * 150, 1, None)]
    shown = without_colours(terminal.run("tags"))
    assert shown.count("x") == 150
    assert max(map(len, shown.splitlines())) <= 60


def test_columns_that_have_no_room_are_named(told: Told, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = without_colours(terminal.run("stats")).partition("Nodes\r\n")[2]
    assert "purges waiting" in nodes
    assert "version" not in nodes.splitlines()[0]
    assert "No room here for: role, version, up, near, tail, lease" in nodes
    monkeypatch.setenv("COLUMNS", "200")
    nodes = without_colours(terminal.run("stats")).partition("Nodes\r\n")[2]
    assert "version" in nodes.splitlines()[0]
    assert "No room" not in nodes


def test_a_body_moves_no_cursor_of_a_terminal(told: Told, terminal: Terminal) -> None:
    told.rows = [row("e1")]
    told.bodies = {"e1": b"tea\n\x1b[2J\xff"}
    assert terminal.run("show", "/pages/tea", "--body") == "tea\r\n\\x1b[2J\N{REPLACEMENT CHARACTER}\r\n"


def test_top_is_drawn_until_q_is_pressed_and_leaves_the_terminal_as_it_was(told: Told, terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.slave)
    terminal.presses = lambda shown: "xq" if "q ends" in shown else ""
    shown = terminal.run("top", "--every", "100ms")
    assert termios.tcgetattr(terminal.slave) == before
    assert "10.0 a second" in shown
    assert "\x1b[?1049l" in shown  # the screen that was there before is back
    assert "\x1b[?25h" in shown  # and so is the cursor


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`rcache` in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RCACHE_")}
    return subprocess.run(
        [sys.executable, "-m", "rcache.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=inherited | environment,
    )


def test_it_runs_as_a_module_and_says_what_is_missing() -> None:
    done = command("stats")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rcache: which cache is meant? --url redis://host:6379/0, RCACHE_URL or --cache MODULE:NAME\n"
    )


def test_shells_can_complete() -> None:
    # Told which, since the processes above this one need not be a shell.
    done = command("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    completed = command(_RCACHE_COMPLETE="complete_bash", COMP_WORDS="rcache ex", COMP_CWORD="1")
    assert completed.stdout.split() == ["explain"]


def test_a_reader_that_has_enough_ends_it_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rcache.cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        told = running.stderr.read()
        running.wait(60)
    assert b"Traceback" not in told
