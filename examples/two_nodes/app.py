"""A wiki that runs on any number of nodes. Its endpoints are plain functions, so it invalidates with `invalidate_sync`.

NODES_DATABASE names the SQLite file that the nodes share, RCACHE_URL the Redis. NODES_NEAR=strict keeps pages in each node as well.
NODES_PASSWORD opens the dashboard, /_rcache, to the user "operator".
"""

import os
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hmac import compare_digest

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from rcache import Cache, CacheMiddleware, cached, invalidate_sync
from rcache.dashboard import dashboard

# Nodes usually stand behind one address. Here each is asked at its own, which must not make two entries of one page.
cache = Cache(namespace="two-nodes", key_host=False, near=os.environ.get("NODES_NEAR"))
app = FastAPI()
app.add_middleware(CacheMiddleware, cache=cache)


class Page(BaseModel):
    """A page of the wiki."""

    text: str


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Has committed when the block is left without an error."""
    connection = sqlite3.connect(os.environ["NODES_DATABASE"])
    try:
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS page (title TEXT PRIMARY KEY, text TEXT)")
            yield connection
    finally:
        connection.close()


@app.get("/pages/{title}")
@cached(ttl="10m", tags=["page:{title}"])
def read_page(title: str) -> Page:
    """The page as the database has it."""
    with transaction() as connection:
        row = connection.execute("SELECT text FROM page WHERE title = ?", [title]).fetchone()
    if row is None:
        raise HTTPException(404)
    return Page(text=row[0])


@app.put("/pages/{title}")
def write_page(title: str, page: Page) -> Page:
    """When this answers, no node serves the old text any more."""
    with transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO page VALUES (?, ?)", [title, page.text])
    invalidate_sync(f"page:{title}")
    return page


def is_operator(request: Request) -> bool:
    """Whoever knows the password; browsers ask for it."""
    password = os.environ.get("NODES_PASSWORD")
    known = b64encode(f"operator:{password}".encode())
    if password and compare_digest(request.headers.get("authorization", "").encode(), b"Basic " + known):
        return True
    raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="rcache"'})


app.mount("/_rcache", dashboard(cache, access=is_operator, may_purge=is_operator, name="A wiki on two nodes"))
