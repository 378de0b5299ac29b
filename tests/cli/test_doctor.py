"""What the doctor finds, on real servers and on what they would say."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from rcache.cli import main
from rcache.cli.checks import Check, of_nodes, of_server
from rcache.stores.redis.vitals import Vitals
from tests.cli.support import Told, node, told
from tests.clusters import Cluster
from tests.servers import RedisServer
from tests.support import EPOCH

__all__ = ["told"]  # a fixture

HEALTHY = Vitals(
    place="here:6379",
    info={
        "redis_version": "7.4.1",
        "role": "master",
        "cluster_enabled": "0",
        "maxmemory_policy": "volatile-lru",
        "used_memory": "1000",
        "maxmemory": "2000",
        "evicted_keys": "0",
        "connected_clients": "3",
        "maxclients": "10000",
        "connected_slaves": "1",
        "min_slaves_good_slaves": "1",
    },
    seconds=0.001,
    ahead=0.1,
    forbidden=None,
    least_replicas=1,
    cluster_state=None,
)


def found(checks: list[Check]) -> dict[str, str]:
    """What is found, with its remedy."""
    return {check.name: f"{check.says} -> {check.remedy}" for check in checks if check.state == "finding"}


def but(**info: str | None) -> Vitals:
    """A healthy server, but for this."""
    changed = {**HEALTHY.info, **{name: value for name, value in info.items() if value is not None}}
    return replace(HEALTHY, info={name: value for name, value in changed.items() if info.get(name, "") is not None})


def test_a_healthy_server_has_no_finding() -> None:
    assert found(of_server(HEALTHY, 0.05)) == {}
    assert {check.state for check in of_server(HEALTHY, 0.05)} == {"ok"}
    assert found(of_server(but(valkey_version="8.1.0", redis_version="7.2.4"), 0.05)) == {}


@pytest.mark.parametrize(
    ("vitals", "name", "words"),
    [
        (replace(HEALTHY, seconds=0.03), "connection", "longer deadline"),
        (but(redis_version="6.2.14"), "version", "Redis 7.0 or later"),
        (but(role="slave", master_host="there", master_port="6380"), "role", "there:6380"),
        (but(cluster_enabled="1"), "role", "redis+cluster://"),
        (replace(HEALTHY, forbidden="Redis does not permit DEL to the user: `+del`"), "permissions", "`+del`"),
        (but(maxmemory_policy="allkeys-lfu"), "eviction", "volatile-lru"),
        (but(used_memory="1900", maxmemory_policy="noeviction"), "memory", "CONFIG SET maxmemory"),
        (but(connected_clients="9000"), "clients", "maxclients"),
        (replace(HEALTHY, ahead=-90.0), "clock", "1m 30s behind"),
        (replace(HEALTHY, least_replicas=0), "replicas", "min-replicas-to-write 1"),
        (but(min_slaves_good_slaves="0", connected_slaves="0"), "replicas", "bring its replicas back"),
        (replace(HEALTHY, cluster_state="fail"), "cluster", "CLUSTER INFO"),
    ],
)
def test_each_finding_names_its_remedy(vitals: Vitals, name: str, words: str) -> None:
    findings = found(of_server(vitals, 0.05))
    assert list(findings) == [name]
    assert words in findings[name]


def test_what_a_server_does_not_tell_is_unknown_and_no_finding() -> None:
    silent = of_server(replace(HEALTHY, info={}, least_replicas=None), 0.05)
    assert found(silent) == {}
    assert [check.name for check in silent if check.state == "unknown"] == [
        "version",
        "role",
        "eviction",
        "memory",
        "clients",
    ]
    unasked = of_server(replace(but(min_slaves_good_slaves=None), least_replicas=None), 0.05)
    assert [check.name for check in unasked if check.state == "unknown"] == ["replicas"]


def test_nodes_that_are_in_need_or_differ_are_found() -> None:
    assert found(of_nodes([node("a"), node("b")], "0.1.0")) == {}
    assert [check.state for check in of_nodes([], "0.1.0")] == ["unknown"]
    for changed, name, words in (
        ({"is_down": True}, "node", "does not reach the store"),
        ({"pending": 2}, "node", "2 purges that have yet to land"),
        ({"lease": -3.0}, "node", "lapse 3s ago"),
        ({"version": "0.2.0"}, "versions", "0.1.0, 0.2.0"),
        ({"near": "strict"}, "near", "none, strict"),
        ({"settings": (("near_lease", "5.0"),)}, "settings of nodes", "near_lease is 2.0 at web (7), 5.0 at web (7)"),
    ):
        usual = {"settings": (("near_lease", "2.0"),)}
        findings = found(of_nodes([node("a", **usual), node("b", **(usual | changed))], "0.1.0"))
        assert list(findings) == [name]
        assert words in findings[name]
    assert found(of_nodes([node("a", near="fast"), node("b", role="worker")], "0.1.0")) == {}


def examined(capsys: pytest.CaptureFixture[str], url: str, code: int) -> dict[str, Any]:
    """The checks of a server by name."""
    assert main(["doctor", "--url", url]) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert "hidden" not in out
    assert ("Nothing is wrong." in out) == (code == 0)
    assert main(["doctor", "--url", url, "--json"]) == code
    return {check["name"]: check for check in orjson.loads(capsys.readouterr().out)["checks"]}


def test_a_plain_server_is_well(told: Told, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    told.node_rows = [node("a"), node("b")]
    checks = examined(capsys, redis_server.url, 0)
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert "redis-py" in checks["here"]["says"]


@contextlib.contextmanager
def server(*options: str, **settings: Any) -> Iterator[RedisServer]:
    started = RedisServer(*options, **settings)
    try:
        yield started
    finally:
        started.stop()


def test_a_password_is_asked_for_and_never_shown(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    told.node_rows = []
    with server(password="hidden") as guarded:
        for user in ("", ":hidden2@", "nobody:hidden@"):
            connection = examined(capsys, guarded.url.replace("://", f"://{user}"), 2)["connection"]
            assert "user and password" in connection["remedy"]
        assert examined(capsys, guarded.url.replace("://", "://:hidden@"), 0)["permissions"]["state"] == "ok"
        with guarded.client() as client:
            client.execute_command("ACL", "SETUSER", "some", "on", ">hidden", "~rc:*", "+@all", "-@dangerous")
        some = examined(capsys, guarded.url.replace("://", "://some:hidden@"), 1)
        assert some["permissions"]["state"] == "finding"
        assert "+info" in some["permissions"]["remedy"]
        assert some["version"]["state"] == "unknown"


def test_settings_are_told_with_who_said_them(
    told: Told, redis_server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told.node_rows = []
    monkeypatch.setenv("RCACHE_NAMESPACE", "shop")
    assert main(["doctor", "--url", redis_server.url, "--near", "fast"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^namespace +shop +environment RCACHE_NAMESPACE$", text, re.MULTILINE)
    assert re.search(r"^near +fast +command line$", text, re.MULTILINE)
    assert "max_body" not in text
    assert main(["doctor", "--url", redis_server.url, "--settings"]) == 0
    assert re.search(r"^max_body +1048576 +default$", capsys.readouterr().out, re.MULTILINE)
    assert main(["doctor", "--url", redis_server.url, "--json"]) == 0
    settings = {row["name"]: row for row in orjson.loads(capsys.readouterr().out)["settings"]}
    assert settings["namespace"] == {"name": "namespace", "value": "shop", "source": "environment RCACHE_NAMESPACE"}


def test_settings_that_contradict_each_other_are_a_finding(
    told: Told, redis_server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told.node_rows = []
    monkeypatch.setenv("RCACHE_TIMEOUT", "2")
    monkeypatch.setenv("RCACHE_HARD_TIMEOUT", "1")
    settings = examined(capsys, redis_server.url, 1)["settings"]
    assert settings["state"] == "finding"
    assert "make hard_timeout the longer one" in settings["remedy"]
    monkeypatch.setenv("RCACHE_TIMEOU", "2")
    assert main(["doctor", "--url", redis_server.url]) == 2
    assert "did you mean RCACHE_TIMEOUT?" in capsys.readouterr().err


def test_a_replica_and_a_policy_that_forgets_are_findings(
    told: Told, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    told.node_rows = []
    with server("--replicaof", "127.0.0.1", str(redis_server.port), "--maxmemory-policy", "allkeys-lru") as replica:
        checks = examined(capsys, replica.url, 1)
    assert [name for name, check in checks.items() if check["state"] == "finding"] == ["role", "eviction"]
    assert f"127.0.0.1:{redis_server.port}" in checks["role"]["remedy"]


def test_every_master_of_a_cluster_is_looked_at(
    told: Told, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    told.node_rows = []
    assert main(["doctor", "--url", cluster.url, "--json"]) in (0, 1)
    checks = orjson.loads(capsys.readouterr().out)["checks"]
    places = [check["place"] for check in checks if check["name"] == "cluster"]
    assert len(set(places)) == len(places) == 3
    assert all(check["state"] == "ok" for check in checks if check["name"] in ("cluster", "role", "permissions"))


class _Old(socketserver.StreamRequestHandler):
    """A server that says it is Redis 6.2, and knows as little as that of what rcache needs."""

    info = "redis_version:6.2.14\r\nrole:master\r\ncluster_enabled:0\r\nmaxmemory_policy:noeviction\r\n"

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            self.wfile.write(self.answer(words[0].upper()))

    def answer(self, command: bytes) -> bytes:
        if command == b"INFO":
            return f"${len(self.info)}\r\n{self.info}\r\n".encode()
        if command == b"TIME":
            return b"*2\r\n$10\r\n%d\r\n$1\r\n0\r\n" % EPOCH
        if command in (b"EVAL", b"EVALSHA", b"SCRIPT"):
            return b"-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n"
        return b"+OK\r\n" if command != b"CONFIG" else b"*0\r\n"


@pytest.fixture
def old_redis() -> Iterator[str]:
    """Where an old Redis is."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Old) as old:
        thread = threading.Thread(target=old.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"redis://127.0.0.1:{old.server_address[1]}"
        old.shutdown()
        thread.join()


def test_an_old_redis_and_a_wrong_clock_are_found(
    told: Told, old_redis: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told.node_rows = []
    checks = examined(capsys, old_redis, 1)
    assert [name for name, check in checks.items() if check["state"] == "finding"] == ["version", "clock"]
    assert checks["version"]["says"] == "Redis 6.2.14 is too old"


def test_nobody_there_is_no_connection(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert "RCACHE_URL" in examined(capsys, "redis://127.0.0.1:1", 2)["connection"]["remedy"]
    for arguments in (
        ["doctor", "--url", "memory://"],
        ["doctor", "--url", "redis:/x"],
        ["doctor", "--url", "ftp://x"],
    ):
        assert main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
