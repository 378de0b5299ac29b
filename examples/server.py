"""An application under uvicorn, in a process of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Self

ROOT = Path(__file__).parent.parent


class ServerError(Exception):
    """The application did not start; what it printed is in the message."""


class Server:
    """Serves `application` ("module:name") on a free port of 127.0.0.1.

    `environment` is added to this process's own; None removes a variable. It runs in
    `folder`, on the interpreter `python`.
    """

    def __init__(
        self,
        application: str,
        *options: str,
        environment: dict[str, str | None] | None = None,
        folder: Path = ROOT,
        python: str = sys.executable,
    ) -> None:
        self.folder = folder
        self.command = [python, "-m", "uvicorn", application, *options, "--port", "0", "--no-access-log"]
        merged = os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {})
        self.environment = {name: value for name, value in merged.items() if value is not None}
        self.printed: list[str] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._announced: Future[int] = Future()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.port = self._announced.result(timeout=60)
        except (ServerError, TimeoutError) as error:
            self.__exit__()
            raise ServerError(f"the application did not start:\n{''.join(self.printed)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        # uvicorn binds port 0 itself and says which one it got, so that nobody can take it in between; what follows
        # is read too, or a full pipe would stop the server.
        for line in self._process.stdout or ():
            self.printed.append(line)
            running = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
            if running and not self._announced.done():
                self._announced.set_result(int(running[1]))
        if not self._announced.done():
            self._announced.set_exception(ServerError())
