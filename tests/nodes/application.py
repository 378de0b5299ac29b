"""The application that the nodes run: books in a SQLite file that all of them share.

A GET with the header `x-pause` waits, after it has read, until somebody opens the gate of this process.
"""

import asyncio
import os
import sqlite3

from fastapi import FastAPI

from rcache import Cache, CacheMiddleware, cached, invalidate, invalidate_sync

cache = Cache(deadline=2.0, near=os.environ.get("NEAR"))  # a loaded test machine must not turn hits into misses
app = FastAPI()
app.add_middleware(CacheMiddleware, cache=cache)
database = sqlite3.connect(os.environ["BOOKS"], check_same_thread=False, isolation_level=None)

gate = asyncio.Event()
readers = 0


@app.get("/books/{book}")
@cached(ttl="1h", tags=["book:{book}", "book"], query=())  # `pause` makes no other page
async def read(book: int, pause: str | None = None):
    global readers
    (version,) = database.execute("SELECT version FROM books WHERE id = ?", (book,)).fetchone()
    if pause:
        readers += 1
        await gate.wait()
    return {"book": book, "version": version, "node": os.getpid()}


def write(book: int) -> None:
    database.execute("UPDATE books SET version = version + 1 WHERE id = ?", (book,))


@app.put("/books/{book}")
async def change(book: int):
    write(book)
    purged = await invalidate(f"book:{book}")
    return {"landed": purged.landed, "entries": purged.entries, "sequence": purged.sequence}


@app.put("/sync/books/{book}")
def change_sync(book: int):
    write(book)
    purged = invalidate_sync(f"book:{book}")
    return {"landed": purged.landed, "entries": purged.entries, "sequence": purged.sequence}


@app.get("/paused")
async def paused():
    return readers


@app.post("/gate")
async def open_gate():
    gate.set()


@app.get("/health")
async def health():
    return "ok"
