"""Event loops, threads and processes: each has connections of its own, and leaves none behind."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import asyncio as aredis

from rcache.core.entry import Found, Missing
from rcache.core.errors import BackendError, ConfigurationError
from rcache.stores.redis import RedisStore
from tests.servers import RedisServer

from .conftest import Request, budget, fill

ROOT = Path(__file__).parents[3]


@contextmanager
def no_warning():
    """Nothing is left open, and nobody complains about a closed loop."""
    gc.collect()  # what others left is not ours to answer for
    unraisable = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert not unraisable, unraisable


def make(server: RedisServer, namespace: str) -> RedisStore:
    return RedisStore(server.url, namespace=namespace)


def test_a_new_loop_per_call_works_and_leaves_nothing_open(redis_server, caplog):
    store = make(redis_server, "loops-new")
    with no_warning():
        asyncio.run(fill(store, Request()))
        for _ in range(5):
            assert isinstance(asyncio.run(store.lookup(Request(), budget())), Found)
        store.close()
    assert not caplog.records


def test_a_loop_that_is_closed_without_ceremony_leaves_nothing_open(redis_server, caplog):
    store = make(redis_server, "loops-closed")
    with no_warning():
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(store.lookup(Request(), budget()))
            loop.close()
        store.close()
        del store
    assert not caplog.records


def test_the_end_of_the_loop_closes_the_connections(redis_server):
    store = make(redis_server, "loops-end")
    with redis_server.client() as client:
        before = len(client.client_list())
        asyncio.run(store.lookup(Request(), budget()))

        for _ in range(1000):
            if len(client.client_list()) <= before:
                break
        assert len(client.client_list()) <= before


def test_a_store_that_is_dropped_while_its_loop_lives_closes_its_connections(redis_server):
    async def use() -> None:
        store = make(redis_server, "loops-dropped")
        await store.lookup(Request(), budget())
        del store
        gc.collect()
        await asyncio.sleep(0.01)

    with no_warning():
        asyncio.run(use())


def test_two_loops_in_two_threads_use_one_store(redis_server):
    store = make(redis_server, "loops-threads")
    asyncio.run(fill(store, Request()))
    barrier = threading.Barrier(2)
    answers: list[object] = []

    async def work() -> None:
        barrier.wait()
        for _ in range(50):
            answers.extend(await asyncio.gather(*[store.lookup(Request(), budget()) for _ in range(4)]))

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 400
    assert all(isinstance(answer, Found) for answer in answers)
    store.close()


async def test_closing_lets_go_and_the_next_use_opens_again(store):
    await fill(store, Request())
    await store.aclose()

    assert isinstance(await store.lookup(Request(), budget()), Found)


async def test_closing_while_a_call_is_under_way_fails_that_call(store):
    await fill(store, Request())
    call = asyncio.ensure_future(store.lookup(Request(), budget()))
    await asyncio.sleep(0)
    await store.aclose()

    answer = (await asyncio.gather(call, return_exceptions=True))[0]

    assert isinstance(answer, BackendError)
    assert not store.is_down


def test_a_synchronous_purge_needs_no_loop(redis_server):
    store = make(redis_server, "loops-sync")
    asyncio.run(fill(store, Request()))

    assert store.purge_sync(["article:7"], 5.0).entries == 1

    assert isinstance(asyncio.run(store.lookup(Request(), budget())), Missing)
    store.close()


async def test_a_synchronous_purge_works_on_a_loops_thread(store):
    await fill(store, Request())

    assert store.purge_sync(["article:7"], 5.0).entries == 1

    assert isinstance(await store.lookup(Request(), budget()), Missing)


async def test_synchronous_purges_of_many_threads_all_land(store):
    await fill(store, Request())
    numbers = await asyncio.gather(*[asyncio.to_thread(store.purge_sync, [f"t:{n}"], 5.0) for n in range(32)])

    assert len({purge.number for purge in numbers}) == 32


def test_a_synchronous_purge_survives_a_restart_while_idle(own_server):
    store = make(own_server, "loops-restart")
    store.purge_sync(["article:7"], 5.0)
    own_server.restart(keep_data=False)

    assert store.purge_sync(["article:7"], 5.0).number == 1
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_parent_and_child_have_connections_of_their_own(redis_server):
    """In a process of its own: a test run's threads do not survive a fork."""
    program = f"""
import asyncio, os, redis
from rcache.core.entry import Found
from rcache.stores.redis import RedisStore
from tests.stores.redis.conftest import Request, budget, fill

def count():
    with redis.Redis.from_url({redis_server.url!r}) as client:
        return sum(each["name"] == "fork" for each in client.client_list())

store = RedisStore({redis_server.url!r} + "?client_name=fork", namespace="loops-fork")
loop = asyncio.new_event_loop()
loop.run_until_complete(fill(store, Request(), "article:7"))
loop.run_until_complete(fill(store, Request(b"/kept"), "kept"))
store.purge_sync(["other"], 5.0)
child = os.fork()
if child == 0:
    asyncio.run(store.lookup(Request(), budget()))
    before = count()
    store.purge_sync(["article:7"], 5.0)
    os._exit(0 if count() == before + 1 else 1)
assert os.waitpid(child, 0)[1] == 0
assert not isinstance(loop.run_until_complete(store.lookup(Request(), budget())), Found)
assert isinstance(loop.run_until_complete(store.lookup(Request(b"/kept"), budget())), Found)
store.purge_sync(["other"], 5.0)
loop.run_until_complete(store.aclose())
loop.close()
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)

    assert (run.returncode, run.stderr) == (0, "")


async def test_a_ready_client_gives_the_address_and_nothing_else(redis_server):
    client = aredis.Redis.from_url(redis_server.url, decode_responses=True, socket_timeout=0.001)
    store = RedisStore(client, namespace="loops-client")

    await fill(store, Request())
    assert isinstance(await store.lookup(Request(), budget()), Found)
    assert store.purge_sync(["article:7"], 5.0).entries == 1
    await store.aclose()
    await client.aclose()


async def test_a_unix_socket_is_an_address_too(tmp_path):
    server = RedisServer("--unixsocket", str(tmp_path / "redis.sock"))
    try:
        store = RedisStore(f"unix://{tmp_path / 'redis.sock'}?db=3", namespace="loops-unix")
        await fill(store, Request())
        assert isinstance(await store.lookup(Request(), budget()), Found)
        assert store.purge_sync(["article:7"], 5.0).entries == 1
        await store.aclose()
    finally:
        server.stop()


def test_a_client_of_another_kind_is_refused():
    with pytest.raises(ConfigurationError):
        RedisStore(object())  # type: ignore[arg-type]
