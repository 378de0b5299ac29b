"""A real Chromium, and the application under a real server, with Redis and embedded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from examples.server import Server
from tests.servers import RedisServer

PATIENCE = 60_000  # milliseconds: only a test that fails waits this long


@dataclass
class Visitor:
    """A browser window, and everything that went wrong in it."""

    context: BrowserContext
    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)

    def open(self, place: str = "", below: str = "_rcache") -> Page:
        """Goes to a page of a dashboard."""
        self.page.goto(f"{self.base}/{below}/{place}")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, and not one that is fetched from elsewhere."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "chromium is not installed: `make test` says how, or use your package manager"
    # Without its sandbox, which root may not use; it only ever sees pages of this test.
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def on_redis(redis_server: RedisServer) -> Iterator[str]:
    """The application with its cache in Redis."""
    with Server("tests.browser.application:app", environment={"RCACHE_URL": redis_server.url}) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """The application with its cache in the process."""
    with Server("tests.browser.application:app", environment={"RCACHE_URL": "memory://"}) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Opens windows: `visit(base, color_scheme="dark")`, with the cookie of staff."""
    opened: list[Visitor] = []

    def open_window(base: str, *, is_staff: bool = True, **options: Any) -> Visitor:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        if is_staff:
            context.add_cookies([{"name": "staff", "value": "yes", "url": base}])
        visitor = Visitor(context, context.new_page(), base)
        page = visitor.page
        page.on(
            "console",
            lambda message: visitor.wrong.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: visitor.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (visitor.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda request: visitor.wrong.append(request.url) if not request.url.startswith(base) else None
        )
        opened.append(visitor)
        return visitor

    yield open_window
    for visitor in opened:
        visitor.context.close()


def entry_of(base: str, path: str) -> str:
    """The address, below the dashboard, of the entry of a path."""
    page = httpx.get(f"{base}/_rcache/entries", params={"q": path}, cookies={"staff": "yes"}).text
    found = re.search(r'/_rcache/(entry\?id=[^"]+)"', page)
    assert found is not None, page
    return found[1].replace("&amp;", "&")
