"""The package by itself: what it needs, and what it brings."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import rcache

WITHOUT_EXTRAS = """
import sys

class Absent:
    names = {"fastapi", "pydantic", "sqlalchemy", "aiosqlite", "uvicorn", "uvloop", "httptools", "httpx", "hiredis",
             "http_sf", "jinja2", "streaq", "coredis", "cronsim"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from rcache import Cache, CacheMiddleware, cached

@cached(ttl=60, tags=["page:{page}"])
async def page(request):
    return PlainTextResponse("page")

async def main():
    app = CacheMiddleware(Starlette(routes=[Route("/{page:int}", page)]), cache=Cache())
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/1", "raw_path": b"/1", "query_string": b"",
             "root_path": "", "headers": [(b"host", b"a")], "server": ("a", 80), "http_version": "1.1"}
    for _ in range(2):
        starts = []
        async def send(message): starts.append(message)
        await app(dict(scope), None, send)
    print(dict(starts[0]["headers"])[b"cache-status"].decode(), "redis" in sys.modules)

asyncio.run(main())
"""


def test_it_works_with_no_extra_installed_and_an_embedded_cache_loads_no_driver():
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == "rcache; hit; ttl=60 False\n"


def test_the_redis_store_works_without_the_fast_parser():
    code = WITHOUT_EXTRAS.partition("import asyncio")[0] + "from rcache.stores.redis import RedisStore; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_it_is_typed_and_says_its_version():
    assert (Path(rcache.__file__).parent / "py.typed").exists()
    assert rcache.__version__ == importlib.metadata.version("rcache")


def test_every_public_name_is_there():
    assert all(hasattr(rcache, name) for name in rcache.__all__)
