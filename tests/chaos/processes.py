"""Processes of a long test: started on ports of their own, stopped, frozen and killed by their own ids."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
READY_WITHIN = 60.0  # seconds; a busy machine starts four servers at once


class Process:
    """A Python process from the root of the checkout; started again it keeps its environment."""

    def __init__(self, *arguments: str, log: Path | None = None, **environment: str) -> None:
        self._command = [sys.executable, *arguments]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._log = log
        self.is_frozen = False
        self.start()

    def start(self) -> None:
        """Begins; does not wait until it is ready."""
        output = self._log.open("ab") if self._log else None
        self.popen = subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        self.is_frozen = False
        if output:
            output.close()

    @property
    def is_running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self.popen.poll() is None

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self.popen.send_signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, patience: float = 30.0) -> int:
        """Ends it in order; its exit status. What does not end within `patience` seconds is killed."""
        if self.is_frozen:
            self.thaw()
        self.popen.terminate()
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def uvicorn(application: str, port: int, *options: str) -> Sequence[str]:
    """The arguments of a server without an access log; connections that clients keep do not delay its end."""
    common = ("--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "2", "--lifespan", "on")
    return ("-m", "uvicorn", application, "--port", str(port), *common, *options)


def await_port(port: int, *needed: Process) -> None:
    """Returns when somebody listens there; raises where one of the `needed` ends before."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline or not all(process.is_running for process in needed):
                raise RuntimeError(f"nobody came to listen on port {port}") from None
            time.sleep(0.05)
        else:
            return
