"""Cases that a hostile reader found, each by what it must not do."""

import logging
from typing import Annotated

import pytest
from fastapi import Cookie, Depends, FastAPI, Header, HTTPException, Security
from pydantic import AfterValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from rcache import BackendError, Cache, CacheMiddleware, ConfigurationError, Rule, cached, signals
from tests.servers import free_port
from tests.support import RawClient


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("secret")(scope, receive, send)


def deny(request: Request) -> None:
    raise HTTPException(403)


async def test_an_outer_middleware_does_not_switch_off_the_guard_of_an_inner_one():
    inner = CacheMiddleware(plain, cache=Cache("memory://"), rules=[Rule("/s", ttl=60, guard=deny)])
    client = RawClient(CacheMiddleware(inner, cache=Cache("memory://"), default_ttl=10))
    for method, headers in (("GET", {}), ("GET", {}), ("HEAD", {}), ("GET", {"authorization": "x"})):
        assert (await client.request(method, "/s", headers)).status == 403
    assert (await client.get("/other")).is_stored


async def test_what_an_inner_guard_lets_pass_is_not_kept_outside():
    def tell(request: Request) -> str:
        return request.headers["x-user"]

    inner = CacheMiddleware(plain, cache=Cache("memory://"), rules=[Rule("/s", ttl=60, guard=tell)])
    client = RawClient(CacheMiddleware(inner, cache=Cache("memory://"), default_ttl=10))
    answers = [await client.get("/s", {"x-user": user}) for user in ("ada", "bob", "ada")]
    assert answers[0].all("cache-status")[-1] == "rcache; fwd=miss; detail=inner-key"
    assert not any(answer.is_hit for answer in answers)


@pytest.mark.parametrize("beside", [False, True])
async def test_security_without_scopes_rules_out_storing(beside: bool):
    app = FastAPI()

    def who(x_user: Annotated[str, Header()] = "") -> str:
        return x_user

    if beside:

        @app.get("/me", dependencies=[Security(who)])
        @cached(ttl=60)
        def me() -> str:
            return "me"

    else:

        def user(name: Annotated[str, Security(who)]) -> str:
            return name

        @app.get("/me")
        @cached(ttl=60)
        def me_too(name: Annotated[str, Depends(user)]) -> str:
            return name

    client = RawClient(CacheMiddleware(app, cache=Cache("memory://")))
    for _ in range(2):
        assert (await client.get("/me")).cache == "rcache; fwd=bypass; detail=security"


async def test_a_declared_cookie_tells_answers_apart_whatever_is_ignored():
    app = FastAPI()

    @app.get("/me")
    @cached(ttl=60, cookies="ignore")
    def me(session: Annotated[str, Cookie()] = "") -> str:
        return session

    client = RawClient(CacheMiddleware(app, cache=Cache("memory://")))
    for user in ("ada", "bob"):
        assert (await client.get("/me", {"cookie": f"session={user}; other={user}"})).text == f'"{user}"'
    assert (await client.get("/me", {"cookie": "session=ada; other=else"})).is_hit


async def test_a_validator_that_raises_the_second_time_breaks_nothing():
    runs = []

    def checked(value: int) -> int:
        runs.append(value)
        if len(runs) > 1:
            raise RuntimeError("asked again")
        return value

    app = FastAPI()

    @app.get("/{number}")
    @cached(ttl=60, tags=["number:{number}"])
    def read(number: Annotated[int, AfterValidator(checked)]) -> int:
        return number

    client = RawClient(CacheMiddleware(app, cache=Cache("memory://")))
    answer = await client.get("/7")
    assert (answer.status, answer.text, answer.cache) == (200, "7", "rcache; fwd=miss; detail=tag")


async def test_answers_of_a_guard_that_only_look_alike_are_two_keys():
    answers = iter([1, "1", 1])
    guard = lambda request: next(answers)  # noqa: E731
    around = CacheMiddleware(plain, cache=Cache("memory://"), rules=[Rule("/s", ttl=60, guard=guard)])
    client = RawClient(around)
    assert [(await client.get("/s")).is_hit for _ in range(3)] == [False, False, True]


async def test_a_tag_made_of_a_parameter_that_does_not_count_is_refused():
    for rule in (Rule("/a", ttl=60, query=["page"], tags=["t:{query.q}"]),):
        with pytest.raises(ConfigurationError, match="query= leaves out"):
            CacheMiddleware(plain, cache=Cache("memory://"), rules=[rule])
    app = FastAPI()

    @app.get("/a")
    @cached(ttl=60, query=["page"], tags=["t:{q}"])
    def read(q: str, page: int = 1) -> str:
        return q

    with pytest.raises(ConfigurationError, match="query= leaves out"):
        await RawClient(CacheMiddleware(app, cache=Cache("memory://"))).get("/a?q=1")


async def test_a_cache_that_cannot_be_reached_keeps_no_other_from_a_signal():
    class Thing:
        pass

    reachable = [Cache("memory://") for _ in range(4)]
    gone = Cache(f"redis://127.0.0.1:{free_port()}", on_outage="abort", purge_timeout=0.05)
    numbers = [cache.store._number for cache in reachable]
    with pytest.raises(BackendError):
        signals.entity_saved.send(Thing, identity=1)
    assert all(cache.store._number > number for cache, number in zip(reachable, numbers, strict=True))
    await gone.close()


async def test_an_asynchronous_receiver_is_told_of(caplog: pytest.LogCaptureFixture):
    async def receiver(sender: object, **_: object) -> None: ...

    signals.tags_invalidated.connect(receiver)
    try:
        with caplog.at_level(logging.ERROR, "rcache"):
            await Cache("memory://").invalidate("x")
    finally:
        signals.tags_invalidated.disconnect(receiver)
    assert "is asynchronous" in caplog.text


async def test_a_route_added_below_a_mount_is_found_though_its_path_was_asked_for():
    @cached(ttl=60)
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    below = Starlette(routes=[Route("/first", page)])
    client = RawClient(CacheMiddleware(Starlette(routes=[Mount("/m", app=below)]), cache=Cache("memory://")))
    assert (await client.get("/m/late")).status == 404
    below.add_route("/late", page)
    assert (await client.get("/m/late")).is_stored
    assert (await client.get("/m/late")).is_hit


@pytest.mark.parametrize("settings", [{"max_variants": 1001}, {"max_variants": 0}, {"max_marks": 0}])
def test_counts_have_bounds(settings: dict[str, int]):
    with pytest.raises(ConfigurationError, match="whole number from 1 to"):
        Cache("memory://", **settings)
