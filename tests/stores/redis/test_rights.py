"""A user who may not do all that is needed: the error names each command and the rule that allows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from rcache import Cache
from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError
from rcache.stores.redis import ClusterStore, RedisStore
from rcache.stores.redis.rights import ALL, KEYED, ON_CLUSTER, PLAIN
from tests.clusters import Cluster
from tests.servers import RedisServer

from .conftest import Request, budget, fill

# What a connection needs beside what scripts run.
CONNECTING = ("eval", "evalsha", "script|load", "client|setname")
NEAR = ("xread", "hdel")
SCRIPTED = [*KEYED, "RENAME", *PLAIN]
CLUSTERED = ["ZPOPMIN", *ON_CLUSTER]


def rule(command: str) -> str:
    return "+" + command.lower().replace(" ", "|")


LEAST = ("~rc:*", *map(rule, [*CONNECTING, *SCRIPTED]))
LEAST_ON_CLUSTER = (*LEAST, *map(rule, CLUSTERED))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    made = RedisServer()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lone() -> Iterator[Cluster]:
    made = Cluster(masters=1, replicas=0)
    yield made
    made.stop()


def allow(server: RedisServer, *rules: str) -> str:
    """Makes a user who may do that; the user and password of a URL."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules)
    return f"app:secret@127.0.0.1:{server.port}"


def commands_in_scripts() -> set[str]:
    folder = files("rcache.stores.redis") / "lua"
    texts = [
        path.read_text() for path in (*folder.iterdir(), *(folder / "cluster").iterdir()) if path.name.endswith(".lua")
    ]
    return {name for text in texts for name in re.findall(r"(?:call|put)\('([A-Z]+)'", text)}


def test_every_command_that_a_script_runs_is_asked_for():
    assert commands_in_scripts() == {*SCRIPTED, "ZPOPMIN"}


@pytest.mark.parametrize("command", [*CONNECTING, *SCRIPTED])
async def test_what_a_user_may_not_run_is_named_with_the_rule_that_allows_it(server: RedisServer, command: str):
    user = allow(server, *(each for each in LEAST if each != rule(command)))
    store = RedisStore(f"redis://{user}/0", namespace="rights")

    with pytest.raises(BackendError) as caught:
        await store.lookup(Request(), budget())
    assert re.search(rf"permit {command.upper().replace('|', ' ')} .*{re.escape(rule(command))}`", str(caught.value))
    if command != "script|load":  # which is needed only where Redis does not know the scripts
        with pytest.raises(BackendError) as caught:
            store.purge_sync(["article:7"], 5.0, probe=True)
        assert f"{rule(command)}`" in str(caught.value)
    await store.aclose()


async def test_several_are_named_together(server: RedisServer):
    user = allow(server, *(each for each in LEAST if each not in ("+hset", "+zadd")))
    store = RedisStore(f"redis://{user}/0", namespace="rights")

    with pytest.raises(BackendError, match=r"HSET, ZADD .*`ACL SETUSER ... \+hset \+zadd`"):
        await store.lookup(Request(), budget())
    await store.aclose()


async def test_keys_that_a_user_may_not_touch_are_named(server: RedisServer):
    user = allow(server, "~other:*", "+@all")
    store = RedisStore(f"redis://{user}/0", namespace="rights")

    with pytest.raises(BackendError, match=r"keys .*`ACL SETUSER ... ~rc:\*`"):
        await store.lookup(Request(), budget())
    with pytest.raises(BackendError, match=r"~rc:\*`"):
        store.purge_sync(["article:7"], 5.0, probe=True)
    await store.aclose()


async def test_a_right_that_is_taken_away_while_connected_is_missed_too(server: RedisServer):
    user = allow(server, *LEAST)
    store = RedisStore(f"redis://{user}/0", namespace="rights-taken")
    await fill(store, Request())
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "-info")

    with pytest.raises(BackendError, match=r"permit INFO .*\+info`"):
        await store.lookup(Request(), budget())
    await store.aclose()


async def work(store: RedisStore | ClusterStore) -> None:
    """Everything that a store can do."""
    await fill(store, Request(), body=b"x")
    await fill(store, Request(b"/vary", names=("accept-language",)))
    assert isinstance(await store.lookup(Request(), budget()), Found)
    await store.hold(["article:7"], "t1", 30.0, 5.0)
    await store.release(["article:7"], "t1", 5.0)
    assert (await store.purge(["article:7"], 5.0)).entries == 2
    await store.swept()
    assert isinstance(await store.lookup(Request(), budget()), Missing)
    await fill(store, Request())
    assert store.purge_sync(["article:7"], 5.0).entries == 1
    store.flush_sync(5.0)
    await fill(store, Request())
    await store.aclose()


@pytest.mark.parametrize("rules", [LEAST, ALL.split()], ids=["least", "in few words"])
async def test_the_rights_that_are_named_suffice(server: RedisServer, rules: tuple[str, ...]):
    await work(RedisStore(f"redis://{allow(server, *rules)}/0", namespace=f"rights-{len(rules)}"))


@pytest.mark.parametrize("rules", [LEAST_ON_CLUSTER, ALL.split()], ids=["least", "in few words"])
async def test_the_rights_that_are_named_suffice_on_a_cluster(lone: Cluster, rules: tuple[str, ...]):
    await work(ClusterStore(f"redis+cluster://{allow(lone.nodes[0], *rules)}", namespace=f"rights-{len(rules)}"))


@pytest.mark.parametrize("command", [*CLUSTERED, "HSET", "evalsha"])
async def test_what_a_cluster_needs_beside_is_named_too(lone: Cluster, command: str):
    user = allow(lone.nodes[0], *(each for each in LEAST_ON_CLUSTER if each != rule(command)))
    store = ClusterStore(f"redis+cluster://{user}", namespace="rights")

    with pytest.raises(BackendError, match=re.escape(f"{rule(command)}`")):
        await store.lookup(Request(), budget())
    with pytest.raises(BackendError, match=re.escape(f"{rule(command)}`")):
        store.purge_sync(["article:7"], 5.0, probe=True)
    await store.aclose()


@pytest.mark.parametrize("rules", [(*LEAST, *map(rule, NEAR)), ALL.split()], ids=["least", "in few words"])
async def test_near_caches_read_the_log_with_one_right_more(server: RedisServer, rules: tuple[str, ...]):
    url = f"redis://{allow(server, *rules)}/0"
    cache = Cache(url, namespace=f"near-{len(rules)}", near="strict", deadline=5.0)
    await fill(cache.store, Request())
    assert cache.store.follow().joined.wait(30.0)
    assert (await cache.invalidate("article:7")).landed
    await cache.close()


def test_every_command_is_one_that_redis_has_had_since_7_0(server: RedisServer):
    """So that Valkey works too; the server of the tests may be newer, but tells since when it has each."""
    names = [*SCRIPTED, *CLUSTERED, *(name.upper().replace("|", " ") for name in (*CONNECTING, *NEAR))]
    with server.client(decode_responses=True) as client:
        connection = client.connection_pool.get_connection()
        for name in names:
            connection.send_command("COMMAND", "DOCS", name.replace(" ", "|"))
            told = connection.read_response()[1]
            since = told[told.index("since") + 1]
            assert tuple(map(int, since.split("."))) <= (7, 0, 0), name
        client.connection_pool.release(connection)
