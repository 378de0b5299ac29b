"""Four frameworks as origins, once each: validation, stale answers, ranges, compression and writes, with time set by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from rcache import Cache
from rcache.core.coding import decode
from tests.http.client import Answer, fetch
from tests.http.frameworks import FRAMEWORKS, pages
from tests.http.servers import Served
from tests.support import HandClock

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")


@dataclass
class Page:
    """A page of a framework's that no other test asks for."""

    port: int
    clock: HandClock
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def ask(self, method: str = "GET", page: str = "text", body: str = "", **headers: str) -> Answer:
        """The answer to one request, with names of header fields spelled as Python lets them."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await fetch(self.port, method, f"/{page}/{self.name}", fields, body)

    @property
    def made(self) -> int:
        """How often the application made the text."""
        return pages.made[f"/text/{self.name}"]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Served, HandClock]]:
    """One framework under one server, its answers kept compressed and allowed to cover for failures."""
    clock = HandClock()
    cache = Cache("memory://", clock=clock)
    settings: dict[str, Any] = {"compress": "gzip", "stale_on_error": 60}
    with Served("uvicorn-httptools", FRAMEWORKS[request.param].behind(cache, **settings)) as served:
        yield served, clock
    cache.close_sync()


@pytest.fixture
def page(running: tuple[Served, HandClock]) -> Page:
    """A page of its own for each test."""
    served, clock = running
    return Page(served.port, clock)


def content(answer: Answer) -> str:
    """The body without its coding."""
    if answer.get("content-encoding") is None:
        return answer.text
    return decode("gzip", answer.body, len("new: " + pages.LINE * 300)).decode()


async def test_a_stale_page_is_validated_and_the_applications_304_brings_it_back(page: Page):
    miss = await page.ask()
    page.clock.advance(61)
    validated, hit = await page.ask(), await page.ask()
    assert (miss.is_stored, hit.cache) == (True, "rcache; hit; ttl=60")
    assert (validated.status, validated.cache) == (200, "rcache; fwd=stale; fwd-status=304; stored")
    assert miss.body == validated.body == hit.body
    assert [answer.get("etag") for answer in (miss, validated, hit)] == [pages.etag(page.name)] * 3
    assert (hit.get("content-type") or "").startswith("text/plain")
    assert page.made == 1


async def test_a_client_that_holds_the_page_gets_a_304_whoever_knows(page: Page):
    held = pages.etag(page.name)
    for cache in ("rcache; fwd=miss; stored", "rcache; hit; ttl=60"):
        answer = await page.ask(If_None_Match=held)
        assert (answer.status, answer.body, answer.cache) == (304, b"", cache)
    page.clock.advance(61)
    answer = await page.ask(If_None_Match=held)
    assert (answer.status, answer.cache) == (304, "rcache; fwd=stale; fwd-status=304; stored")
    assert (await page.ask(If_None_Match='"other"')).status == 200
    assert page.made == 1


async def test_a_page_without_validation_of_its_own_is_made_anew_and_still_gives_a_304(page: Page):
    held = pages.etag(page.name)
    await page.ask(page="items")
    page.clock.advance(61)
    answer = await page.ask(page="items", If_None_Match=held)
    assert (answer.status, answer.cache) == (304, "rcache; fwd=stale; stored")
    assert pages.made[f"/items/{page.name}"] == 2


async def test_parts_of_a_page_come_from_the_store(page: Page):
    whole = content(await page.ask())
    for asked, first, last in (("bytes=0-3", 0, 3), ("bytes=-5", len(whole) - 5, len(whole) - 1)):
        part = await page.ask(Range=asked, If_Range=pages.etag(page.name))
        assert (part.status, part.text, part.is_hit) == (206, whole[first : last + 1], True)
        assert part.get("content-range") == f"bytes {first}-{last}/{len(whole)}"
    assert (await page.ask(Range="bytes=0-3", If_Range='"other"')).text == whole
    assert (await page.ask(Range="bytes=999999-")).status == 416
    several = await page.ask(Range="bytes=0-3,100-103")
    assert (several.status, (several.get("content-type") or "").partition(";")[0]) == (206, "multipart/byteranges")
    assert page.made == 1


async def test_parts_of_a_large_and_of_a_streamed_page_come_from_the_store(page: Page):
    await page.ask(page="large")
    part = await page.ask(page="large", Range="bytes=-20")
    assert (part.status, part.body, part.is_hit) == (206, pages.LARGE[-20:], True)
    await page.ask(page="stream")
    part = await page.ask(page="stream", Range="bytes=5-9")
    assert (part.status, part.text, part.get("content-range")) == (206, "two, ", "bytes 5-9/15")


async def test_a_part_that_nobody_has_asked_for_before_is_cut_from_the_whole_that_the_application_makes(page: Page):
    part = await page.ask(Range="bytes=0-2")
    assert (part.status, part.text, part.cache) == (206, "new", "rcache; fwd=miss; stored")
    assert (await page.ask()).is_hit


async def test_one_compressed_body_serves_all(page: Page):
    for accept, is_coded in (("gzip", True), ("", False), ("gzip;q=0", False), ("br, *", True)):
        answer = await page.ask(Accept_Encoding=accept)
        assert (answer.get("content-encoding") == "gzip") is is_coded
        assert content(answer) == "new: " + pages.LINE * 300
        assert "accept-encoding" in (answer.get("vary") or "").lower()
        assert (answer.get("etag") == pages.etag(page.name)) is not is_coded
    coded = await page.ask(Accept_Encoding="gzip")
    assert (await page.ask(Accept_Encoding="gzip", If_None_Match=str(coded.get("etag")))).status == 304
    part = await page.ask(Accept_Encoding="gzip", Range="bytes=0-9")
    assert (part.status, part.body) == (206, coded.body[:10])
    assert page.made == 1


async def test_a_write_that_succeeds_ends_what_is_stored_under_its_url(page: Page):
    assert content(await page.ask()).startswith("new: ")
    written = await page.ask("PUT", body="changed", Content_Type="text/plain")
    assert (written.status, written.text) == (200, "written")
    answer = await page.ask(If_None_Match=f'"{page.name}-new"')
    assert (answer.status, answer.is_hit, content(answer)[:9]) == (200, False, "changed: ")
    assert (await page.ask()).is_hit


async def test_a_write_that_fails_ends_nothing(page: Page):
    await page.ask()
    assert (await page.ask("DELETE")).status == 405
    assert (await page.ask()).is_hit


async def test_head_speaks_of_what_get_would_send(page: Page):
    await page.ask()
    for accept in ("gzip", ""):
        get, head = await page.ask(Accept_Encoding=accept), await page.ask("HEAD", Accept_Encoding=accept)
        assert (head.status, head.body, head.is_hit) == (200, b"", True)
        for name in ("content-length", "content-encoding", "etag"):
            assert head.get(name) == get.get(name)
