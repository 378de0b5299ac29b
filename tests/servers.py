"""Real servers for tests: started on free ports of the loopback interface, stopped by their own process id."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

READY_WITHIN = 30.0  # seconds

_random = random.SystemRandom()  # a test may have seeded the other


def free_port() -> int:
    """A TCP port that nobody listens on, and that the system gives to no connection before a server has taken it."""
    while True:
        port = _random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """A redis-server of its own, in a directory of its own, with `options` as its command line has them."""

    def __init__(self, *options: str, port: int | None = None, password: str | None = None) -> None:
        self.binary = shutil.which("redis-server")
        if self.binary is None:
            raise RuntimeError("redis-server is not installed: `make test` says how, or use your package manager")
        self.port = port or free_port()
        self.password = password
        self.options = options if password is None else ("--requirepass", password, *options)
        self._directory = tempfile.TemporaryDirectory(prefix="rcache-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process was started and not ended since."""
        return self._process is not None

    def start(self) -> None:
        """Returns when it answers."""
        assert self.binary is not None
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory.name]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning", *self.options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start: {' '.join(command)}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError), self.client(socket_timeout=1.0) as client:
            return bool(client.ping())
        return False

    def client(self, **options: object) -> redis.Redis:
        """A plain client for looking and meddling."""
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2, password=self.password, **options)  # type: ignore[arg-type]

    def pause(self) -> None:
        """Stops it with SIGSTOP: it keeps its connections and says nothing."""
        self.is_paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self.is_paused = False
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once, with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in an orderly way, and forgets its data."""
        self._end(signal.SIGTERM)
        self._directory.cleanup()

    def restart(self, *, keep_data: bool) -> None:
        """Ends it, and starts it again on the same port."""
        if keep_data:
            with self.client() as client:
                client.save()
        self._end(signal.SIGKILL)
        if not keep_data:
            for file in Path(self._directory.name).iterdir():
                file.unlink()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self.is_paused = False
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait()
            self._process = None
