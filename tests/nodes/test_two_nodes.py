"""Two uvicorn processes and one Redis."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.processes import Node
from tests.servers import RedisServer

BOOKS = 10_001


@pytest.fixture(scope="module")
def nodes(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    books = tmp_path_factory.mktemp("books") / "books.sqlite3"
    fill(books)
    environment = {"RCACHE_URL": redis_server.url, "BOOKS": str(books)}
    with redis_server.client() as client:
        client.flushall()  # the applications take the default namespace
    started = [Node("tests.nodes.application:app", **environment) for _ in range(2)]
    yield started[0], started[1]
    for node in started:
        node.stop()


def fill(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)")
        database.executemany("INSERT INTO books VALUES (?, 1)", ((book,) for book in range(1, BOOKS + 1)))


def test_what_one_node_stored_the_other_serves_and_what_it_changed_the_first_reads_anew(nodes):
    a, b = nodes
    first = a.get("/books/1")
    assert first.cache == "rcache; fwd=miss; stored"

    second = b.get("/books/1")
    assert second.cache.startswith("rcache; hit; ttl=")
    assert second.body == first.body

    written = b.put("/books/1").data
    assert (written["landed"], written["entries"]) == (True, 1)

    third = a.get("/books/1")
    assert third.cache == "rcache; fwd=miss; stored"
    assert third.data["version"] == first.data["version"] + 1
    assert b.get("/books/1").body == third.body


def test_a_sync_endpoint_purges_on_all_nodes(nodes):
    a, b = nodes
    before = a.get("/books/2").data["version"]
    assert b.get("/books/2").cache.startswith("rcache; hit")
    assert b.put("/sync/books/2").data["landed"]
    assert a.get("/books/2").data["version"] == before + 1


async def test_with_ten_thousand_entries_a_purge_of_one_tag_leaves_every_other_a_hit(nodes):
    a, b = nodes
    paths = [f"/books/{book}" for book in range(2, BOOKS + 1)]
    stored = await a.get_all(paths)
    assert {reply.status for reply in stored} == {200}

    assert b.put("/books/5000").data["entries"] == 1

    after = await b.get_all(paths)
    missed = [path for path, reply in zip(paths, after, strict=True) if not reply.cache.startswith("rcache; hit")]
    assert missed == ["/books/5000"]
    assert all(
        now.body == then.body for path, now, then in zip(paths, after, stored, strict=True) if path != "/books/5000"
    )


async def test_a_write_on_another_node_during_a_fill_wins(nodes):
    """The caller still gets its answer, and nobody after it does, on either node."""
    a, b = nodes
    before = b.get("/books/3").data["version"]
    assert b.put("/books/3").data["landed"]

    paused = int(a.get("/paused").body)
    fetch = asyncio.create_task(asyncio.to_thread(a.get, "/books/3?pause=yes"))
    while int((await asyncio.to_thread(a.get, "/paused")).body) == paused:
        await asyncio.sleep(0.01)
    assert (await asyncio.to_thread(b.put, "/books/3")).data["landed"]
    await asyncio.to_thread(a.request, "POST", "/gate")

    assert (await fetch).data["version"] == before + 1
    for node in nodes:
        assert node.get("/books/3").data["version"] == before + 2
