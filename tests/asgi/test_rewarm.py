"""The hottest of what a purge killed is made again at once, each once, whether or not there are workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, Rule, cached
from rcache.asgi.lifespan import running
from rcache.core.errors import BackendError, ConfigurationError
from rcache.core.jobs import Job
from rcache.core.keys import Carrier
from rcache.core.policy import defaults, options
from rcache.engine import rewarm
from rcache.engine.fame import Fame
from rcache.engine.pool import Pool
from rcache.stores.redis import RedisStore
from tests.servers import RedisServer
from tests.support import PATIENCE, Gate, HandClock, RawClient


class Known:
    """Hits by path, as a test has them."""

    def __init__(self, **hits: int) -> None:
        self.by_path = {f"/{name}": count for name, count in hits.items()}

    async def hits(self, carriers: Sequence[Carrier]) -> Sequence[int]:
        return [self.by_path.get(carrier.key.path.decode(), 0) for carrier in carriers]


class Crew:
    """`Queue`, as far as those need it who add to one; `alive` workers."""

    def __init__(self, alive: int = 1) -> None:
        self.alive = alive
        self.is_down = False
        self.is_sweeping = True
        self.asked = 0
        self.jobs: list[Job] = []

    async def workers(self) -> int:
        if self.is_down:
            raise BackendError("gone")
        return self.alive

    async def add(self, job: Job) -> bool:
        self.asked += 1
        if self.is_down:
            raise BackendError("gone")
        if job.name == "rcache.sweep" and not self.is_sweeping:
            return False
        is_new = job.key not in {other.key for other in self.jobs}
        if is_new:
            self.jobs.append(job)
        return is_new


class Site:
    """Pages that are all tagged `site`, and how often each was made."""

    def __init__(self, cache: Cache, **settings: Any) -> None:
        self.made: Counter[str] = Counter()
        self.cache = cache
        settings = {"rewarm": 2, "stale_while_revalidate": 60, **settings}
        self.app = CacheMiddleware(
            self._answer, cache=cache, rules=[Rule("/{name}", 60, ["site", "{name}"], **settings)]
        )
        self.client = RawClient(self.app)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.made[scope["path"]] += 1
        await PlainTextResponse(f"{scope['path']} {self.made[scope['path']]}")(scope, receive, send)

    async def fill(self, *names: str) -> None:
        for name in names:
            assert (await self.client.get(f"/{name}")).is_stored
        self.made.clear()

    async def rewarmed(self) -> dict[str, int]:
        async with asyncio.timeout(PATIENCE):
            await self.cache.warming.wait()
        return dict(self.made)


@pytest.fixture(autouse=True)
def _short_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewarm, "QUIET", 0.01)


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, clock: HandClock) -> AsyncIterator[Cache]:
    """On either store: both tell what they sweep."""
    if request.param == "memory":
        cache = Cache("memory://", clock=clock)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        cache = Cache(server.url, namespace=f"rewarm-{id(request)}", deadline=PATIENCE)
    cache.warming.count = Known(hot=5, warm=3, tepid=2, cold=0).hits
    yield cache
    await cache.close()


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("is_sync", [False, True])
async def test_of_what_was_purged_the_hottest_are_made_again(cache: Cache, is_soft: bool, is_sync: bool) -> None:
    site = Site(cache)
    await site.fill("hot", "warm", "tepid", "cold", "never")
    if is_sync:
        cache.invalidate_sync("site", soft=is_soft)
    else:
        await cache.invalidate("site", soft=is_soft)
    assert await site.rewarmed() == {"/hot": 1, "/warm": 1}
    assert (await site.client.get("/hot")).is_hit
    if not is_soft:
        assert (await site.client.get("/tepid")).is_stored


async def test_a_purge_from_a_thread_is_acted_on_where_the_application_is_served(cache: Cache) -> None:
    site = Site(cache)
    await site.fill("hot")
    cache.warming.serve_here()
    await asyncio.to_thread(cache.invalidate_sync, "site")
    assert await site.rewarmed() == {"/hot": 1}


async def test_what_a_purge_does_not_reach_is_not_made_again(cache: Cache) -> None:
    site = Site(cache)
    await site.fill("hot", "warm", "tepid")
    await cache.invalidate("tepid")
    assert await site.rewarmed() == {"/tepid": 1}


async def test_what_nobody_asked_for_lately_is_not_made_again(cache: Cache) -> None:
    site = Site(cache, rewarm=20)
    await site.fill("cold", "never")
    await cache.invalidate("site")
    assert await site.rewarmed() == {}


async def test_a_storm_of_purges_makes_each_page_once(cache: Cache) -> None:
    site = Site(cache)
    await site.fill("hot", "warm", "tepid")
    for _ in range(5):
        await cache.invalidate("site")
    assert await site.rewarmed() == {"/hot": 1, "/warm": 1}


async def test_rules_that_do_not_ask_for_it_have_nothing_made_again(cache: Cache) -> None:
    site = Site(cache, rewarm=None)
    await site.fill("hot")
    await cache.invalidate("site")
    assert await site.rewarmed() == {}
    assert not cache.warming._tasks, "and nothing is even looked at"


async def test_the_variants_of_a_page_are_made_again_each_with_its_own_fields(cache: Cache) -> None:
    languages: list[str | None] = []

    @cached(60, tags=["site"], vary=["accept-language"], rewarm=5)
    async def page(request: Request) -> PlainTextResponse:
        languages.append(request.headers.get("accept-language"))
        assert isinstance(request.app, Starlette), "it comes by the application, not past it"
        return PlainTextResponse("page")

    app = Starlette(routes=[Route("/hot", page)], middleware=[Middleware(CacheMiddleware, cache=cache)])
    client = RawClient(app)
    await client.get("/hot", {"accept-language": "de"})
    await client.get("/hot", {"accept-language": "en;q=1.0"})
    await client.get("/hot")
    await cache.invalidate("site")
    async with asyncio.timeout(PATIENCE):
        await cache.warming.wait()
    assert sorted(map(str, languages[3:])) == ["None", "de", "en;q=1"]
    assert (await client.get("/hot", {"accept-language": "de"})).is_hit


async def test_where_workers_are_alive_they_make_it(cache: Cache) -> None:
    crew = Crew()
    crew.is_sweeping = False
    cache.warming._queue = lambda: crew  # type: ignore[assignment, return-value]
    cache.warming.count = Known(hot=50, warm=3).hits
    site = Site(cache)
    await site.fill("hot", "warm")
    await cache.invalidate("site")
    assert await site.rewarmed() == {}
    assert [(job.name, job.priority) for job in crew.jobs] == [("rcache.render", "high"), ("rcache.render", "low")]
    for job in crew.jobs:
        await cache.warming.render_job(*job.arguments, **job.named)
    assert await site.rewarmed() == {"/hot": 1, "/warm": 1}


async def test_where_workers_are_alive_they_sweep_as_well(cache: Cache) -> None:
    crew = Crew()
    cache.warming._queue = lambda: crew  # type: ignore[assignment, return-value]
    site = Site(cache)
    await site.fill("hot")
    assert await cache.warming.has_workers()
    await cache.invalidate("site")
    if isinstance(cache.store, RedisStore):
        await cache.store.swept()
    assert await site.rewarmed() == {}
    assert [job.name for job in crew.jobs] == ["rcache.sweep"]
    crew.alive = 0
    cache.warming.is_worker = True
    cache.warming._has_workers = (0.0, False)
    await cache.warming.sweep_job()
    assert await site.rewarmed() == {"/hot": 1}


async def test_an_application_that_starts_in_a_worker_has_the_jobs_of_the_cache_and_in_a_web_process_none(
    cache: Cache,
) -> None:
    site = Site(cache)
    async with running(site.app):
        assert cache.functions.find("rcache.render") is None
    cache.telemetry.role = "worker"
    async with running(site.app):
        assert cache.functions.find("rcache.render") == cache.warming.render_job
        assert cache.functions.find("rcache.sweep") == cache.warming.sweep_job


@pytest.mark.parametrize("is_down", [False, True])
async def test_without_workers_or_their_queue_the_web_process_makes_it(cache: Cache, is_down: bool) -> None:
    crew = Crew(alive=0 if not is_down else 1)
    cache.warming._queue = lambda: crew  # type: ignore[assignment, return-value]
    site = Site(cache)
    await site.fill("hot")
    assert await cache.warming.has_workers() is is_down
    crew.is_down = is_down
    await cache.invalidate("site")
    assert await site.rewarmed() == {"/hot": 1}
    assert not crew.jobs


# Refreshes by workers


async def test_a_stale_answer_is_made_anew_by_workers(cache: Cache, clock: HandClock) -> None:
    crew = Crew()
    cache.warming._queue = lambda: crew  # type: ignore[assignment, return-value]
    site = Site(cache, refresh="worker", rewarm=0)
    await site.fill("hot")
    await cache.invalidate("site", soft=True)
    clock.advance(1)
    for _ in range(3):
        assert (await site.client.get("/hot")).body == b"/hot 1"
        await cache.refreshes.wait()
    assert site.made == {}
    assert crew.asked == 1, "a hot page does not ask the queue at each hit"
    (job,) = crew.jobs
    for _ in range(2):
        await cache.warming.render_job(*job.arguments, **job.named)
        assert site.made == {"/hot": 1}, "whoever finds it made already makes it no more"
    assert (await site.client.get("/hot")).is_hit


@pytest.mark.parametrize("crew", [lambda: Crew(alive=0), lambda: None], ids=["no workers", "no queue"])
async def test_without_workers_the_web_process_makes_it_anew(cache: Cache, crew: Any) -> None:
    asked = crew()
    cache.warming._queue = lambda: asked
    site = Site(cache, refresh="worker", rewarm=0)
    await site.fill("hot")
    await cache.invalidate("site", soft=True)
    assert (await site.client.get("/hot")).is_hit
    await cache.refreshes.wait()
    assert site.made == {"/hot": 1}


async def test_a_job_that_asks_for_no_recipe_or_fails_says_so(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match="nothing can be rendered"):
        await cache.warming.render_job(["http", "h", "/", "", []])
    site = Site(cache)
    with pytest.raises(ValueError, match="no recipe"):
        await cache.warming.render_job(["ftp", "h", "/", "", []])
    site.app.app = None  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="TypeError"):
        await cache.warming.render_job(["http", "testserver", "/hot", "", []])


# The pool


async def test_a_few_run_at_a_time_hottest_first_and_what_runs_is_done_again_when_asked_for() -> None:
    pool, gate = Pool(), Gate()
    done: list[str] = []

    async def first() -> None:
        await gate()
        done.append("first")

    async def note(name: str) -> None:
        done.append(name)

    for number in range(4):
        pool.add(f"first{number}", 0, first)
    pool.add("cold", 1, lambda: note("cold"))
    pool.add("hot", 9, lambda: note("hot"))
    pool.add("hot", 9, lambda: note("twice"))
    await gate.reached()
    pool.add("first0", 5, lambda: note("again"))
    gate.open()
    await pool.wait()
    assert done[:4] == ["first"] * 4
    assert sorted(done[4:]) == ["again", "cold", "hot"]
    assert done.index("hot") < done.index("cold")
    await pool.aclose()


async def test_what_is_too_much_is_forgotten_coldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcache.engine.pool.MOST_WAITING", 5)
    pool, gate = Pool(), Gate()
    done: list[int] = []
    for number in range(4):
        pool.add(f"running{number}", 0, gate)

    async def note(number: int) -> None:
        done.append(number)

    for number in range(11):
        pool.add(str(number), number, lambda number=number: note(number))  # type: ignore[misc]
    gate.open()
    await pool.wait()
    assert done == [10, 9, 8, 7, 6]


@pytest.mark.parametrize(
    "settings", [{"rewarm": -1}, {"rewarm": True}, {"rewarm": 1001}, {"rewarm": "5"}, {"refresh": "queue"}]
)
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        options(60, **settings)
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        defaults(**settings)


async def test_the_hottest_are_those_that_were_hit_most(cache: Cache) -> None:
    """By what is counted anyway, of all nodes; what nobody has hit is not made again."""
    cache.warming.count = Fame(cache.inspector, cache.clock).hits
    site = Site(cache, rewarm=1)
    await site.fill("a", "b", "c")
    for path, times in (("/a", 1), ("/b", 5)):
        for _ in range(times):
            assert (await site.client.get(path)).is_hit
    async with asyncio.timeout(PATIENCE):
        while not any(hot.hits >= 5 for hot in await cache.inspector.popularity.top(10)):
            await asyncio.sleep(0.05)  # nodes on Redis tell once a second
    await cache.invalidate("site")
    assert await site.rewarmed() == {"/b": 1}
