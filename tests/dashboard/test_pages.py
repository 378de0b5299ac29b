"""What the pages show, of real entries, purges and jobs."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote

from rcache import Cache, CacheMiddleware
from rcache.core.jobs import Job
from tests.dashboard.conftest import application, link_to, yes
from tests.queues.support import seen, served
from tests.support import PATIENCE, RawClient


def text_of(page: str) -> str:
    """What stands on it, without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def until(site: RawClient, target: str, text: str) -> str:
    """What a page shows once the text is on it: nodes tell what they counted once a second."""
    async with asyncio.timeout(PATIENCE):
        while text not in (shown := text_of((await site.get(target)).text)):
            await asyncio.sleep(0.05)
    return shown


async def test_one_entry_shows_its_headers_its_tags_and_what_they_name(site):
    await site.get("/books/7")
    found = await site.get("/_rcache/entries?q=%2Fbooks%2F7")
    page = await site.get(link_to(found, "/entry"))
    shown = text_of(page.text)

    assert "http://testserver/books/7" in shown
    assert "x-note" in shown
    assert "&lt;i&gt;note&lt;/i&gt;" in page.text
    assert "book:7 row 7" in shown
    assert "book 1 row" in shown
    assert "{&#34;book&#34;:&#34;7&#34;}" in page.text


async def test_hits_and_misses_are_in_the_charts_and_by_route(site, cache):
    for _ in range(4):
        await site.get("/books/7")
    page = await until(site, "/_rcache/?period=2min", "4 requests")
    of_route = text_of((await site.get(f"/_rcache/?period=2min&route={quote('/books/{book}')}")).text)
    of_nothing = text_of((await site.get("/_rcache/?period=2min&route=nowhere")).text)

    assert "75.0 % of the requests were answered from the cache" in page
    assert "4 requests: 3 hits, 0 stale, 1 misses, 0 passes" in page
    assert "/books/{book} 4 75.0 %" in page
    assert "4 requests: 3 hits" in of_route
    assert "0 requests: 0 hits" in of_nothing


async def test_a_purge_of_an_entry_is_told_with_it(site, cache):
    await site.get("/books/7")
    await cache.invalidate("book", soft=True)
    page = await site.get(link_to(await site.get("/_rcache/entries?q=books"), "/entry"))
    shown = text_of(page.text)

    assert "softened" in shown
    assert "Last purge of one of its tags: soft-purge" in shown


async def test_the_url_of_a_write_is_told_as_such(cache):
    site = RawClient(CacheMiddleware(application(cache, access=yes), cache=cache, default_ttl=60))
    await site.request("POST", "/nowhere")
    await cache.purge(("\x1fdigest",))
    shown = await site.get("/_rcache/log")
    assert "a URL" in text_of(shown.text)
    assert "\x1f" not in shown.text
    assert "%1F" not in shown.text


async def test_more_rows_than_a_page_holds_lead_to_the_next(site):
    for book in range(60):
        await site.get(f"/books/{book}")
    first = await site.get("/_rcache/tags?q=book%3A")
    more = await site.get(link_to(first, "/tags", "cursor="))
    tags = [re.findall(r'class="tag" href="[^"]*">([^<]+)<', page.text) for page in (first, more)]

    assert len(tags[0]) == 50
    assert {*tags[0], *tags[1]} == {"book:*", *[f"book:{book}" for book in range(60)]}


async def test_the_log_leads_to_what_is_older(site, cache):
    for book in range(55):
        await cache.invalidate(f"book:{book}")
    first = await site.get("/_rcache/log")
    older = await site.get(link_to(first, "/log"))

    assert "book:54" in first.text
    assert "book:0<" not in first.text
    assert "book:0<" in older.text
    assert "/log/stream" not in older.text


async def test_jobs_that_wait_and_failed_are_shown(site, cache):
    await cache.queue.add(Job("send", key="<b>42</b>", retries=0))
    waiting = text_of((await site.get("/_rcache/queue")).text)

    async def fail(job: Job) -> None:
        raise RuntimeError("<i>no letter</i>")

    async with served(cache.queue, fail):
        await seen(cache.queue, lambda view: view.failures)
    failed = await site.get("/_rcache/queue")

    assert "low 1 0 0" in waiting
    assert "&lt;b&gt;42&lt;/b&gt;" in failed.text
    assert "&lt;i&gt;no letter&lt;/i&gt;" in failed.text


async def test_nodes_tell_what_they_counted(redis_server):
    # A loaded test machine must not make its Redis seem gone.
    async with Cache(redis_server.url, namespace="dashboard-nodes", near="strict", deadline=2.0) as cache:
        site = RawClient(CacheMiddleware(application(cache, access=yes), cache=cache))
        await site.get("/books/1")
        shown = await until(site, "/_rcache/nodes", "in order")

    assert "Near cache strict" in shown
