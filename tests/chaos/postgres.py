"""A PostgreSQL of its own, in a directory of its own, on a free port of the loopback interface."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers import free_port

USER = "postgres"


class Postgres:
    """A server that trusts everybody and syncs nothing to disk: it is the truth of a test, and ends with it."""

    def __init__(self) -> None:
        self._bin = _programs()
        # PostgreSQL refuses to run as root.
        self._user = USER if os.geteuid() == 0 else None
        self._directory = tempfile.TemporaryDirectory(prefix="rcache-postgres-", ignore_cleanup_errors=True)
        root = Path(self._directory.name)
        if self._user:
            os.chown(root, pwd.getpwnam(self._user).pw_uid, -1)
        self._data = root / "data"
        self.port = free_port()
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-F -p {self.port} -h 127.0.0.1 -k {root} -c full_page_writes=off -c max_connections=100"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(root / "log"), "-o", options)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """Ends it, and forgets its data."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))
        self._directory.cleanup()

    def _run(self, program: str, *arguments: str) -> None:
        # Its output goes to a file: the server would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                user=self._user,
                cwd=self._directory.name,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=120,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program}: {output.read().decode(errors='replace')}")


def _programs() -> Path:
    """Where initdb and pg_ctl lie: Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parents[1].name))
    if not homes:
        raise RuntimeError("PostgreSQL is not installed: `make test` says how, or use your package manager")
    return homes[-1].parent
