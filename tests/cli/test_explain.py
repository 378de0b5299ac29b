"""`rcache explain`, with an application and without."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import orjson
import pytest

from rcache import Cache
from rcache.cli import main
from rcache.core.views import EntryRow, Event
from tests.cli.support import HOLD, PURGE, Told, row, told
from tests.contract.support import Question, fill
from tests.servers import RedisServer
from tests.support import EPOCH

__all__ = ["told"]  # a fixture

SHOP = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from rcache import Cache, CacheMiddleware, Rule

async def page(request):
    raise SystemExit("an endpoint was run")

def admits(request):
    return request.headers["x-client"]

cache = Cache({url!r}, namespace={namespace!r}, deadline=10)
rules = [Rule("/pages/{{title}}", ttl=60, tags=["page:{{title}}"]), Rule("/own", ttl=60, guard=admits),
         Rule("/search", ttl=60, methods=["POST"])]
inner = Starlette(routes=[Route("/pages/{{title}}", page), Route("/own", page), Route("/search", page, methods=["POST"])])
app = CacheMiddleware(inner, cache=cache, rules=rules)

def create_app():
    return app

def broken():
    raise RuntimeError("no database")
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with an application whose cache is embedded."""
    return write_shop(tmp_path, monkeypatch, "memory://", "shop")


def write_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, namespace: str) -> str:
    name = f"shop_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text(SHOP.format(url=url, namespace=namespace))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def explained(capsys: Captured, *arguments: str) -> Any:
    """What programs are told."""
    assert main(["explain", *arguments, "--json"]) == 0, capsys.readouterr().err
    return orjson.loads(capsys.readouterr().out)


def test_without_an_application_it_tells_what_is_stored(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1", state="purged")]
    assert main(["explain", "/pages/tea"]) == 0
    text = capsys.readouterr().out
    assert "purged" in text
    assert "2027-01-15 08:00:00 UTC by a1 (commit: update page:tea), number 42" in text
    assert "--app MODULE:NAME" in text
    found = explained(capsys, "/pages/tea")
    assert (found["explanation"], found["entries"][0]["entry"], found["last_purge"]["number"]) == (None, "e1", 42)
    assert main(["explain", "/nothing"]) == 0
    assert "nothing is stored of /nothing" in capsys.readouterr().out


def test_with_an_application_its_own_rules_decide(shop: str, capsys: Captured) -> None:
    for name in (f"{shop}:app", f"{shop}:create_app"):
        factory = ["--factory"] if name.endswith("create_app") else []
        found = explained(capsys, "/pages/tea?x=1", "--app", name, *factory)
        assert found["explanation"]["outcome"] == "miss"
        assert found["explanation"]["tags"] == ["page:tea"]
        assert ["query", "x=1"] in found["explanation"]["key"]
        assert "embedded" in found["note"]
    own = explained(capsys, "/own", "--app", f"{shop}:app", "-H", "X-Client:  9 ")
    assert own["explanation"]["whose"].startswith("told apart by guard=admits")
    searched = explained(capsys, "/search", "--app", f"{shop}:app", "-X", "post", "--data", "tea")
    assert searched["explanation"]["outcome"] == "miss"
    assert main(["explain", "http://shop.test/pages/tea", "--app", f"{shop}:app", "-H", "authorization: hidden"]) == 0
    text = capsys.readouterr().out
    assert "the cache stays out of it" in text
    assert "host: shop.test" in text
    assert "key_by= or guard=" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--app", "nowhere:app"], "leads nowhere"),
        (["--app", "{shop}:inner"], "no CacheMiddleware is around this application"),
        (["--app", "{shop}:create_app"], "add --factory"),
        (["--app", "{shop}:cache", "--factory"], "not a function"),
        (["--app", "{shop}:broken", "--factory"], "cannot be made: RuntimeError: no database"),
        (["--app", "{shop}:app", "-H", "nothing"], "not 'NAME: VALUE'"),
        (["--app", "{shop}:app", "-H", "a: b\r\nc: d"], "not 'NAME: VALUE'"),
        (["-H", "a: b"], "of no use without --app"),
        (["-X", "POST"], "of no use without --app"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    told: Told, shop: str, capsys: Captured, arguments: list[str], reason: str
) -> None:
    assert main(["explain", "/pages/tea", *(each.format(shop=shop) for each in arguments)]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1


def test_a_guard_that_fails_is_told(shop: str, capsys: Captured) -> None:
    """It is the application's, and no error of the command."""
    told = explained(capsys, "/own", "--app", f"{shop}:app")["explanation"]
    assert (told["outcome"], told["why"], told["cache_status"]) == (
        "refused",
        "the guard raises KeyError: 'x-client'",
        None,
    )
    assert "when it starts" in told["remedy"]


def test_what_is_stored_is_found_and_what_purged_it_told(
    told: Told, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    namespace = f"test-{secrets.token_hex(6)}"
    shop = write_shop(tmp_path, monkeypatch, redis_server.url, namespace)
    told.rows = [row("e1", url="http://shop.example/pages/tea")]

    async def stored() -> None:
        async with Cache(redis_server.url, namespace=namespace, deadline=10.0) as cache:
            await fill(cache.store, Question("/pages/tea"), b"old", "page:tea")

    asyncio.run(stored())
    found = explained(capsys, "/pages/tea", "--app", f"{shop}:app")
    assert found["explanation"]["outcome"] == "hit"
    assert found["note"] == "Asked as http://shop.example/pages/tea: the host is part of the key"
    assert main(["purge", "page:tea", "--url", redis_server.url, "--namespace", namespace, "--json"]) == 0
    purged = orjson.loads(capsys.readouterr().out)["purged"]
    assert (purged["tags"], purged["entries"], purged["landed"]) == (["page:tea"], 1, True)
    found = explained(capsys, "http://shop.example/pages/tea", "--app", f"{shop}:app")
    assert (found["explanation"]["outcome"], found["last_purge"]["cause"]) == ("miss", "commit")
    assert "purged since it was made" in found["explanation"]["why"]


def test_where_nothing_is_stored_the_last_purge_of_the_rules_tags_is_told(
    told: Told, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    namespace = f"test-{secrets.token_hex(6)}"
    shop = write_shop(tmp_path, monkeypatch, redis_server.url, namespace)
    told.event_rows = [HOLD, Event(44, EPOCH, "purge", ("page:mate",), 1, 0, "b2", "cli"), PURGE]
    found = explained(capsys, "/pages/tea", "--app", f"{shop}:app")
    assert found["last_purge"]["number"] == 42
    assert found["note"] == "Asked as http://localhost/pages/tea: the host is part of the key"


def test_of_several_hosts_one_is_asked_for(told: Told) -> None:
    from rcache.cli.explain import _placed
    from rcache.cli.places import target

    rows: list[EntryRow] = [row("e1", url="https://b.test/x"), row("e2", url="https://a.test/x")]
    placed, note = _placed(target("/x"), [], rows, key_host=True)
    assert (placed.scheme, placed.host) == ("https", "a.test")
    assert note == "Asked as https://a.test/x, one of 2 that it is stored for: the host is part of the key"
    assert _placed(target("/x"), [(b"host", b"c")], rows, key_host=True)[1] is None
    assert _placed(target("/x"), [], rows, key_host=False)[1] is None
