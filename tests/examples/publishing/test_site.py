"""The site as a whole: both data layers, and how it starts."""

from __future__ import annotations

import inspect
from pathlib import Path

import httpx

from examples.publishing.async_data import AsyncData
from examples.publishing.seed import PASSWORD
from examples.publishing.sync_data import SyncData
from examples.server import Server

from .site import Visitor
from .twice import is_hit


def test_both_data_layers_have_the_same_methods():
    def methods(layer: type) -> dict[str, inspect.Signature]:
        found = inspect.getmembers(layer, inspect.isfunction)
        return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}

    assert methods(AsyncData) == methods(SyncData)
    assert len(methods(AsyncData)) > 25


async def test_the_site_starts_with_something_to_read(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'site.sqlite3'}"
    environment: dict[str, str | None] = {"PUBLISHING_DATABASE": url, "RCACHE_URL": None}
    with Server("examples.publishing.app:serve", "--factory", environment=environment) as server:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            ada = Visitor(client)
            assert (await ada.get("/articles"))["total"] == 30
            assert len(await ada.get("/tags")) == 6
            await ada.send("POST", "/session", {"email": "ada@example.org", "password": PASSWORD})
            assert (await ada.get("/feed"))["total"] > 0
            assert is_hit(await ada.ask("GET", "/feed"))
