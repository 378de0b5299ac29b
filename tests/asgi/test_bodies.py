"""QUERY and POST are cached where a rule says so, with the body in the key (RFC 10008)."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, cached
from tests.asgi.origin import Reply, standing
from tests.support import HandClock, RawClient

JSON = {"content-type": "application/json", "content-length": "7"}


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_the_body_is_part_of_the_key(cache: Cache, method: str) -> None:
    rules = [Rule("/search", ttl=60, tags=["books"], methods=[method])]
    client, origin = standing(cache, Reply(), standard=False, rules=rules)
    assert (await client.request(method, "/search", JSON, b'{"q":1}')).is_stored
    assert (await client.request(method, "/search", JSON, b'{"q":1}')).is_hit
    assert not (await client.request(method, "/search", JSON, b'{"q":2}')).is_hit
    assert not (await client.request(method, "/search", {**JSON, "content-type": "text/plain"}, b'{"q":1}')).is_hit
    assert not (await client.get("/search")).is_hit
    assert origin.requests[0].body == b'{"q":1}'
    await cache.invalidate("books")
    assert not (await client.request(method, "/search", JSON, b'{"q":1}')).is_hit


async def test_two_methods_with_one_body_are_two_requests(cache: Cache) -> None:
    rules = [Rule("/search", ttl=60, methods=["QUERY", "POST"])]
    client, _ = standing(cache, Reply(), standard=False, rules=rules)
    await client.request("QUERY", "/search", JSON, b'{"q":1}')
    assert not (await client.request("POST", "/search", JSON, b'{"q":1}')).is_hit


async def test_without_a_rule_that_says_so_neither_is_cached(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=[("cache-control", "max-age=60")]), rules=[Rule("/a", ttl=60)])
    for method in ("QUERY", "POST"):
        for path in ("/a", "/b"):
            for _ in range(2):
                assert (await client.request(method, path, JSON, b'{"q":1}')).cache is None


async def test_a_cached_post_is_no_write(cache: Cache) -> None:
    client, _ = standing(cache, Reply(), standard=False, rules=[Rule("/search", ttl=60, methods=["POST"])])
    await client.get("/search")
    await client.request("POST", "/search", JSON, b'{"q":1}')
    assert (await client.get("/search")).is_hit


@pytest.mark.parametrize(("length", "hit"), [(10, True), (11, False)])
async def test_a_longer_body_than_the_rule_allows_bypasses_whole(cache: Cache, length: int, hit: bool) -> None:
    rules = [Rule("/search", ttl=60, methods=["POST"], max_request_body=10)]
    client, origin = standing(cache, Reply(), standard=False, rules=rules)
    for _ in range(2):
        answer = await client.request("POST", "/search", {}, b"x" * length)
    assert answer.is_hit is hit
    assert origin.last.body == b"x" * length


async def test_a_stale_search_is_refreshed_with_its_body(cache: Cache, clock: HandClock) -> None:
    headers = [("cache-control", "max-age=60, stale-while-revalidate=60")]
    rules = [Rule("/search", methods=["QUERY"])]
    client, origin = standing(cache, Reply(headers=headers), standard=False, rules=rules)
    for _ in range(2):
        answer = await client.request("QUERY", "/search", JSON, b'{"q":1}')
        clock.advance(61)
    assert answer.is_hit
    await cache.refreshes.wait()
    assert [request.body for request in origin.requests] == [b'{"q":1}'] * 2


async def test_an_endpoint_of_post_is_marked_like_any_other(cache: Cache) -> None:
    app = FastAPI()
    runs = []

    @app.post("/search/{shelf}")
    @cached(ttl=60, methods=["POST"], tags=["shelf:{shelf}"])
    async def search(shelf: int, words: list[str]) -> list[str]:
        runs.append(words)
        return words

    client = RawClient(CacheMiddleware(app, cache=cache))
    for _ in range(2):
        answer = await client.request("POST", "/search/7", {"content-type": "application/json"}, b'["a"]')
    assert (answer.text, answer.is_hit, len(runs)) == ('["a"]', True, 1)
    await cache.invalidate("shelf:7")
    await client.request("POST", "/search/7", {"content-type": "application/json"}, b'["a"]')
    assert len(runs) == 2


@pytest.mark.parametrize("wrong", [{"methods": ["PUT"]}, {"methods": "POST"}, {"max_request_body": "1GiB"}])
def test_what_cannot_be_cached_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Rule("/", **wrong)  # type: ignore[arg-type]
