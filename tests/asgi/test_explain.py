"""What is explained is what happens."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from rcache import Cache, CacheMiddleware, Rule, cached
from rcache.asgi.explain import Explanation, explain, find_middleware
from rcache.core.errors import ConfigurationError
from tests.support import HandClock, RawClient

runs: list[str] = []


def admits(request: Request) -> str:
    """A guard that knows two clients."""
    if request.headers.get("x-client") not in ("1", "2"):
        raise HTTPException(403, "not you")
    return request.headers["x-client"]


async def answer(request: Request) -> Response:
    runs.append(request.url.path)
    return PlainTextResponse("x", headers={"vary": "accept-language"} if "lang" in request.url.path else {})


def route(path: str, **settings: Any) -> Route:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    return Route(path, cached(**settings)(endpoint), methods=sorted({"GET", "PUT", *settings.get("methods", ())}))


@pytest.fixture
def middleware(cache: Cache) -> CacheMiddleware:
    """Rules of all kinds."""
    runs.clear()
    routes = [
        route("/pages/{title}", ttl=60, tags=["page:{title}"], stale_while_revalidate=30),
        route("/lang", ttl=60),
        route("/mine", ttl=60, key_by="authorization"),
        route("/guarded", ttl=60, guard=admits),
        route("/theme", ttl=60, cookies=("theme",)),
        route("/narrow", ttl=60, query=("page",)),
        route("/search", ttl=60, methods=("POST",), max_request_body=10),
        route("/checked", ttl=60, client_may_refresh=True),
        route("/off", ttl=60, enabled=False),
        Route("/ruled/{x}", answer),
        Route("/bare", answer),
        Mount("/below", routes=[route("/{x:int}", ttl=60)]),
    ]
    return CacheMiddleware(Starlette(routes=routes), cache=cache, rules=[Rule("/ruled/{x}", ttl=9, vary=["accept"])])


REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/pages/tea", {}, b""),
    ("HEAD", "/pages/tea", {}, b""),
    ("GET", "/pages/tea?b=2&a=1", {}, b""),
    ("GET", "/pages/t%65a", {}, b""),
    ("GET", "/pages/tea", {"authorization": "Bearer x"}, b""),
    ("GET", "/pages/tea", {"cookie": "session=x"}, b""),
    ("GET", "/pages/tea", {"if-match": '"x"'}, b""),
    ("GET", "/pages/tea", {"cache-control": "only-if-cached"}, b""),
    ("GET", "/pages/none", {"cache-control": "only-if-cached"}, b""),
    ("GET", "/pages/none", {"cache-control": "only-if-cached", "if-match": '"x"'}, b""),
    ("GET", "/pages/none", {"cache-control": "no-store"}, b""),
    ("GET", "/pages/tea", {"cache-control": "no-cache"}, b""),
    ("GET", "/checked", {"cache-control": "no-cache"}, b""),
    ("GET", "/checked", {"pragma": "no-cache"}, b""),
    ("GET", "/checked", {"cache-control": "max-age=0"}, b""),
    ("GET", "/pages/tea", {"content-length": "3"}, b"abc"),
    ("PUT", "/pages/tea", {}, b"new"),
    ("GET", "/pages/" + "x" * 70_000, {}, b""),
    ("GET", "/lang", {"accept-language": "de"}, b""),
    ("GET", "/lang", {"accept-language": "fr"}, b""),
    ("GET", "/mine", {}, b""),
    ("GET", "/mine", {"authorization": "Bearer x"}, b""),
    ("GET", "/guarded", {"x-client": "1"}, b""),
    ("GET", "/guarded", {"x-client": "9"}, b""),
    ("GET", "/theme", {"cookie": "theme=dark; session=x"}, b""),
    ("GET", "/narrow?page=1&utm=2", {}, b""),
    ("POST", "/search", {"content-type": "text/plain"}, b"tea"),
    ("POST", "/search", {"content-type": "text/plain"}, b"far too long"),
    ("GET", "/ruled/1", {"accept": "text/html"}, b""),
    ("GET", "/off", {}, b""),
    ("GET", "/bare", {}, b""),
    ("GET", "/nowhere", {}, b""),
    ("GET", "/below/7", {}, b""),
]

FROM_STORE = ("hit", "refresh")


@pytest.mark.parametrize("age", [0, 70, 100], ids=["fresh", "stale", "old"])
async def test_what_is_explained_is_what_happens(middleware: CacheMiddleware, clock: HandClock, age: int) -> None:
    """Before anything is stored, with the same stored, and once it is stale: the answer says what the explanation said."""
    client = RawClient(middleware)
    seen = set()
    for _ in range(2):
        for method, target, headers, body in REQUESTS:
            middleware.cache.uncacheable._until.clear()
            told = await explain(middleware, client.scope(target, headers, method), body)
            before = len(runs)
            answered = await client.request(method, target, headers, body)
            await middleware.cache.refreshes.aclose()
            assert (answered.cache or "").startswith(told.cache_status or ""), (method, target, headers, told)
            assert (answered.cache is None) == (told.cache_status is None), (method, target, headers, told)
            is_answered_here = told.outcome in ("hit", "refused", "timeout")
            assert told.outcome == "refresh" or (len(runs) == before) == (is_answered_here or target == "/nowhere"), (
                told
            )
            seen.add(told.outcome)
        clock.advance(age)
    assert {"miss", "pass", "refused", "timeout", "untouched", "purge"} <= seen
    assert ("hit" if age < 60 else "refresh" if age < 90 else "validate") in seen


async def told_of(
    middleware: CacheMiddleware, target: str, headers: dict[str, str], method: str = "GET"
) -> Explanation:
    return await explain(middleware, RawClient(middleware).scope(target, headers, method))


async def test_no_endpoint_is_run_and_nothing_is_stored(middleware: CacheMiddleware) -> None:
    for method, target, headers, body in REQUESTS:
        await explain(middleware, RawClient(middleware).scope(target, headers, method), body)
    assert runs == []
    assert (await told_of(middleware, "/pages/tea", {})).outcome == "miss"


async def test_it_tells_the_rule_the_key_and_what_selects(middleware: CacheMiddleware) -> None:
    await RawClient(middleware).get("/lang", {"accept-language": "de"})
    page = await told_of(middleware, "/pages/tea?b=2&a=1", {"host": "Shop.test"})
    assert page.route == "GET /pages/{title}"
    assert dict(page.rule) == {"ttl": "60", "tags": "page:{title}", "stale_while_revalidate": "30"}
    assert dict(page.key) == {"scheme": "http", "host": "shop.test", "path": "/pages/tea", "query": "a=1&b=2"}
    assert page.tags == ("page:tea",)
    lang = await told_of(middleware, "/lang", {"accept-language": "DE, en;q=0.50"})
    assert lang.variant == (("accept-language", "de, en;q=0.5"),)
    narrow = await told_of(middleware, "/narrow?page=1&utm=2", {})
    assert dict(narrow.key)["of the query"] == "parameters that count: page"
    assert dict((await told_of(middleware, "/ruled/1", {})).variant) == {"accept": "(absent)"}


async def test_it_tells_what_was_purged(middleware: CacheMiddleware, clock: HandClock) -> None:
    await RawClient(middleware).get("/pages/tea")
    clock.advance(12)
    found = await told_of(middleware, "/pages/tea", {})
    assert (found.outcome, found.age, found.ttl) == ("hit", 12.0, 48.0)
    assert found.why == "stored 12 s ago, fresh for 48 s more"
    await middleware.cache.invalidate("page:tea", soft=True)
    soft = await told_of(middleware, "/pages/tea", {})
    assert (soft.outcome, soft.why.split(",")[0]) == ("refresh", "stale for 0 s by a soft purge")
    await middleware.cache.invalidate("page:tea")
    gone = await told_of(middleware, "/pages/tea", {})
    assert gone.outcome == "miss"
    assert gone.start is None


async def test_secrets_of_a_request_are_told_by_digests(middleware: CacheMiddleware) -> None:
    for target, headers in (
        ("/mine", {"authorization": "Bearer hidden"}),
        ("/theme", {"cookie": "theme=hidden; session=hidden"}),
        ("/pages/tea", {"authorization": "hidden", "cookie": "x=hidden"}),
    ):
        told = await told_of(middleware, target, headers)
        assert "hidden" not in repr(told)
    mine = await told_of(middleware, "/mine", {"authorization": "Bearer hidden"})
    assert mine.whose.startswith("told apart by key_by=authorization: digest ")


async def test_a_bypass_comes_with_its_remedy(middleware: CacheMiddleware) -> None:
    app = FastAPI()

    @app.get("/secure", dependencies=[Depends(HTTPBearer())])
    @cached(ttl=60)
    def secure() -> str:
        return "x"

    app.add_middleware(CacheMiddleware, cache=middleware.cache)
    told = await told_of(find_middleware(app), "/secure", {})
    assert (told.outcome, told.cache_status) == ("pass", "rcache; fwd=bypass; detail=security")
    assert "key_by=" in (told.remedy or "")
    assert "@cached" in ((await told_of(middleware, "/bare", {})).remedy or "")


async def test_a_store_that_cannot_be_reached_is_told() -> None:
    async with Cache("redis://127.0.0.1:1") as cache:
        told = await told_of(CacheMiddleware(Starlette(routes=[route("/x", ttl=60)]), cache=cache), "/x", {})
    assert (told.outcome, told.cache_status) == ("pass", "rcache; fwd=bypass; detail=outage")


def test_the_middleware_is_found_however_it_was_put_there(cache: Cache) -> None:
    inside = Starlette(middleware=[Middleware(GZipMiddleware), Middleware(CacheMiddleware, cache=cache)])
    around = CacheMiddleware(Starlette(), cache=cache)
    assert find_middleware(inside).cache is cache
    assert find_middleware(around) is around
    assert find_middleware(GZipMiddleware(around)) is around
    with pytest.raises(ConfigurationError, match="add_middleware"):
        find_middleware(Starlette())
