"""An application with a cache, and dashboards over it that are open to different people."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from rcache import Cache, CacheMiddleware, cached
from rcache.dashboard import dashboard
from tests.support import Answer, RawClient

HOST = ("host", "testserver")
HERE = [HOST, ("origin", "http://testserver"), ("content-type", "application/x-www-form-urlencoded")]


def yes(request: Request) -> bool:
    """Whoever asks."""
    return True


@cached(ttl=60, tags=["book:{book}", "book"])
async def read_book(request: Request) -> Response:
    """A page with tags."""
    return JSONResponse({"book": request.path_params["book"]}, headers={"x-note": "<i>note</i>"})


@cached(ttl=60, tags=["mine"], key_by="x-user", store_set_cookie=True)
async def read_mine(request: Request) -> Response:
    """A page that belongs to one user."""
    return JSONResponse({"secret": request.headers["x-user"]}, headers={"set-cookie": "session=verysecret"})


def application(cache: Cache, **checks: Any) -> Starlette:
    """Two pages and the dashboard."""
    pages = [Route("/books/{book}", read_book), Route("/mine", read_mine)]
    return Starlette(routes=[*pages, Mount("/_rcache", dashboard(cache, **checks))])


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    """An embedded cache."""
    async with Cache("memory://") as made:
        yield made


@pytest.fixture
def site(cache: Cache) -> RawClient:
    """Open to everybody, for everything."""
    checks = {"access": yes, "may_purge": yes, "may_see_private": yes}
    return RawClient(CacheMiddleware(application(cache, **checks), cache=cache))


def cookie_of(answer: Answer) -> str:
    """What a browser would send back."""
    (line,) = answer.all("set-cookie")
    return line.partition(";")[0]


def field(answer: Answer, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


def link_to(answer: Answer, place: str, with_text: str = "") -> str:
    """The first link of a page to another one."""
    found = re.search(rf'href="([^"]*{place}\?[^"]*{with_text}[^"]*)"', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])
