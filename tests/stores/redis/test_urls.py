"""Where Redis is: every URL means what it says, or is refused with the remedy; ready clients lead to the same place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import asyncio as aredis
from redis.asyncio.cluster import ClusterNode

from rcache.core.entry import Found
from rcache.core.errors import BackendError, ConfigurationError
from rcache.stores.redis import RedisStore
from rcache.stores.redis.address import Address
from rcache.stores.redis.credentials import PasswordFile
from rcache.stores.redis.urls import Sharded, Watched, located
from tests.servers import RedisServer

from .conftest import Request, budget, fill

hosts = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5})?", fullmatch=True) | st.sampled_from(["10.0.0.1", "[::1]"])
ports = st.integers(1, 65535)
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
services = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=20)


def options(address: Address) -> dict[str, object]:
    return dict(address._options)


def bare(host: str) -> str:
    return host.strip("[]")


@given(st.lists(st.tuples(hosts, ports | st.none()), min_size=1, max_size=5), secrets, secrets, st.booleans())
def test_a_cluster_url_gives_each_node_and_the_way_in(nodes, user, password, is_tls):
    listed = ",".join(host if port is None else f"{host}:{port}" for host, port in nodes)
    secret = f"{quote(user, safe='')}:{quote(password, safe='')}"

    place = located(f"{'rediss' if is_tls else 'redis'}+cluster://{secret}@{listed}")

    assert isinstance(place, Sharded)
    assert [(seed.host, seed.port) for seed in place.seeds] == [(bare(host), port or 6379) for host, port in nodes]
    for seed in place.seeds:
        assert (options(seed)["username"], options(seed)["password"]) == (user, password)
        assert seed._kind is (aredis.SSLConnection if is_tls else aredis.Connection)


@given(st.lists(st.tuples(hosts, ports | st.none()), min_size=1, max_size=5), services, st.integers(0, 99), secrets)
def test_a_sentinel_url_gives_sentinels_service_and_database(nodes, service, db, password):
    listed = ",".join(host if port is None else f"{host}:{port}" for host, port in nodes)

    place = located(f"redis+sentinel://:{quote(password, safe='')}@{listed}/{quote(service, safe='')}/{db}")

    assert isinstance(place, Watched)
    assert place.service == service
    assert [(each.host, each.port) for each in place.sentinels] == [(bare(host), port or 26379) for host, port in nodes]
    assert all("password" not in options(sentinel) for sentinel in place.sentinels), "that is the servers' alone"
    assert options(place.server)["password"] == password
    assert options(place.server).get("db", 0) == db


def test_sentinels_have_credentials_of_their_own():
    place = located("rediss+sentinel://u:p@a,b/s?sentinel_username=x&sentinel_password=y&ssl_ca_certs=/ca.pem")

    assert isinstance(place, Watched)
    for sentinel in place.sentinels:
        assert (options(sentinel)["username"], options(sentinel)["password"]) == ("x", "y")
        assert options(sentinel)["ssl_ca_certs"] == "/ca.pem"
    assert (options(place.server)["username"], options(place.server)["password"]) == ("u", "p")


def test_another_node_is_entered_the_same_way():
    address = located("rediss://u:p@h:1/0?ssl_ca_certs=/ca.pem").at("other", 2)

    assert (address.host, address.port) == ("other", 2)
    assert (options(address)["username"], options(address)["ssl_ca_certs"]) == ("u", "/ca.pem")


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://localhost", "write redis://"),
        ("localhost:6379", "write redis://"),
        ("rediss+unix:///a", "write redis://"),
        ("redis+cluser://a", "write redis://"),
        ("redis://localhost:notaport", "65535"),
        ("redis+cluster://a:99999", "65535"),
        ("redis://localhost/three", "redis://host:6379/0"),
        ("redis://a,b", r"redis\+cluster://"),
        ("unix://", "unix:///run"),
        ("redis+cluster://", "list them as"),
        ("redis+cluster://a:7000,,b", "list them as"),
        ("redis+cluster://a:7000;b:7000", "list them as"),
        ("redis+cluster://a/3", "leave the number out"),
        ("redis+cluster://a?db=3", "leave the number out"),
        ("redis+sentinel://a:26379", "after the hosts"),
        ("redis+sentinel://a/s/x", "/mymaster/0"),
        ("redis://a?pasword_file=/x", "did you mean password_file"),
        ("redis://a?colour=green", "leave it out"),
        ("redis://a?socket_timeout=soon", "socket_timeout"),
        ("redis://a?password_file=/not/there", "mount the secret"),
        ("redis://:p@a?password_file=/dev/null", "is empty|leave one"),
        ("redis+sentinel://a/s?sentinel_password_file=/not/there", "mount the secret"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_the_remedy(url, remedy):
    with pytest.raises(ConfigurationError, match=remedy):
        located(url)


@given(secrets)
def test_no_error_tells_a_password(password):
    """Least of all one that was not written as a URL wants it."""
    for url in ("redis://u:{}@h:x", "redis+cluster://u:{}@", "redis+sentinel://u:{}@h", "http://u:{}@h"):
        with pytest.raises(ConfigurationError) as caught:
            located(url.format(quote(f"S3CR3T{password}", safe="/?")))
        assert "S3CR3T" not in str(caught.value)


def test_a_password_and_a_file_for_it_are_one_too_many(tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ConfigurationError, match="leave one of them out"):
        located(f"redis://:p@a?password_file={tmp_path / 'secret'}")


@pytest.mark.parametrize(("text", "password"), [("a b\n", "a b"), ("x\r\n", "x"), (" y ", " y "), ("é\n\n", "é")])
def test_a_line_end_is_no_part_of_a_password(tmp_path: Path, text: str, password: str):
    (tmp_path / "secret").write_bytes(text.encode())

    assert PasswordFile(str(tmp_path / "secret")).get_credentials() == (password,)
    assert PasswordFile(str(tmp_path / "secret"), "app").get_credentials() == ("app", password)


async def test_a_rotated_secret_is_used_by_the_next_connection(tmp_path: Path):
    server = RedisServer(password="first")
    file = tmp_path / "secret"
    file.write_text("first\n")
    try:
        store = RedisStore(f"redis://127.0.0.1:{server.port}/0?password_file={file}", namespace="rotated")
        await fill(store, Request())
        store.purge_sync(["other"], 5.0)
        with server.client() as client:
            client.config_set("requirepass", "second")
            file.write_text("second\n")
            client.client_kill_filter(_type="normal", skipme=True)

        assert isinstance(await store.lookup(Request(), budget()), Found)
        assert store.purge_sync(["article:7"], 5.0).entries == 1

        file.unlink()
        server.password = "second"
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(BackendError, match="mount the secret"):
            await store.lookup(Request(), budget())
        await store.aclose()
    finally:
        server.stop()


# Ready clients


def test_a_ready_cluster_client_gives_its_nodes():
    async def made() -> Sharded:
        nodes = [ClusterNode("10.0.0.1", 7000), ClusterNode("10.0.0.2", 7001)]
        client = aredis.RedisCluster(startup_nodes=nodes, password="p", ssl=True, ssl_ca_certs="/ca.pem")
        place = located(client)
        assert isinstance(place, Sharded)
        return place

    place = asyncio.run(made())
    assert [(seed.host, seed.port) for seed in place.seeds] == [("10.0.0.1", 7000), ("10.0.0.2", 7001)]
    assert {seed._kind for seed in place.seeds} == {aredis.SSLConnection}
    assert {(options(seed)["password"], options(seed)["ssl_ca_certs"]) for seed in place.seeds} == {("p", "/ca.pem")}


def test_a_client_of_replicas_is_refused():
    with pytest.raises(ConfigurationError, match="master_for"):
        located(aredis.Sentinel([("10.0.0.1", 26379)]).slave_for("shop"))


def test_a_sentinel_client_keeps_database_tls_and_both_credentials():
    sentinel = aredis.Sentinel([("10.0.0.1", 26379)], sentinel_kwargs={"password": "theirs"}, password="ours")

    place = located(sentinel.master_for("shop", db=4, ssl=True, ssl_ca_certs="/ca.pem"))

    assert isinstance(place, Watched)
    assert (place.service, options(place.server)["db"], place.server._kind) == ("shop", 4, aredis.SSLConnection)
    assert options(place.server)["password"] == "ours"
    assert options(place.sentinels[0])["password"] == "theirs"
