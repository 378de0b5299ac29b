"""URLs without a rule are cached by their answers' header fields, and what clients ask for is heeded (RFC 9111 §4, §5.2.1)."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, cached
from tests.asgi.origin import Reply, standing
from tests.support import HandClock, RawClient

FRESH = (("cache-control", "max-age=60"), ("etag", '"v1"'))


async def test_without_the_setting_only_rules_are_looked_at(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), standard=False)
    for _ in range(2):
        assert (await client.get("/")).cache is None


async def test_header_fields_alone_decide(cache: Cache) -> None:
    client, _origin = standing(cache, Reply(headers=FRESH), Reply())
    assert (await client.get("/a")).is_stored
    assert (await client.get("/a")).is_hit
    assert (await client.get("/b")).cache == "rcache; fwd=miss; detail=no-freshness"


async def test_freshness_is_guessed_where_that_is_wanted(cache: Cache, clock: HandClock) -> None:
    headers = [("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT")]
    client, _ = standing(cache, Reply(headers=headers), heuristic=True)
    assert (await client.get("/")).is_stored
    answer = await client.get("/")
    assert answer.is_hit
    assert int((answer.cache or "").rpartition("=")[2]) == 8640  # a tenth of a day


@pytest.mark.parametrize(
    ("asked", "elapsed", "cache_status"),
    [
        ({"cache-control": "no-cache"}, 0, "rcache; fwd=request; stored"),
        ({"pragma": "no-cache"}, 0, "rcache; fwd=request; stored"),
        ({"pragma": "no-cache", "cache-control": "max-age=10"}, 0, "rcache; hit; ttl=60"),
        ({"cache-control": "max-age=5"}, 5, "rcache; hit; ttl=55"),
        ({"cache-control": "max-age=5"}, 6, "rcache; fwd=request; stored"),
        ({"cache-control": "min-fresh=10"}, 50, "rcache; hit; ttl=10"),
        ({"cache-control": "min-fresh=10"}, 51, "rcache; fwd=request; stored"),
        ({"cache-control": "max-stale"}, 600, "rcache; hit; ttl=-540"),
        ({"cache-control": "max-stale=10"}, 70, "rcache; hit; ttl=-10"),
        ({"cache-control": "max-stale=10"}, 71, "rcache; fwd=stale; stored"),
        ({"cache-control": "max-age=5, max-stale=100"}, 61, "rcache; fwd=stale; stored"),
        ({"cache-control": "only-if-cached"}, 59, "rcache; hit; ttl=1"),
        ({"cache-control": "no-store"}, 59, "rcache; hit; ttl=1"),
    ],
)
async def test_what_a_client_asks_for_is_heeded(
    cache: Cache, clock: HandClock, asked: dict[str, str], elapsed: int, cache_status: str
) -> None:
    client, _ = standing(cache, Reply(headers=FRESH))
    await client.get("/")
    clock.advance(elapsed)
    assert (await client.get("/", asked)).cache == cache_status


@pytest.mark.parametrize("control", ["no-cache", "max-age=0", "min-fresh=100", "max-stale=0"])
async def test_clients_make_a_rule_run_only_where_it_lets_them(cache: Cache, clock: HandClock, control: str) -> None:
    client, origin = standing(cache, Reply(headers=FRESH), standard=False, rules=[Rule("/")])
    other, asked = standing(cache, Reply(headers=FRESH), standard=False, rules=[Rule("/", client_may_refresh=True)])
    for each in (client, other):
        await each.get("/", {"host": "one" if each is client else "two"})
        clock.advance(1)
        await each.get("/", {"host": "one" if each is client else "two", "cache-control": control})
    assert len(origin.requests) == 1
    assert len(asked.requests) == (1 if control == "max-stale=0" else 2)


async def test_only_what_is_stored_is_answered_to_whom_nothing_else_will_do(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=FRESH), standard=False, rules=[Rule("/")])
    only = {"cache-control": "only-if-cached"}
    answer = await client.get("/", only)
    assert (answer.status, answer.body, answer.cache) == (504, b"", "rcache; detail=only-if-cached")
    await client.get("/")
    assert (await client.get("/", only)).is_hit
    clock.advance(61)
    assert (await client.get("/", only)).status == 504
    assert len(origin.requests) == 1


async def test_nothing_is_stored_of_a_request_that_forbids_it(cache: Cache) -> None:
    client, _origin = standing(cache, Reply(headers=FRESH), standard=False, rules=[Rule("/", ttl=60)])
    for _ in range(2):
        answer = await client.get("/", {"cache-control": "no-store"})
        assert answer.cache == "rcache; fwd=request; detail=no-store"
    assert (await client.get("/")).is_stored


@pytest.mark.parametrize("condition", ["if-match", "if-unmodified-since"])
async def test_conditions_that_only_the_origin_can_judge_are_passed_on(cache: Cache, condition: str) -> None:
    client, origin = standing(cache, Reply(headers=FRESH))
    await client.get("/")
    answer = await client.get("/", {condition: '"v1"'})
    assert answer.cache == "rcache; fwd=request; detail=precondition"
    assert origin.last.get(condition) == '"v1"'


async def test_no_answer_grows_younger(cache: Cache, clock: HandClock) -> None:
    client, _ = standing(cache, Reply(headers=FRESH))
    await client.get("/")
    ages = []
    for step in (10, -5, 3, -20, 40):
        clock.now += step
        ages.append(int((await client.get("/")).get("age") or -1))
    assert ages == sorted(ages)


# What is stored of an answer


async def test_fields_that_are_named_are_not_stored(cache: Cache) -> None:
    headers = [
        ("cache-control", 'max-age=60, private="x-user", no-cache="x-token"'),
        ("x-user", "ada"),
        ("x-token", "7"),
    ]
    client, _ = standing(cache, Reply(headers=[*headers, ("x-kept", "1")]))
    first, second = await client.get("/"), await client.get("/")
    assert (first.get("x-user"), first.get("x-token")) == ("ada", "7")
    assert (second.get("x-user"), second.get("x-token"), second.get("x-kept")) == (None, None, "1")


@pytest.mark.parametrize(
    ("setting", "stored"), [({}, False), ({"store_set_cookie": True}, True), ({"profile": "conformant"}, True)]
)
async def test_set_cookie_is_stored_where_that_is_wanted(
    cache: Cache, setting: dict[str, object], stored: bool
) -> None:
    client, _ = standing(cache, Reply(headers=[*FRESH, ("set-cookie", "a=1"), ("set-cookie", "b=2")]), **setting)
    await client.get("/")
    answer = await client.get("/")
    assert answer.is_hit is stored
    assert answer.all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(("profile", "hit"), [(None, False), ("conformant", True)])
async def test_a_cookie_is_a_field_like_any_other_to_the_standards_alone(
    cache: Cache, profile: str | None, hit: bool
) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), profile=profile)
    for _ in range(2):
        answer = await client.get("/", {"cookie": "session=1"})
    assert answer.is_hit is hit


# Targeted fields


async def test_a_targeted_field_is_heeded_before_the_others(cache: Cache) -> None:
    headers = [("cache-control", "no-store"), ("cdn-cache-control", "max-age=60"), ("rcache-control", "max-age=30")]
    client, _ = standing(cache, Reply(headers=headers))
    await client.get("/")
    answer = await client.get("/")
    assert answer.cache == "rcache; hit; ttl=30"
    assert (answer.get("cdn-cache-control"), answer.get("rcache-control")) == ("max-age=60", "max-age=30")


async def test_targeted_fields_are_kept_from_clients_where_that_is_wanted(cache: Cache) -> None:
    headers = [("cdn-cache-control", "max-age=60"), ("rcache-control", "max-age=30")]
    client, _ = standing(cache, Reply(headers=headers), forward_targeted=False)
    for _ in range(2):
        answer = await client.get("/")
        assert (answer.get("cdn-cache-control"), answer.get("rcache-control")) == (None, None)
    assert answer.is_hit


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"profile": "strict"},
        {"standard": 1},
        {"heuristic": "yes"},
        {"stale_on_error": -1},
        {"compress": "lzma"},
        {"compress": 7},
        {"cache_groups": "all"},
        {"client_may_refresh": 0},
    ],
)
def test_a_setting_that_cannot_work_is_refused(cache: Cache, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        CacheMiddleware(FastAPI(), cache, **wrong)  # type: ignore[arg-type]


def test_a_setting_that_does_not_exist_is_told_from_one_that_does() -> None:
    with pytest.raises(ConfigurationError, match=r"tll= is no setting of a rule: did you mean ttl=\?"):
        cached(tll=60)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="did you mean statuses"):
        Rule("/", status=[200])  # type: ignore[call-arg]


# The query


def shop(cache: Cache, **settings: object) -> RawClient:
    app = FastAPI()

    @app.get("/search")
    @cached(ttl=60, query="declared", **settings)  # type: ignore[arg-type]
    async def search(q: str, page: int = 1) -> str:
        return f"{q} {page}"

    return RawClient(CacheMiddleware(app, cache=cache))


async def test_declared_parameters_are_those_that_count_and_clients_are_told(cache: Cache) -> None:
    client = shop(cache)
    first = await client.get("/search?q=a&utm_source=mail")
    assert first.get("no-vary-search") == 'key-order, params, except=("page" "q")'
    second = await client.get("/search?utm_source=other&q=a")
    assert (second.is_hit, second.text) == (True, '"a 1"')
    assert second.get("no-vary-search") == 'key-order, params, except=("page" "q")'
    assert not (await client.get("/search?q=a&page=2")).is_hit


async def test_nothing_is_claimed_of_the_query_where_a_guard_may_read_it(cache: Cache) -> None:
    client = shop(cache, key_by=lambda request: request.query_params.get("user"))
    assert (await client.get("/search?q=a&user=1")).get("no-vary-search") is None


def test_declared_takes_a_route_that_declares(cache: Cache) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Route

    @cached(ttl=60, query="declared")
    def endpoint(request: object) -> None: ...

    middleware = CacheMiddleware(Starlette(routes=[Route("/", endpoint)]), cache=cache)
    with pytest.raises(ConfigurationError, match='query="declared"'):
        middleware._routes.check({"type": "http", "path": "/"})
