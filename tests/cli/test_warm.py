"""`rcache warm` and `rcache sweep`, as an operator calls them."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rcache import Cache
from rcache.cli import main
from rcache.lists import LISTS
from tests.servers import RedisServer

SHOP = """
import os
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from rcache import Cache, CacheMiddleware, cached, warm

@cached(ttl=60, tags=["page"], vary=["accept-language"])
async def page(request):
    if request.path_params["page"] == "broken":
        raise RuntimeError("no such shelf")
    return PlainTextResponse(request.url.path + " " + request.headers.get("accept-language", ""))

@cached(ttl=60, key_by="x-user")
async def mine(request):
    return PlainTextResponse("mine")

@warm(base="http://shop.example")
async def chosen():
    yield "/chosen/1"
    yield "http://other.example/chosen/2"

app = Starlette(
    routes=[Route("/mine", mine), Route("/{page:path}", page)],
    middleware=[Middleware(CacheMiddleware, cache=Cache(os.environ["SHOP_CACHE"], namespace="NAMESPACE", deadline=30))],
)
embedded = CacheMiddleware(Starlette(routes=[Route("/", page)]), cache=Cache("memory://"), default_ttl=60)
nothing = {}
"""


@pytest.fixture
def shop(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[..., tuple[int, Any, str]]]:
    """Calls `rcache warm` for a shop, with JSON: the exit code, what was said, and what went to standard error."""
    namespace = f"warm-{id(request)}"
    module = f"warm_shop_{id(request)}"
    (tmp_path / f"{module}.py").write_text(SHOP.replace("NAMESPACE", namespace))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SHOP_CACHE", redis_server.url)
    monkeypatch.setattr("rcache.cli.warm.LISTS", LISTS)
    known = dict(LISTS)
    capsys: pytest.CaptureFixture[str] = request.getfixturevalue("capsys")

    def call(*arguments: str, app: str = "app") -> tuple[int, Any, str]:
        code = main(["warm", "--app", f"{module}:{app}", "--json", *arguments])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else None, told.err

    call.namespace, call.url = namespace, redis_server.url  # type: ignore[attr-defined]
    yield call
    LISTS.clear()
    LISTS.update(known)
    sys.modules.pop(module, None)


def test_what_was_warmed_is_fresh_the_next_time(shop: Any) -> None:
    code, told, _ = shop("http://shop.example/a", "/b", "--base", "http://shop.example")
    assert (code, told["summary"]["outcomes"]) == (0, {"stored": 2})
    assert shop("http://shop.example/a", "http://shop.example/c")[1]["summary"]["outcomes"] == {"fresh": 1, "stored": 1}
    assert shop("http://shop.example/a", "--anew")[1]["summary"]["outcomes"] == {"stored": 1}
    assert shop("http://shop.example/a", "--ahead", "2m")[1]["summary"]["outcomes"] == {"stored": 1}
    variant = ("http://shop.example/a", "--header", "Accept-Language: de")
    assert shop(*variant)[1]["summary"]["outcomes"] == {"stored": 1}
    assert shop(*variant)[1]["summary"]["outcomes"] == {"fresh": 1}
    assert shop("--lists")[1]["summary"]["outcomes"] == {"stored": 2}


def test_what_could_not_be_warmed_is_told_with_the_reason(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = shop("http://shop.example/broken", "http://shop.example/mine", "http://shop.example/a", "ftp://a/")
    assert (code, told["summary"]["pages"]) == (1, 4)
    assert {(row["outcome"], row["detail"][:24]) for row in told["unwarmed"]} == {
        ("failed", "RuntimeError: no such she"[:24]),
        ("private", "key"),
        ("no URL", "'ftp://a/' is neither a "[:24]),
    }


def test_lists_come_from_files_packed_or_not_and_from_standard_input(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "".join(f"<url><loc>http://shop.example/{number}</loc></url>" for number in range(5))
    (tmp_path / "sitemap.xml.gz").write_bytes(gzip.compress(f"<urlset>{entries}</urlset>".encode()))
    (tmp_path / "list.txt").write_text("# some\n/5\n/6\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"/7\n/0\n")))
    sources = ("--from", "sitemap.xml.gz", "--from", "list.txt", "--from", "-", "--base", "http://shop.example")
    code, told, _ = shop(*sources)
    assert (code, told["summary"]["outcomes"]) == (0, {"stored": 8})


def test_lists_come_from_servers_with_all_that_their_index_names(shop: Any) -> None:
    with serving() as (host, pages):
        pages["/index.xml"] = b"<sitemapindex>%b</sitemapindex>" % b"".join(
            b"<sitemap><loc>%b/%d.xml</loc></sitemap>" % (host.encode(), number) for number in range(2)
        )
        for number in range(2):
            pages[f"/{number}.xml"] = b"<urlset><url><loc>http://shop.example/%d</loc></url></urlset>" % number
        code, told, _ = shop("--from", f"{host}/index.xml")
        assert (code, told["summary"]["outcomes"]) == (0, {"stored": 2})
        pages["/index.xml"] = b"<sitemapindex><sitemap><loc>http://127.0.0.1:1/x</loc></sitemap></sitemapindex>"
        code, _, error = shop("--from", f"{host}/index.xml")
        assert (code, "another server" in error) == (1, True)
        code, _, error = shop("--from", f"{host}/nothing.xml")
        assert (code, "404" in error) == (1, True)


def test_what_cannot_work_is_told_before_anything_is_done(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "bomb.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]><urlset/>")
    for arguments, app, code, reason in (
        ((), "app", 2, "what is to be warmed"),
        (("/a",), "nothing", 2, "not an ASGI application"),
        (("/a",), "nowhere", 2, "leads nowhere"),
        (("/a", "--base", "shop"), "app", 2, "write what stands before paths"),
        (("/a", "--header", "x"), "app", 2, "NAME:VALUE"),
        (("/a", "--ahead", "soon"), "app", 2, "ahead"),
        (("--from", "nothing.xml"), "app", 2, "nothing.xml cannot be read"),
        (("--from", "bomb.xml"), "app", 1, "document type declaration"),
    ):
        ended, _, error = shop(*arguments, app=app)
        assert (ended, reason in error) == (code, True), (arguments, error)
        assert error.count("\n") == 1


def test_an_embedded_cache_cannot_be_warmed_from_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "alone.py").write_text(
        SHOP.split("app = ")[0] + "app = CacheMiddleware(page, cache=Cache('memory://'))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("rcache.cli.warm.caches", lambda: [Cache("memory://")])
    assert main(["warm", "--app", "alone:app", "http://a/"]) == 2
    assert "be gone with it" in capsys.readouterr().err


def test_what_purges_left_is_swept_by_hand(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shop("http://shop.example/a", "http://shop.example/b")
    with_cache = ("--url", shop.url, "--namespace", shop.namespace)
    cache = Cache(shop.url, namespace=shop.namespace)
    cache.invalidate_sync("page")
    cache.close_sync()
    assert main(["sweep", "--json", *with_cache]) == 0
    assert json.loads(capsys.readouterr().out) == {"sweep": {"freed": 2}}
    assert main(["sweep", *with_cache]) == 0
    assert capsys.readouterr().out.split() == ["entries", "freed", "0"]


class serving:  # noqa: N801 (a context)
    """Pages on a loopback address."""

    def __enter__(self) -> tuple[str, dict[str, bytes]]:
        pages: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}", pages

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
