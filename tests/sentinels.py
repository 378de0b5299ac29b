"""A primary, two replicas and three sentinels: real processes that fail over when told to, or when the primary is killed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.servers import RedisServer, free_port
from tests.tls import Certificates

SERVICE = "shop"
READY_WITHIN = 30.0  # seconds


def wait_until(is_so: Callable[[], bool], what: str, within: float = READY_WITHIN) -> None:
    """Returns once `is_so` says yes; a server that does not answer yet counts as no."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if is_so():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"it never came true that {what}")
        time.sleep(0.02)


class SentinelProcess:
    """One `redis-server --sentinel`, with a configuration of its own that it rewrites as it learns."""

    def __init__(self, settings: list[str], password: str | None, certificates: Certificates | None) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None
        self.port = free_port()
        self.tls_port = free_port()
        self.password = password
        self._directory = tempfile.TemporaryDirectory(prefix="rcache-sentinel-")
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._directory.name}", "loglevel warning", *settings]
        if certificates is not None:
            options = (*certificates.options(self.tls_port), "--tls-replication", "yes")
            lines += [f"{name[2:]} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]
        if password is not None:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        file = Path(self._directory.name) / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        command = [binary, str(file), "--sentinel"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def client(self) -> redis.Redis:
        """A plain client for asking and ordering."""
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password, protocol=2, decode_responses=True)

    def stop(self) -> None:
        """Ends it, and forgets what it learned."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._directory.cleanup()


class Sentinels:
    """Three servers of one service, watched by three sentinels.

    `down_after` is for how many milliseconds the primary must be silent before it counts as gone: long where a test wants
    no failover that it did not order, since test machines stall. `certificates` let all of them speak TLS.
    """

    def __init__(
        self,
        *,
        down_after: int = 60_000,
        password: str | None = None,
        sentinel_password: str | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.password = password
        self._certificates = certificates
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelProcess] = []
        self._ports: dict[int, int] = {}  # plain port -> the one that sentinels and clients are told
        try:
            self._start(down_after, sentinel_password)
        except BaseException:
            self.stop()
            raise

    def _start(self, down_after: int, sentinel_password: str | None) -> None:
        self._add_server()
        for _ in range(2):
            self._add_server(*self._following(self.servers[0]))
        wait_until(self._are_replicas_online, "both replicas follow the primary")
        for _ in range(3):
            self.sentinels.append(SentinelProcess(self._monitoring(down_after), sentinel_password, self._certificates))
        wait_until(self._do_sentinels_agree, "the sentinels know each other and the replicas")

    def _add_server(self, *options: str) -> None:
        told = free_port()
        common = ("--repl-diskless-sync-delay", "0")
        if self._certificates is not None:
            common += (*self._certificates.options(told), "--tls-replication", "yes")
        if self.password is not None:
            common += ("--masterauth", self.password)
        server = RedisServer(*common, *options, password=self.password)
        self.servers.append(server)
        self._ports[server.port] = server.port if self._certificates is None else told

    def _following(self, primary: RedisServer) -> tuple[str, ...]:
        return "--replicaof", "127.0.0.1", str(self._ports[primary.port])

    def _monitoring(self, down_after: int) -> list[str]:
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._ports[self.servers[0].port]} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after}",
            f"sentinel failover-timeout {SERVICE} 2000",
            f"sentinel parallel-syncs {SERVICE} 2",
        ]
        if self.password is not None:
            lines.append(f'sentinel auth-pass {SERVICE} "{self.password}"')
        return lines

    @property
    def places(self) -> str:
        """The sentinels, as a URL lists them."""
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def tls_places(self) -> str:
        """The same, by the ports where they speak TLS."""
        return ",".join(f"127.0.0.1:{sentinel.tls_port}" for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        """How a client comes to the primary."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis+sentinel://{secret}{self.places}/{SERVICE}/0"

    @property
    def primary(self) -> RedisServer:
        """Whom the sentinels call the primary."""
        with self.sentinels[0].client() as client:
            _, port = client.sentinel_get_master_addr_by_name(SERVICE)
        return next(server for server in self.servers if self._ports[server.port] == port)

    def _are_replicas_online(self) -> bool:
        with self.servers[0].client() as client:
            info = client.info("replication")
        return all(info.get(f"slave{number}", {}).get("state") == "online" for number in range(2))

    def _do_sentinels_agree(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_master(SERVICE)
            if (state["num-slaves"], state["num-other-sentinels"]) != (2, 2):
                return False
        return True

    def fail_over(self) -> RedisServer:
        """Orders a failover, the primary being well; the new primary, once all sentinels name it and it is one."""
        former = self.primary
        wait_until(self._is_failover_accepted, "the sentinels are ready for a failover")
        return self.succeeded(former)

    def _is_failover_accepted(self) -> bool:
        with self.sentinels[0].client() as client:  # refused while one is under way, or no replica is known to be well
            return bool(client.execute_command("SENTINEL", "FAILOVER", SERVICE))

    @contextlib.contextmanager
    def only_two(self, primary: RedisServer) -> Iterator[None]:
        """Meanwhile failovers go back and forth between the primary and one of its replicas."""
        kept_out = next(server for server in reversed(self.servers) if server is not primary)
        with kept_out.client() as client:
            client.config_set("replica-priority", 0)
            wait_until(lambda: self._is_kept_out(kept_out), "the sentinel knows which replica is no candidate")
            try:
                yield
            finally:
                client.config_set("replica-priority", 100)

    def _is_kept_out(self, server: RedisServer) -> bool:
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "DEBUG", "info-period", 200)  # ten seconds, where nobody says so
            replicas = client.sentinel_slaves(SERVICE)
        return any(each["port"] == self._ports[server.port] and each["slave-priority"] == 0 for each in replicas)

    def kill_primary(self) -> RedisServer:
        """Ends the primary with SIGKILL, and does not wait for the failover; the one that was killed."""
        former = self.primary
        former.kill()
        return former

    def succeeded(self, former: RedisServer) -> RedisServer:
        """The primary that has taken the place of `former`; returns once all sentinels name it."""
        wait_until(lambda: self._is_succeeded(former), "another server became the primary")
        return self.primary

    def _is_succeeded(self, former: RedisServer) -> bool:
        named = set()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                named.add(client.sentinel_get_master_addr_by_name(SERVICE)[1])
        if len(named) != 1 or named == {self._ports[former.port]}:
            return False
        with self.primary.client() as client:
            return bool(client.role()[0] in (b"master", "master"))

    def revive(self, server: RedisServer) -> None:
        """Starts a server that was killed, as a replica of the primary; returns once it follows."""
        following = self._following(self.primary)
        kept = server.options[: -len(following)] if following[0] in server.options else server.options
        server.options = (*kept, *following)
        server.start()
        with server.client() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the server follows again")

    def settle(self) -> None:
        """Returns once every sentinel has brought its failover to an end, and finds all servers well."""
        wait_until(self._is_settled, "the sentinels find all servers well")

    def _is_settled(self) -> bool:
        named = set()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                primary, replicas = client.sentinel_master(SERVICE), client.sentinel_slaves(SERVICE)
            named.add(primary["port"])
            if primary["flags"] != "master" or len(replicas) != 2:
                return False
            if any(each["flags"] != "slave" or each["master-link-status"] != "ok" for each in replicas):
                return False
        return len(named) == 1

    def stop(self) -> None:
        """Ends all of them."""
        for sentinel in self.sentinels:
            sentinel.stop()
        for server in self.servers:
            server.stop()
