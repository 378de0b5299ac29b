"""Spans with their verdicts and their parents, and metrics that obey the written identities."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode
from starlette.types import Receive, Scope, Send

from rcache import Audit, BackendError, Cache, CacheMiddleware, ConfigurationError, Rule, tag
from rcache.engine.watching import MOST_TAGS
from rcache.integrations.opentelemetry import Instrumentation, Tracing, instrument
from rcache.ports import Facts
from tests.asgi.origin import Origin, Reply
from tests.support import Gate, HandClock, RawClient


class Spans:
    """Where spans go, and who asks for more."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def taken(self) -> list[ReadableSpan]:
        """Those that have ended, in the order they did, which are then forgotten."""
        spans = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return spans

    def told(self) -> list[tuple[str, object]]:
        """Their names and verdicts."""
        return [(span.name, (span.attributes or {}).get("rcache.verdict")) for span in self.taken()]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def cache(clock: HandClock) -> AsyncIterator[Cache]:
    cache = Cache("memory://", clock=clock)
    yield cache
    await cache.close()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def traced(spans: Spans, cache: Cache, *replies: Reply, plain_hits: bool = False, **settings: Any) -> RawClient:
    """A client, each of whose requests is in the span of a server, before an application with a span of its own."""
    origin = Origin(list(replies) or [Reply()])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with spans.tracer.start_as_current_span("application"):
            tag("page", *[f"book:{number}" for number in range(MOST_TAGS)])
            await origin(scope, receive, send)

    middleware = CacheMiddleware(app, cache, rules=[Rule("/books/{id}", ttl=60)], **settings)

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        with spans.tracer.start_as_current_span("server"):
            await middleware(scope, receive, send)

    instrument(cache, spans.provider, MeterProvider(), plain_hits=plain_hits)
    return RawClient(server)


def parent_of(span: ReadableSpan, among: Sequence[ReadableSpan]) -> str | None:
    """The name of a span's parent."""
    if span.parent is None:
        return None
    return next(each.name for each in among if each.context and each.context.span_id == span.parent.span_id)


async def test_a_miss_has_a_look_up_and_a_fill_with_the_applications_spans_below(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await client.get("/books/1")
    taken = spans.taken()
    assert {span.name: parent_of(span, taken) for span in taken} == {
        "rcache.lookup": "server",
        "application": "rcache.fill",
        "rcache.fill": "server",
        "server": None,
    }
    lookup, _, fill, _ = taken
    assert dict(lookup.attributes or {}) == {"http.route": "/books/{id}", "rcache.verdict": "absent"}
    tags = tuple(sorted(["page", *[f"book:{number}" for number in range(MOST_TAGS)]])[:MOST_TAGS])
    assert dict(fill.attributes or {}) == {
        "http.route": "/books/{id}",
        "rcache.verdict": "stored",
        "rcache.reason": "miss",
        "rcache.size": 4,
        "rcache.tags": tags,
        "rcache.tag_count": MOST_TAGS + 1,
    }


async def test_the_plainest_hits_have_spans_only_where_they_are_asked_for(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await client.get("/books/1")
    spans.taken()
    assert (await client.get("/books/1")).is_hit
    assert spans.told() == [("server", None)]
    assert (await client.get("/books/1", {"cookie": "_ga=1"})).is_hit
    assert spans.told() == [("rcache.lookup", "fresh"), ("server", None)]


async def test_with_plain_hits_each_has_its_look_up(cache: Cache, clock: HandClock, spans: Spans) -> None:
    client = traced(spans, cache, plain_hits=True)
    await client.get("/books/1")
    spans.taken()
    clock.advance(5)
    assert (await client.get("/books/1")).is_hit
    lookup, _ = spans.taken()
    attributes = dict(lookup.attributes or {})
    assert (attributes["rcache.verdict"], attributes["rcache.age"]) == ("fresh", 5)
    assert cache.stats.hits == 1


@pytest.mark.parametrize(
    ("reply", "verdict", "covered"),
    [
        (Reply(headers=[("cache-control", "no-store")]), "no-store", False),
        (Reply(503), "covered", True),
        (Reply(404), "status", False),
    ],
)
async def test_a_fill_says_why_nothing_was_stored(
    cache: Cache, clock: HandClock, spans: Spans, reply: Reply, verdict: str, covered: bool
) -> None:
    client = traced(spans, cache, Reply(), reply, stale_on_error=60)
    await client.get("/books/1")
    clock.advance(61)
    spans.taken()
    await client.get("/books/1")
    lookup, _, fill, _ = spans.taken()
    assert (lookup.attributes or {})["rcache.verdict"] == "stale"
    attributes = dict(fill.attributes or {})
    assert (attributes["rcache.verdict"], attributes["rcache.covered"]) == (verdict, covered)
    assert attributes["rcache.reason"] == "stale"


async def test_a_fill_that_a_purge_overtook_was_refused(cache: Cache, spans: Spans) -> None:
    gate = Gate()
    client = traced(spans, cache, Reply(gate=gate))
    exchange = client.start("/books/1")
    await gate.reached()
    await cache.invalidate("page")
    gate.open()
    await exchange.finish()
    assert ("rcache.fill", "refused") in spans.told()


async def test_a_fill_that_could_not_be_stored_says_outage(cache: Cache, spans: Spans, monkeypatch: Any) -> None:
    client = traced(spans, cache)

    async def fails(*_: Any) -> Any:
        raise BackendError("gone")

    monkeypatch.setattr(cache.store, "store", fails)
    await client.get("/books/1")
    assert ("rcache.fill", "outage") in spans.told()


async def test_a_head_that_the_application_answers_is_a_fill_as_well(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await client.head("/books/1")
    assert [name for name, _ in spans.told()] == ["rcache.lookup", "application", "rcache.fill", "server"]


async def test_what_was_purged_softly_is_looked_up_as_such(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await client.get("/books/1")
    await cache.invalidate("page", soft=True)
    spans.taken()
    await client.get("/books/1")
    assert spans.told()[0] == ("rcache.lookup", "softened")


async def test_what_has_no_route_and_no_request_around_it_says_neither(cache: Cache, spans: Spans) -> None:
    instrument(cache, spans.provider, MeterProvider())
    client = RawClient(CacheMiddleware(Origin([Reply()]), cache, default_ttl=60, audit=1))
    await client.get("/")
    await client.get("/")
    await cache.audits.wait()
    taken = spans.taken()
    assert [span.name for span in taken] == ["rcache.lookup", "rcache.fill", "rcache.audit"]
    assert all("http.route" not in (span.attributes or {}) and not span.links for span in taken)


async def test_what_is_not_sampled_is_not_looked_at() -> None:
    tracing = Tracing(TracerProvider(sampler=ALWAYS_OFF).get_tracer("test"), wants_plain_hits=False)

    def facts(result: int) -> Facts:
        raise AssertionError(result)

    assert await tracing.watch("lookup", "", asyncio.sleep(0, 5), facts) == 5
    assert tracing.watch_sync("purge", "", lambda: 5, facts) == 5


async def test_refreshes_and_audits_are_traces_of_their_own_linked_to_their_request(
    cache: Cache, clock: HandClock, spans: Spans
) -> None:
    client = traced(spans, cache, stale_while_revalidate=60, audit=Audit(1))
    await client.get("/books/1")
    await client.get("/books/1")
    await cache.audits.wait()
    clock.advance(61)
    await client.get("/books/1")
    await cache.refreshes.wait()
    taken = spans.taken()
    servers = [span.context.span_id for span in taken if span.name == "server" and span.context]
    for name, verdict, server in (("rcache.audit", "same", servers[1]), ("rcache.refresh", "stored", servers[2])):
        (span,) = [each for each in taken if each.name == name]
        assert span.parent is None
        assert [link.context.span_id for link in span.links] == [server]
        assert (span.attributes or {})["rcache.verdict"] == verdict
        below = [
            each.name for each in taken if each.parent and span.context and each.parent.span_id == span.context.span_id
        ]
        assert below == ["application"]


async def test_requests_that_run_side_by_side_keep_their_own_parents(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await asyncio.gather(*[client.get(f"/books/{number}") for number in range(5)])
    taken = spans.taken()
    for span in taken:
        same = [
            each for each in taken if each.context and span.context and each.context.trace_id == span.context.trace_id
        ]
        assert sorted(each.name for each in same) == ["application", "rcache.fill", "rcache.lookup", "server"]


async def test_purges_say_what_they_did_from_tasks_and_threads(cache: Cache, spans: Spans) -> None:
    client = traced(spans, cache)
    await client.get("/books/1")
    spans.taken()
    with spans.tracer.start_as_current_span("writer"):
        await cache.invalidate("page", "other")
        await cache.invalidate("page", soft=True)
        await asyncio.to_thread(cache.invalidate_sync, "page")
        async with cache.writing("page"):
            pass
    *purges, writer = spans.taken()
    assert [parent_of(span, [writer]) for span in purges] == ["writer"] * 4
    assert {span.name for span in purges} == {"rcache.purge"}
    first = dict(purges[0].attributes or {})
    assert first == {
        "rcache.verdict": "landed",
        "rcache.entries": 1,
        "rcache.tags": ("page", "other"),
        "rcache.tag_count": 2,
        "rcache.sequence": first["rcache.sequence"],
    }


async def test_a_store_that_fails_is_an_error_of_its_span(cache: Cache, spans: Spans, monkeypatch: Any) -> None:
    client = traced(spans, cache)

    async def fails(*_: Any) -> Any:
        raise BackendError("gone")

    monkeypatch.setattr(cache.store, "lookup", fails)
    assert (await client.get("/books/1")).status == 200
    lookup = spans.taken()[0]
    assert (lookup.name, lookup.status.status_code) == ("rcache.lookup", StatusCode.ERROR)
    assert (lookup.attributes or {})["error.type"] == "BackendError"


async def test_it_ends_when_it_is_told_to_and_can_begin_anew(cache: Cache, spans: Spans) -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    instrumentation = instrument(cache, spans.provider, meters)
    with pytest.raises(ConfigurationError, match="instrumented already"):
        instrument(cache)
    instrumentation.end()
    instrumentation.end()
    assert instrumentation.cache is None
    assert reader.get_metrics_data() is None
    await cache.invalidate("page")
    assert spans.told() == []
    assert cache.observer is None
    again = instrument(cache, spans.provider, meters, plain_hits=True)
    await cache.invalidate("page")
    assert spans.told() == [("rcache.purge", "landed")]
    instrumentation.end()
    assert cache.observer is not None, "whose end was told already ends nothing else"
    again.end()
    assert cache.at_hand == cache.store.at_hand


async def test_the_end_of_one_leaves_whoever_else_watches(cache: Cache, spans: Spans) -> None:
    instrumentation = instrument(cache, spans.provider, MeterProvider())
    other = Tracing(spans.provider.get_tracer("other"), wants_plain_hits=False)
    cache.observe(other)
    instrumentation.end()
    assert cache.observer is other


async def test_a_cache_that_is_gone_is_measured_no_more() -> None:
    reader = InMemoryMetricReader()
    cache = Cache("memory://")
    kept: Instrumentation = instrument(cache, TracerProvider(), MeterProvider([reader]))
    await cache.close()
    cache.observe(None)
    del cache
    gc.collect()
    assert kept.cache is None
    assert reader.get_metrics_data() is None


def measured(reader: InMemoryMetricReader) -> dict[str, dict[tuple[object, ...], float]]:
    """The values by name and attributes."""
    data: Any = reader.get_metrics_data()
    return {
        metric.name: {tuple(point.attributes.values()): point.value for point in metric.data.data_points}
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_metrics_tell_what_was_counted_and_obey_its_identities(
    cache: Cache, clock: HandClock, spans: Spans
) -> None:
    reader = InMemoryMetricReader()
    client = traced(spans, cache, stale_while_revalidate=60, audit=Audit(1, settle=0))
    cache.observe(None)
    instrument(cache, spans.provider, MeterProvider([reader]))
    await client.get("/books/1")
    for _ in range(3):
        await client.get("/books/1")
        await cache.audits.wait()
    await client.get("/books/1", {"authorization": "mine"})
    clock.advance(61)
    await client.get("/books/1")
    await cache.refreshes.wait()
    await cache.invalidate("page")
    await client.get("/books/2")
    found = measured(reader)
    route = "/books/{id}"
    assert found["rcache.requests"] == {(route, "hit"): 3, (route, "stale"): 1, (route, "miss"): 3, (route, "pass"): 0}
    assert sum(found["rcache.requests"].values()) == cache.stats.lookups == 7
    assert found["rcache.collapsed"][(route,)] <= found["rcache.requests"][(route, "miss")]
    assert found["rcache.stores"] == {(route, "stored"): 3, (route, "refused"): 0}
    assert found["rcache.purges"] == {(): 1}
    assert found["rcache.served"] == {(route,): 12}
    assert found["rcache.audits"][(route, "same")] == cache.stats.counters.audits == 3
    assert sum(found["rcache.audits"].values()) == 3
    assert found["rcache.pending_tags"] == {(): 0}
    assert found["rcache.store_down"] == {(): 0}
    assert set(found["rcache.request.time"]) == set(found["rcache.requests"])
    assert "rcache.near.entries" not in found


def test_without_the_package_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
sys.modules["prometheus_client"] = None
import rcache
for name in ("opentelemetry", "prometheus"):
    try:
        __import__(f"rcache.integrations.{name}")
    except rcache.ConfigurationError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "pip install 'rcache[otel]'" in result.stdout
    assert "pip install 'rcache[prometheus]'" in result.stdout
