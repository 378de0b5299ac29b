from __future__ import annotations

import re

import pytest

from examples.server import Server, ServerError
from examples.shop.demo import Browser, StoryError, Terminal, tell_miss_and_hit, tell_the_write

SHOP = ("examples.shop.app:create_app", "--factory")


def test_the_demo_tells_its_story_and_ends_by_itself(run_module):
    done = run_module("examples.shop.demo", RCACHE_URL="redis://127.0.0.1:1")  # embedded all the same

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(
        r"GET /products +[\d.]+ ms +rcache; fwd=miss; stored\n +GET /products +[\d.]+ ms +rcache; hit", done.stdout
    )
    words = re.findall(r"^   (/\S*) +(hit|miss) +(hit|miss)( +shows it)?$", done.stdout, re.MULTILINE)
    assert len(words) == 7
    assert all(before == "hit" and (after == "miss") == bool(shows) for _, before, after, shows in words)
    assert re.search(r"A hit is \d+ times as fast", done.stdout)


def test_the_demo_does_not_tell_what_is_not_true(tmp_path, capsys):
    environment = {"SHOP_CACHE": "off", "SHOP_DATABASE": str(tmp_path / "shop.sqlite3")}
    with Server(*SHOP, environment=environment) as server:
        shop = Browser(server.port)
        with pytest.raises(StoryError, match="the second GET is a hit"):
            tell_miss_and_hit(shop, Terminal())
        with pytest.raises(StoryError, match="every page is a hit before the write"):
            tell_the_write(shop, Terminal())
        with pytest.raises(StoryError, match="answered with 200, not 404"):
            shop.get("/products/0")
        shop.close()


def test_an_application_that_does_not_start_says_why():
    with pytest.raises(ServerError, match="nowhere"), Server("examples.nowhere:app"):
        pass
