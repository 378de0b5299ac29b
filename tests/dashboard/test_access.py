"""Who may enter, who may purge, and what every answer tells the browser."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rcache import Cache, CacheMiddleware, ConfigurationError
from rcache.dashboard import dashboard
from tests.dashboard.conftest import HERE, application, link_to, yes
from tests.support import RawClient

PLACES = [
    "/",
    "/entries",
    "/entry?id=x",
    "/tags",
    "/tag?name=book",
    "/log",
    "/log/stream",
    "/nodes",
    "/queue",
    "/purge",
]


async def later(request: Request) -> bool:
    return True


class Staff:
    async def __call__(self, request: Request) -> bool:
        return True


def of_two(answer: bool, request: Request) -> bool:
    return answer


def client(cache: Cache, **checks: Any) -> RawClient:
    return RawClient(application(cache, **checks))


@pytest.mark.parametrize("place", [*PLACES, "/nowhere", "/static/x/dashboard.css"])
async def test_without_a_check_everything_is_closed_and_says_how_to_open_it(cache, place):
    answer = await client(cache).get(f"/_rcache{place}")

    assert answer.status == 403
    assert "access=is_staff" in answer.text
    assert answer.get("cache-control") == "no-store"
    assert "style-src 'sha256-" in (answer.get("content-security-policy") or "")


async def test_without_a_check_nothing_is_purged_either(cache):
    answer = await client(cache, may_purge=yes).request("POST", "/_rcache/purge", HERE, b"tag=book&confirm=yes")
    assert answer.status == 403
    assert cache.stats.purges == 0


def test_a_dashboard_without_a_check_is_logged(cache, caplog):
    dashboard(cache)
    assert "access=" in caplog.text


@pytest.mark.parametrize("check", [yes, later, Staff(), partial(of_two, True), lambda request: later(request)])
async def test_a_check_of_any_kind_that_says_true_opens(cache, check):
    assert (await client(cache, access=check).get("/_rcache/")).status == 200


@pytest.mark.parametrize("said", [False, None, 1, "yes", object(), {"user": 7}])
async def test_anything_but_true_keeps_it_closed(cache, said, caplog):
    async def check(request: Request) -> Any:
        return said

    answer = await client(cache, access=check).get("/_rcache/")

    assert answer.status == 403
    assert "Not for you" in answer.text
    assert "access=" not in answer.text
    assert ("not a bool" in caplog.text) == (said is not False)


async def test_a_check_may_send_to_a_log_in_or_raise(cache):
    def to_log_in(request: Request) -> Response:
        return RedirectResponse("/login")

    def ask(request: Request) -> bool:
        raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})

    sent = await client(cache, access=to_log_in).get("/_rcache/")
    asked = await client(cache, access=ask).get("/_rcache/")

    assert (sent.status, sent.get("location")) == (307, "/login")
    assert sent.get("cache-control") == "no-store"
    assert (asked.status, asked.get("www-authenticate")) == (401, "Basic")


async def test_a_check_sees_the_request_with_the_application_around(cache):
    seen = []

    async def check(request: Request) -> bool:
        seen.append((request.url.path, request.headers["x-who"], request.app.state.name))
        return True

    app = application(cache, access=check)
    app.state.name = "shop"
    await RawClient(app).get("/_rcache/nodes", [("x-who", "me")])

    assert seen == [("/_rcache/nodes", "me", "shop")]


async def test_without_the_second_check_it_only_reads(cache):
    site = client(cache, access=yes)
    page, asked, sent = (
        await site.get("/_rcache/tags"),
        await site.get("/_rcache/purge?tag=book"),
        await site.request("POST", "/_rcache/purge", HERE, b"tag=book&confirm=yes"),
    )

    assert "/_rcache/purge" not in page.text
    assert (asked.status, sent.status) == (403, 403)
    assert "may_purge=" in asked.text
    assert cache.stats.purges == 0


async def test_who_may_look_need_not_be_who_may_purge(cache):
    def by_header(request: Request) -> Any:
        return request.headers.get("x-role") == "admin"

    site = client(cache, access=yes, may_purge=by_header)
    assert (await site.get("/_rcache/purge")).status == 403
    assert (await site.get("/_rcache/purge", [("x-role", "admin")])).status == 200


@pytest.mark.parametrize("place", PLACES)
async def test_every_answer_is_protected(site, place):
    exchange = site.start(f"/_rcache{place}")
    await exchange.arrives(1)
    exchange.leave()
    answer = await exchange.finish()
    policy = answer.get("content-security-policy") or ""

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.get("x-frame-options") == "DENY"
    assert answer.get("x-content-type-options") == "nosniff"
    assert answer.get("referrer-policy") == "same-origin"
    assert answer.get("cache-control") == "no-store"


async def test_the_files_may_be_kept_by_the_browser_alone(site):
    page = await site.get("/_rcache/")
    for name, kind in (
        ("dashboard.css", "text/css"),
        ("dashboard.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        path = page.text.partition("/static/")[2].partition("/")[0]
        answer = await site.get(f"/_rcache/static/{path}/{name}")
        assert answer.status == 200
        assert (answer.get("content-type") or "").startswith(kind)
        assert answer.get("cache-control") == "private, max-age=3600"
    assert (await site.get(f"/_rcache/static/{path}/..%2f..%2fapp.py")).status == 404


RULES = [{"default_ttl": 60}, {"default_ttl": 60, "auto": True}, {"standard": True, "heuristic": True}]


@pytest.mark.parametrize("settings", RULES)
async def test_no_cache_around_keeps_any_of_it(cache, settings):
    site = RawClient(CacheMiddleware(application(cache, access=yes, may_purge=yes), cache=cache, **settings))
    for place in (place for place in PLACES if place != "/log/stream"):
        for _ in range(2):
            answer = await site.get(f"/_rcache{place}")
            assert answer.cache is None, place
    assert cache.stats.stores == 0
    assert cache.stats.lookups == 0


async def test_it_finds_itself_wherever_it_is_mounted(cache):
    app = application(cache, access=yes, may_purge=yes)
    page = await RawClient(app, root_path="/behind/proxy").get("/behind/proxy/_rcache/tags")

    assert page.status == 200
    links = {link.partition('"')[0] for link in page.text.split('href="')[1:]} - {"#content"}
    assert links
    assert all(link.startswith("/behind/proxy/_rcache/") for link in links)
    assert 'aria-current="page">Tags' in page.text

    alone = await RawClient(dashboard(cache, access=yes)).get("/tags")
    assert 'href="/entries"' in alone.text
    assert 'aria-current="page">Tags' in alone.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cache",), "is no Cache"),
        ((None,), "is no Cache"),
    ],
)
def test_what_cannot_work_is_told_at_once(arguments, told):
    with pytest.raises(ConfigurationError, match=told):
        dashboard(*arguments)


@pytest.mark.parametrize("setting", ["access", "may_purge", "may_see_private"])
def test_a_check_that_cannot_be_called_is_told_at_once(cache, setting):
    with pytest.raises(ConfigurationError, match=f"{setting}=True"):
        dashboard(cache, **{setting: True})


async def test_the_body_of_one_users_entry_is_hidden_until_somebody_asks_who_may(cache):
    def only_root(request: Request) -> bool:
        return request.headers.get("x-root") == "yes"

    site = RawClient(CacheMiddleware(application(cache, access=yes, may_see_private=only_root), cache=cache))
    assert (await site.get("/mine", [("x-user", "ada-lovelace")])).is_stored
    entry = link_to(await site.get("/_rcache/tag?name=mine"), "/entry")

    for target, headers in ((entry, []), (entry, [("x-root", "yes")]), (f"{entry}&private=yes", [])):
        hidden = await site.get(target, headers)
        assert hidden.status == 200
        assert "belongs to one user" in hidden.text
        assert "secret" not in hidden.text.replace("may_see_private", "")
    shown = await site.get(f"{entry}&private=yes", [("x-root", "yes")])
    assert "ada-lovelace" in shown.text
    assert "verysecret" in shown.text


def test_without_its_extra_it_says_what_to_install():
    code = "import sys; sys.modules['jinja2'] = None; import rcache.dashboard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("ConfigurationError: the dashboard needs Jinja2: pip install 'rcache[dashboard]'\n")
