"""The tutorial shows what was seen: it is played anew, on real servers, and prints the same."""

from __future__ import annotations

from pathlib import Path

from tests.docs.blocks import ROOT
from tests.docs.tutorial import Terminal, masked
from tests.servers import RedisServer

PAGE = ROOT / "docs" / "tutorial.md"


def test_each_step_prints_what_the_page_says(tmp_path: Path, redis_server: RedisServer) -> None:
    written = PAGE.read_text()
    played = Terminal(tmp_path, redis_server.url).play(written)
    assert masked(played).splitlines() == masked(written).splitlines()
    assert written.count("cache-status: rcache; hit") > 5


def test_what_differs_from_time_to_time_is_masked_and_nothing_else() -> None:
    assert (
        masked("date: a\nage: 3\ncache-status: rcache; hit; ttl=3597") == "date:\nage:\ncache-status: rcache; hit; ttl="
    )
    assert masked("cache-status: rcache; fwd=miss; stored") == "cache-status: rcache; fwd=miss; stored"
