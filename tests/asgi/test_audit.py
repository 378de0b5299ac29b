"""One hit in many is answered by the application as well: what was served although it does not hold any more is found."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from rcache import Audit, Cache, CacheMiddleware, Finding, Rule, depends_on, invalidate, signals, tag
from rcache.asgi.replay import replay
from rcache.core.audit import OUTCOMES, Answer
from rcache.core.views import Counters
from rcache.engine.audits import MOST
from tests.asgi.origin import Origin, Reply, standing
from tests.servers import RedisServer
from tests.support import PATIENCE, Gate, HandClock, RawClient, settle

ROUTE = "/{path:path}"
AT_ONCE = Audit(1, settle="1ms")


class Shop:
    """An application that shows a price, and says what it shows."""

    def __init__(self) -> None:
        self.pause: Callable[[], Awaitable[None]] | None = None
        self.price = 10
        self.runs = 0
        self.extra: Callable[[], dict[str, Any]] = dict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        if self.pause is not None:
            await self.pause()
        tag("price")
        body = json.dumps({"price": self.price, **self.extra()}).encode()
        headers = [(b"content-type", b"application/json"), (b"date", b"%d" % self.runs)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def selling(cache: Cache, audit: Any = AT_ONCE, **settings: Any) -> tuple[RawClient, Shop]:
    shop = Shop()
    rules = [Rule("/{path:path}", ttl=60, **settings)]
    return RawClient(CacheMiddleware(shop, cache, rules=rules, audit=audit)), shop


def ended(cache: Cache) -> dict[str, int]:
    """How many audits ended in which way."""
    counters = cache.stats.counters
    counts = {outcome: getattr(counters, f"audits_{outcome}") for outcome in OUTCOMES}
    assert sum(counts.values()) == counters.audits
    return {outcome: count for outcome, count in counts.items() if count}


@contextmanager
def hearing() -> Iterator[list[Finding]]:
    """What is found meanwhile."""
    found: list[Finding] = []

    def hear(sender: object, finding: Finding) -> None:
        found.append(finding)

    with signals.audit_difference.connected_to(hear):
        yield found


async def test_a_planted_stale_answer_is_found_with_its_tags(cache: Cache, clock: HandClock, caplog: Any) -> None:
    client, shop = selling(cache)
    await client.get("/offer?item=1")
    clock.advance(12)
    shop.price = 11  # behind rcache's back
    with hearing() as found:
        assert (await client.get("/offer?item=1")).is_hit
        await cache.audits.wait()
    (finding,) = found
    assert (finding.url, finding.route, finding.tags) == ("/offer?item=1", ROUTE, ("price",))
    assert (finding.age, finding.ttl) == (12, 48)
    assert [tuple(each) for each in finding.differences] == [("$.price", "10", "11")]
    assert (json.loads(finding.served.body), json.loads(finding.made.body)) == ({"price": 10}, {"price": 11})
    assert {row.route: row.counters.audits_stale for row in cache.stats.routes} == {ROUTE: 1}
    assert cache.stats.counters.stale_rate == 1.0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "where rcache does not see it" in caplog.text
    assert (await client.get("/offer?item=1")).text == '{"price": 10}', "an audit stores nothing and purges nothing"


async def test_what_still_holds_is_no_finding(cache: Cache) -> None:
    client, shop = selling(cache)
    heard: list[dict[str, Any]] = []

    def hear(sender: object, **details: Any) -> None:
        heard.append(details)

    with signals.audited.connected_to(hear):
        for _ in range(3):
            await client.get("/")
            await cache.audits.wait()
    assert shop.runs == 3, "a fill, and an audit of each hit"
    assert heard == [{"url": "/", "route": ROUTE, "outcome": "same"}] * 2
    assert ended(cache) == {"same": 2}
    assert cache.stats.counters.stale_rate == 0.0
    assert cache.stats.stores == 1


async def test_one_hit_in_many_is_audited(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = itertools.cycle([0.5, 0.0011, 0.0009])
    monkeypatch.setattr("rcache.asgi.audit.random", lambda: next(draws))
    client, shop = selling(cache, 0.001)
    for headers in ({}, {"cache-control": "max-age=9"}):  # the plainest way, and the longer one
        for _ in range(7):
            await client.get("/", headers)
            await cache.audits.wait()
    assert cache.stats.counters.audits == 4
    assert shop.runs == 1 + 4


async def test_without_audits_the_plainest_hit_is_what_it_was(cache: Cache) -> None:
    for audit in (None, 0, Audit(0)):
        client, shop = selling(cache, audit)
        middleware: Any = client.app
        await client.get("/")
        await client.get("/")
        assert middleware._routes.plan(client.scope("/")).replay is replay
        assert shop.runs <= 1


async def test_a_rule_may_leave_it_or_do_it_more_often(cache: Cache) -> None:
    shop = Shop()
    rules = [Rule("/often", ttl=60, audit=1), Rule("/never", ttl=60, audit=0), Rule("/other", ttl=60)]
    client = RawClient(CacheMiddleware(shop, cache, rules=rules, audit=Audit(0, settle=0)))
    for path in ("/often", "/never", "/other"):
        await client.get(path)
        await client.get(path)
        await cache.audits.wait()
    assert {row.route: row.counters.audits for row in cache.stats.routes} == {"/often": 1, "/never": 0, "/other": 0}


# What is no finding


class Schedule:
    """Lets actors take their turns in a given order; a turn lasts until its actor asks for the next, or has ended."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._acting: str | None = None
        self._changed = asyncio.Condition()

    async def turn(self, actor: str) -> None:
        """Returns when it is the actor's; who has none left waits for nobody."""
        async with asyncio.timeout(PATIENCE), self._changed:
            self._release(actor)
            await self._changed.wait_for(
                lambda: (self._acting is None and self._order.startswith(actor)) or actor not in self._order
            )
            if actor in self._order:
                self._acting = actor
                self._order = self._order.replace(actor, "", 1)

    async def end(self, actor: str) -> None:
        """It takes no more turns."""
        async with self._changed:
            self._order = self._order.replace(actor, "")
            self._release(actor)

    def _release(self, actor: str) -> None:
        if self._acting == actor:
            self._acting = None
        self._changed.notify_all()


Write = Callable[[Cache, Shop, Callable[[], Awaitable[None]]], Awaitable[None]]


async def raced(order: str, write: Write) -> Counters:
    """An audit (A: reads, looks, reads again, looks again) and a writer (W) that take their steps in that order."""
    schedule = Schedule(order)
    async with Cache("memory://", clock=HandClock()) as cache:
        client, shop = selling(cache)
        await client.get("/")
        shop.pause = partial(schedule.turn, "A")
        lookup = cache.store.lookup

        async def paced(*given: Any) -> Any:
            await schedule.turn("A")
            return await lookup(*given)

        cache.store.lookup = paced  # type: ignore[method-assign]

        async def writer() -> None:
            await write(cache, shop, partial(schedule.turn, "W"))
            await schedule.end("W")

        async with asyncio.TaskGroup() as group:
            assert (await client.get("/")).is_hit
            group.create_task(writer())
            await cache.audits.wait()
            await schedule.end("A")
        return cache.stats.counters


async def holds(cache: Cache, shop: Shop, step: Callable[[], Awaitable[None]]) -> None:
    await step()
    async with cache.writing("price"):
        await step()
        shop.price += 1
        await step()


async def tells_afterwards(cache: Cache, shop: Shop, step: Callable[[], Awaitable[None]]) -> None:
    await step()
    shop.price += 1
    await step()
    await cache.invalidate("price")


async def forgets(cache: Cache, shop: Shop, step: Callable[[], Awaitable[None]]) -> None:
    await step()
    shop.price += 1


def orders(audit: int, writer: int) -> list[str]:
    places = itertools.combinations(range(audit + writer), writer)
    return ["".join("W" if at in taken else "A" for at in range(audit + writer)) for taken in places]


async def test_a_writer_that_holds_is_never_a_finding() -> None:
    for order in orders(4, 3):
        counts = await raced(order, holds)
        assert (counts.audits_stale, counts.audits_failed, counts.audits) == (0, 0, 1), (order, counts)


async def test_a_writer_that_purges_before_the_second_look_is_never_a_finding() -> None:
    for order in orders(4, 2):
        if not order.endswith("AW"):
            counts = await raced(order, tells_afterwards)
            assert (counts.audits_stale, counts.audits_failed, counts.audits) == (0, 0, 1), (order, counts)


async def test_a_writer_that_never_purges_is_a_finding_where_it_wrote_before_the_audit_read() -> None:
    found = {order: (await raced(order, forgets)).audits_stale for order in orders(4, 1)}
    assert found == {"WAAAA": 1, "AWAAA": 0, "AAWAA": 0, "AAAWA": 0, "AAAAW": 0}


@pytest.mark.parametrize("happening", ["soft", "replaced", "expired", "landing", "setting-out", "emptied"])
async def test_what_has_ended_by_then_is_no_finding(
    cache: Cache, clock: HandClock, monkeypatch: pytest.MonkeyPatch, happening: str
) -> None:
    client, shop = selling(cache)
    await client.get("/")
    shop.price += 1
    shop.pause = gate = Gate()
    assert (await client.get("/")).is_hit
    await gate.reached()
    shop.pause = None
    if happening == "soft":
        await cache.invalidate("price", soft=True)
    elif happening == "replaced":
        await cache.invalidate("price")
        await client.get("/")
    elif happening == "expired":
        clock.advance(100)
    elif happening in ("landing", "setting-out"):
        looked_up: list[bool] = []
        lookup = cache.store.lookup

        async def looking(*given: Any) -> Any:
            looked_up.append(True)
            return await lookup(*given)

        shop.extra = lambda: looked_up.clear() or {}

        def forbids(tags: object) -> str | None:
            return "purge-pending" if bool(looked_up) is (happening == "setting-out") else None

        monkeypatch.setattr(cache.store, "lookup", looking)
        monkeypatch.setattr(cache, "forbids", forbids)
    else:
        await cache.store.aclose()
    gate.open()
    await cache.audits.wait()
    assert ended(cache) == {"excused": 1}


async def test_what_is_another_each_time_tells_nothing_and_is_logged_once(cache: Cache, caplog: Any) -> None:
    client, shop = selling(cache)
    shop.extra = lambda: {"at": shop.runs, "n": 1}
    for _ in range(3):
        await client.get("/")
        await cache.audits.wait()
    assert ended(cache) == {"unsteady": 2}
    assert cache.stats.counters.stale_rate is None
    (record,) = caplog.records
    assert "asked twice, answers twice differently ($.at)" in record.message


async def test_beside_what_is_another_each_time_a_stale_answer_is_found(cache: Cache) -> None:
    client, shop = selling(cache)
    shop.extra = lambda: {"at": shop.runs}
    await client.get("/")
    shop.price = 11
    with hearing() as found:
        await client.get("/")
        await cache.audits.wait()
    assert [each.where for each in found[0].differences] == ["$.price"]


async def test_what_may_differ_is_ignored_by_name_or_by_a_callable(cache: Cache) -> None:
    def same(served: Answer, made: Answer) -> bool:
        return bool(json.loads(served.body)["price"] == json.loads(made.body)["price"])

    for audit in (Audit(1, ignore=["$.at"], settle=0), Audit(1, compare=same, settle=0)):
        client, shop = selling(cache, audit)
        shop.extra = partial(lambda shop: {"at": shop.runs}, shop)
        await client.get("/")
        await client.get("/")
        await cache.audits.wait()
        await cache.invalidate("price")
    assert ended(cache) == {"same": 2}


# What is not audited, and how it runs


PRIVATE = [
    ({"key_by": "x-user"}, {"x-user": "1"}, "GET"),
    ({"guard": lambda request: "1"}, {}, "GET"),
    ({"methods": ["POST"]}, {}, "POST"),
]


@pytest.mark.parametrize(("settings", "headers", "method"), PRIVATE)
async def test_requests_of_one_user_and_those_that_may_change_something_are_not_repeated(
    cache: Cache, settings: dict[str, Any], headers: dict[str, str], method: str
) -> None:
    client, shop = selling(cache, **settings)
    for _ in range(2):
        assert (await client.request(method, "/", headers)).status == 200
    await cache.audits.wait()
    assert (shop.runs, cache.stats.counters.audits) == (1, 0)


async def test_requests_of_one_user_are_audited_where_that_is_asked_for(cache: Cache) -> None:
    client, shop = selling(cache, Audit(1, settle=0, private=True), key_by="x-user")
    for _ in range(2):
        await client.get("/", {"x-user": "1"})
    await cache.audits.wait()
    assert (shop.runs, ended(cache)) == (2, {"same": 1})


async def test_a_search_is_repeated_with_its_body(cache: Cache) -> None:
    origin = Origin([Reply()])
    client = RawClient(CacheMiddleware(origin, cache, rules=[Rule("/", ttl=60, methods=["QUERY"], audit=1)]))
    await client.request("QUERY", "/", body=b"words")
    assert (await client.request("QUERY", "/", body=b"words")).is_hit
    await cache.audits.wait()
    assert [request.body for request in origin.requests] == [b"words"] * 2
    assert ended(cache) == {"same": 1}


async def test_the_application_is_asked_for_the_whole_whatever_the_client_asked_for(cache: Cache) -> None:
    client, origin = standing(
        cache, Reply(headers=[("etag", '"1"'), ("keep-alive", "timeout=5")]), default_ttl=60, audit=1
    )
    await client.get("/")
    asked = {"if-none-match": '"1"', "range": "bytes=0-1", "accept-language": "de"}
    assert (await client.get("/", asked)).status == 304
    await cache.audits.wait()
    await client.head("/")
    await cache.audits.wait()
    assert [(each.method, each.get("if-none-match"), each.get("range")) for each in origin.requests] == [
        ("GET", None, None)
    ] * 3
    assert origin.requests[1].get("accept-language") == "de"
    assert ended(cache) == {"same": 2}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503),
        Reply(429),
        Reply(error=RuntimeError("down")),
        Reply(silent=True),
        Reply(headers=[("content-length", "99")], pieces=[b"cut"]),
        Reply(pieces=[b"x" * 600, b"y" * 600]),
    ],
)
async def test_an_application_that_fails_tells_nothing(reply: Reply) -> None:
    async with Cache("memory://", clock=HandClock(), max_body=1000) as cache:
        client, _ = standing(cache, Reply(), reply, default_ttl=60, audit=AT_ONCE)
        await client.get("/")
        assert (await client.get("/")).is_hit
        await cache.audits.wait()
        assert ended(cache) == {"failed": 1}


@pytest.mark.parametrize("replies", [[Reply(503), Reply(body=b"new")], [Reply(body=b"new"), Reply(503)]])
async def test_an_application_that_fails_once_tells_nothing_either(cache: Cache, replies: list[Reply]) -> None:
    client, _ = standing(cache, Reply(), *replies, default_ttl=60, audit=AT_ONCE)
    await client.get("/")
    await client.get("/")
    await cache.audits.wait()
    assert ended(cache) == {"failed": 1}


async def test_who_takes_a_stale_answer_is_not_audited(cache: Cache, clock: HandClock) -> None:
    client, origin = standing(cache, Reply(headers=[("etag", '"1"')]), default_ttl=60, audit=AT_ONCE)
    await client.get("/")
    clock.advance(61)
    assert (await client.get("/", {"cache-control": "max-stale=60"})).is_hit
    await cache.audits.wait()
    assert (len(origin.requests), cache.stats.counters.audits) == (1, 0)


async def test_a_near_cache_that_has_yet_to_hear_of_a_purge_is_no_finding(redis_server: RedisServer) -> None:
    async with (
        Cache(redis_server.url, namespace="audit", near="fast", near_lease=PATIENCE) as cache,
        Cache(redis_server.url, namespace="audit") as other,
    ):
        client, shop = selling(cache, None)
        near: Any = cache.store
        near.follow()
        async with asyncio.timeout(PATIENCE):
            while len(near.near) == 0:
                await client.get("/")
                await asyncio.sleep(0.01)
        near.near._apply = lambda record: None  # the log is read, and nobody listens
        shop.price += 1
        await other.invalidate("price")
        client.app = CacheMiddleware(shop, cache, rules=[Rule("/{path:path}", ttl=60)], audit=AT_ONCE)
        assert (await client.get("/")).text == '{"price": 10}'
        await cache.audits.wait()
        assert ended(cache) == {"excused": 1}


async def test_what_is_gone_is_a_finding(cache: Cache) -> None:
    client, _ = standing(cache, Reply(), Reply(404), default_ttl=60, audit=AT_ONCE)
    await client.get("/")
    with hearing() as found:
        await client.get("/")
        await cache.audits.wait()
    assert [tuple(each) for each in found[0].differences] == [("status", "200", "404")]
    assert "it has no tags" in found[0].remedy


async def test_a_body_that_is_kept_compressed_is_compared_as_it_was(cache: Cache) -> None:
    reply = Reply(body=b"word " * 1000, headers=[("content-type", "text/plain")])
    client, _ = standing(cache, reply, default_ttl=60, audit=AT_ONCE, compress="gzip")
    await client.get("/")
    assert (await client.get("/", {"accept-encoding": "gzip"})).get("content-encoding") == "gzip"
    await cache.audits.wait()
    assert ended(cache) == {"same": 1}


async def test_an_application_that_takes_too_long_is_left(cache: Cache) -> None:
    gate = Gate()
    client, _ = standing(cache, Reply(), Reply(gate=gate), default_ttl=60, audit=1, hard_timeout=0.01)
    await client.get("/")
    await client.get("/")
    await cache.audits.wait()
    assert ended(cache) == {"failed": 1}


async def test_what_it_does_after_its_answer_takes_its_time(cache: Cache) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        if scope["path"] == "/" and started:
            await gate()

    started: list[bool] = []
    client = RawClient(CacheMiddleware(app, cache, default_ttl=60, audit=1, hard_timeout=0.01))
    await client.get("/")
    started.append(True)
    await client.get("/")
    await gate.reached()
    await asyncio.sleep(0.03)  # longer than it may take for an answer
    gate.open()
    await cache.audits.wait()
    assert ended(cache) == {"same": 1}


async def test_what_writes_when_it_is_asked_is_audited_no_more(cache: Cache, caplog: Any) -> None:
    runs = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal runs
        runs += 1
        await invalidate("views")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"seen"})

    client = RawClient(CacheMiddleware(app, cache, default_ttl=60, audit=AT_ONCE))
    for _ in range(3):
        await client.get("/")
        await cache.audits.wait()
    assert runs == 2
    assert ended(cache) == {"failed": 1}
    assert "is audited no more" in caplog.text


async def test_what_it_reads_beyond_its_tags_is_named(cache: Cache) -> None:
    client, shop = selling(cache)

    def extra() -> dict[str, Any]:
        if shop.runs > 1:
            depends_on("author", 7)
        return {}

    shop.extra = extra
    await client.get("/")
    shop.price = 11
    with hearing() as found:
        await client.get("/")
        await cache.audits.wait()
    assert found[0].unnamed == ("author:7",)
    assert "author:7" in found[0].explain()


async def test_one_runs_for_a_key_and_a_few_in_all(cache: Cache) -> None:
    client, shop = selling(cache)
    for number in range(MOST + 2):
        await client.get(f"/{number}")
    filled = shop.runs
    shop.pause = gate = Gate()
    for number in range(MOST + 2):
        await client.get(f"/{number}")
        await client.get(f"/{number}")
    await gate.reached(MOST)
    await settle()
    assert shop.runs == filled + MOST
    gate.open()
    await cache.audits.wait()
    assert ended(cache) == {"same": MOST}


async def test_a_close_cancels_them(cache: Cache) -> None:
    client, shop = selling(cache)
    await client.get("/")
    shop.pause = gate = Gate()
    await client.get("/")
    await gate.reached()
    await cache.close()
    await cache.audits.wait()
    assert cache.stats.counters.audits == 0


async def test_an_error_in_compare_is_the_audits_own(cache: Cache) -> None:
    def broken(served: Answer, made: Answer) -> bool:
        raise RuntimeError("no idea")

    client, _ = selling(cache, Audit(1, compare=broken))
    await client.get("/")
    assert (await client.get("/")).is_hit
    await cache.audits.wait()
    assert ended(cache) == {"failed": 1}
