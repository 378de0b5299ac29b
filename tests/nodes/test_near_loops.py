"""A near cache belongs to its process: a loop per test, a loop per request and loops in threads share what it keeps."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rcache import Cache, CacheMiddleware, cached
from rcache.engine.near_store import NearStore
from tests.servers import RedisServer
from tests.support import PATIENCE, Answer, RawClient


class Page:
    """An application of one page, whose cache keeps it near."""

    def __init__(self, url: str) -> None:
        self.version = 1
        self.cache = Cache(url, namespace=uuid.uuid4().hex, near="strict", near_lease=0.5, deadline=5.0)
        self.loops: set[int] = set()

        @cached(ttl=60, tags=["page"])
        async def page(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"{self.version}")

        app = Starlette(routes=[Route("/", page)])
        app.add_middleware(CacheMiddleware, cache=self.cache)
        self.client = RawClient(app)

    @property
    def near(self) -> NearStore:
        """The store, which keeps near."""
        store = self.cache.store
        assert isinstance(store, NearStore)
        return store

    async def get(self) -> Answer:
        """The page, in the running loop."""
        self.loops.add(id(asyncio.get_running_loop()))
        return await self.client.get("/")

    async def write(self) -> None:
        """Another version."""
        self.version += 1
        assert (await self.cache.invalidate("page")).landed

    def kept(self) -> None:
        """Returns when the page is kept near: a busy machine may let a lease lapse, and then it begins anew."""

        async def fill() -> None:
            async with asyncio.timeout(PATIENCE):
                while not (self.near.near.is_alive and len(self.near.near) == 1):
                    await self.get()

        asyncio.run(fill())


@pytest.fixture(scope="module")
def page(redis_server: RedisServer) -> Iterator[Page]:
    """One for all tests of the module, as an application that tests import."""
    page = Page(redis_server.url)
    page.cache.invalidate_sync("page")
    yield page
    page.cache.close_sync()


async def is_right_in_this_loop(page: Page) -> None:
    """A write reaches what was kept in whatever loop."""
    thread = page.near.follow()._thread
    for _ in range(3):
        assert (await page.get()).text == f"{page.version}"
    await page.write()
    assert (await page.get()).text == f"{page.version}"
    assert page.near.follow()._thread is thread


async def test_a_test_with_a_loop_of_its_own(page: Page):
    await is_right_in_this_loop(page)


async def test_the_next_test_with_another_loop(page: Page):
    await is_right_in_this_loop(page)


async def test_and_one_more(page: Page):
    await is_right_in_this_loop(page)
    assert len(page.loops) == 3


def test_a_page_kept_in_one_loop_is_a_hit_in_the_next_without_a_trip(page: Page):
    page.kept()

    async def get() -> Answer:
        return await page.get()

    near, deadline = page.near.near, time.monotonic() + PATIENCE
    while True:
        clears, trips = near.clears, page.near.store_behind.trips  # type: ignore[attr-defined]
        for _ in range(5):
            answer = asyncio.run(get())
            assert answer.is_hit
            assert answer.text == f"{page.version}"
        if near.is_alive and near.clears == clears:
            break
        assert time.monotonic() < deadline, "its lease lapses again and again"
        page.kept()
    assert page.near.store_behind.trips == trips  # type: ignore[attr-defined]


def test_loops_in_several_threads_share_one_follower_and_see_each_other_s_writes(page: Page):
    page.kept()
    wrong: list[str] = []
    turn = threading.Lock()

    async def work() -> None:
        for _ in range(10):
            with turn:  # a version is written and looked at by nobody else meanwhile
                await page.write()
                wrong.extend(
                    f"{answer.text} after {page.version}"
                    for answer in [await page.get() for _ in range(3)]
                    if answer.text != f"{page.version}"
                )

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (
        sum(thread.name == "rcache-near" and thread is page.near.follow()._thread for thread in threading.enumerate())
        == 1
    )


def test_a_cache_that_is_closed_and_used_again_follows_anew(page: Page):
    page.kept()
    use: Callable[[], Answer] = lambda: asyncio.run(page.client.get("/"))  # noqa: E731
    page.cache.close_sync()
    assert use().text == f"{page.version}"
    page.kept()
    assert use().is_hit
