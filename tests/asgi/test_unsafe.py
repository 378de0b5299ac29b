"""Unsafe requests that succeed purge what they changed (RFC 9111 §4.4), and groups of it (RFC 9875)."""

from __future__ import annotations

import pytest

from rcache import Cache, Rule
from tests.asgi.origin import Reply, standing
from tests.support import Gate

FRESH = (("cache-control", "max-age=600"),)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "FROBNICATE"])
@pytest.mark.parametrize("status", [200, 201, 204, 303])
async def test_a_success_purges_the_url(cache: Cache, method: str, status: int) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), Reply(status), Reply(headers=FRESH))
    await client.get("/book?page=1")
    await client.request(method, "/book?page=1")
    assert not (await client.get("/book?page=1")).is_hit


@pytest.mark.parametrize(("method", "status"), [("POST", 400), ("PUT", 503), ("OPTIONS", 200), ("QUERY", 200)])
async def test_failures_and_safe_methods_purge_nothing(cache: Cache, method: str, status: int) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), Reply(status), Reply(headers=FRESH))
    await client.get("/book")
    assert (await client.request(method, "/book")).status == status
    assert (await client.get("/book")).is_hit


@pytest.mark.parametrize("field", ["location", "content-location"])
@pytest.mark.parametrize(
    ("reference", "purged"),
    [
        ("/book", True),
        ("book", True),
        ("http://testserver/book", True),
        ("http://TESTSERVER:80/a/../book#top", True),
        ("https://testserver/book", False),
        ("http://elsewhere/book", False),
        ("http://testserver:81/book", False),
        ("/book?x=1", False),
        ("http://[", False),
    ],
)
async def test_what_the_answer_names_on_the_same_origin_is_purged_too(
    cache: Cache, field: str, reference: str, purged: bool
) -> None:
    client, _ = standing(cache, Reply(headers=FRESH), Reply(201, [(field, reference)]), Reply(headers=FRESH))
    await client.get("/book")
    await client.request("POST", "/books")
    assert (await client.get("/book")).is_hit is not purged


async def test_all_variants_and_identities_of_the_url_go(cache: Cache) -> None:
    rules = [Rule("/book", ttl=60, vary=["accept-language"], key_by="x-user")]
    client, _ = standing(cache, Reply(), standard=False, rules=rules)
    readers = [{"x-user": user, "accept-language": language} for user in "ab" for language in ("de", "en")]
    for reader in readers:
        await client.get("/book", reader)
    await client.request("PUT", "/book")
    for reader in readers:
        assert not (await client.get("/book", reader)).is_hit


async def test_urls_that_nothing_caches_pass_untouched(cache: Cache) -> None:
    client, _ = standing(cache, Reply(), standard=False, rules=[Rule("/book", ttl=60)])
    purges = cache.stats.purges
    assert (await client.request("POST", "/other")).cache is None
    assert cache.stats.purges == purges
    await client.request("POST", "/book")
    assert cache.stats.purges == purges + 1


async def test_the_purge_has_landed_before_the_answer_begins(cache: Cache) -> None:
    """Who sees that a write succeeded sees nothing older afterwards, though the answer's body is still on its way."""
    gate = Gate()

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        headers = [(b"cache-control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "POST":
            await gate()
        await send({"type": "http.response.body", "body": b"body"})

    from rcache import CacheMiddleware
    from tests.support import RawClient

    client = RawClient(CacheMiddleware(app, cache=cache, standard=True))
    await client.get("/")
    posting = client.start("/", method="POST")
    await posting.arrives(1)
    assert not (await client.get("/")).is_hit
    gate.open()
    await posting.finish()


# Groups


async def test_tags_are_exported_as_groups_and_a_write_invalidates_them(cache: Cache) -> None:
    rules = [Rule("/{rest:path}", ttl=60, tags=["shop", "a, b"], cache_groups=True)]
    purging = Reply(headers=[("cache-group-invalidation", '"shop"')])
    client, _ = standing(cache, Reply(), purging, Reply(), standard=False, rules=rules)
    assert (await client.get("/a")).get("cache-groups") == '"a, b", "shop"'
    assert (await client.get("/a")).get("cache-groups") == '"a, b", "shop"'
    await client.request("POST", "/elsewhere")
    assert not (await client.get("/a")).is_hit


async def test_groups_that_the_application_names_are_tags(cache: Cache) -> None:
    reply = Reply(headers=[*FRESH, ("cache-groups", '"books";q=1'), ("cache-groups", '"shop"')])
    client, _ = standing(cache, reply, cache_groups=True)
    await client.get("/")
    answer = await client.get("/")
    assert (answer.is_hit, answer.all("cache-groups")) == (True, ['"books", "shop"'])
    await cache.invalidate("books")
    assert not (await client.get("/")).is_hit


async def test_without_the_setting_groups_mean_nothing_here(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=[*FRESH, ("cache-groups", '"books"')]))
    await client.get("/")
    await cache.invalidate("books")
    answer = await client.get("/")
    assert (answer.is_hit, answer.get("cache-groups")) == (True, '"books"')


async def test_groups_that_cannot_be_read_keep_an_answer_from_being_stored(cache: Cache) -> None:
    client, _ = standing(cache, Reply(headers=[*FRESH, ("cache-groups", "books?")]), cache_groups=True)
    assert (await client.get("/")).cache == "rcache; fwd=miss; detail=tag"


async def test_the_answer_to_a_safe_request_invalidates_no_group(cache: Cache) -> None:
    reply = Reply(headers=[*FRESH, ("cache-groups", '"books"'), ("cache-group-invalidation", '"books"')])
    client, _ = standing(cache, reply, cache_groups=True)
    await client.get("/a")
    await client.get("/b")
    await client.request("OPTIONS", "/a")
    assert (await client.get("/a")).is_hit
