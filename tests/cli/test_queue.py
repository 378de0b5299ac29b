"""`rcache queue` and `rcache worker`: what they say, to people and to programs. Workers at work: tests/queues/test_processes.py."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import types

import pytest
from starlette.applications import Starlette

from rcache import Cache, CacheMiddleware
from rcache.asgi.explain import find_middleware
from rcache.asgi.lifespan import StartupError, running
from rcache.cli import main
from rcache.core.jobs import Job, UnknownJobError
from tests.queues.support import Runs, seen, served


@pytest.fixture
def place(redis_server):
    """A queue with a job that waits, one that ran, and one that is unknown here."""
    namespace = f"test-{secrets.token_hex(6)}"

    async def fill():
        def act(job):
            if job.name == "bad":
                raise UnknownJobError("what\x1b[2J?")

        runs = Runs()
        runs.act = act
        async with Cache(redis_server.url, namespace=namespace) as cache:
            async with served(cache.queue, runs):
                await cache.queue.add(Job("good", key="k\u202e"))
                await cache.queue.add(Job("bad"))
                await seen(cache.queue, lambda view: view.counts["done"] == view.counts["again"] == 1)
            await cache.queue.add(Job("next", priority="high"))

    asyncio.run(fill())
    return ["--url", redis_server.url, "--namespace", namespace]


def test_people_see_what_waits_and_what_failed(place, capsys):
    assert main(["queue", *place]) == 0
    shown = capsys.readouterr().out
    for words in ("high", "none: web processes run the jobs", "UnknownJobError: what\\x1b[2J?", "k\\u202e"):
        assert words in shown


def test_programs_see_the_same(place, capsys):
    assert main(["queue", "--json", *place]) == 0
    view = json.loads(capsys.readouterr().out)["queue"]
    assert [(lane["lane"], lane["waiting"]) for lane in view["lanes"]] == [("high", 1), ("low", 0)]
    assert view["counts"] == {"done": 1, "again": 1, "failed": 0, "late": 0, "unknown": 0}
    assert [row["name"] for row in view["failures"]] == ["bad"]


def test_lanes_are_paused_and_go_on(place, capsys):
    for arguments, paused in (
        (["pause"], [True, True]),
        (["resume", "low"], [True, False]),
        (["resume"], [False, False]),
    ):
        assert main(["queue", *arguments, "--json", *place]) == 0
        view = json.loads(capsys.readouterr().out)["queue"]
        assert [lane["is_paused"] for lane in view["lanes"]] == paused


def module(monkeypatch, **names):
    made = types.ModuleType("an_application")
    made.__dict__.update(names)
    monkeypatch.setitem(sys.modules, "an_application", made)


def test_what_cannot_work_is_told_in_a_line(monkeypatch, capsys):
    embedded = CacheMiddleware(Starlette(), cache=Cache())
    module(monkeypatch, app=embedded, number=5, make=lambda: embedded)
    for arguments, words in (
        ([], "MODULE:APP"),
        (["nowhere:app"], "leads nowhere"),
        (["an_application:number"], "is a int, not an application"),
        (["an_application:app"], "embedded cache"),
        (["an_application:make", "--factory"], "embedded cache"),
        (["an_application:app", "--lanes", "middle"], "--lanes 'middle': write high,low"),
        (["an_application:app", "--lanes", "high,high"], "--lanes"),
        (["an_application:app", "--lanes", ""], "--lanes"),
        (["an_application:app", "--concurrency", "0"], "--concurrency"),
        (["an_application:app", "--drain", "soon"], "--drain"),
        (["an_application:app", "--cache", "an_application:number"], "not a Cache"),
    ):
        assert main(["worker", *arguments]) == 2, arguments
        told = capsys.readouterr().err
        assert words in told
        assert told.count("\n") == 1


def test_an_application_that_does_not_start_ends_the_worker(monkeypatch, capsys, redis_server):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    module(monkeypatch, app=CacheMiddleware(app, cache=Cache(redis_server.url)))
    assert main(["worker", "an_application:app"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "rcache: the application did not start: no database"


async def test_the_lifespan_of_an_application_runs_around_its_jobs():
    told = []

    async def app(scope, receive, send):
        for _ in range(2):
            message = await receive()
            told.append(message["type"])
            await send({"type": f"{message['type']}.complete"})

    async with running(app):
        assert told == ["lifespan.startup"]
    assert told == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_application_may_know_no_lifespan_or_fail_in_it():
    async def django(scope, receive, send):
        raise ValueError("lifespan?")

    async def broken(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed"})
        raise RuntimeError("no database")

    async with running(django):
        pass
    with pytest.raises(StartupError, match="no database"):
        async with running(broken):
            pass


async def test_the_cache_of_a_worker_is_the_one_that_its_application_will_use():
    """The stack in which the middleware is found is the one that the application keeps."""
    app = Starlette()
    app.add_middleware(CacheMiddleware)
    cache = find_middleware(app).cache
    async with running(app):
        assert find_middleware(app).cache is cache
