"""A real MariaDB for tests: made in a directory of its own, on a free port of the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers import free_port

READY_WITHIN = 60.0  # seconds
USER = "rcache"


def program(*names: str) -> str:
    """The first of these programs that is there; Debian keeps the server off the path of users."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"))
    for name in names:
        if (found := shutil.which(name, path=path)) is not None:
            return found
    raise RuntimeError("MariaDB is not installed: `make test` says how, or use your package manager")


class MariadbServer:
    """A MariaDB of its own, which anybody on this machine may use as `rcache` without a password."""

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="rcache-mariadb-"))
        data = self._directory / "data"
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        install = [program("mariadb-install-db", "mysql_install_db"), "--no-defaults", f"--datadir={data}", *as_root]
        done = subprocess.run(
            [*install, "--skip-test-db", "--auth-root-authentication-method=normal"], capture_output=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"mariadb-install-db failed: {done.stderr.decode()}")
        first = self._directory / "first.sql"
        first.write_text(f"CREATE USER {USER}@'127.0.0.1';\nGRANT ALL ON *.* TO {USER}@'127.0.0.1';\n")
        command = [program("mariadbd", "mysqld"), "--no-defaults", f"--datadir={data}", *as_root, f"--port={self.port}"]
        command += ["--bind-address=127.0.0.1", f"--socket={self._directory / 'socket'}", f"--init-file={first}"]
        command += ["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
        command += [f"--pid-file={self._directory / 'pid'}", "--character-set-server=utf8mb4"]
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while b"ready for connections" not in (self._directory / "log").read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MariaDB did not start: {(self._directory / 'log').read_text()}")
            time.sleep(0.05)

    def url(self, driver: str, database: str) -> str:
        """Where it listens, as SQLAlchemy writes it: `mariadb+pymysql://...`."""
        return f"mariadb+{driver}://{USER}@127.0.0.1:{self.port}/{database}?charset=utf8mb4"

    def create_database(self, name: str) -> str:
        """A database of that name, which did not exist; its name."""
        client = [program("mariadb", "mysql"), "--no-defaults", "-h127.0.0.1", f"-P{self.port}", f"-u{USER}"]
        subprocess.run([*client, "-e", f"CREATE DATABASE `{name}`"], check=True, capture_output=True)
        return name

    def stop(self) -> None:
        """Ends it, and forgets its data."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
