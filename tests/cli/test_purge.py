"""`rcache purge` on a real Redis: by tags, by URLs, many at once, and where nobody listens."""

from __future__ import annotations

import asyncio
import io
import secrets
from pathlib import Path

import orjson
import pytest

from rcache import Cache
from rcache.cli import main
from rcache.core.entry import Found
from tests.cli.support import Told, row, told
from tests.contract.support import Question, budget, fill
from tests.servers import RedisServer

__all__ = ["told"]  # a fixture

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def where(redis_server: RedisServer) -> list[str]:
    """The options for a namespace of this test's own."""
    return ["--url", redis_server.url, "--namespace", f"test-{secrets.token_hex(6)}"]


async def store(where: list[str], **tags: str) -> None:
    """Stores a page of each name, with its tag."""
    async with Cache(where[1], namespace=where[3], deadline=10.0) as cache:
        for name, tag in tags.items():
            await fill(cache.store, Question(f"/{name}"), b"old", tag, stale_while_revalidate=60.0, retention=60.0)


async def states(where: list[str], *names: str) -> dict[str, str]:
    """What has become of them."""
    async with Cache(where[1], namespace=where[3], deadline=10.0) as cache:
        found = {name: await cache.store.lookup(Question(f"/{name}"), budget()) for name in names}
    return {
        name: "gone" if not isinstance(each, Found) else "soft" if each.entry.is_softened else "there"
        for name, each in found.items()
    }


def test_tags_are_purged_hard_or_softly(told: Told, where: list[str], capsys: Captured) -> None:
    asyncio.run(store(where, a="x:1", b="x:2", c="x:3"))
    assert main(["purge", "x:1", "x:nothing", *where]) == 0
    assert "at most 1" in capsys.readouterr().out
    assert main(["purge", "x:2", "--soft", *where]) == 0
    assert asyncio.run(states(where, "a", "b", "c")) == {"a": "gone", "b": "soft", "c": "there"}
    assert main(["purge", "x:3", "--dry-run", *where]) == 0
    assert asyncio.run(states(where, "c")) == {"c": "there"}


def test_a_url_is_purged_whole_or_as_a_path_of_any_host(told: Told, where: list[str], capsys: Captured) -> None:
    asyncio.run(store(where, a="x", b="x", c="x"))
    told.rows = [row("e2", url="http://shop.example/b")]
    assert main(["purge", "--page", "HTTP://Shop.example/a", "--page", "/b", *where, "--json"]) == 0
    purged = orjson.loads(capsys.readouterr().out)["purged"]
    assert (purged["tags"], purged["entries"]) == (["http://shop.example/a", "/b"], 1)
    assert asyncio.run(states(where, "a", "b", "c")) == {"a": "gone", "b": "gone", "c": "there"}


def test_many_tags_come_from_standard_input(
    told: Told, where: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(store(where, a="x:1", b="x:1099", c="y"))
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"x:{number}\n" for number in range(1100)) + "\r\n"))
    assert main(["purge", "-", *where, "--json"]) == 0
    purged = orjson.loads(capsys.readouterr().out)["purged"]
    assert (len(purged["tags"]), purged["entries"], purged["landed"]) == (1100, 2, True)
    assert asyncio.run(states(where, "a", "b", "c")) == {"a": "gone", "b": "gone", "c": "there"}


def test_a_purge_that_cannot_land_is_a_failure(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Redis is gone after it was looked at."""

    async def looked(cache: Cache) -> None: ...

    monkeypatch.setattr("rcache.cli.purge.refuse_unwritable", looked)
    (tmp_path / "far_cache.py").write_text(
        "import rcache\ncache = rcache.Cache('redis://127.0.0.1:1', purge_timeout=0.1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["purge", "x", "--cache", "far_cache:cache"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rcache: the purge has not landed")
    assert err.count("\n") == 1


def test_a_purge_that_cannot_begin_says_why_at_once(redis_server: RedisServer, capsys: Captured) -> None:
    replica = RedisServer("--replicaof", "127.0.0.1", str(redis_server.port))
    try:
        for url, reason in (
            (replica.url, "point the URL at the primary"),
            ("redis://127.0.0.1:1", "Connection refused"),
        ):
            for arguments in (["purge", "x"], ["purge", "--page", "/x"], ["show", "/x"]):
                assert main([*arguments, "--url", url]) == 1
                err = capsys.readouterr().err
                assert reason in err
                assert err.endswith("(rcache doctor looks for the cause)\n")
                assert err.count("\n") == 1
    finally:
        replica.stop()
