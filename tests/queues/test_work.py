"""Functions by their names, schedules by their ticks, and who runs them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import rcache
from rcache import Cache, CacheMiddleware, ConfigurationError
from rcache.clock import SystemClock
from rcache.core.errors import BackendError
from rcache.core.jobs import Job, UnknownJobError
from rcache.core.schedules import made
from rcache.engine import work as working
from rcache.engine.work import Functions, Scheduled, Work
from rcache.queues.memory import MemoryQueue
from rcache.queues.redis import open_queue
from tests.queues.support import seen
from tests.support import EPOCH, PATIENCE, HandClock


@pytest.fixture(autouse=True)
def application(monkeypatch, no_other_caches):
    """What the application has marked: nothing yet, in each test."""
    fresh = Functions()
    for module in ("rcache.engine.work", "rcache.jobs", "rcache.cache", "rcache.asgi.stand_in"):
        monkeypatch.setattr(f"{module}.APPLICATION", fresh)
    return fresh


class Calls:
    """A function of the application that writes down how it was called."""

    def __init__(self):
        self.calls = []
        self._changed = asyncio.Event()

        async def function(*arguments, **named):
            self.calls.append((arguments, named))
            self._changed.set()

        self.function = function

    async def until(self, count):
        async with asyncio.timeout(PATIENCE):
            while len(self.calls) < count:
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def lifespan(app):
    """The application runs, as a server has it."""
    inbox, outbox = asyncio.Queue(), asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    started = await asyncio.wait_for(outbox.get(), PATIENCE)
    if started["type"] != "lifespan.startup.complete":
        await task
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(task, PATIENCE)


async def test_what_a_request_enqueues_runs_in_the_web_process_where_there_are_no_workers():
    calls = Calls()
    rcache.job(calls.function, name="mail")
    cache = Cache()

    async def endpoint(request):
        added = [await rcache.enqueue(calls.function, 1, to="x", key="k", delay=0.05, retries=1) for _ in range(2)]
        return PlainTextResponse(str(added))

    app = CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b""}
    scope |= {"root_path": "", "headers": [(b"host", b"a")], "server": ("a", 80), "http_version": "1.1"}
    bodies = []

    async def send(message):
        bodies.append(message.get("body", b""))

    async with lifespan(app):
        await app(scope, None, send)
        await calls.until(1)

    assert b"".join(bodies) == b"[True, False]"
    assert calls.calls == [((1,), {"to": "x"})]


async def test_jobs_under_way_end_before_the_cache_closes():
    ended = []
    began, may_end = asyncio.Event(), asyncio.Event()

    @rcache.job
    async def slow():
        began.set()
        await may_end.wait()
        ended.append(True)

    cache = Cache()
    async with lifespan(CacheMiddleware(Starlette(), cache=cache)):
        await rcache.enqueue(slow)
        await asyncio.wait_for(began.wait(), PATIENCE)
        asyncio.get_running_loop().call_later(0.05, may_end.set)

    assert ended == [True]


async def test_an_application_without_jobs_has_no_queue(monkeypatch):
    monkeypatch.setattr("rcache.cache._queue", None)
    async with lifespan(CacheMiddleware(Starlette(), cache=Cache())):
        pass


async def test_a_web_process_leaves_jobs_to_workers_and_takes_over_when_they_are_gone(redis_server, monkeypatch):
    monkeypatch.setattr(working, "WATCH", 0.05)
    here, there = [], []

    def functions(runs):
        made = Functions()

        async def note(number):
            runs.append(number)

        made.add("note", note)
        return made

    namespace = f"test-{secrets.token_hex(6)}"
    queues = [open_queue(redis_server.url, namespace, SystemClock()) for _ in range(2)]
    web, worker = (
        Work(queue, functions(runs), SystemClock()) for queue, runs in zip(queues, (here, there), strict=True)
    )
    web_told, worker_told = asyncio.Event(), asyncio.Event()
    standing_in = asyncio.create_task(web.stand_in(web_told))
    await queues[0].add(Job("note", (1,)))
    await seen(queues[0], lambda view: view.counts["done"] == 1)

    serving = asyncio.create_task(worker.serve(worker_told, is_worker=True))
    await seen(queues[0], lambda view: view.workers == 1)
    await asyncio.sleep(0.5)  # the web process has looked, and let go
    for number in range(2, 12):
        await queues[0].add(Job("note", (number,)))
    await seen(queues[0], lambda view: view.counts["done"] == 11)
    assert (here, sorted(there)) == ([1], list(range(2, 12)))

    worker_told.set()
    await asyncio.wait_for(serving, PATIENCE)
    await queues[0].add(Job("note", (12,)))
    await seen(queues[0], lambda view: view.counts["done"] == 12)
    assert here == [1, 12]
    web_told.set()
    await asyncio.wait_for(standing_in, PATIENCE)
    for queue in queues:
        await queue.aclose()


def test_only_async_functions_are_marked(application):
    with pytest.raises(ConfigurationError, match="not asynchronous"):
        rcache.job(lambda: None)


def test_a_name_belongs_to_one_function(application):
    async def first():
        pass

    async def second():
        pass

    assert rcache.job(name="mail")(first) is first
    rcache.job(first, name="mail")
    with pytest.raises(ConfigurationError, match="two functions are registered as 'mail'"):
        rcache.job(second, name="mail")
    with pytest.raises(ConfigurationError, match="name="):
        rcache.job(second, name="")


async def test_a_function_that_is_not_marked_is_not_enqueued():
    async def unmarked():
        pass

    async with Cache():
        with pytest.raises(ConfigurationError, match=r"is not marked: write @rcache\.job"):
            await rcache.enqueue(unmarked)
        marked = rcache.job(unmarked)
        with pytest.raises(ConfigurationError, match=r"arguments\[0\] is a tuple"):
            await rcache.enqueue(marked, (1, 2))


async def test_what_the_queue_names_is_never_imported():
    work = Work(MemoryQueue(SystemClock()), Functions(), SystemClock())
    for name in ("os:system", "tests.support:HandClock", "builtins:print"):
        with pytest.raises(UnknownJobError):
            await work.run(Job(name))


async def test_one_that_is_not_found_is_looked_for_among_the_application_s(application):
    calls = Calls()
    own = Functions(application)
    application.add("theirs", calls.function)
    work = Work(MemoryQueue(SystemClock()), own, SystemClock())

    assert await work.run(Job("theirs", (1,))) is None
    assert calls.calls == [((1,), {})]
    assert own.name_of(calls.function) == "theirs"
    assert not own.is_empty


def test_two_ticks_have_two_keys_and_one_tick_has_one():
    def keys(*scheduled):
        return {each.at(tick).key for each in scheduled for tick in (EPOCH, EPOCH + 1)}

    every, cron = made(None, 1, "UTC"), made("* * * * * *", None, "UTC")
    other = made("* * * * * *", None, "Europe/Berlin")
    assert (
        len(keys(*(Scheduled(schedule, Job(name)) for schedule in (every, cron, other) for name in ("a", "b")))) == 12
    )
    assert keys(Scheduled(every, Job("a"))) == keys(Scheduled(every, Job("a", retries=3)))


async def test_every_tick_is_fired_once_by_all_who_see_it():
    """Two processes with clocks that differ: the later one adds nothing, though the tick has run already."""
    queue = MemoryQueue(SystemClock())
    calls = Calls()
    functions = Functions()
    functions.add("tick", calls.function)
    functions.schedule(Scheduled(made(None, 1, "UTC"), Job("tick")))
    functions.schedule(Scheduled(made(None, 1, "UTC"), Job("tick")))

    class Late(SystemClock):
        @staticmethod
        def time():
            return SystemClock.time() - 0.3

    told = asyncio.Event()
    serving = [asyncio.create_task(Work(queue, functions, clock()).serve(told)) for clock in (SystemClock, Late)]
    await calls.until(2)
    await asyncio.sleep(0.5)
    told.set()
    await asyncio.wait(serving)

    view = await queue.view()
    assert view.counts["done"] == len(calls.calls) == len({row.key for row in view.runs})


class Outage:
    """A queue that cannot be reached until somebody says so."""

    def __init__(self, clock):
        self.clock = clock
        self.attempts = 0
        self.added = []
        self.is_down = True

    async def add(self, job):
        self.attempts += 1
        if self.is_down:
            self.clock.advance(10)
            raise BackendError("gone")
        self.added.append(job)
        return True


async def test_a_tick_that_cannot_be_added_is_tried_again_for_a_while(monkeypatch):
    monkeypatch.setattr(working, "RETRY", 0.0)
    clock = HandClock()
    queue = Outage(clock)
    work = Work(queue, Functions(), clock)
    await work._fire(Job("tick"), EPOCH)
    assert queue.attempts == 4
    queue.is_down = False
    await work._fire(Job("tick"), EPOCH + 30)
    assert len(queue.added) == 1


def test_schedules_are_shown_soonest_first():
    clock = HandClock()
    functions = Functions()
    for schedule in (made("0 0 1 1 *", None, "Europe/Berlin"), made(None, "10s", "UTC")):
        functions.schedule(Scheduled(schedule, Job("tick")))
    rows = Work(MemoryQueue(clock), functions, clock).schedules()

    assert [(row.rhythm, row.tz) for row in rows] == [("every 10s", "UTC"), ("0 0 1 1 *", "Europe/Berlin")]
    assert rows[0].next == EPOCH + 10


async def test_schedules_in_two_caches_of_a_process_are_refused(application):
    calls = Calls()
    rcache.scheduled(every=5, name="tick")(calls.function)
    first, second = (CacheMiddleware(Starlette(), cache=Cache()) for _ in range(2))
    async with lifespan(first):
        with pytest.raises(ConfigurationError, match="run_jobs=False"):
            async with lifespan(second):
                pass
        async with lifespan(CacheMiddleware(Starlette(), cache=Cache(run_jobs=False))):
            pass
    async with lifespan(second):  # the first has ended
        pass


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"cron": "x"},
        {"every": 0},
        {"every": 5, "ttl": -1},
        {"every": 5, "priority": "x"},
        {"every": 5, "retries": -1},
    ],
)
def test_a_schedule_that_cannot_be_is_refused_where_it_is_written(how):
    with pytest.raises(ConfigurationError):
        rcache.scheduled(**how)(Calls().function)


async def test_a_queue_without_its_packages_says_which_to_install(redis_server, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "streaq", None)
    for name in [name for name in sys.modules if name.startswith("rcache.queues.redis.")]:
        monkeypatch.delitem(sys.modules, name)
    async with Cache(redis_server.url) as cache:
        with pytest.raises(ConfigurationError, match=r"pip install 'rcache\[worker\]'"):
            _ = cache.queue
