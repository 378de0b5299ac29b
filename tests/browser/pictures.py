"""Takes the pictures of docs/dashboard.md anew, in about two minutes: python -m tests.browser.pictures

Two nodes of the wiki share a Redis, and people read and write its pages through both; the shop shows what an entry depends on.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from examples.server import ROOT, Server
from tests.servers import RedisServer

IMAGES = ROOT / "docs" / "images"
LASTS = 125.0  # seconds of traffic
PASSWORD = "pictures"
TITLES = (
    "tea",
    "coffee",
    "cocoa",
    "mate",
    "chai",
    "matcha",
    "sencha",
    "oolong",
    "espresso",
    "cortado",
    "rooibos",
    "lassi",
)


def traffic(bases: list[str], stop: threading.Event) -> None:
    """Readers who come in waves and like some pages more than others, and now and then a writer."""
    chance = random.Random(7)
    with httpx.Client(timeout=60) as client:  # a fleet that is new lets strict writers wait for a while
        for base in bases:
            client.get(f"{base}/pages/tea")  # from here on the node is one that strict writers know
        for title in TITLES:
            client.put(f"{bases[0]}/pages/{title}", json={"text": f"All about {title}. " * chance.randrange(5, 900)})
        began = time.monotonic()
        while not stop.is_set():
            passed = time.monotonic() - began
            title = TITLES[min(int(chance.expovariate(0.35)), len(TITLES) - 1)]
            base = chance.choice(bases)
            if chance.random() < 0.03:
                client.put(
                    f"{base}/pages/{title}", json={"text": f"{title}, written anew. " * chance.randrange(5, 900)}
                )
            else:
                client.get(f"{base}/pages/{title}")
            stop.wait(0.02 if 40 < passed % 80 < 65 else 0.06)


def photograph(
    browser: Browser, base: str, name: str, place: str, scheme: str = "light", width: int = 1180, height: int = 760
) -> None:
    """A page as a browser shows it, once what it loads is there."""
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        http_credentials={"username": "operator", "password": PASSWORD},
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(f"{base}/_rcache/{place}")
    page.wait_for_timeout(2500)
    page.screenshot(path=IMAGES / f"dashboard-{name}.png", clip=_clip(page, width, height))
    context.close()


def _clip(page: Page, width: int, most: int) -> dict[str, float]:  # a page that is shorter has no empty ground below it
    shown = page.evaluate("document.querySelector('footer').getBoundingClientRect().bottom")
    return {"x": 0, "y": 0, "width": width, "height": min(most, shown)}


def wiki(browser: Browser, redis: RedisServer, directory: Path) -> None:
    """Two nodes, and what their dashboard shows."""
    environment: dict[str, str | None] = {
        "RCACHE_URL": redis.url,
        "NODES_DATABASE": str(directory / "wiki.sqlite3"),
        "NODES_NEAR": "strict",
        "NODES_PASSWORD": PASSWORD,
    }
    with ExitStack() as stack:
        nodes = [stack.enter_context(Server("examples.two_nodes.app:app", environment=environment)) for _ in range(2)]
        bases = [f"http://127.0.0.1:{node.port}" for node in nodes]
        stop = threading.Event()
        readers = threading.Thread(target=traffic, args=(bases, stop))
        readers.start()
        try:
            time.sleep(LASTS)
            photograph(browser, bases[0], "overview", "?period=2min", height=1150)
            photograph(browser, bases[0], "overview-dark", "?period=2min", "dark", height=820)
            photograph(browser, bases[1], "log", "log")
            photograph(browser, bases[1], "nodes", "nodes", "dark")
            photograph(browser, bases[0], "entries", "entries")
            photograph(browser, bases[0], "purge", "purge?tag=page%3Atea&tag=page%3Achai")
            photograph(browser, bases[0], "phone", "?period=2min", width=375, height=812)
            photograph(browser, bases[0], "phone-log", "log", "dark", width=375, height=812)
        finally:
            stop.set()
            readers.join()


def shop(browser: Browser, redis: RedisServer, directory: Path) -> None:
    """What a list of the shop depends on."""
    environment: dict[str, str | None] = {"RCACHE_URL": redis.url, "SHOP_DATABASE": str(directory / "shop.sqlite3")}
    with Server("examples.shop.app:create_app", "--factory", environment=environment) as server:
        base = f"http://127.0.0.1:{server.port}"
        while "; hit" not in httpx.get(f"{base}/categories/tea").headers["cache-status"]:
            time.sleep(0.2)  # a busy machine may be too late to store it
        found = httpx.get(f"{base}/_rcache/entries?q={quote('/categories/tea')}").text
        entry = re.search(r"entry\?id=[^\"]+", found)
        assert entry is not None, found
        photograph(browser, base, "entry", entry[0].replace("&amp;", "&"), height=900)


def main() -> None:
    """Takes them all."""
    IMAGES.mkdir(exist_ok=True)
    redis = RedisServer()
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="rcache-pictures-") as directory:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            shop(browser, redis, Path(directory))
            wiki(browser, redis, Path(directory))
            browser.close()
    finally:
        redis.stop()


if __name__ == "__main__":
    main()
