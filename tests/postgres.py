"""A real PostgreSQL for tests: made in a directory of its own, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers import free_port

READY_WITHIN = 30.0  # seconds
USER = "rcache"


def binaries() -> Path:
    """Where initdb and postgres are: on the path, or where Debian keeps the newest version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not versions:
        raise RuntimeError("PostgreSQL is not installed: `make test` says how, or use your package manager")
    return Path(max(versions, key=lambda path: float(Path(path).parts[-3]))).parent


class PostgresServer:
    """A PostgreSQL of its own; `options` are settings as postgresql.conf has them (`max_prepared_transactions="10"`)."""

    def __init__(self, **options: str) -> None:
        self.port = free_port()
        self.options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # no machine loses its power here
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "100",
            "max_prepared_transactions": "10",
            "shared_buffers": "32MB",
            **options,
        }
        self._binaries = binaries()
        self._directory = Path(tempfile.mkdtemp(prefix="rcache-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to run as root, who may start it as somebody else.
        self._as: dict[str, str] = {"user": "postgres"} if os.geteuid() == 0 else {}
        if self._as:
            owner = pwd.getpwnam("postgres")
            os.chown(self._directory, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self._directory / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "-N")
        self.start()

    def url(self, driver: str = "psycopg", database: str = "postgres") -> str:
        """Where it listens, as SQLAlchemy writes it: `postgresql+psycopg://...`; an empty driver leaves that out."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        command = [str(self._binaries / "postgres"), "-D", str(self._directory / "data"), "-p", str(self.port)]
        for name, value in self.options.items():
            command += ["-c", f"{name}={value}"]
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory, **self._as)  # type: ignore[call-overload]
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._directory / 'log').read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        return subprocess.run(ready, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._binaries / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            **self._as,
        )  # type: ignore[call-overload]
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")
        return str(done.stdout)

    def execute(self, *statements: str, database: str = "postgres") -> str:
        """Runs SQL in psql, as another program would; what it prints, unaligned and without headings."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        commands = [part for statement in statements for part in ("-c", statement)]
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where, *commands).strip()

    def dump(self, database: str) -> str:
        """All that it has been told of itself: every table, function and trigger, without the rows."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        lines = self._run("pg_dump", "--schema-only", *where).splitlines()
        return "\n".join(line for line in lines if not line.startswith(("--", "\\")))

    def create_database(self, name: str) -> str:
        """A database of that name, which did not exist; its name."""
        self.execute(f'CREATE DATABASE "{name}"')
        return name

    def pause(self) -> None:
        """Stops it and all its sessions with SIGSTOP: it keeps its connections and says nothing."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in [self.pid, *_children(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def crash(self) -> None:
        """Ends it as a crash does: sessions are cut off, what had not committed is gone. `start` recovers it."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Ends it in an orderly way, and forgets its data."""
        self._end(signal.SIGINT)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self.resume()
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def _children(pid: int) -> list[int]:
    """The processes that this one started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
